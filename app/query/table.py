"""Accumulates rollups into the cells of queries: one cell per query, interval and series.

A table answers several queries in one pass over the packed rollups. Each row of a rollup belongs
to one series of a query, or to none if a filter excludes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.query.number_cells import MeasureCell, NumberCounterCell, NumberGaugeCell
from app.query.stats import (
    Cell,
    CounterCell,
    DistributionCell,
    DynosCell,
    GaugeCell,
    Stat,
    StatValue,
    Value,
)
from app.rollup.codec import merge_packed
from app.rollup.open_metrics import SECTION_PREFIXES
from app.rollup.resolutions import HOUR_S, Resolution, align
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES, SECTION, Labels, Metric, Section, counter
from app.rollup.summaries import (
    BINS,
    COUNT,
    MASK,
    NUMBER_BINS,
    GaugeSummary,
    MeasureSummary,
    NumberSum,
    NumberSummary,
    TimingTotals,
    Values,
    summaries,
)
from app.support.globs import matches_glob

VALUES_MAX = 500_000  # in all series of an answer together
ROWS_CACHED_MAX = 10_000  # by one SeriesKeyer, which then forgets rows that no longer occur

SeriesKey = tuple[str, ...]
AnyCell = Cell | NumberCounterCell | NumberGaugeCell | MeasureCell


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

    def interval_of(self, slot_start: int) -> int | None:
        """The interval of a slot; None if the slot lies outside the range."""
        index = (slot_start - self.start) // self.step_s
        return index if 0 <= index < self.size else None


@dataclass(frozen=True, slots=True)
class Query:
    """A planned query. `filters`: label -> accepted patterns, with * and ?."""

    metric: Metric
    stats: tuple[Stat, ...]
    range: QueryRange
    by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _keyers: dict[str, SeriesKeyer] = field(default_factory=dict, repr=False, compare=False)

    def over(self, time_range: QueryRange) -> Query:
        """The same query over another range. Both share what they cached about rows."""
        return Query(self.metric, self.stats, time_range, self.by, self.filters, self._keyers)

    def keyer(self, section: str, app: str) -> SeriesKeyer:
        """The keyer for a section's rows. All apps share one, unless the query names the app."""
        if "app" in self.by or "app" in self.filters:
            return SeriesKeyer(self, app, SECTION[section])
        if section not in self._keyers:
            self._keyers[section] = SeriesKeyer(self, "", SECTION[section])
        return self._keyers[section]


class RequiredSections(NamedTuple):
    """The sections of a rollup that a query needs; the rest is not decoded.

    `gauges`: indices of the gauges needed, None for all.
    """

    sections: frozenset[str]
    gauges: frozenset[int] | None = None


# --- which rows of a rollup belong to which series ----------------------------------------------

# The ledger as a metric. The catalogue does not list it: the ledger has an API of its own.
MESSAGES = counter("messages", "messages", ("result",), "Messages by result", "ledger")
# Sections that a table merges as a whole, if asked to.
WHOLE_SECTIONS = frozenset({"events", "lifecycle", "released", *SECTION_PREFIXES})


def required_sections(query: Query) -> RequiredSections:
    """The sections of a rollup that the query needs."""
    metric = query.metric
    if metric.kind == "distribution":
        totals, sketches = metric.sections
        needed = {sketches if stat.needs_sketch else totals for stat in query.stats}
        if any(stat.method == "quantile" for stat in query.stats):
            needed.add(totals)  # no quantile exceeds the maximum
        return RequiredSections(frozenset(needed))
    gauges = metric.selection if metric.sections == ("gauges",) else None
    sections = (*metric.sections, "named_gauges") if metric.fallback else metric.sections
    return RequiredSections(frozenset(sections), gauges)


