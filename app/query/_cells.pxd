# C declarations of app/query/_cells.pyx, so that the table uses it without Python calls.

from app.query._stats cimport Cell, GaugeSummary

cdef enum:
    TIMING_KIND_COUNT = 4  # SERVICE_OK and so on in app.rollup.schema
    SECTIONS = 8
    NONE = -1  # no series, or no interval
    UNKNOWN = -2  # a series that no rollup in the query's range has had yet

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TIMINGS, RESPONSE_BYTES, SKETCHES, GAUGE_SECTION, MINUTES, LEDGER

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

cdef struct ActiveSlot:
    long long start
    unsigned long long mask  # of active minutes

cdef class Label:
    cdef str name
    cdef bytes encoded
    cdef long long id
    cdef Py_ssize_t position  # in the block that had it last
    cdef long long last_active_s  # the start of the last slot in which this source was active
    cdef ActiveSlot *active_slots  # in the order of their starts
    cdef int active_count
    cdef int active_capacity
    cdef list keys  # held for the feeds, or None
    cdef Rows rows[SECTIONS]
    cdef int add_minutes(self, long long start, unsigned long long mask) except -1
    cdef Row *add_row(self, int section, long long second, Py_ssize_t feeds_max) except NULL

cdef class OpenCell(Cell):
    cdef object cell

cdef class Intervals:
    cdef long long begin
    cdef long long step_s
    cdef int size
    cdef int current  # the interval of the rollup being read, or NONE
    cdef bint has_section[SECTIONS]  # that a query over this range reads
    cdef bint has_rows[SECTIONS]  # of which it reads rows
    cdef list active_apps  # a set for each interval
    cdef int index(self, long long start) noexcept

cdef class QueryCells:
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
    cdef list names  # of the table's labels, by their ids
    cdef bint accepts(self, int section, long long second)
    cdef int find_series(self, object key) except -2
    cdef Cell find_cell(self, int series, int interval)
    cdef Cell sum_cell(self)
    cdef int add_open(self, object key, int interval, str app, row, value) except -1

cdef int move_feed(Feed *feed) except -1
cdef int turn_row(Row *row, int section, long long source, int turn) except -1
cdef int finish_row(Row *row, int section, long long source) except -1
cdef int feed_minutes(Feed *feed, long long start, unsigned long long mask) except -1


cdef inline void *current_cell(Feed *feed) except? NULL:
    """The cell that a feed's row goes to, or NULL if the rollup is outside the query's range."""
    if feed.interval[0] != feed.cell_interval:
        move_feed(feed)
    return feed.cell


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
