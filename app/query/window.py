"""An app's rollups over some time, read once, to be asked as the API would be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property

from app.query.engine import BYTES_PER_TURN, Packed, Series, evaluate_packed, packed_rollups
from app.query.planner import plan_range, query_over
from app.query.selection import EVERYTHING, Selection
from app.query.stats import Band, Value
from app.query.table import QueryRange
from app.rollup.accelerated import merge_rollups, pack
from app.rollup.codec import merge_packed
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import CardinalityLimits, Rollup
from app.storage.interface import Reader
from parsers.metrics import METRICS

_MS = 1000
_LASTED_MIN_S = 10
_MINUTES = frozenset({"active_minutes"})
_TOLD = frozenset({"events", "ledger"})
_UNBOUNDED = CardinalityLimits(
    *[10**9] * len(CardinalityLimits._fields)
)  # what is merged to be shown is not stored
_Asked = tuple[str, tuple[str, ...], str, bool, frozenset[tuple[str, tuple[str, ...]]]]


class WindowData:
    """What was read, packed: a rollup a step, and all of each slot. Which minutes dynos were heard
    in is asked of the slots, since minutes of one hour cannot be merged with those of another.
    """

    def __init__(self, steps: Sequence[Packed], slots: Sequence[Packed]) -> None:
        self.steps = steps
        self.slots = slots

    @cached_property
    def told(self) -> Rollup:
        """What is shown beside metrics, over all of the time."""
        told = Rollup()
        for _, packed in self.steps:
            merge_packed(told, packed, _TOLD)
        return told

    @cached_property
    def last_heard_s(self) -> dict[str, int]:
        """When each source was last heard from: the start of that slot."""
        heard: dict[str, int] = {}
        for start, packed in self.slots:
            minutes = Rollup()
            merge_packed(minutes, packed, _MINUTES)
            for source in minutes.active_minutes:
                heard[source] = max(heard.get(source, 0), start)
        return heard


class Window:
    """The time `span`, in steps of `span.step_s`."""

    def __init__(
        self,
        app: str,
        span: QueryRange,
        read: WindowData,
        selection: Selection = EVERYTHING,
    ) -> None:
        self.app = app
        self.span = span
        self.selection = selection
        self._read = read
        self._answered: dict[_Asked, list[Series]] = {}

    def only(self, selection: Selection) -> Window:
        """The same time of a part of the app."""
        return Window(self.app, self.span, self._read, selection)

    def ending(self, steps: int) -> Window:
        """Its last steps."""
        skipped = max(0, self.span.size - steps)
        start = self.span.start + skipped * self.span.step_s
        read = WindowData(
            *(
                [each for each in packed if each[0] >= start]
                for packed in (self._read.steps, self._read.slots)
            )
        )
        return Window(self.app, self.span._replace(start=start), read, self.selection)

    def series(
        self,
        metric: str,
        *stats: str,
        by: str = "",
        whole: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Series]:
        """Series of a metric: a value a step, or one for all of the time."""
        filters = {**self.selection.filters(METRICS[metric]), **(filters or {})}
        key = (
            *(metric, stats, by, whole),
            frozenset((label, tuple(values)) for label, values in filters.items()),
        )
        if key not in self._answered:
            self._answered[key] = self._evaluated(metric, stats, by, whole, filters)
        return self._answered[key]

    def _evaluated(
        self,
        metric: str,
        stats: Sequence[str],
        by: str,
        whole: bool,
        filters: Mapping[str, Sequence[str]],
    ) -> list[Series]:
        step_s = self.span.end - self.span.start if whole else self.span.step_s
        over = self.span._replace(step_s=step_s)
        query = query_over(over, metric, stats, [by] if by else [], filters)
        read = self._read.slots if metric == "dynos" else self._read.steps
        return evaluate_packed(query, self.app, read)

    def value(self, metric: str, stat: str, **filters: Sequence[str]) -> Value:
        """One value for all of the time."""
        return self.series(metric, stat, whole=True, filters=filters)[0].numbers[-1]

    def by(self, metric: str, stat: str, label: str) -> dict[str, Value]:
        """One value for all of the time, by the values of a label."""
        found = self.series(metric, stat, by=label, whole=True)
        return {series.labels[label]: series.numbers[-1] for series in found}

    def points(self, metric: str, stat: str, **filters: Sequence[str]) -> list[Value]:
        """A value a step."""
        return self.series(metric, stat, filters=filters)[0].numbers

    def points_by(self, metric: str, stat: str, label: str) -> dict[str, list[Value]]:
        """A value a step, by the values of a label."""
        found = self.series(metric, stat, by=label)
        return {series.labels[label]: series.numbers for series in found}

    def bands(self, metric: str) -> list[list[Band]]:
        """The sketch of a distribution, a step."""
        values = self.series(metric, "bins")[0].values
        return [value if isinstance(value, list) else [] for value in values]

    def per_minute(self, values: Sequence[Value], now_s: float) -> list[Value]:
        """Points of a counter as so many a minute."""
        return per_minute(self.span, values, now_s)

    @property
    def last_heard_s(self) -> dict[str, int]:
        """When each dyno was last heard from: the start of that interval."""
        heard = self._read.last_heard_s
        return {source: at_s for source, at_s in heard.items() if self.selection.has(source)}

    @property
    def events(self) -> list[tuple[EventKey, int]]:
        """(event, count) by time."""
        return sorted(
            (key, count)
            for key, count in self._read.told.events.items()
            if key != MORE_EVENTS and self.span.start <= key.at_ms // _MS < self.span.end
        )

    @property
    def ledger(self) -> dict[str, int]:
        """Messages by what became of them."""
        return self._read.told.ledger


def per_minute(span: QueryRange, values: Sequence[Value], now_s: float) -> list[Value]:
    """Points of a counter as so many a minute. The interval that is not over counts for as long as
    it has lasted, and not at all at its very beginning.
    """
    rates: list[Value] = []
    for index, value in enumerate(values):
        lasted_s = min(now_s - span.start - index * span.step_s, span.step_s)
        known = value is not None and lasted_s >= _LASTED_MIN_S
        rates.append((value or 0) * MINUTE_S / lasted_s if known else None)
    return rates


async def window(
    store: Reader,
    app: str,
    start: str,
    end: str,
    resolutions: Sequence[Resolution],
    now_s: float,
    *,
    step: str | None = None,
) -> Window:
    """Read a window; times as a user writes them.

    Raises:
        QueryError, StoreUnavailable, NewerVersion
    """
    span = plan_range(start, end, step, resolutions, now_s)[0]
    slots = [each async for each in packed_rollups(store, app, span)]
    return Window(app, span, WindowData(await _steps(slots, span), slots))


async def _steps(slots: Sequence[Packed], span: QueryRange) -> list[Packed]:
    """One rollup for each step of which there is anything. Other requests are served in between."""
    of_step: dict[int, list[bytes]] = {}
    for start, packed in slots:
        of_step.setdefault(start - (start - span.start) % span.step_s, []).append(packed)
    steps = []
    taken = 0
    for start, found in of_step.items():
        if len(found) > 1:
            taken += sum(map(len, found))
            if taken >= BYTES_PER_TURN:
                taken = 0
                await asyncio.sleep(0)
        steps.append(
            (start, found[0] if len(found) == 1 else pack(merge_rollups(found), _UNBOUNDED))
        )
    return steps
