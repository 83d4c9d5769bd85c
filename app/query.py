"""Answers: a metric over a range of time, by label.

    plan   what was asked becomes a Query: an aligned range, a step, the resolution that serves it,
    stats, labels
    read   per app one atomic read of slots and inbox: what is committed counts, folded or not
    answer rollups become cells, one per interval and series, and cells become values

An interval in which nothing of the app was heard is a gap (None); in one in which anything was
heard, counters are 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from app.batch import unpack_batch
from app.packing import absorb
from app.resolution import Resolution, align
from app.rollup import (
    CONNECT_FAILED,
    CONNECT_OK,
    SERVICE_FAILED,
    SERVICE_OK,
    Rollup,
)
from app.rows import (
    Labels,
    of_error,
    of_exit,
    of_gauge,
    of_process_type,
    of_request,
    of_sketch,
    of_source,
    of_tally,
)
from app.stats import (
    Answered,
    Cell,
    CounterCell,
    DistributionCell,
    DynosCell,
    GaugeCell,
    Stat,
    Value,
)
from app.store.port import HEADER_BYTES, Reader, Slot
from parsers.sample import GAUGE_INDEX, Metric

SERIES_MAX = 1_000
VALUES_MAX = 500_000  # of all series together
BINS_WEIGHT = 200  # values that the bins of one interval count as
BYTES_PER_TURN = 64 * 1024  # a long query lets other requests run after so many, about 5 ms
HOUR_S = 3600
SETTLED_AFTER_S = 60  # Logplex delivers within seconds; what comes later than this is rare

Key = tuple[str, ...]


class TooManySeries(ValueError):
    """The answer would have more than SERIES_MAX series or VALUES_MAX values."""


class Range(NamedTuple):
    """`[start, end)` in Unix seconds, aligned; served from slots of `resolution`."""

    start: int
    end: int
    step_s: int
    resolution: Resolution

    @property
    def size(self) -> int:
        """Number of intervals."""
        return (self.end - self.start) // self.step_s


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `filters`: label -> accepted values, which may hold * and ?."""

    metric: Metric
    stats: tuple[Stat, ...]
    range: Range
    by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Series(NamedTuple):
    """One line of an answer: value i belongs to start + i · step."""

    labels: dict[str, str]
    stat: str
    values: list[Answered]

    @property
    def numbers(self) -> list[Value]:
        """The values, of any stat but bins."""
        return [value for value in self.values if not isinstance(value, list)]


class Answer(NamedTuple):
    """`complete_until`: what lies before it will hardly change."""

    series: list[Series]
    complete_until: int


def complete_until(span: Range, now_s: float) -> int:
    """The latest instant of the range, on an interval's edge, before which values will hardly
    change.
    """
    settled = span.start + align(int(now_s - SETTLED_AFTER_S) - span.start, span.step_s)
    return min(max(settled, span.start), span.end)


# --- reading ------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """What of a rollup a query needs; nothing else is decoded. `gauges`: only these; None: all."""

    sections: frozenset[str]
    gauges: frozenset[int] | None = None


async def packed_rollups(store: Reader, app: str, span: Range) -> AsyncIterator[tuple[int, bytes]]:
    """What is stored of the range, each with the start of its slot. Other requests are served in
    between.

    Raises:
        StoreUnavailable: the store is away.
    """
    seconds = span.resolution.seconds
    starts = range(span.start, span.end, seconds)
    contents = await store.read(app, [Slot(span.resolution.name, start) for start in starts])
    taken = 0
    for slot, elements in contents.slots.items():
        for element in elements:
            taken += len(element)
            if taken >= BYTES_PER_TURN:
                taken = 0
                await asyncio.sleep(0)
            yield slot.start, element[HEADER_BYTES:]
    for element in contents.inbox:
        for minute, packed in unpack_batch(element[HEADER_BYTES:]):
            if span.start <= minute < span.end:
                yield align(minute, seconds), packed


