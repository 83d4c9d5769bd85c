# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.query.table.Table: accumulates packed rollups into cells, byte by byte.

Only the sections that a query needs are read, straight into the cells of all queries; the others are
skipped. No rollup is decoded into Python objects, which is what makes long ranges fast.

Bytes that differ from what app.rollup.codec writes, and sums over 63 bits, raise a PackError. The table
is then unusable, and the caller falls back to app.query.table.Table, which defines the result.
"""

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
from libc.string cimport memcmp, memset

from app.query._stats cimport (
    BINS, Bin, Cell, Counter, Distribution, Dynos, Gauge, GaugeSummary, merge_summary, plus,
)
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, not_negative, number, skip_extensions, step_over,
    text,
)

from app.rollup import codec as packing
from app.query.table import VALUES_MAX, WHOLE_SECTIONS, required_sections
from app.rollup.codec import PackError, decode_rows
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES, CORE_SECTIONS, SECTION, SMALL_NUMBER_MAX
from app.rollup.summaries import BINS as SKETCH
from app.rollup.summaries import COUNT, MASK, TimingTotals, summaries
from app.rollup.summaries import GaugeSummary as PyGaugeSummary

cdef enum:
    TIMING_KIND_COUNT = 4  # SERVICE_OK and so on in app.rollup.schema
    MINUTES_PER_HOUR = 60
    HOUR_S = 3600
    SECTIONS = 8
    GAUGES_MAX = 64
    STATUSES = 600  # that are known
    NONE = -1  # no series, or no interval
    UNKNOWN = -2  # a series that no rollup in the query's range has had yet

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TIMINGS, RESPONSE_BYTES, SKETCHES, GAUGE_SECTION, MINUTES, LEDGER

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int SMALL_NUMBERS = SMALL_NUMBER_MAX + 1
cdef int GAUGE_COUNT = len(CORE_GAUGES)
assert GAUGE_COUNT <= GAUGES_MAX and len(CORE_SECTIONS) == SECTIONS
assert CORE_SECTIONS[GAUGE_SECTION].name == "gauges"


# --- rows, and the cells that they feed -----------------------------------------------------------


cdef struct Feed:
    void *cells  # a QueryCells that the table holds
    void *key  # of the series; the label holds it
    const int *interval  # that of the rollup being read
    int cell_interval  # that of `cell`
    int series
    void *cell  # a Cell that `cells` holds


cdef struct Row:
    long long second  # the second column: status, code, kind or gauge
    Feed *feeds
    int size
    int turn  # in which the columns below were added up
    long long count
    long long total
    long long largest
    GaugeSummary summary


cdef struct Rows:
    Row *rows
    int size
    int capacity
    int next  # behind the last hit


cdef class Label:
    """A name from packed bytes, and the rows that start with it."""

    cdef str name
    cdef bytes encoded
    cdef long long id
    cdef long long last_active_s  # the start of the last slot in which this source was active
    cdef dict minutes  # bits of active minutes, by start of the slot, or None
    cdef list keys  # held for the feeds, or None
    cdef Rows rows[SECTIONS]

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


cdef class Intervals:
    """The intervals of a range, shared by all queries over it."""

    cdef long long begin
    cdef long long step_s
    cdef int size
    cdef int current  # the interval of the rollup being read, or NONE
    cdef bint has_section[SECTIONS]  # that a query over this range reads
    cdef bint has_rows[SECTIONS]  # of which it reads rows
    cdef list active_apps  # a set for each interval

    def __cinit__(self, time_range):
        self.begin, self.step_s, self.size = time_range.start, time_range.step_s, time_range.size
        self.current = NONE
        self.active_apps = [set() for _ in range(self.size)]

    cdef int index(self, long long start) noexcept:
        cdef long long index = (start - self.begin) // self.step_s
        return <int>index if start >= self.begin and index < self.size else NONE


cdef class QueryCells:
    """The compiled app.query.table.QueryCells."""

    cdef object query
    cdef Intervals intervals
    cdef frozenset sections
    cdef object cell_type
    cdef int gauge  # a core gauge, or NONE
    cdef double scale  # of a gauge
    cdef bint has_fallback  # tagged gauges stand in for missing ones
    cdef bint is_timed_kind[TIMING_KIND_COUNT]
    cdef bint is_single_series  # without grouping and filters all rows belong to one series
    cdef list keyers  # of the app being read, by section
    cdef dict series_by_key
    cdef list cells  # for each series a list with a cell for each interval, or None

    def __cinit__(self, query, Intervals intervals):
        cdef int kind
        self.query, self.intervals = query, intervals
        self.sections = required_sections(query).sections
        # All sections of a query feed the same cells, so they must agree on the type.
        (self.cell_type,) = {_CELL_TYPES[SECTION[name].values] for name in self.sections}
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
        return <Cell>cell

    cdef Cell sum_cell(self):
        """The cell of the only series in the current interval, which must not be NONE."""
        if not self.cells:
            self.find_series(())
        return self.find_cell(0, self.intervals.current)

    cdef int add_tagged(self, object key, int interval, long long id, value) except -1:
        """Add a row of a tagged section, decoded by Python. `id`: that of its source's label."""
        cdef int series
        cdef Cell cell
        cdef GaugeSummary summary
        if key is None or interval == NONE:
            return 0
        series = self.find_series(key)
        if series == NONE:
            return 0
        cell = self.find_cell(series, interval)
        if isinstance(cell, Gauge):
            summary.count, summary.total = value.count, value.total
            summary.smallest, summary.largest = value.smallest, value.largest
            summary.last_at_ms, summary.last = value.last_at_ms, value.last
            if self.has_fallback:
                (<Gauge>cell).merge_fallback(id, &summary)
            else:
                (<Gauge>cell).merge(id, &summary)
        else:
            (<Counter?>cell).total = plus((<Counter?>cell).total, value)
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

    def activity(self):
        """Whether any app logged something, for each interval."""
        return [bool(active_apps) for active_apps in self.intervals.active_apps]


