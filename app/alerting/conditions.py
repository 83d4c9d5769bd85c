"""Computes the values of metric rules from rollups.

Pure, and the same for the last minutes as for the hour of last week that they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.alerting.rule import SHARE, Rule, pack_rule
from app.query.engine import evaluate
from app.query.stats import Cell, Stat, StatValue, Value, parse_stat
from app.query.table import Query, QueryRange, RequiredSections, build_collector, required_sections
from app.rollup.resolutions import HOUR_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS

COLLECTOR_CALLS_MAX = 10_000  # a collector is then replaced, to forget dynos that no longer exist
_MINUTES = Resolution("1m", 60, 0)
_ANY_MINUTE = QueryRange(0, 60, 60, _MINUTES)
_COUNT = Stat("count", "count", 0)
_SUM = Stat("sum", "sum", 0)

Slots = Mapping[int, Rollup]  # by the start of the slot, Unix seconds


class Measurement(NamedTuple):
    """A value and the number of requests behind it; 0 for metrics that are not about requests."""

    value: Value
    requests: int


class _ReusableQuery:
    """A query for many apps. Its collector caches which row belongs to which series."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._collect = build_collector(query, "")
        self._calls = 0

    def values(self, slots: Slots, span_s: int) -> dict[str, list[Value]]:
        """The value of each stat, by label value. As in the API, a counter without samples is 0 if
        the app logged anything at all, otherwise None.
        """
        self._calls += 1
        if self._calls % COLLECTOR_CALLS_MAX == 0:
            self._collect = build_collector(self._query, "")
        cells: dict[tuple[str, ...], Cell] = {}
        for start, rollup in slots.items():
            self._collect(cells, start, rollup)
        stats = self._query.stats
        values_by_key = {
            key[0] if key else "": [_number(cell.value(stat, span_s)) for stat in stats]
            for key, cell in cells.items()
        }
        if not self._query.by and not values_by_key:
            has_lines = any(rollup.messages for rollup in slots.values())
            is_zero = has_lines and self._query.metric.kind == "counter"
            return {"": [0 if is_zero else None for _ in stats]}
        return values_by_key


def _number(value: StatValue) -> Value:
    return None if isinstance(value, list) else value


def _shares(
    parts: Mapping[str, list[Value]], totals: Mapping[str, list[Value]]
) -> dict[str, Measurement]:
    shares = {}
    for key, (count, *_) in totals.items():
        part = parts.get(key, [0])[0] or 0
        shares[key] = Measurement(part / count if count else None, int(count or 0))
    return shares


class RuleQuery:
    """A metric rule, prepared for evaluation in many apps and minutes."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.key = pack_rule(rule)  # for caches: it changes with every field of the rule
        self.metric = METRICS[rule.metric]
        self._by = (rule.by,) if rule.by else ()
        is_share = rule.stat == SHARE
        stat = _SUM if is_share else parse_stat(rule.stat, self.metric)
        needs_count = self.metric.kind == "distribution" and rule.count_min
        self._stats = (stat, _COUNT) if needs_count else (stat,)
        self.required_sections: RequiredSections = required_sections(self._query(rule.filters))
        self._values = _ReusableQuery(self._query(rule.filters))
        self._totals = _ReusableQuery(self._query(rule.total_filters)) if is_share else None

    def _query(self, filters: Mapping[str, tuple[str, ...]]) -> Query:
        return Query(self.metric, self._stats, _ANY_MINUTE, self._by, filters)

    def measure(self, slots: Slots, start: int, end: int) -> dict[str, Measurement]:
        """Measure the slots, which lie in [start, end). By value of the rule's label, or by "" if
        the rule has none.
        """
        values_by_key = self._values.values(slots, end - start)
        if self._totals is not None:
            return _shares(values_by_key, self._totals.values(slots, end - start))
        if self.metric.name == "requests":
            return {
                key: Measurement(values[0], int(values[0] or 0))
                for key, values in values_by_key.items()
            }
        return {
            key: Measurement(values[0], int(values[1] or 0) if len(values) > 1 else 0)
            for key, values in values_by_key.items()
        }

    def top_values(self, app: str, slots: Slots, start: int, end: int) -> tuple[str, ...]:
        """The values of the rule's `told_by` label that notifications name, largest first."""
        if not self.rule.told_by:
            return ()
        span = QueryRange(start, end, end - start, _MINUTES)
        by = (self.rule.told_by,)
        query = Query(self.metric, self._stats[:1], span, by, self.rule.filters)
        values = {
            series.labels[by[0]]: value
            for series in evaluate(query, {app: slots})
            if (value := series.numbers[0])
        }
        return tuple(sorted(values, key=lambda name: (-values[name], name)))

    def values_by_dyno(
        self, app: str, slots: Slots, start: int, end: int, key: str
    ) -> dict[str, float]:
        """The value of each dyno that has one; of a distribution, its mean."""
        if "dyno" not in self.metric.labels:
            return {}
        is_distribution = self.metric.kind == "distribution"
        stat = "avg" if is_distribution else "sum" if self.rule.stat == SHARE else self.rule.stat
        filters = dict(self.rule.filters)
        if self.rule.by and self.rule.by in self.metric.labels:
            filters[self.rule.by] = (key,)
        span = QueryRange(start, end, end - start, _MINUTES)
        query = Query(self.metric, (parse_stat(stat, self.metric),), span, ("dyno",), filters)
        return {
            series.labels["dyno"]: value
            for series in evaluate(query, {app: slots})
            if series.labels["dyno"] and (value := series.numbers[0])
        }


def same_hour_last_week(minute_s: int) -> int:
    """The start of the hour of last week that a minute is compared with."""
    return minute_s - minute_s % HOUR_S - 7 * 24 * HOUR_S