class SeriesKeyer:
    """Maps a row to the key of its series. Caches by row.

    The key is None if the row belongs to another metric, or if a filter excludes it.
    """

    def __init__(self, query: Query, app: str, section: Section) -> None:
        self._by = query.by
        self._filters = tuple(query.filters.items())
        self._app = app
        self._selection = query.metric.selection_in(section.name)
        self._unit = query.metric.stored_unit
        self._labels_of: Callable[[Any], Labels] = section.labels
        self._keys_by_row: dict[Any, SeriesKey | None] = {}

    def __call__(self, row: Any) -> SeriesKey | None:
        """The key of a row's series."""
        try:
            return self._keys_by_row[row]
        except KeyError:
            if len(self._keys_by_row) >= ROWS_CACHED_MAX:
                self._keys_by_row.clear()
            key = self._keys_by_row[row] = self._key_of(row)
            return key

    def _key_of(self, row: Any) -> SeriesKey | None:
        if self._selection is not None and row[1] not in self._selection:
            return None
        if not self._filters and not self._by and self._unit is None:
            return ()
        labels = self._labels_of(row)
        if self._unit is not None and labels["unit"] != self._unit:
            return None
        for name, patterns in self._filters:
            value = self._app if name == "app" else labels[name]
            if not any(matches_glob(value, pattern) for pattern in patterns):
                return None
        return tuple([self._app if name == "app" else labels[name] for name in self._by])


# --- from rollups to cells ----------------------------------------------------------------------