async def read_slots(store: Reader, app: str, span: Range, wanted: Wanted) -> dict[int, Rollup]:
    """The app's rollups in the range, by the start of their slot, with only what is wanted.

    Raises:
        StoreUnavailable: the store is away.
        NewerVersion: the data was written by a newer Dynometer.
    """
    rollups: dict[int, Rollup] = {}
    async for start, packed in packed_rollups(store, app, span):
        rollup = rollups.setdefault(start, Rollup())
        absorb(rollup, packed, wanted.sections, gauges=wanted.gauges)
    return rollups


# --- which rows of a rollup belong to which series ----------------------------------------------

_WHICH = {
    "service_time_ms": (SERVICE_OK, SERVICE_FAILED),
    "connect_time_ms": (CONNECT_OK, CONNECT_FAILED),
}


class _Keys:
    """The series that a row belongs to, or None where a filter leaves it out; remembered by row."""

    def __init__(self, query: Query, app: str, labels: Callable[[Any], Labels]) -> None:
        self._query = query
        self._app = app
        self._labels = labels
        self._known: dict[Any, Key | None] = {}

    def __call__(self, raw: Any) -> Key | None:
        if raw not in self._known:
            self._known[raw] = self._key({**self._labels(raw), "app": self._app})
        return self._known[raw]

    def _key(self, labels: Labels) -> Key | None:
        for name, patterns in self._query.filters.items():
            if not any(fnmatchcase(labels[name], pattern) for pattern in patterns):
                return None
        return tuple(labels[name] for name in self._query.by)


# --- from rollups to cells ----------------------------------------------------------------------

Cells = dict[Key, Cell]
Collect = Callable[[Cells, int, Rollup], None]


def _cell(cells: Cells, key: Key, kind: Callable[[], Any]) -> Any:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = kind()
    return cell


_COUNTERS: dict[str, tuple[str, Callable[[Any], Labels]]] = {
    "requests": ("requests", of_request),
    "heroku_errors": ("errors", of_error),
    "response_bytes": ("response_bytes", of_process_type),
    "dyno_restarts": ("restarts", of_source),
    "dyno_exits": ("exits", of_exit),
}


def _counts(query: Query, app: str) -> Collect:
    section, labels = _COUNTERS[query.metric.name]
    key_of = _Keys(query, app, labels)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for raw, count in getattr(rollup, section).items():
            if (key := key_of(raw)) is not None:
                _cell(cells, key, CounterCell).total += count

    return collect


def _times(query: Query, app: str) -> Collect:
    which = _WHICH[query.metric.name]
    tally_key, sketch_key = _Keys(query, app, of_tally), _Keys(query, app, of_sketch)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for raw, tally in rollup.tallies.items():
            if raw[1] in which and (key := tally_key(raw)) is not None:
                _cell(cells, key, DistributionCell).tally.merge(tally)
        for raw, bins in rollup.sketches.items():
            if raw[1] in which and (key := sketch_key(raw)) is not None:
                _cell(cells, key, DistributionCell).add_bins(bins)

    return collect


def _readings(query: Query, app: str) -> Collect:
    gauge = GAUGE_INDEX[query.metric.name]
    key_of = _Keys(query, app, of_gauge)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for raw, reading in rollup.gauges.items():
            if raw[1] == gauge and (key := key_of(raw)) is not None:
                _cell(cells, key, lambda: GaugeCell(gauge)).add(app, raw[0], reading)

    return collect


def _dynos(query: Query, app: str) -> Collect:
    key_of = _Keys(query, app, of_source)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for source, minutes in rollup.minutes.items():
            if (key := key_of(source)) is not None:
                _cell(cells, key, DynosCell).add(align(start, HOUR_S), minutes)

    return collect


def collector(query: Query, app: str) -> Collect:
    """What gathers a query's cells from rollups of an app; it remembers which row belongs where."""
    if query.metric.kind == "counter":
        return _counts(query, app)
    if query.metric.kind == "distribution":
        return _times(query, app)
    return _dynos(query, app) if query.metric.name == "dynos" else _readings(query, app)


