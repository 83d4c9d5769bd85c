"""Reads the inputs of rules from the store, once for all rules of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.conditions import Measurement, RuleQuery, same_hour_last_week
from app.alerting.notification import CHANGES_BEFORE_S
from app.alerting.rule import Rule
from app.query.engine import read_packed_rollups
from app.query.history import read_events
from app.query.table import QueryRange
from app.rollup.codec import merge_packed
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.storage.interface.elements import HEADER_BYTES, Slot
from app.storage.interface.rollups import RollupReader

_ALWAYS = frozenset({"requests", "events", "ledger"})
_TOTAL = Slot("total", 0)


class RuleQueries:
    """The rules that apply to an app, with the sections and gauges that they need in total."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.metric_queries = [RuleQuery(rule) for rule in rules if rule.kind == "metric"]
        self.over_minutes = max(
            (query.rule.over_minutes for query in self.metric_queries), default=1
        )
        requirements = [query.required_sections for query in self.metric_queries]
        self.sections = frozenset().union(*(part.sections for part in requirements)) | _ALWAYS
        needs_all_gauges = any(
            "gauges" in part.sections and part.gauges is None for part in requirements
        )
        gauges = frozenset().union(*(part.gauges or frozenset() for part in requirements))
        self.gauges: frozenset[int] | None = None if needs_all_gauges else gauges


async def read_minutes(
    store: RollupReader,
    app: str,
    queries: RuleQueries,
    start: int,
    end: int,
    minutes: Resolution,
) -> dict[int, Rollup]:
    """The minutes in [start, end), and the earlier ones that the rules look back on. Minutes
    without a stored rollup are left out.

    Raises:
        StoreUnavailable, PackError
    """
    first = start - (queries.over_minutes - 1) * MINUTE_S
    slots: dict[int, Rollup] = {}
    async for at, payload in read_packed_rollups(
        store, app, QueryRange(first, end, MINUTE_S, minutes)
    ):
        rollup = slots.setdefault(at, Rollup())
        merge_packed(rollup, payload, queries.sections, gauges=queries.gauges)
    return slots


async def read_activity(
    store: RollupReader, app: str, start: int, end: int, minutes: Resolution
) -> list[bool]:
    """Whether the app logged anything, for each minute in [start, end)."""
    active_minutes: set[int] = set()
    async for at, payload in read_packed_rollups(
        store, app, QueryRange(start, end, MINUTE_S, minutes)
    ):
        rollup = Rollup()
        merge_packed(rollup, payload, frozenset())
        if rollup.messages:
            active_minutes.add(at)
    return [at in active_minutes for at in range(start, end, MINUTE_S)]


class LastWeek:
    """The same hour of last week, for rules that compare with it. Read once an hour per app and
    rule.
    """

    def __init__(self, store: RollupReader) -> None:
        self._store = store
        self._hour = 0
        self._values: dict[tuple[str, bytes], dict[str, Measurement]] = {}

    async def load(self, app: str, queries: RuleQueries, minute_s: int) -> None:
        """Read the values that `measurement` returns for this app and minute, unless cached.

        Raises:
            StoreUnavailable, PackError
        """
        hour = same_hour_last_week(minute_s)
        if hour != self._hour:
            self._hour, self._values = hour, {}
        for query in queries.metric_queries:
            if query.rule.compare and (app, query.key) not in self._values:
                self._values[app, query.key] = await self._read(app, query, hour)

    def measurements(self, app: str, query: RuleQuery) -> Mapping[str, Measurement]:
        """The loaded measurements of a rule, by value of its label."""
        return self._values.get((app, query.key), {})

    async def _read(self, app: str, query: RuleQuery, hour: int) -> dict[str, Measurement]:
        slot = Slot("1h", hour)
        contents = await self._store.read(app, [slot], inbox=False)
        rollup = Rollup()
        for element in contents.slots.get(slot, []):
            requirement = query.required_sections
            merge_packed(
                rollup, element[HEADER_BYTES:], requirement.sections, gauges=requirement.gauges
            )
        measurements = query.measure({hour: rollup}, hour, hour + HOUR_S)
        return {
            key: _scale_to_rule(query, measurement) for key, measurement in measurements.items()
        }

    def measurement(self, app: str, query: RuleQuery, key: str) -> Measurement | None:
        """The loaded measurement of one value of the rule's label."""
        return self._values.get((app, query.key), {}).get(key)


def _scale_to_rule(query: RuleQuery, measurement: Measurement) -> Measurement:
    """Scale a sum over an hour to the number of minutes that the rule sums over."""
    rule, value = query.rule, measurement.value
    if rule.stat != "sum" or query.metric.kind != "counter" or value is None:
        return measurement
    return measurement._replace(value=value * rule.over_minutes / (HOUR_S // MINUTE_S))


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
    rollup = Rollup()
    for element in total.slots.get(_TOTAL, []):
        merge_packed(rollup, element[HEADER_BYTES:], frozenset({"released"}))
    return RecentChanges(tuple(event_keys), rollup.last_release)
