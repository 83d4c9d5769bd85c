"""Reads the inputs of rules from the store. One scan a minute answers all rules of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.conditions import RuleQuery, nonzero_values
from app.alerting.notification import CHANGES_BEFORE_S
from app.alerting.rule import Rule
from app.query.engine import (
    build_series,
    list_packed,
    read_in_parts,
    scan,
    scan_packed,
    scan_packed_yielding,
)
from app.query.history import read_events
from app.query.stats import Stat, Value
from app.query.table import MESSAGES, Query, QueryCells, QueryRange
from app.query.table_fill import PackedRollup
from app.rollup.bounded_merge import condense
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S, Resolution, align_up
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.rollup.schema import METRICS
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import HEADER_BYTES, Slot
from app.storage.interface.rollups import RollupReader
from app.support.aio import run_in_steps

_TOTAL = Slot("total", 0)
_MS = 1000
_SUM = Stat("sum", "sum", 0)
_ANY_MINUTE = QueryRange(0, MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))
_REQUESTS = Query(METRICS["requests"], (_SUM,), _ANY_MINUTE)
_LOST = Query(MESSAGES, (_SUM,), _ANY_MINUTE, filters={"result": ("lost_upstream",)})


class RuleQueries:
    """The rules that apply to an app, with the queries of its metric rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.rules_by_name = {rule.name: rule for rule in rules}
        self.metric_queries = [RuleQuery(rule) for rule in rules if rule.kind == "metric"]
        self.over_minutes = max(
            (query.rule.over_minutes for query in self.metric_queries), default=1
        )
        self._planned_end_s = 0
        self._planned: list[list[Query]] = []

    def plan(self, end_s: int, minutes: Resolution, first_s: int) -> list[list[Query]]:
        """The queries of each metric rule for a minute.

        All apps of a round share them, unless an app appeared only just before, at `first_s`.
        """
        if first_s > end_s - self.over_minutes * MINUTE_S:
            return self._plan(end_s, minutes, first_s)
        if end_s != self._planned_end_s:
            self._planned_end_s = end_s
            self._planned = self._plan(end_s, minutes, first_s)
        return self._planned

    def _plan(self, end_s: int, minutes: Resolution, first_s: int) -> list[list[Query]]:
        return [
            query.plan(window_of(query, end_s, minutes, first_s)) for query in self.metric_queries
        ]


def window_of(query: RuleQuery, end_s: int, minutes: Resolution, first_s: int) -> QueryRange:
    """The minutes that a rule measures at `end_s`, as one interval.

    Rates are about complete minutes, so they leave out the one in which the app appeared.
    """
    start = end_s - query.rule.over_minutes * MINUTE_S
    if query.is_rate:
        start = min(max(start, align_up(first_s, MINUTE_S)), end_s - MINUTE_S)
    return QueryRange(start, end_s, end_s - start, minutes)


class Minute(NamedTuple):
    """The facts that rules need about the minute that ends at `end_s`, from one scan.

    lines_lost   by Heroku, before delivery
    event_kinds  kinds of the events in the minute
    complete     the minutes before `end_s` that had lines and lost none, without a gap
    observed     whether each minute is complete and had lines, in order of time
    cells        those of the queries of each metric rule
    """

    end_s: int
    has_lines: bool = False
    has_requests: bool = False
    lines_lost: int = 0
    event_kinds: frozenset[str] = frozenset()
    complete: int = 0
    observed: Sequence[bool] = ()
    cells: Sequence[Sequence[QueryCells]] = ()

    def observed_minutes(self, over_minutes: int) -> int:
        """The number of observed minutes among the last ones."""
        return sum(self.observed[-over_minutes:])