def wanted_by(query: Query) -> Wanted:
    """What of a rollup a query needs."""
    name = query.metric.name
    if name in _COUNTERS:
        return Wanted(frozenset({_COUNTERS[name][0]}))
    if query.metric.kind == "distribution":
        sketch = {"sketches"} if any(stat.of_sketch for stat in query.stats) else set()
        tally = {"tallies"} if any(not stat.of_sketch for stat in query.stats) else set()
        return Wanted(frozenset(sketch | tally))
    if name == "dynos":
        return Wanted(frozenset({"minutes"}))
    return Wanted(frozenset({"gauges"}), frozenset({GAUGE_INDEX[name]}))


# --- from cells to values -----------------------------------------------------------------------


class _Table:
    """Cells by interval, and in which intervals which apps were heard."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.cells: list[Cells] = [{} for _ in range(query.range.size)]
        self.heard: list[set[str]] = [set() for _ in range(query.range.size)]

    def add(self, app: str, rollups: Mapping[int, Rollup]) -> None:
        collect = collector(self.query, app)
        start, step_s = self.query.range.start, self.query.range.step_s
        for slot_start, rollup in rollups.items():
            index = (slot_start - start) // step_s
            if rollup.messages:
                self.heard[index].add(app)
            collect(self.cells[index], slot_start, rollup)

    def keys(self) -> list[Key]:
        keys = {key for cells in self.cells for key in cells} if self.query.by else {()}
        if len(keys) * len(self.query.stats) > SERIES_MAX:
            raise TooManySeries(
                f"the answer would have {len(keys) * len(self.query.stats)} series, "
                f"more than {SERIES_MAX}: filter, or group by fewer labels"
            )
        per_key = sum(BINS_WEIGHT if each.method == "bins" else 1 for each in self.query.stats)
        if len(keys) * per_key * self.query.range.size > VALUES_MAX:
            raise TooManySeries(
                f"the answer would have more than {VALUES_MAX:,} values: ask for a longer step, "
                "filter, or group by fewer labels"
            )
        return sorted(keys, key=_natural)

    def series(self) -> Iterator[Series]:
        for key in self.keys():
            labels = dict(zip(self.query.by, key, strict=True))
            for stat in self.query.stats:
                yield Series(labels, stat.name, list(self._values(key, labels, stat)))

    def _values(self, key: Key, labels: Labels, stat: Stat) -> Iterator[Answered]:
        app = labels.get("app")
        nothing = 0 if self.query.metric.kind == "counter" else None
        for cells, heard in zip(self.cells, self.heard, strict=True):
            cell = cells.get(key)
            if cell is not None:
                yield cell.value(stat, self.query.range.step_s)
            elif (app in heard) if app is not None else heard:
                yield nothing
            else:
                yield None


def _natural(key: Key) -> list[tuple[str, int]]:
    """web.2 before web.10."""
    parts = (label.rpartition(".") for label in key)
    return [
        (head + dot, int(tail)) if tail.isdigit() else (head + dot + tail, -1)
        for head, dot, tail in parts
    ]


async def answer(store: Reader, apps: Iterable[str], query: Query, now_s: float) -> Answer:
    """Evaluate a query over these apps.

    Raises:
        StoreUnavailable, NewerVersion, TooManySeries
    """
    wanted = wanted_by(query)
    table = _Table(query)
    for app in apps:  # one after the other, so that the rollups of all are never held at once
        table.add(app, await read_slots(store, app, query.range, wanted))
    return Answer(list(table.series()), complete_until(query.range, now_s))


def evaluate(query: Query, read: Mapping[str, Mapping[int, Rollup]]) -> list[Series]:
    """The series of a query, from what was read of each app: its rollups by the start of their
    slot.

    Raises:
        TooManySeries
    """
    table = _Table(query)
    for app, rollups in read.items():
        table.add(app, rollups)
    return list(table.series())


def matching(apps: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those of the apps that match any of the patterns (* and ?); all of them when there is no
    pattern.
    """
    if not patterns:
        return list(apps)
    return [app for app in apps if any(fnmatchcase(app, pattern) for pattern in patterns)]
