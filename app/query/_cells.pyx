# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The cells of queries, and how the rows of packed rollups reach them. For app.query._table alone."""

# Theory of operation
#
# Nearly all rollups of an app have the same names and the same rows as the one before. So a row is
# resolved once: a `Row` lists its feeds, one for each query that counts the row, and every later
# rollup goes from the row's numbers to the cells without a dictionary. A row is found by the name
# (`Label`), the section and its second column. Rows are sorted, so the search in a label's rows
# starts behind the last hit.
#
# A query for one series without filters needs no rows: it gets the sums of whole sections. A query
# about statuses only, whatever the source, gets the sums by status, as rows of a label without name.
#
# A row adds up what its rollups hold, and passes it on to its feeds only in the next turn: when the
# interval of a query of its section changes, and at the end. Slots are often shorter than the intervals asked for.

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset

from app.query._stats cimport Cell, Counter, Distribution, Dynos, Gauge, GaugeSummary, plus, value_of_dyno

from app.query.table import VALUES_MAX, new_cell, required_sections
from app.rollup.schema import CORE_SECTIONS, SECTION
from app.rollup.summaries import BINS, COUNT, MASK, TimingTotals, summaries
from app.rollup.summaries import GaugeSummary as PyGaugeSummary

cdef enum:
    HOUR_S = 3600

assert len(CORE_SECTIONS) == SECTIONS
assert CORE_SECTIONS[GAUGE_SECTION].name == "gauges"


cdef class Label:
    """A name from packed bytes, and the rows that start with it."""

    def __cinit__(self, bytes name, long long id):
        self.name = name.decode()
        self.encoded = name
        self.id = id
        self.last_active_s = NONE

    def __dealloc__(self):
        cdef int section, position
        for section in range(SECTIONS):
            for position in range(self.rows[section].size):
                free(self.rows[section].rows[position].feeds)
            free(self.rows[section].rows)
        free(self.active_slots)

    cdef int add_minutes(self, long long start, unsigned long long mask) except -1:
        """Mark minutes of a slot as active. Nearly all slots come in order."""
        cdef int position = self.active_count
        cdef int capacity = self.active_capacity
        cdef ActiveSlot *slots = self.active_slots
        while position and slots[position - 1].start > start:
            position -= 1
        if position and slots[position - 1].start == start:
            slots[position - 1].mask |= mask
            return 0
        if self.active_count == self.active_capacity:
            capacity = 2 * capacity if capacity else 4
            slots = <ActiveSlot *>realloc(slots, capacity * sizeof(ActiveSlot))
            if slots == NULL:
                raise MemoryError
            self.active_slots, self.active_capacity = slots, capacity
        memmove(
            &slots[position + 1],
            &slots[position],
            (self.active_count - position) * sizeof(ActiveSlot),
        )
        slots[position].start, slots[position].mask = start, mask
        self.active_count += 1
        return 0

    cdef Row *add_row(self, int section, long long second, Py_ssize_t feeds_max) except NULL:
        """Add a row without feeds, but with space for them."""
        cdef Rows *rows = &self.rows[section]
        cdef Row *row
        cdef int capacity
        if rows.size == rows.capacity:
            capacity = 2 * rows.capacity if rows.capacity else 4
            row = <Row *>realloc(rows.rows, capacity * sizeof(Row))
            if row == NULL:
                raise MemoryError
            rows.rows, rows.capacity = row, capacity
        row = &rows.rows[rows.size]
        memset(row, 0, sizeof(Row))
        row.second = second
        row.feeds = <Feed *>calloc(feeds_max, sizeof(Feed))
        if row.feeds == NULL:
            raise MemoryError
        rows.size += 1
        rows.next = 0
        return row


cdef class OpenCell(Cell):
    """A cell of app.query.number_cells: numbers of rows with names of senders."""

    cdef object value_of(self, object stat, long long step_s):
        return self.cell.value(stat, step_s)


cdef class Intervals:
    """The intervals of a range, shared by all queries over it."""

    def __cinit__(self, time_range):
        self.begin, self.step_s, self.size = time_range.start, time_range.step_s, time_range.size
        self.current = NONE
        self.active_apps = [set() for _ in range(self.size)]

    cdef int index(self, long long start) noexcept:
        cdef long long index = (start - self.begin) // self.step_s
        return <int>index if start >= self.begin and index < self.size else NONE