_POSITIONS = {section.name: position for position, section in enumerate(CORE_SECTIONS)}
_STATUS_LABELS = frozenset({"status", "status_class", "outcome"})
_CELL_TYPES = {  # by the values of a section
    COUNT: Counter,
    MASK: Dynos,
    SKETCH: Distribution,
    summaries(TimingTotals): Distribution,
    summaries(PyGaugeSummary): Gauge,
}


cdef inline void *current_cell(Feed *feed) except? NULL:
    """The cell that a feed's row goes to, or NULL if the rollup is outside the query's range."""
    if feed.interval[0] != feed.cell_interval:
        move_feed(feed)
    return feed.cell


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


cdef inline Row *expected_row(Label label, int section, long long second) noexcept:
    """The row behind the last hit if it is the one looked for, or NULL. Rows come in order."""
    cdef Rows *rows = &label.rows[section]
    cdef Row *row = &rows.rows[rows.next]
    if not rows.size or row.second != second:
        return NULL
    rows.next += 1
    if rows.next == rows.size:
        rows.next = 0
    return row


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


# --- reading ------------------------------------------------------------------------------------


cdef class Table:
    """The compiled app.query.table.Table."""

    cdef list cells  # a QueryCells for each query
    cdef list intervals
    cdef list row_readers  # for each section a list of the QueryCells that read its rows
    cdef list sum_readers  # the same for queries for one series, which need no rows
    cdef list status_readers  # the same for queries about the statuses of requests
    cdef Label any_source  # has the rows of `status_readers`
    cdef long long counts_by_status[STATUSES]  # of the rollup being read
    cdef bint has_status[STATUSES]
    cdef bint is_required[SECTIONS]
    cdef bint has_row_readers[SECTIONS]
    cdef bint is_read[SECTIONS]  # in the rollup being read: some query has it in its range
    cdef bint is_gauge_read[GAUGES_MAX]
    cdef bint is_kind_read[TIMING_KIND_COUNT]
    cdef dict extension_readers  # the same, by tag
    cdef frozenset extensions  # that are merged as a whole
    cdef int turns[SECTIONS]  # counts changes of the intervals that its rows feed, from 1 on
    cdef list latest_gauges  # a Gauge for each gauge if last values are wanted, or None
    cdef bint counts_minutes
    cdef str app
    cdef dict labels  # by their bytes
    cdef bytes block  # the bytes of the previous rollup's names
    cdef list block_labels
    cdef long long label_count
    cdef readonly object merged_rollup  # None if no section goes into it

    def __init__(self, queries, whole_sections=frozenset()):
        cdef QueryCells cells
        cdef int section
        intervals_by_range = {}
        self.cells = []
        for section in range(SECTIONS):
            self.turns[section] = 1
        for query in queries:
            if query.range not in intervals_by_range:
                intervals_by_range[query.range] = Intervals(query.range)
            self.cells.append(QueryCells(query, intervals_by_range[query.range]))
        self.intervals = list(intervals_by_range.values())
        self.row_readers = [[] for _ in range(SECTIONS)]
        self.sum_readers = [[] for _ in range(SECTIONS)]
        self.status_readers = []
        self.extension_readers = {}
        for cells in self.cells:
            for name in cells.sections:
                if not SECTION[name].is_core:
                    self.extension_readers.setdefault(name, []).append(cells)
                else:
                    self._add_reader(cells, _POSITIONS[name])
        if "gauges" in whole_sections:
            self.latest_gauges = [Gauge() for _ in range(GAUGE_COUNT)]
            self.is_required[GAUGE_SECTION] = True
        self.is_required[MINUTES] = "active_minutes" in whole_sections
        self.extensions = whole_sections & (WHOLE_SECTIONS | {"named_gauges"})
        self.merged_rollup = Rollup() if self.extensions else None
        self._start_app("")

    cdef int _add_reader(self, QueryCells cells, int section) except -1:
        cdef int kind
        if cells.is_single_series and section != MINUTES:
            self.sum_readers[section].append(cells)
        elif section == REQUESTS and _STATUS_LABELS.issuperset((*cells.query.by, *cells.query.filters)):
            self.status_readers.append(cells)
            cells.intervals.has_rows[section] = True
        else:
            self.row_readers[section].append(cells)
            self.has_row_readers[section] = cells.intervals.has_rows[section] = True
        cells.intervals.has_section[section] = True
        self.counts_minutes |= section == MINUTES
        if section == GAUGE_SECTION:
            self.is_gauge_read[cells.gauge] = True
        for kind in range(TIMING_KIND_COUNT):
            self.is_kind_read[kind] |= cells.is_timed_kind[kind]
        return 0

    cdef int _start_app(self, str app) except -1:
        """Reset the caches of names and keys, which are valid for one app only."""
        cdef QueryCells cells
        self.app = app
        self.labels = {}
        self.any_source = Label(b"", 0)
        self.block, self.block_labels = b"", []
        for cells in self.cells:
            cells.keyers = [None] * SECTIONS
        return 0

    def add(self, str app, long long start, bytes data):
        """Add a packed rollup of the slot that starts at `start`.

        Raises:
            PackError: the bytes differ from what `pack` writes, or a sum is too large.
        """
        cdef Intervals intervals
        cdef int interval, section
        if app != self.app:
            self.finish()
            self._start_app(app)
        for section in range(SECTIONS):
            self.is_read[section] = self.is_required[section]
        for intervals in self.intervals:
            interval = intervals.index(start)
            if interval != intervals.current:
                intervals.current = interval
                for section in range(SECTIONS):
                    self.turns[section] += intervals.has_rows[section]
            if interval != NONE:
                for section in range(SECTIONS):
                    self.is_read[section] |= intervals.has_section[section]
        try:
            self._add(start, data)
        except (ValueError, OverflowError) as error:
            raise PackError(str(error)) from None

    cdef int _add(self, long long start, bytes data) except -1:
        cdef Cursor rollup, part
        cdef list names
        cdef int section
        cdef long long messages
        cdef Intervals intervals
        rollup.at = data
        rollup.end = rollup.at + len(data)
        if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
            raise ValueError("another format")
        messages = not_negative(&rollup)
        if messages:
            for intervals in self.intervals:
                if intervals.current != NONE:
                    (<set>intervals.active_apps[intervals.current]).add(self.app)
        names = self._read_names(&rollup)
        for section in range(SECTIONS):
            binary(&rollup, &part)
            if self.is_read[section]:
                self._read(section, &part, names, start)
                if part.at != part.end:
                    raise ValueError("more than its rows")
        self._read_extensions(&rollup)
        if rollup.at != rollup.end:
            raise ValueError("more than a rollup")
        return 0

    cdef list _read_names(self, Cursor *rollup):
        """Read the names of a rollup as labels.

        Most rollups of an app have exactly the names of the previous one, so its bytes are compared
        first: then all labels, with their known rows, are reused.
        """
        cdef Bytes begin = rollup.at
        cdef Py_ssize_t size = len(self.block)
        cdef Py_ssize_t position
        cdef list before = self.block_labels
        if size and size <= rollup.end - begin and not memcmp(begin, <Bytes>self.block, size):
            rollup.at += size
            return before
        self.block = b""
        self.block_labels = [
            self._read_label(rollup, before[position] if position < len(before) else None)
            for position in range(array(rollup))
        ]
        self.block = begin[: rollup.at - begin]
        return self.block_labels

    cdef Label _read_label(self, Cursor *names, Label likely):
        cdef Cursor part = names[0]
        cdef Py_ssize_t size
        text(names, &part)
        size = part.end - part.at
        if (
            likely is not None
            and size == len(likely.encoded)
            and not memcmp(part.at, <Bytes>likely.encoded, size)
        ):
            return likely
        return self._label(part.at[:size])

    cdef Label _label(self, bytes name):
        label = self.labels.get(name)
        if label is None:
            self.label_count += 1
            label = self.labels[name] = Label(name, self.label_count)
        return label

    # --- rows ------------------------------------------------------------------------------------

    cdef Row *_row(
        self, Label label, int section, long long second, Label code=None
    ) except NULL:
        """The row with this label and second column, and its feeds.

        `code`: the second column's label, if it is one (an error code).
        """
        cdef Rows *rows = &label.rows[section]
        cdef int position
        for position in range(rows.size):
            if rows.rows[position].second == second:
                rows.next = position + 1 if position + 1 < rows.size else 0
                return &rows.rows[position]
        return self._add_row(label, section, second, code)

    cdef Row *_add_row(self, Label label, int section, long long second, Label code) except NULL:
        cdef QueryCells cells
        cdef Feed *feed
        cdef list readers = (
            self.status_readers if label is self.any_source else <list>self.row_readers[section]
        )
        cdef Row *row = label.add_row(section, second, len(readers))
        if section == ERRORS:
            row_key = (label.name, code.name)
        elif section == RESPONSE_BYTES or section == MINUTES or section == LEDGER:
            row_key = label.name
        else:
            row_key = (label.name, second)
        for cells in readers:
            if not cells.accepts(section, second):
                continue
            key = ()
            if not cells.is_single_series:
                if cells.keyers[section] is None:
                    cells.keyers[section] = cells.query.keyer(CORE_SECTIONS[section].name, self.app)
                key = cells.keyers[section](row_key)
            if key is not None:
                if label.keys is None:
                    label.keys = []
                label.keys.append(key)
                feed = &row.feeds[row.size]
                row.size += 1
                feed.cells, feed.key = <void *>cells, <void *>key
                feed.interval = &cells.intervals.current
                feed.cell_interval, feed.series = NONE, UNKNOWN
        return row

    # --- sections --------------------------------------------------------------------------------

    cdef int _read(self, int section, Cursor *part, list names, long long start) except -1:
        cdef Py_ssize_t numbers = array(part)
        if section == TIMINGS:
            numbers = self._read_timings(part, numbers, names)
        elif section == SKETCHES:
            numbers = self._read_sketches(part, numbers, names)
        elif section == GAUGE_SECTION:
            numbers = self._read_gauges(part, numbers, names)
        elif section == MINUTES:
            numbers = self._read_minutes(part, numbers, names, start)
        else:
            numbers = self._read_counts(section, part, numbers, names)
        if numbers:
            raise ValueError("ends early")
        return 0

    cdef Py_ssize_t _read_counts(
        self, int section, Cursor *part, Py_ssize_t numbers, list names
    ) except? -1:
        cdef Label label, code = None
        cdef long long second = 0
        cdef long long total = 0
        cdef long long count
        cdef bint has_rows = self.has_row_readers[section]
        cdef bint is_empty = True
        cdef bint by_status = section == REQUESTS and bool(self.status_readers)
        cdef int statuses[STATUSES]
        cdef int position
        cdef int status_count = 0
        cdef Py_ssize_t source
        cdef Py_ssize_t size = len(names)
        cdef Row *row
        cdef QueryCells cells
        cdef Counter cell
        while numbers > 0:
            source = below(part, size)
            if section == REQUESTS:
                second = below(part, SMALL_NUMBERS)
            elif section == ERRORS:
                code = <Label>names[below(part, size)]
                second = code.id
            count = not_negative(part)
            total = plus(total, count)
            if by_status and second >= STATUSES:  # of a newer version
                self._count_status(second, count)
            elif by_status:
                if not self.has_status[second]:
                    self.has_status[second] = True
                    statuses[status_count] = <int>second
                    status_count += 1
                self.counts_by_status[second] = plus(self.counts_by_status[second], count)
            if has_rows:
                label = <Label>names[source]
                row = expected_row(label, section, second)
                if row == NULL:
                    row = self._row(label, section, second, code)
                if row.size:
                    if row.turn != self.turns[section]:
                        turn_row(row, section, label.id, self.turns[section])
                    row.count = plus(row.count, count)
            is_empty = False
            numbers -= 3 if section == REQUESTS or section == ERRORS else 2
        for position in range(status_count):
            second = statuses[position]
            self._count_status(second, self.counts_by_status[second])
            self.counts_by_status[second] = 0
            self.has_status[second] = False
        if not is_empty:
            for cells in <list>self.sum_readers[section]:
                if cells.intervals.current != NONE:
                    cell = <Counter>cells.sum_cell()
                    cell.total = plus(cell.total, total)
        return numbers

    cdef int _count_status(self, long long status, long long count) except -1:
        cdef Row *row = self._row(self.any_source, REQUESTS, status)
        if row.size:
            if row.turn != self.turns[REQUESTS]:
                turn_row(row, REQUESTS, 0, self.turns[REQUESTS])
            row.count = plus(row.count, count)
        return 0

    cdef Py_ssize_t _read_timings(
        self, Cursor *part, Py_ssize_t numbers, list names
    ) except? -1:
        cdef Label label
        cdef int kind
        cdef long long count, total, largest
        cdef Row *row
        cdef QueryCells cells
        cdef Distribution times
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            kind = below(part, SMALL_NUMBERS)
            count = not_negative(part)
            total = not_negative(part)
            largest = not_negative(part)
            for cells in <list>self.sum_readers[TIMINGS]:
                if cells.accepts(TIMINGS, kind) and cells.intervals.current != NONE:
                    times = <Distribution>cells.sum_cell()
                    times.add_times(count, total, largest)
            if not self.has_row_readers[TIMINGS]:
                numbers -= 5
                continue
            row = self._row(label, TIMINGS, kind)
            if row.size:
                if row.turn != self.turns[TIMINGS]:
                    turn_row(row, TIMINGS, label.id, self.turns[TIMINGS])
                row.count = plus(row.count, count)
                row.total = plus(row.total, total)
                row.largest = max(row.largest, largest)
            numbers -= 5
        return numbers

    cdef Py_ssize_t _read_sketches(
        self, Cursor *part, Py_ssize_t numbers, list names
    ) except? -1:
        cdef Label label
        cdef int kind, position
        cdef Row *row
        cdef void *cell
        cdef QueryCells cells
        cdef Bin bins[BINS]
        cdef int size = 0
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            kind = below(part, SMALL_NUMBERS)
            numbers -= 2 + read_bins(part, bins, &size)
            if kind >= TIMING_KIND_COUNT or not self.is_kind_read[kind]:
                continue
            for cells in <list>self.sum_readers[SKETCHES]:
                if cells.accepts(TIMINGS, kind) and cells.intervals.current != NONE:
                    (<Distribution>cells.sum_cell()).add_bins(bins, size)
            if not self.has_row_readers[SKETCHES]:
                continue
            row = self._row(label, SKETCHES, kind)
            for position in range(row.size):
                cell = current_cell(&row.feeds[position])
                if cell != NULL:
                    (<Distribution>cell).add_bins(bins, size)
        return numbers

    cdef Py_ssize_t _read_gauges(self, Cursor *part, Py_ssize_t numbers, list names) except? -1:
        cdef Label label
        cdef GaugeSummary summary
        cdef long long epoch
        cdef int gauge
        cdef Py_ssize_t position
        cdef Py_ssize_t size = len(names)
        cdef bint keeps_last = self.latest_gauges is not None
        cdef Row *row
        cdef QueryCells cells
        if not numbers:
            return 0
        epoch = not_negative(part)
        numbers -= 1
        while numbers > 0:
            position = below(part, size)
            gauge = below(part, SMALL_NUMBERS)
            numbers -= 8
            if gauge >= GAUGES_MAX or not (keeps_last or self.is_gauge_read[gauge]):
                step_over(part, 6)
                continue
            read_gauge_summary(part, epoch, &summary)
            label = <Label>names[position]
            if keeps_last and gauge < GAUGE_COUNT:
                (<Gauge>self.latest_gauges[gauge]).merge(label.id, &summary)
            if not self.is_gauge_read[gauge]:
                continue
            for cells in <list>self.sum_readers[GAUGE_SECTION]:
                if cells.gauge == gauge and cells.intervals.current != NONE:
                    (<Gauge>cells.sum_cell()).merge(label.id, &summary)
            if not self.has_row_readers[GAUGE_SECTION]:
                continue
            row = expected_row(label, GAUGE_SECTION, gauge)
            if row == NULL:
                row = self._row(label, GAUGE_SECTION, gauge)
            if row.size:
                if row.turn != self.turns[GAUGE_SECTION]:
                    turn_row(row, GAUGE_SECTION, label.id, self.turns[GAUGE_SECTION])
                merge_summary(&row.summary, &summary)
        return numbers

    cdef Py_ssize_t _read_minutes(
        self, Cursor *part, Py_ssize_t numbers, list names, long long start
    ) except? -1:
        """Collect active minutes in the labels.

        They are counted in `finish`, since several rollups of one slot may repeat a minute.
        """
        cdef Label label
        cdef int first
        cdef unsigned long long shifted
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            first = below(part, MINUTES_PER_HOUR)
            shifted = not_negative(part)
            if not shifted or shifted >> (MINUTES_PER_HOUR - first):
                raise ValueError("minutes outside the hour")
            label.last_active_s = max(label.last_active_s, start)
            if self.counts_minutes:
                if label.minutes is None:
                    label.minutes = {}
                label.minutes[start] = label.minutes.get(start, 0) | (shifted << first)
            numbers -= 3
        return numbers

    cdef int _read_extensions(self, Cursor *rollup) except -1:
        """Read tagged sections in Python: their rows are few, and hold their own names."""
        cdef Cursor tag = rollup[0]
        cdef Cursor part = rollup[0]
        cdef QueryCells cells
        cdef long long id
        cdef Py_ssize_t _
        if not self.extensions and not self.extension_readers:
            return skip_extensions(rollup)
        for _ in range(array(rollup)):
            if array(rollup) != 2:
                raise ValueError("no section")
            text(rollup, &tag)
            binary(rollup, &part)
            name = tag.at[: tag.end - tag.at].decode()
            is_merged = name in self.extensions
            readers = self.extension_readers.get(name, ())
            if not is_merged and not readers:
                continue
            section = SECTION[name]
            keyers = [(<QueryCells>cells).query.keyer(name, self.app) for cells in readers]
            for row_key, value in decode_rows(section, part.at[: part.end - part.at]):
                if is_merged:
                    section.merge_row(self.merged_rollup.rows(section), row_key, value)
                if not readers:
                    continue
                id = self._label(section.columns_of(row_key)[0].encode()).id
                for cells, key_of in zip(readers, keyers):
                    cells.add_tagged(key_of(row_key), cells.intervals.current, id, value)
        return 0

    # --- results ---------------------------------------------------------------------------------

    cdef int _finish_app(self) except -1:
        """Pass on what the rows of the app added last added up, and count its active minutes."""
        cdef Label label
        cdef Row *row
        cdef Feed *feed
        cdef int section, position
        for label in (self.any_source, *self.labels.values()):
            for section in range(SECTIONS):
                if section == MINUTES or section == SKETCHES:
                    continue
                for position in range(label.rows[section].size):
                    finish_row(&label.rows[section].rows[position], section, label.id)
            if not label.minutes:
                continue
            row = self._row(label, MINUTES, 0)
            for position in range(row.size):
                feed = &row.feeds[position]
                for start, mask in label.minutes.items():
                    feed_minutes(feed, start, mask)
            label.minutes = None
        return 0

    def finish(self):
        """Complete the cells, after the last rollup.

        Raises:
            PackError: a sum is too large.
        """
        try:
            self._finish_app()
        except OverflowError as error:
            raise PackError(str(error)) from None

    def results(self):
        """The cells of each query, in their order."""
        self.finish()
        return self.cells

    def last_active_s(self):
        """The start of the last slot in which each source was active, in Unix seconds."""
        cdef Label label
        return {
            label.name: label.last_active_s
            for label in self.labels.values()
            if label.last_active_s != NONE
        }

    def last_values(self):
        """The last value of each (source, number or name of a gauge), in its stored unit."""
        cdef Gauge cell
        cdef int gauge, position
        cdef Label label
        names = {label.id: label.name for label in self.labels.values()}
        values = {}
        for gauge in range(GAUGE_COUNT if self.latest_gauges is not None else 0):
            cell = <Gauge>self.latest_gauges[gauge]
            for position in range(cell.size):
                name = names[cell.dynos[position].id]
                values[name, gauge] = cell.dynos[position].summary.last
        if self.merged_rollup is not None:
            for key, summary in self.merged_rollup.named_gauges.items():
                values[key] = summary.last
        return values


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


