"""Accumulates rollups into the cells of a query: one cell per interval and series.

Each row of a rollup belongs to one series, or to none if a filter excludes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from app.query.stats import (
    Cell,
    CounterCell,
    DistributionCell,
    DynosCell,
    GaugeCell,
    Stat,
    StatValue,
)
from app.rollup.codec import merge_packed
from app.rollup.resolutions import HOUR_S, Resolution, align
from app.rollup.rollup import Rollup
from app.rollup.schema import SECTION, Labels, Metric, Section
from app.rollup.summaries import (
    BINS,
    COUNT,
    MASK,
    GaugeSummary,
    TimingTotals,
    Values,
    summaries,
)

VALUES_MAX = 500_000  # in all series of an answer together

SeriesKey = tuple[str, ...]


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
    """A planned query. `filters`: label -> accepted patterns, with * and ?."""

    metric: Metric
    stats: tuple[Stat, ...]
    range: QueryRange
    by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class RequiredSections(NamedTuple):
    """The sections of a rollup that a query needs; the rest is not decoded.

    `gauges`: indices of the gauges needed, None for all.
    """

    sections: frozenset[str]
    gauges: frozenset[int] | None = None


# --- which rows of a rollup belong to which series ----------------------------------------------


class SeriesKeyer:
    """Maps a row to the key of its series; to None if it belongs to another metric, or a filter
    excludes it. Caches by row.
    """

    def __init__(self, query: Query, app: str, section: Section) -> None:
        self._query = query
        self._app = app
        self._labels_of: Callable[[Any], Labels] = section.labels
        self._keys_by_row: dict[Any, SeriesKey | None] = {}

    def __call__(self, row: Any) -> SeriesKey | None:
        """The key of a row's series."""
        if row not in self._keys_by_row:
            self._keys_by_row[row] = self._key_of(row)
        return self._keys_by_row[row]

    def _key_of(self, row: Any) -> SeriesKey | None:
        selection = self._query.metric.selection
        if selection is not None and row[1] not in selection:
            return None
        if not self._query.filters and not self._query.by:
            return ()
        labels = self._labels_of(row)
        for name, patterns in self._query.filters.items():
            value = self._app if name == "app" else labels[name]
            if not any(fnmatchcase(value, pattern) for pattern in patterns):
                return None
        return tuple(self._app if name == "app" else labels[name] for name in self._query.by)


# --- from rollups to cells ----------------------------------------------------------------------

Cells = dict[SeriesKey, Cell]
Collector = Callable[[Cells, int, Rollup], None]


def _get_cell(cells: Cells, key: SeriesKey, factory: Callable[[], Any]) -> Any:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = factory()
    return cell


def _counter_collector(query: Query, section: Section, app: str) -> Collector:
    key_of = SeriesKeyer(query, app, section)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for row, count in rollup.rows(section).items():
            if (key := key_of(row)) is not None:
                _get_cell(cells, key, CounterCell).total += count

    return collect


def _totals_collector(query: Query, section: Section, app: str) -> Collector:
    key_of = SeriesKeyer(query, app, section)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for row, totals in rollup.rows(section).items():
            if (key := key_of(row)) is not None:
                _get_cell(cells, key, DistributionCell).totals.merge(totals)

    return collect


def _sketch_collector(query: Query, section: Section, app: str) -> Collector:
    key_of = SeriesKeyer(query, app, section)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for row, bins in rollup.rows(section).items():
            if (key := key_of(row)) is not None:
                _get_cell(cells, key, DistributionCell).add_bins(bins)

    return collect


def _gauge_collector(query: Query, section: Section, app: str) -> Collector:
    key_of = SeriesKeyer(query, app, section)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for row, summary in rollup.rows(section).items():
            if (key := key_of(row)) is not None:
                cell = _get_cell(cells, key, lambda: GaugeCell(query.metric))
                cell.add(app, row[0], summary)

    return collect


