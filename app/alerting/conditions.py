"""What a rule asks, answered from rollups that were read: pure, and the same for the last minutes
and for the hour they are compared with.
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
from parsers.metrics import METRICS

STANDS_OUT_RATIO = 1.5  # one dyno against the mean of all
FORGET_AFTER = 10_000  # answers, and names of dynos that are no more are forgotten
_MINUTES = Resolution("1m", 60, 0)
_ANY_MINUTE = QueryRange(0, 60, 60, _MINUTES)
_COUNT = Stat("count", "count", 0)
_SUM = Stat("sum", "sum", 0)

Slots = Mapping[int, Rollup]  # by their start, Unix seconds


class Measured(NamedTuple):
    """A value, and of how many requests; 0 where that means nothing."""

    value: Value
    requests: int


class _Cells:
    """A query that is asked of many apps: which row belongs to which series is worked out once."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._collect = build_collector(query, "")
        self._asked = 0

    def values(self, slots: Slots, span_s: int) -> dict[str, list[Value]]:
        """A value for each stat, by the label's value. As in an answer of the API, counters are 0
        where anything was heard.
        """
        self._asked += 1
        if self._asked % FORGET_AFTER == 0:
            self._collect = build_collector(self._query, "")
        cells: dict[tuple[str, ...], Cell] = {}
        for start, rollup in slots.items():
            self._collect(cells, start, rollup)
        stats = self._query.stats
        found = {
            key[0] if key else "": [_number(cell.value(stat, span_s)) for stat in stats]
            for key, cell in cells.items()
        }
        if not self._query.by and not found:
            heard = any(rollup.messages for rollup in slots.values())
            known = heard and self._query.metric.kind == "counter"
            return {"": [0 if known else None for _ in stats]}
        return found


def _number(value: StatValue) -> Value:
    return None if isinstance(value, list) else value


def _shares(
    parts: Mapping[str, list[Value]], wholes: Mapping[str, list[Value]]
) -> dict[str, Measured]:
    shares = {}
    for key, (count, *_) in wholes.items():
        part = parts.get(key, [0])[0] or 0
        shares[key] = Measured(part / count if count else None, int(count or 0))
    return shares


class RuleQuery:
    """A metric rule, made ready to be asked often."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.key = pack_rule(rule)  # of what is remembered of it
        self.metric = METRICS[rule.metric]
        self._by = (rule.by,) if rule.by else ()
        share = rule.stat == SHARE
        stat = _SUM if share else parse_stat(rule.stat, self.metric)
        counted = self.metric.kind == "distribution" and rule.count_min
        self._stats = (stat, _COUNT) if counted else (stat,)
        self.wanted: RequiredSections = required_sections(self._query(rule.filters))
        self._parts = _Cells(self._query(rule.filters))
        self._whole = _Cells(self._query(rule.whole)) if share else None

    def _query(self, filters: Mapping[str, tuple[str, ...]]) -> Query:
        return Query(self.metric, self._stats, _ANY_MINUTE, self._by, filters)

    def measure(self, slots: Slots, start: int, end: int) -> dict[str, Measured]:
        """By the values of the rule's label, or by "" where it has none: over the slots, which lie
        in [start, end).
        """
        found = self._parts.values(slots, end - start)
        if self._whole is not None:
            return _shares(found, self._whole.values(slots, end - start))
        if self.metric.name == "requests":
            return {key: Measured(values[0], int(values[0] or 0)) for key, values in found.items()}
        return {
            key: Measured(values[0], int(values[1] or 0) if len(values) > 1 else 0)
            for key, values in found.items()
        }

    def parts(self, app: str, slots: Slots, start: int, end: int) -> tuple[str, ...]:
        """The values of the label that messages name, the largest first."""
        if not self.rule.told_by:
            return ()
        span = QueryRange(start, end, end - start, _MINUTES)
        by = (self.rule.told_by,)
        asked = Query(self.metric, self._stats[:1], span, by, self.rule.filters)
        values = {
            series.labels[by[0]]: value
            for series in evaluate(asked, {app: slots})
            if (value := series.numbers[0])
        }
        return tuple(sorted(values, key=lambda name: (-values[name], name)))

    def who(self, app: str, slots: Slots, start: int, end: int, key: str) -> str:
        """In words, which dyno it is; "" when it is none more than others, or nobody knows."""
        if "dyno" not in self.metric.labels:
            return ""
        of_times = self.metric.kind == "distribution"
        stat = "avg" if of_times else "sum" if self.rule.stat == SHARE else self.rule.stat
        filters = dict(self.rule.filters)
        if self.rule.by and self.rule.by in self.metric.labels:
            filters[self.rule.by] = (key,)
        span = QueryRange(start, end, end - start, _MINUTES)
        asked = Query(self.metric, (parse_stat(stat, self.metric),), span, ("dyno",), filters)
        values = {
            series.labels["dyno"]: value
            for series in evaluate(asked, {app: slots})
            if series.labels["dyno"] and (value := series.numbers[0])
        }
        return _who(values, self.metric.unit, counted=self.metric.kind == "counter")


def _who(values: Mapping[str, float], unit: str, *, counted: bool) -> str:
    if not values:
        return ""
    worst = max(values, key=lambda dyno: values[dyno])
    if len(values) == 1:
        return worst
    mean = sum(values.values()) / len(values)
    if values[worst] < STANDS_OUT_RATIO * mean:
        return (
            f"{len(values)} dynos alike"
            if counted or unit == "ms"
            else f"{worst}, the highest of {len(values)}"
        )
    if counted:
        return f"{worst}: {values[worst]:,.0f} of {sum(values.values()):,.0f}"
    shown = f"{values[worst]:.0%}" if unit == "ratio" else f"{values[worst]:,.3g} {unit}"
    return f"{worst}: {shown}, the mean of all {len(values)} is " + (
        f"{mean:.0%}" if unit == "ratio" else f"{mean:,.3g}"
    )


def same_hour_last_week(minute_s: int) -> int:
    """The start of the hour that a minute is compared with."""
    return minute_s - minute_s % HOUR_S - 7 * 24 * HOUR_S