cdef int read_bins(Cursor *part, Bin *bins, int *size) except -1:
    """Read the bins of a sketch.

    Returns how many numbers were read, with the 0 at the end.
    """
    cdef int numbers = 1  # the 0 at the end
    cdef int count = 0
    cdef long long index = 0
    cdef long long value = number(part)
    while value:
        numbers += 1
        if value < 0:
            if value < -BINS:
                raise ValueError("no such bin")
            index -= value
        else:
            if index >= BINS:
                raise ValueError("no such bin")
            bins[count].index, bins[count].count = <int>index, value
            count += 1
            index += 1
        if index > BINS:
            raise ValueError("no such bin")
        value = number(part)
    size[0] = count
    return numbers


cdef int read_gauge_summary(Cursor *part, long long epoch, GaugeSummary *summary) except -1:
    """Read the columns of a gauge row that follow its name and gauge."""
    cdef long long after, difference, smallest, largest
    after = not_negative(part)
    summary.last = not_negative(part)
    summary.count = not_negative(part)
    difference = number(part)
    smallest = number(part)
    largest = number(part)
    if summary.count < 1:
        raise ValueError("a gauge without readings")
    if summary.last and summary.count > NUMBER_MAX // summary.last:
        raise ValueError("too large")
    if after > NUMBER_MAX - epoch:
        raise ValueError("after all times")
    summary.last_at_ms = epoch + after
    summary.total = _sum(summary.last * summary.count, difference)
    summary.smallest = _sum(summary.last, smallest)
    summary.largest = _sum(summary.last, largest)
    return 0


cdef long long _sum(long long one, long long other) except -1:
    """Add a number that may be negative to one that is not; a negative sum is an error."""
    if other > 0 and one > NUMBER_MAX - other or one + other < 0:
        raise ValueError("out of range")
    return one + other