def _dynos_collector(query: Query, section: Section, app: str) -> Collector:
    key_of = SeriesKeyer(query, app, section)

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for source, minutes in rollup.rows(section).items():
            if (key := key_of(source)) is not None:
                _get_cell(cells, key, DynosCell).add(align(start, HOUR_S), minutes)

    return collect


# How the rows of a section accumulate, by the type of their values.
_COLLECTORS: dict[Values, Callable[[Query, Section, str], Collector]] = {
    COUNT: _counter_collector,
    BINS: _sketch_collector,
    MASK: _dynos_collector,
    summaries(TimingTotals): _totals_collector,
    summaries(GaugeSummary): _gauge_collector,
}


def build_collector(query: Query, app: str) -> Collector:
    """A function that adds a rollup of one app to the query's cells; it caches series keys."""
    collectors = [
        _COLLECTORS[SECTION[name].values](query, SECTION[name], app)
        for name in query.metric.sections
    ]

    def collect(cells: Cells, start: int, rollup: Rollup) -> None:
        for collect_section in collectors:
            collect_section(cells, start, rollup)

    return collect


def required_sections(query: Query) -> RequiredSections:
    """The sections of a rollup that the query needs."""
    metric = query.metric
    if metric.kind == "distribution":
        sections = {"sketches" if stat.needs_sketch else "tallies" for stat in query.stats}
        return RequiredSections(frozenset(sections))
    gauges = metric.selection if metric.sections == ("gauges",) else None
    return RequiredSections(frozenset(metric.sections), gauges)


# --- the cells of an answer ---------------------------------------------------------------------


class Table:
    """Cells by interval, and the apps active in each interval.

    Add all rollups of one app before those of the next.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._required_sections = required_sections(query)
        self._cells: list[Cells] = [{} for _ in range(query.range.size)]
        self._active_apps: list[set[str]] = [set() for _ in range(query.range.size)]
        self._app = ""
        self._rollups: dict[int, Rollup] = {}

    def add(self, app: str, start: int, data: bytes) -> None:
        """Add a packed rollup of the slot that starts at `start`, which lies in the query's range.

        Raises:
            PackError, NewerVersion: it cannot be read. The table may then hold part of it.
        """
        if app != self._app:
            self._finish()
            self._app = app
        rollup = self._rollups.setdefault(start, Rollup())
        merge_packed(
            rollup, data, self._required_sections.sections, gauges=self._required_sections.gauges
        )

    def add_rollups(self, app: str, rollups: Mapping[int, Rollup]) -> None:
        """Add an app's decoded rollups, by start of their slot."""
        collect = build_collector(self._query, app)
        start, step_s = self._query.range.start, self._query.range.step_s
        for slot_start, rollup in rollups.items():
            index = (slot_start - start) // step_s
            if rollup.messages:
                self._active_apps[index].add(app)
            collect(self._cells[index], slot_start, rollup)

    def _finish(self) -> None:
        if not self._rollups:
            return
        self.add_rollups(self._app, self._rollups)
        self._rollups = {}

    def keys(self) -> set[SeriesKey]:
        """The keys of all series that have a cell."""
        self._finish()
        return {key for cells in self._cells for key in cells}

    def values(
        self, key: SeriesKey, app: str | None, stat: Stat, intervals: range
    ) -> list[StatValue]:
        """The values of a series for these intervals.

        An interval without a cell is 0 for a counter if the app (None: any app) was active in it,
        and otherwise None.
        """
        self._finish()
        empty = 0 if self._query.metric.kind == "counter" else None
        values: list[StatValue] = []
        for index in intervals:
            cell, active_apps = self._cells[index].get(key), self._active_apps[index]
            if cell is not None:
                values.append(cell.value(stat, self._query.range.step_s))
            else:
                values.append(
                    empty if (app in active_apps if app is not None else active_apps) else None
                )
        return values