class QueryCells:
    """The cells of one query: the answers of a Table."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.sections = required_sections(query).sections
        self._cells: list[dict[SeriesKey, AnyCell]] = [{} for _ in range(query.range.size)]
        self._active_apps: list[set[str]] = [set() for _ in range(query.range.size)]

    def mark_active(self, app: str, slot_start: int) -> None:
        """Note that the app logged something in a slot."""
        index = self._query.range.interval_of(slot_start)
        if index is not None:
            self._active_apps[index].add(app)

    def add(self, app: str, slot_start: int, section: str, rows: Mapping[Any, Any]) -> None:
        """Add the rows of a section, if the query needs them and the slot lies in its range."""
        index = self._query.range.interval_of(slot_start)
        if index is None or section not in self.sections:
            return
        cells = self._cells[index]
        key_of = self._query.keyer(section, app)
        for row, value in rows.items():
            if (key := key_of(row)) is None:
                continue
            if key not in cells:
                cells[key] = new_cell(SECTION[section], self._query.metric)
            cell: Any = cells[key]
            if section not in self._query.metric.sections:
                cell.add_fallback(app, row[0], value)
            else:
                _add_row(cell, SECTION[section], app, slot_start, row, value)

    def keys(self) -> set[SeriesKey]:
        """The keys of all series that have a cell."""
        return {key for cells in self._cells for key in cells}

    def values(
        self, key: SeriesKey, app: str | None, stat: Stat, intervals: range
    ) -> list[StatValue]:
        """The values of a series for these intervals.

        An interval without a cell is 0 for a counter if the app (None: any app) was active in it,
        and otherwise None.
        """
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

    def values_by_source(self, stat: Stat) -> dict[str, list[Value]]:
        """The values of each source alone, for each interval. Only for one series of a gauge."""
        values: dict[str, list[Value]] = {}
        for index, cells in enumerate(self._cells):
            cell = cells.get(())
            if isinstance(cell, GaugeCell):
                for source, value in cell.values_by_source(stat).items():
                    values.setdefault(source, [None] * self._query.range.size)[index] = value
        return values

    def activity(self) -> list[bool]:
        """Whether any app logged something, for each interval."""
        return [bool(active_apps) for active_apps in self._active_apps]


# The kind of cell that a section feeds, by the type of its values.
_CELLS: dict[Values, Callable[[Metric], AnyCell]] = {
    COUNT: lambda _: CounterCell(),
    MASK: lambda _: DynosCell(),
    BINS: lambda _: DistributionCell(),
    summaries(TimingTotals): lambda _: DistributionCell(),
    summaries(GaugeSummary): GaugeCell,
    summaries(NumberSum): NumberCounterCell,
    summaries(NumberSummary): NumberGaugeCell,
    summaries(MeasureSummary): MeasureCell,
    NUMBER_BINS: MeasureCell,
}


def new_cell(section: Section, metric: Metric) -> AnyCell:
    """An empty cell for rows of a section, or of the other section of the same distribution."""
    return _CELLS[section.values](metric)


def _add_row(cell: Any, section: Section, app: str, slot_start: int, row: Any, value: Any) -> None:
    """Add a row of a section to a cell of the kind that it feeds."""
    if section.family:
        cell.add(app, row, value)
    elif isinstance(cell, CounterCell):
        cell.total += value
    elif isinstance(cell, GaugeCell):
        cell.add(app, row[0], value)
    elif isinstance(cell, DynosCell):
        cell.add(align(slot_start, HOUR_S), value)
    elif section.values == BINS:
        cell.add_bins(value)
    else:
        cell.totals.merge(value)


class Table:
    """Fills the cells of several queries in one pass over packed rollups.

    Add all rollups of one app before those of the next.

    Args:
        queries: each takes the rollups in its own range.
        whole_sections: sections to merge as a whole, besides the queries: some of WHOLE_SECTIONS
            (into `merged_rollup`), "active_minutes" (for `last_active_s`), "gauges" and
            "named_gauges" (for `last_values`).
    """

    def __init__(
        self, queries: Sequence[Query], whole_sections: frozenset[str] = frozenset()
    ) -> None:
        self._cells = [QueryCells(query) for query in queries]
        self._requirements = [(query.range, required_sections(query)) for query in queries]
        self._activity = whole_sections & {"active_minutes"}
        self._whole_sections = whole_sections - {"active_minutes"}
        self._app = ""
        self._minutes: dict[int, dict[str, int]] = {}  # of the app added last, by slot and source
        self._last_active_s: dict[str, int] = {}
        self._names: set[str] = set()  # of the app added last
        self.whole_rollup = Rollup()

    def add(self, app: str, slot_start: int, data: bytes) -> None:
        """Add a packed rollup of a slot.

        Raises:
            PackError, NewerVersion: it cannot be read. The table may then hold part of it.
        """
        if app != self._app:
            self.finish()
            self._app = app
            self._names = set()
        requirements = [
            required
            for time_range, required in self._requirements
            if time_range.interval_of(slot_start) is not None
        ]
        sections = self._activity.union(*(required.sections for required in requirements))
        gauges = frozenset[int]().union(*(required.gauges or () for required in requirements))
        rollup = Rollup()
        merge_packed(rollup, data, sections, gauges=gauges)
        self._names.update(*rollup.names, (code for _, code in rollup.errors))
        for cells in self._cells:
            if rollup.messages:
                cells.mark_active(app, slot_start)
            for section in cells.sections - {"active_minutes"}:
                cells.add(app, slot_start, section, getattr(rollup, section))
        # Rollups of one slot may repeat a minute, so minutes are counted in `finish`.
        minutes = self._minutes.setdefault(slot_start, {}) if rollup.active_minutes else {}
        for source, mask in rollup.active_minutes.items():
            minutes[source] = minutes.get(source, 0) | mask
            last_s = self._last_active_s.get(source, slot_start)
            self._last_active_s[source] = max(last_s, slot_start)
        if self._whole_sections:
            merge_packed(self.whole_rollup, data, self._whole_sections)

    def finish(self) -> None:
        """Complete the cells, after the last rollup.

        Raises:
            PackError: a sum is too large for the compiled form.
        """
        for slot_start, minutes in self._minutes.items():
            for cells in self._cells:
                cells.add(self._app, slot_start, "active_minutes", minutes)
        self._minutes = {}

    @property
    def name_count(self) -> int:
        """How many names the rollups of the app added last have, of those that were read."""
        return len(self._names)

    def label_names(self) -> Collection[str]:
        """These names."""
        return self._names

    @property
    def merged_rollup(self) -> Rollup:
        """A rollup with the sections that are merged as a whole."""
        return self.whole_rollup

    def results(self) -> list[QueryCells]:
        """The cells of each query, in their order."""
        self.finish()
        return self._cells

    def last_active_s(self) -> dict[str, int]:
        """The start of the last slot in which each source was active, in Unix seconds.

        Only for a table of one app.
        """
        return self._last_active_s

    def last_values(self) -> dict[tuple[str, int | str], int]:
        """The last value of each (source, number or name of a gauge), in its stored unit.

        Only for a table of one app.
        """
        last: dict[tuple[str, int | str], int] = {}
        for name in ("gauges", "named_gauges"):
            rows = self.whole_rollup.rows(SECTION[name])
            last.update(
                {
                    key: summary.last
                    for key, summary in rows.items()
                    if name != "gauges" or key[1] in CORE_GAUGES.values()
                }
            )
        return last