class RuleInputs:
    """The packed rollups of an app that a round needs. Each minute is answered by one scan."""

    def __init__(
        self,
        app: SeenApp,
        queries: RuleQueries,
        minutes: Resolution,
        packed_by_minute: Mapping[int, Sequence[bytes]],
    ) -> None:
        self._app = app.app
        self.first_s = app.first_seen_s
        self._queries = queries
        self._minutes = minutes
        self._packed_by_minute = packed_by_minute

    def packed(self, minute_s: int) -> Sequence[bytes]:
        """The packed rollups of the minute that begins at `minute_s`."""
        return self._packed_by_minute.get(minute_s, ())

    async def minute(self, end_s: int) -> Minute:
        """Scan what the rules look at in the minute that ends at `end_s`.

        Raises:
            PackError, TooManySeries
        """
        minute_s = end_s - MINUTE_S
        if minute_s not in self._packed_by_minute:
            return Minute(end_s)
        start = end_s - self._queries.over_minutes * MINUTE_S
        time_range = QueryRange(start, end_s, MINUTE_S, self._minutes)
        planned = self._queries.plan(end_s, self._minutes, self.first_s)
        common = [_REQUESTS.over(time_range), _LOST.over(time_range)]
        table = await scan_packed_yielding(
            self._app,
            self._window(time_range),
            [*common, *(query for rule_queries in planned for query in rule_queries)],
            frozenset({"events"}),
        )
        requests, lost, *rule_cells = table.results()
        remaining = iter(rule_cells)
        activity, lines_lost = lost.activity(), build_series(common[1], lost)[0].numbers
        observed = [
            is_active and self.first_s <= at_s
            for at_s, is_active in zip(range(start, end_s, MINUTE_S), activity, strict=True)
        ]
        return Minute(
            end_s,
            activity[-1],
            bool(build_series(common[0], requests)[0].numbers[-1]),
            int(lines_lost[-1] or 0),
            frozenset(
                event.kind
                for event in table.merged_rollup.events
                if minute_s <= event.at_ms // _MS < end_s
            ),
            _count_complete(observed, lines_lost),
            observed,
            [[next(remaining) for _ in rule_queries] for rule_queries in planned],
        )

    async def details(
        self, breaches: Sequence[tuple[RuleQuery, str]], minute: Minute
    ) -> list[dict[str, dict[str, float]]]:
        """The details that notifications add about rules broken for a value of their label.

        One scan answers all. See RuleQuery.plan_details.

        Raises:
            PackError, TooManySeries
        """
        if not breaches:
            return []
        end_s = minute.end_s
        planned = [
            query.plan_details(window_of(query, end_s, self._minutes, self.first_s), key)
            for query, key in breaches
        ]
        start = end_s - self._queries.over_minutes * MINUTE_S
        window = self._window(QueryRange(start, end_s, MINUTE_S, self._minutes))
        table = await scan_packed_yielding(
            self._app, window, [query for plan in planned for query in plan.values()]
        )
        remaining = iter(table.results())
        return [
            {
                name: {
                    label: query.value(value, minute.observed_minutes(query.rule.over_minutes)) or 0
                    for label, value in nonzero_values(detail, next(remaining)).items()
                }
                for name, detail in plan.items()
            }
            for (query, _), plan in zip(breaches, planned, strict=True)
        ]

    def _window(self, time_range: QueryRange) -> list[PackedRollup]:
        return [
            (start, data)
            for start in range(time_range.start, time_range.end, MINUTE_S)
            for data in self._packed_by_minute.get(start, ())
        ]


def _count_complete(observed: Sequence[bool], lines_lost: Sequence[Value]) -> int:
    count = 0
    for is_observed, lost in zip(reversed(observed), reversed(lines_lost), strict=True):
        if not is_observed or lost:
            break
        count += 1
    return count


async def read_inputs(
    store: RollupReader,
    app: SeenApp,
    queries: RuleQueries,
    start: int,
    end: int,
    minutes: Resolution,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> RuleInputs:
    """Read the minutes in [start, end), and the earlier ones that the rules look back on.

    `limits`: the limits on names in a minute; the rest does not stay in memory.

    Raises:
        StoreUnavailable, PackError
    """
    first = start - (queries.over_minutes - 1) * MINUTE_S
    packed_by_minute: dict[int, list[bytes]] = {}
    time_range = QueryRange(first, end, MINUTE_S, minutes)
    async for part, contents in read_in_parts(store, app.app, time_range):
        rollups_by_minute: dict[int, list[bytes]] = {}
        for minute_s, data in list_packed(contents, part):
            rollups_by_minute.setdefault(minute_s, []).append(data)
        for minute_s, rollups in rollups_by_minute.items():
            packed_by_minute[minute_s] = await run_in_steps(condense(rollups, limits))
    return RuleInputs(app, queries, minutes, packed_by_minute)


async def read_activity(
    store: RollupReader, app: str, start: int, end: int, minutes: Resolution
) -> list[bool]:
    """Whether the app logged anything, for each minute in [start, end)."""
    time_range = QueryRange(start, end, MINUTE_S, minutes)
    table = await scan(store, [app], time_range, [_LOST.over(time_range)])
    (cells,) = table.results()
    return cells.activity()


class RecentChanges(NamedTuple):
    """Recent events of an app, and its last release as (at_ms, version); at_ms is 0 if unknown."""

    events: tuple[EventKey, ...]
    last_release: tuple[int, str]


async def read_recent_changes(
    store: RollupReader, app: str, alert_start_s: int, end_s: int, minutes: Resolution
) -> RecentChanges:
    """The events from shortly before an alert until `end_s`.

    Raises:
        StoreUnavailable, PackError
    """
    first = alert_start_s - alert_start_s % MINUTE_S - CHANGES_BEFORE_S
    event_keys = await read_events(store, app, QueryRange(first, end_s, MINUTE_S, minutes))
    total = await store.read(app, [_TOTAL], inbox=False)
    packed_rollups = [(0, element[HEADER_BYTES:]) for element in total.slots.get(_TOTAL, [])]
    table = scan_packed(app, packed_rollups, [], frozenset({"released"}))
    return RecentChanges(tuple(event_keys), table.merged_rollup.last_release)
