"""What rules need to know of an app, read from the store: once for all rules of a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.conditions import Measured, RuleQuery, same_hour_last_week
from app.alerting.notification import BEFORE_S
from app.alerting.rule import Rule
from app.query.engine import read_packed_rollups
from app.query.history import read_events
from app.query.stats import Value
from app.query.table import QueryRange
from app.rollup.codec import merge_packed
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.storage.interface import HEADER_BYTES, Reader, Slot

_ALWAYS = frozenset({"requests", "events", "ledger"})
_TOTAL = Slot("total", 0)


class RuleQueries:
    """The metric rules about one app, made ready: what they need, read once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.questions = [RuleQuery(rule) for rule in rules if rule.kind == "metric"]
        self.over_minutes = max((each.rule.over_minutes for each in self.questions), default=1)
        wanted = [each.wanted for each in self.questions]
        self.sections = frozenset().union(*(each.sections for each in wanted)) | _ALWAYS
        every = any("gauges" in each.sections and each.gauges is None for each in wanted)
        gauges = frozenset().union(*(each.gauges or frozenset() for each in wanted))
        self.gauges: frozenset[int] | None = None if every else gauges


async def read_minutes(
    store: Reader,
    app: str,
    questions: RuleQueries,
    start: int,
    end: int,
    minutes: Resolution,
) -> dict[int, Rollup]:
    """The minutes in [start, end) and those before that the rules look back on; a minute of which
    nothing is stored is missing.

    Raises:
        StoreUnavailable, PackError
    """
    first = start - (questions.over_minutes - 1) * MINUTE_S
    slots: dict[int, Rollup] = {}
    async for at, packed in read_packed_rollups(
        store, app, QueryRange(first, end, MINUTE_S, minutes)
    ):
        rollup = slots.setdefault(at, Rollup())
        merge_packed(rollup, packed, questions.sections, gauges=questions.gauges)
    return slots


async def heard_in(
    store: Reader, app: str, start: int, end: int, minutes: Resolution
) -> list[bool]:
    """Whether a line came, for each minute."""
    heard: set[int] = set()
    async for at, packed in read_packed_rollups(
        store, app, QueryRange(start, end, MINUTE_S, minutes)
    ):
        rollup = Rollup()
        merge_packed(rollup, packed, frozenset())
        if rollup.messages:
            heard.add(at)
    return [at in heard for at in range(start, end, MINUTE_S)]


class LastWeek:
    """What rules compare with: of each app and rule the same hour of last week, which is read once
    an hour.
    """

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._hour = 0
        self._values: dict[tuple[str, bytes], dict[str, Measured]] = {}

    async def of(self, app: str, questions: RuleQueries, minute_s: int) -> None:
        """Make ready what `measured` is asked about this app and minute.

        Raises:
            StoreUnavailable, PackError
        """
        hour = same_hour_last_week(minute_s)
        if hour != self._hour:
            self._hour, self._values = hour, {}
        for question in questions.questions:
            if question.rule.compare and (app, question.key) not in self._values:
                self._values[app, question.key] = await self._read(app, question, hour)

    def all_measured(self, app: str, question: RuleQuery) -> Mapping[str, Measured]:
        """By the values of the rule's label."""
        return self._values.get((app, question.key), {})

    async def _read(self, app: str, question: RuleQuery, hour: int) -> dict[str, Measured]:
        slot = Slot("1h", hour)
        contents = await self._store.read(app, [slot], inbox=False)
        rollup = Rollup()
        for element in contents.slots.get(slot, []):
            packed = element[HEADER_BYTES:]
            merge_packed(rollup, packed, question.wanted.sections, gauges=question.wanted.gauges)
        measured = question.measure({hour: rollup}, hour, hour + HOUR_S)
        return {key: _scaled(question, each) for key, each in measured.items()}

    def measured(self, app: str, question: RuleQuery, key: str) -> Measured | None:
        """Of the hour that was made ready last."""
        return self._values.get((app, question.key), {}).get(key)


def _scaled(question: RuleQuery, measured: Measured) -> Measured:
    """A sum over an hour as one over the minutes that the rule sums up."""
    rule = question.rule
    if rule.stat != "sum" or question.metric.kind != "counter":
        return measured
    minutes = HOUR_S // MINUTE_S
    value: Value = None if measured.value is None else measured.value * rule.over_minutes / minutes
    return Measured(value, measured.requests)


class RecentChanges(NamedTuple):
    """What was done to an app, and its last release: (at_ms, version), 0 for none known."""

    events: tuple[EventKey, ...]
    released: tuple[int, str]


async def recent_changes(
    store: Reader, app: str, begun_s: int, end_s: int, minutes: Resolution
) -> RecentChanges:
    """Around an alert that began then.

    Raises:
        StoreUnavailable, PackError
    """
    first = begun_s - begun_s % MINUTE_S - BEFORE_S
    found = await read_events(store, app, QueryRange(first, end_s, MINUTE_S, minutes))
    total = await store.read(app, [_TOTAL], inbox=False)
    rollup = Rollup()
    for element in total.slots.get(_TOTAL, []):
        merge_packed(rollup, element[HEADER_BYTES:], frozenset({"released"}))
    return RecentChanges(tuple(found), rollup.released)