cdef class QueryCells:
    """The compiled app.query.table.QueryCells."""

    def __cinit__(self, query, Intervals intervals, list names):
        cdef int kind
        self.query, self.intervals, self.names = query, intervals, names
        self.sections = required_sections(query).sections
        # All sections of a query feed the same cells, so they must agree on the type.
        (self.cell_type,) = {
            OpenCell if SECTION[name].family else _CELL_TYPES[SECTION[name].values]
            for name in self.sections
        }
        self.gauge = NONE
        if "gauges" in self.sections:
            (self.gauge,) = query.metric.selection
        self.has_fallback = bool(query.metric.fallback)
        self.scale = query.metric.scale[0] / query.metric.scale[1]
        for kind in range(TIMING_KIND_COUNT):
            self.is_timed_kind[kind] = kind in (query.metric.selection or ())
        self.is_single_series = not query.by and not query.filters
        self.series_by_key = {}
        self.cells = []

    cdef bint accepts(self, int section, long long second):
        """Whether the query is about rows with this second column."""
        if section == TIMINGS or section == SKETCHES:
            return second < TIMING_KIND_COUNT and self.is_timed_kind[second]
        return section != GAUGE_SECTION or second == self.gauge

    cdef int find_series(self, object key) except -2:
        series = self.series_by_key.get(key)
        if series is None:
            if len(self.series_by_key) and (
                (len(self.series_by_key) + 1) * self.intervals.size > VALUES_MAX
            ):
                self.series_by_key[key] = NONE  # too many: the query fails, so keep no cells
                return NONE
            series = self.series_by_key[key] = len(self.cells)
            self.cells.append([None] * self.intervals.size)
        return series

    cdef Cell find_cell(self, int series, int interval):
        cdef list row = <list>self.cells[series]
        cell = row[interval]
        if cell is None:
            cell = row[interval] = self.cell_type()
            if self.cell_type is Gauge:
                (<Gauge?>cell).scale = self.scale
            elif self.cell_type is OpenCell:
                section = SECTION[self.query.metric.sections[0]]
                (<OpenCell?>cell).cell = new_cell(section, self.query.metric)
        return <Cell>cell

    cdef Cell sum_cell(self):
        """The cell of the only series in the current interval, which must not be NONE."""
        if not self.cells:
            self.find_series(())
        return self.find_cell(0, self.intervals.current)

    cdef int add_open(self, object key, int interval, str app, row, value) except -1:
        """Add a sketch of a section of a family, decoded by Python."""
        cdef int series
        if key is None or interval == NONE:
            return 0
        series = self.find_series(key)
        if series != NONE:
            (<OpenCell?>self.find_cell(series, interval)).cell.add(app, row, value)
        return 0

    def keys(self):
        """The keys of all series that have a cell."""
        return set(self.series_by_key)

    def values(self, tuple key, app, stat, intervals):
        """The values of a series for these intervals."""
        cdef int series, index
        cdef list row, values = []
        cdef set active_apps
        cdef long long step_s = self.intervals.step_s
        empty = 0 if self.query.metric.kind == "counter" else None
        series = self.series_by_key.get(key, NONE)
        row = [None] * self.intervals.size if series == NONE else <list>self.cells[series]
        if intervals.start < 0 or intervals.stop > self.intervals.size:
            raise IndexError(intervals)
        for index in intervals:
            cell = row[index]
            if cell is not None:
                values.append((<Cell>cell).value_of(stat, step_s))
                continue
            active_apps = <set>self.intervals.active_apps[index]
            values.append(empty if (active_apps if app is None else app in active_apps) else None)
        return values

    def values_by_source(self, stat):
        """The values of each source alone, for each interval."""
        cdef int index, position
        cdef Gauge cell
        cdef list row
        cdef dict values_by_name = {}
        cdef str method = stat.method
        for index, value in enumerate(self.cells[0] if self.cells else ()):
            if value is None:
                continue
            cell = <Gauge?>value
            cell.finish()
            for position in range(cell.size):
                name = self.names[cell.dynos[position].id]
                values = values_by_name.get(name)
                if values is None:
                    values = values_by_name[name] = [None] * self.intervals.size
                row = <list>values
                row[index] = value_of_dyno(&cell.dynos[position].summary, method, cell.scale)
        return values_by_name

    def activity(self):
        """Whether any app logged something, for each interval."""
        return [bool(active_apps) for active_apps in self.intervals.active_apps]


_CELL_TYPES = {  # by the values of a section
    COUNT: Counter,
    MASK: Dynos,
    BINS: Distribution,
    summaries(TimingTotals): Distribution,
    summaries(PyGaugeSummary): Gauge,
}


cdef int move_feed(Feed *feed) except -1:
    """Point a feed to the cell of the current interval."""
    cdef QueryCells cells
    cdef Cell cell
    feed.cell, feed.cell_interval = NULL, feed.interval[0]
    if feed.cell_interval == NONE:
        return 0
    cells = <QueryCells>feed.cells
    if feed.series == UNKNOWN:
        feed.series = cells.find_series(<object>feed.key)
    if feed.series != NONE:
        cell = cells.find_cell(feed.series, feed.cell_interval)
        feed.cell = <void *>cell
    return 0


cdef int turn_row(Row *row, int section, long long source, int turn) except -1:
    """Pass on what a row added up, and begin anew in another turn."""
    cdef int position
    finish_row(row, section, source)
    row.turn = turn
    for position in range(row.size):
        current_cell(&row.feeds[position])
    return 0


cdef int finish_row(Row *row, int section, long long source) except -1:
    """Pass on what a row added up in its turn. A row that was not read since has no turn (0)."""
    cdef int position
    if row.turn:
        for position in range(row.size):
            if row.feeds[position].cell != NULL:
                pass_on(row, row.feeds[position].cell, section, source)
    row.count = row.total = row.largest = row.summary.count = 0
    row.turn = 0
    return 0


cdef int pass_on(Row *row, void *cell, int section, long long source) except -1:
    """Add what a row added up to a cell. Which section feeds which kind of cell is said here,
    in `_read_sketches` and in `feed_minutes`; `_CELL_TYPES` makes sure of the type.
    """
    if section == GAUGE_SECTION:
        return (<Gauge>cell).merge(source, &row.summary)
    if section == TIMINGS:
        return (<Distribution>cell).add_times(row.count, row.total, row.largest)
    (<Counter>cell).total = plus((<Counter>cell).total, row.count)
    return 0


cdef int feed_minutes(Feed *feed, long long start, unsigned long long mask) except -1:
    cdef QueryCells cells = <QueryCells>feed.cells
    cdef int interval = cells.intervals.index(start)
    if interval == NONE:
        return 0
    if feed.series == UNKNOWN:
        feed.series = cells.find_series(<object>feed.key)
    if feed.series != NONE:
        (<Dynos?>cells.find_cell(feed.series, interval)).add(start - start % HOUR_S, mask)
    return 0
