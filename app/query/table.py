"""What a query asks, and what gathers it: rollups become cells, one per interval and series.

A row of a rollup belongs to one series, or to none where a filter leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from app.query.stats import (
    Answered,
    Cell,
    CounterCell,
    DistributionCell,
    DynosCell,
    GaugeCell,
    Stat,
)
from app.rollup.codec import merge_packed
from app.rollup.labels import (
    Labels,
    error_labels,
    exit_labels,
    gauge_labels,
    process_type_labels,
    request_labels,
    sketch_labels,
    source_labels,
    timing_labels,
)
from app.rollup.resolutions import HOUR_S, Resolution, align
from app.rollup.rollup import CONNECT_FAILED, CONNECT_OK, SERVICE_FAILED, SERVICE_OK, Rollup
from parsers.metrics import GAUGE_INDEX, Metric

VALUES_MAX = 500_000  # of all series together

Key = tuple[str, ...]


class QueryRange(NamedTuple):
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
    range: QueryRange
    by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class RequiredSections(NamedTuple):
    """What of a rollup a query needs; nothing else is decoded. `gauges`: only these; None: all."""

    sections: frozenset[str]
    gauges: frozenset[int] | None = None


# --- which rows of a rollup belong to which series ----------------------------------------------

WHICH = {
    "service_time_ms": (SERVICE_OK, SERVICE_FAILED),
    "connect_time_ms": (CONNECT_OK, CONNECT_FAILED),
}


class SeriesKeyer:
    """The series that a row belongs to, or None where a filter leaves it out; remembered by row."""

    def __init__(self, query: Query, app: str, labels: Callable[[Any], Labels]) -> None:
        self._query = query
        self._app = app
        self._labels = labels
        self._known: dict[Any, Key | None] = {}

    def __call__(self, raw: Any) -> Key | None:
        """Of this row."""
        if raw not in self._known:
            self._known[raw] = self._key(raw)
        return self._known[raw]

    def _key(self, raw: Any) -> Key | None:
        if not self._query.filters and not self._query.by:
            return ()
        labels = self._labels(raw)
        for name, patterns in self._query.filters.items():
            value = self._app if name == "app" else labels[name]
            if not any(fnmatchcase(value, pattern) for pattern in patterns):
                return None
        return tuple(self._app if name == "app" else labels[name] for name in self._query.by)


# --- from rollups to cells ----------------------------------------------------------------------

Cells = dict[Key, Cell]
Collect = Callable[[Cells, int, Rollup], None]


def _cell(cells: Cells, key: Key, kind: Callable[[], Any]) -> Any:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = kind()
    return cell


COUNTERS: dict[str, tuple[str, Callable[[Any], Labels]]] = {
    "requests": ("requests", request_labels),
    "heroku_errors": ("errors", error_labels),
    "response_bytes": ("response_bytes", process_type_labels),
    "dyno_restarts": ("restarts", source_labels),
    "dyno_exits": ("exits", exit_labels),
}


def _counts(query: Query, app: str) -> Collect:
    section, labels = COUNTERS[query.metric.name]
    key_of = SeriesKeyer(query, app, labels)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for raw, count in getattr(rollup, section).items():
            if (key := key_of(raw)) is not None:
                _cell(cells, key, CounterCell).total += count

    return collect


def _times(query: Query, app: str) -> Collect:
    which = WHICH[query.metric.name]
    tally_key = SeriesKeyer(query, app, timing_labels)
    sketch_key = SeriesKeyer(query, app, sketch_labels)

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
    key_of = SeriesKeyer(query, app, gauge_labels)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for raw, reading in rollup.gauges.items():
            if raw[1] == gauge and (key := key_of(raw)) is not None:
                _cell(cells, key, lambda: GaugeCell(gauge)).add(app, raw[0], reading)

    return collect


def _dynos(query: Query, app: str) -> Collect:
    key_of = SeriesKeyer(query, app, source_labels)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for source, minutes in rollup.active_minutes.items():
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


def required_sections(query: Query) -> RequiredSections:
    """What of a rollup a query needs."""
    name = query.metric.name
    if name in COUNTERS:
        return RequiredSections(frozenset({COUNTERS[name][0]}))
    if query.metric.kind == "distribution":
        sketch = {"sketches"} if any(stat.of_sketch for stat in query.stats) else set()
        tally = {"tallies"} if any(not stat.of_sketch for stat in query.stats) else set()
        return RequiredSections(frozenset(sketch | tally))
    if name == "dynos":
        return RequiredSections(frozenset({"active_minutes"}))
    return RequiredSections(frozenset({"gauges"}), frozenset({GAUGE_INDEX[name]}))


# --- the cells of an answer ---------------------------------------------------------------------


class Table:
    """Cells by interval, and in which intervals which apps were heard. All of an app is added
    before the next one.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._wanted = required_sections(query)
        self._cells: list[Cells] = [{} for _ in range(query.range.size)]
        self._heard: list[set[str]] = [set() for _ in range(query.range.size)]
        self._app = ""
        self._read: dict[int, Rollup] = {}

    def add(self, app: str, start: int, packed: bytes) -> None:
        """Take packed bytes of the slot that starts then, which lies in the query's range.

        Raises:
            PackError, NewerVersion: they cannot be read; the table may hold half of them.
        """
        if app != self._app:
            self._finish()
            self._app = app
        rollup = self._read.setdefault(start, Rollup())
        merge_packed(rollup, packed, self._wanted.sections, gauges=self._wanted.gauges)

    def add_rollups(self, app: str, rollups: Mapping[int, Rollup]) -> None:
        """Take an app's rollups by the start of their slot."""
        collect = collector(self._query, app)
        start, step_s = self._query.range.start, self._query.range.step_s
        for slot_start, rollup in rollups.items():
            index = (slot_start - start) // step_s
            if rollup.messages:
                self._heard[index].add(app)
            collect(self._cells[index], slot_start, rollup)

    def _finish(self) -> None:
        if not self._read:
            return
        self.add_rollups(self._app, self._read)
        self._read = {}

    def keys(self) -> set[Key]:
        """Of all series that have a cell."""
        self._finish()
        return {key for cells in self._cells for key in cells}

    def values(self, key: Key, app: str | None, stat: Stat, intervals: range) -> list[Answered]:
        """A part of a series: a value for each of these intervals. Where there is no cell: of a
        counter 0 if anything was heard, of this app or of any; None otherwise.
        """
        self._finish()
        nothing = 0 if self._query.metric.kind == "counter" else None
        found: list[Answered] = []
        for index in intervals:
            cell, heard = self._cells[index].get(key), self._heard[index]
            if cell is not None:
                found.append(cell.value(stat, self._query.range.step_s))
            else:
                found.append(nothing if (app in heard if app is not None else heard) else None)
        return found
