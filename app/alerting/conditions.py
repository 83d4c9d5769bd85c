"""Computes the values of metric rules from the cells of a scan.

Pure, and the same for the last minutes as for the earlier hour that they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.rule import SHARE, Rule, pack_rule
from app.query.engine import build_series
from app.query.planner import accepted_patterns
from app.query.rates import per_minute
from app.query.stats import Stat, Value, parse_stat
from app.query.table import Query, QueryCells, QueryRange
from app.rollup.open_metrics import known_metric
from app.rollup.resolutions import DAY_S, MINUTE_S, Resolution

_ANY_MINUTE = QueryRange(0, MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))
COMPARED_AGES_S = {"week": 7 * DAY_S, "year": 52 * 7 * DAY_S}  # the same day of the week
_COUNT = Stat("count", "count", 0)
_SUM = Stat("sum", "sum", 0)


class Measurement(NamedTuple):
    """A value and the number of requests behind it; 0 for metrics that are not about requests."""

    value: Value
    requests: int


def _values_by_key(query: Query, cells: QueryCells) -> dict[str, list[Value]]:
    """The value of each stat, by label value. As in the API, a counter without samples is 0 if
    the app logged anything at all, otherwise None.
    """
    keys = sorted(cells.keys()) if query.by else [()]
    return {
        key[0] if key else "": [
            None if isinstance(value, list) else value
            for stat in query.stats
            for value in cells.values(key, None, stat, range(1))
        ]
        for key in keys
    }


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
        self.metric = known_metric(rule.metric)
        by = (rule.by,) if rule.by else ()
        is_share = rule.stat == SHARE
        self.is_rate = rule.stat == "rate"  # of a sum, and the minutes in which it was observed
        stat = _SUM if is_share or self.is_rate else parse_stat(rule.stat, self.metric)
        needs_count = self.metric.kind == "distribution" and rule.count_min
        stats = (stat, _COUNT) if needs_count else (stat,)
        self._filters = accepted_patterns(rule.filters)
        filters = [self._filters]
        if is_share:
            filters.append(accepted_patterns(rule.total_filters))
        self._queries = [Query(self.metric, stats, _ANY_MINUTE, by, labels) for labels in filters]

    def plan(self, window: QueryRange) -> list[Query]:
        """The queries whose cells `measure` takes."""
        return [query.over(window) for query in self._queries]

    def measure(
        self, all_cells: Sequence[QueryCells], observed_minutes: int
    ) -> dict[str, Measurement]:
        """The measurements, by value of the rule's label, or by "" if the rule has none."""
        values_by_key, *totals = (
            _values_by_key(query, cells)
            for query, cells in zip(self._queries, all_cells, strict=True)
        )
        if totals:
            return _shares(values_by_key, totals[0])
        if self.metric.name == "requests":
            return {
                key: Measurement(self.value(values[0], observed_minutes), int(values[0] or 0))
                for key, values in values_by_key.items()
            }
        return {
            key: Measurement(
                self.value(values[0], observed_minutes),
                int(values[1] or 0) if len(values) > 1 else 0,
            )
            for key, values in values_by_key.items()
        }

    def value(self, value: Value, observed_minutes: int) -> Value:
        """The rule's value from that of its query: the same, or a rate per second."""
        if not self.is_rate or value is None:
            return value
        rate = per_minute(value, observed_minutes)
        return None if rate is None else rate / MINUTE_S

    def plan_details(self, window: QueryRange, key: str) -> dict[str, Query]:
        """Queries for the details that a notification about this value of the rule's label adds.

        "dynos" asks for the value of each dyno (of a distribution, the mean), "parts" for each
        value of the rule's label `told_by`.
        """
        rule, metric = self.rule, self.metric
        queries = {}
        if rule.told_by:
            stats = self._queries[0].stats[:1]
            queries["parts"] = Query(metric, stats, window, (rule.told_by,), self._filters)
        if "dyno" in metric.labels:
            stat = "sum" if rule.stat == SHARE or self.is_rate else rule.stat
            stat = "avg" if metric.kind == "distribution" else stat
            by_key = {rule.by: (key,)} if rule.by else {}
            filters = {**self._filters, **by_key}
            queries["dynos"] = Query(
                metric, (parse_stat(stat, metric),), window, ("dyno",), filters
            )
        return queries


def nonzero_values(query: Query, cells: QueryCells) -> dict[str, float]:
    """The values of a query's single label that have a value other than 0.

    Raises:
        TooManySeries
    """
    return {
        series.labels[query.by[0]]: value
        for series in build_series(query, cells)
        if (value := series.numbers[0])
    }


def missing_history(rule: Rule, hours_kept_s: int) -> str:
    """Why the hours that a rule compares with are kept no longer; "" if they are.

    `hours_kept_s`: how long hours are kept, in the store or its archive.
    """
    age_s = COMPARED_AGES_S.get(rule.compare, 0)
    if age_s <= hours_kept_s:
        return ""
    return (
        f"compare={rule.compare} requires hours of {age_s // DAY_S} days ago, but they are kept "
        f"for {hours_kept_s // DAY_S} days. Set DYNOMETER_ARCHIVE_URL, or keep hours for longer"
    )
