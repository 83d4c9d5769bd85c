"""An app's rollups over some time, read once, to be asked as the API would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.collect import Range
from app.packing import ALL, absorb
from app.plan import Asked, plan
from app.query import Series, evaluate, packed_rollups
from app.resolution import MINUTE_S, Resolution
from app.rollup import MORE_EVENTS, EventKey, Rollup
from app.selection import EVERYTHING, Selection
from app.stats import Band, Value
from app.store.port import Reader
from parsers.sample import GAUGE_INDEX, METRICS

_MS = 1000
_LASTED_MIN_S = 10
_MINUTES = frozenset({"minutes"})
_OTHERS = ALL - _MINUTES
_SHOWN = frozenset(
    GAUGE_INDEX[name] for name in ("memory_total_bytes", "memory_quota_used_ratio", "load_avg_1m")
)
_Asked = tuple[str, tuple[str, ...], str, bool, frozenset[tuple[str, tuple[str, ...]]]]


class Read:
    """What was read: a rollup a step, and the minutes in which dynos were heard apart from it, by
    slot, since those of one hour cannot be merged with those of another.
    """

    def __init__(self) -> None:
        self.steps: dict[int, Rollup] = {}
        self.minutes: dict[int, Rollup] = {}
        self._whole: Rollup | None = None

    @property
    def whole(self) -> Rollup:
        """All steps in one."""
        if self._whole is None:
            self._whole = Rollup()
            for rollup in self.steps.values():
                self._whole.merge(rollup)
        return self._whole


class Window:
    """The time `span`, in steps of `span.step_s`; of gauges only those that pages show."""

    def __init__(
        self,
        app: str,
        span: Range,
        read: Read,
        resolutions: Sequence[Resolution],
        now_s: float,
        selection: Selection = EVERYTHING,
    ) -> None:
        self.app = app
        self.span = span
        self.selection = selection
        self._read = read
        self._resolutions = resolutions
        self._now_s = now_s
        self._answered: dict[_Asked, list[Series]] = {}

    def only(self, selection: Selection) -> Window:
        """The same time of a part of the app."""
        return Window(self.app, self.span, self._read, self._resolutions, self._now_s, selection)

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
        step = "range" if whole else str(self.span.step_s)
        start, end = str(self.span.start), str(self.span.end)
        asked = Asked(metric, stats, [by] if by else [], filters, start, end, step)
        query = plan(asked, self._resolutions, self._now_s)[0]
        if metric == "dynos":
            return evaluate(query, {self.app: self._read.minutes})
        rollups = {self.span.start: self._read.whole} if whole else self._read.steps
        return evaluate(query, {self.app: rollups})

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
        """Points of a counter as so many a minute. The interval that is not over counts for as long
        as it has lasted, and not at all at its very beginning.
        """
        rates: list[Value] = []
        for index, value in enumerate(values):
            lasted_s = min(now_s - self.span.start - index * self.span.step_s, self.span.step_s)
            known = value is not None and lasted_s >= _LASTED_MIN_S
            rates.append((value or 0) * MINUTE_S / lasted_s if known else None)
        return rates

    @property
    def last_heard_s(self) -> dict[str, int]:
        """When each dyno was last heard from: the start of that interval."""
        heard: dict[str, int] = {}
        for start, rollup in self._read.minutes.items():
            for source in filter(self.selection.has, rollup.minutes):
                heard[source] = max(heard.get(source, 0), start)
        return heard

    @property
    def events(self) -> list[tuple[EventKey, int]]:
        """(event, count) by time."""
        found: dict[EventKey, int] = {}
        for rollup in self._read.steps.values():
            for key, count in rollup.events.items():
                if key != MORE_EVENTS and self.span.start <= key.at_ms // _MS < self.span.end:
                    found[key] = found.get(key, 0) + count
        return sorted(found.items())

    @property
    def ledger(self) -> dict[str, int]:
        """Messages by what became of them."""
        return self._read.whole.ledger


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
    asked = Asked("requests", start=start, end=end, step=step)
    span = plan(asked, resolutions, now_s)[0].range
    read = Read()
    async for slot_start, packed in packed_rollups(store, app, span):
        step_start = slot_start - (slot_start - span.start) % span.step_s
        rollup = read.steps.setdefault(step_start, Rollup())
        absorb(rollup, packed, _OTHERS, gauges=_SHOWN)
        absorb(read.minutes.setdefault(slot_start, Rollup()), packed, _MINUTES)
    return Window(app, span, read, resolutions, now_s)
