# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.query.table.Table: accumulates packed rollups into cells, byte by byte.

Only the sections that a query needs are read, straight into their cells; the others are skipped. No
rollup is decoded into Python objects, which is what makes long ranges fast.

Bytes that differ from what app.rollup.codec writes, and sums over 63 bits, raise a PackError. The table
is then unusable, and the caller falls back to app.query.table.Table, which defines the result.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from app.query._stats cimport BINS, Cell, Counter, Distribution, Dynos, Gauge, GaugeSummary, plus
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, not_negative, number, step_over, text,
)

from app.rollup import codec as packing
from app.query.table import VALUES_MAX, SeriesKeyer, required_sections
from app.rollup.codec import PackError, decode_rows
from app.rollup.resolutions import HOUR_S, align
from app.rollup.schema import CORE_SECTIONS, SECTION, SMALL_NUMBER_MAX

cdef enum:
    TIMING_KIND_COUNT = 4  # SERVICE_OK and so on in app.rollup.schema
    MINUTES_PER_HOUR = 60
    SECTIONS = 8
    NONE = -1  # no series: a filter excludes the row

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TIMINGS, RESPONSE_BYTES, SKETCHES, GAUGE_SECTION, MINUTES, LEDGER

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int SMALL_NUMBERS = SMALL_NUMBER_MAX + 1
assert CORE_SECTIONS[GAUGE_SECTION].name == "gauges" and len(CORE_SECTIONS) == SECTIONS


cdef struct SeriesRow:
    long long second  # the second column of the row: status, code, kind or gauge
    int series


cdef class Label:
    """A name from packed bytes, and the series of the rows that start with it.

    A label has few distinct rows, so `_find_series` searches them one after the other.
    """

    cdef str name
    cdef bytes encoded
    cdef long long id
    cdef dict minutes  # bits of active minutes, by start of the slot
    cdef SeriesRow *rows
    cdef int size
    cdef int capacity

    def __cinit__(self, bytes name, long long id):
        self.name = name.decode()
        self.encoded = name
        self.id = id
        self.minutes = {}

    def __dealloc__(self):
        free(self.rows)

    cdef int add_row(self, long long second, int series) except -1:
        cdef SeriesRow *grown
        cdef int capacity
        if self.size == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 4
            grown = <SeriesRow *>realloc(self.rows, capacity * sizeof(SeriesRow))
            if grown == NULL:
                raise MemoryError
            self.rows = grown
            self.capacity = capacity
        self.rows[self.size].second = second
        self.rows[self.size].series = series
        self.size += 1
        return 0


cdef class Table:
    """The compiled app.query.table.Table."""

    cdef object query
    cdef bint is_required[SECTIONS]
    cdef frozenset required_tags  # of tagged sections
    cdef int gauge  # a core gauge, or NONE
    cdef double scale  # of a gauge
    cdef bint is_timed_kind[TIMING_KIND_COUNT]
    cdef object cell_type
    cdef long long begin
    cdef long long step_s
    cdef int size
    cdef dict series_by_key
    cdef list cells  # for each series a list with a cell for each interval, or None
    cdef list active_apps  # a set for each interval
    cdef str app
    cdef bint is_single_series  # without grouping and filters all rows belong to one series
    cdef object key_of  # row -> key of its series
    cdef object sketch_key_of
    cdef dict labels  # by their bytes
    cdef bytes block  # the bytes of the previous rollup's names
    cdef list block_labels
    cdef long long label_count

    def __init__(self, query):
        self.query = query
        self.begin, self.step_s, self.size = query.range.start, query.range.step_s, query.range.size
        metric = query.metric
        sections = required_sections(query).sections
        for position, section in enumerate(CORE_SECTIONS):
            self.is_required[position] = section.name in sections
        self.required_tags = frozenset(name for name in sections if not SECTION[name].is_core)
        self.gauge = NONE
        if metric.sections == ("gauges",):
            (self.gauge,) = metric.selection
        self.scale = metric.scale[0] / metric.scale[1]
        for position in range(TIMING_KIND_COUNT):
            self.is_timed_kind[position] = position in (metric.selection or ())
        self.cell_type = _CELL_TYPES[metric.kind]
        if metric.sections == ("active_minutes",):
            self.cell_type = Dynos
        self.is_single_series = not query.by and not query.filters
        self.series_by_key = {}
        self.cells = []
        self.active_apps = [set() for _ in range(self.size)]
        self._start_app("")

    cdef int _start_app(self, str app) except -1:
        """Reset the caches of names and keys, which are valid for one app only."""
        sections = self.query.metric.sections
        self.key_of = SeriesKeyer(self.query, app, SECTION[sections[0]])
        self.sketch_key_of = SeriesKeyer(self.query, app, SECTION[sections[len(sections) - 1]])
        self.app = app
        self.labels = {}
        self.block, self.block_labels = b"", []
        return 0

    def add(self, str app, long long start, bytes data):
        """Add a packed rollup of the slot that starts at `start`, which lies in the query's range.

        Raises:
            PackError: the bytes differ from what `pack` writes, or a sum is too large.
            IndexError: the slot lies outside the range.
        """
        cdef long long index = (start - self.begin) // self.step_s
        if start < self.begin or index >= self.size:
            raise IndexError(start)
        if app != self.app:
            self._finish()
            self._start_app(app)
        try:
            self._add(start, <int>index, data)
        except (ValueError, OverflowError) as error:
            raise PackError(str(error)) from None

    cdef int _add(self, long long start, int index, bytes data) except -1:
        cdef Cursor rollup, part
        cdef list names
        cdef int section
        rollup.at = data
        rollup.end = rollup.at + len(data)
        if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
            raise ValueError("another format")
        if not_negative(&rollup):
            (<set>self.active_apps[index]).add(self.app)
        names = self._read_names(&rollup)
        for section in range(SECTIONS):
            binary(&rollup, &part)
            if self.is_required[section]:
                self._read(section, &part, names, index, start)
                if part.at != part.end:
                    raise ValueError("more than its rows")
        self._read_extensions(&rollup, index)
        if rollup.at != rollup.end:
            raise ValueError("more than a rollup")
        return 0

    cdef list _read_names(self, Cursor *rollup):
        """Read the names of a rollup as labels.

        Most rollups of an app have exactly the names of the previous one, so its bytes are compared
        first: then all labels, with their known series, are reused.
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

    # --- series of a row, and their cells --------------------------------------------------------

    cdef Cell _cell(self, int series, int index):
        cdef list row = <list>self.cells[series]
        cell = row[index]
        if cell is None:
            cell = row[index] = self.cell_type()
        return <Cell>cell

    cdef int _series(self, object key) except -2:
        if key is None:
            return NONE
        series = self.series_by_key.get(key)
        if series is None:
            if len(self.series_by_key) and (len(self.series_by_key) + 1) * self.size > VALUES_MAX:
                self.series_by_key[key] = NONE  # too many: the query fails, so keep no cells
                return NONE
            series = self.series_by_key[key] = len(self.cells)
            self.cells.append([None] * self.size)
        return series

    cdef int _find_series(self, Label label, long long second, Label code=None) except -2:
        """The series of a row with this label and second column.

        `code`: the second column's label, if it is one (an error code).
        """
        cdef int position, series
        for position in range(label.size):
            if label.rows[position].second == second:
                return label.rows[position].series
        if self.is_single_series:
            return self._series(())
        if self.is_required[RESPONSE_BYTES] or self.is_required[MINUTES]:
            row_key = label.name
        elif code is not None:
            row_key = (label.name, code.name)
        else:
            row_key = (label.name, second)
        series = self._series(self.key_of(row_key))
        label.add_row(second, series)
        return series

    cdef int _find_sketch_series(self, Label label, int kind) except -2:
        cdef int position, series
        cdef long long second = TIMING_KIND_COUNT + kind  # rows of timings have 0 to 3
        for position in range(label.size):
            if label.rows[position].second == second:
                return label.rows[position].series
        if self.is_single_series:
            return self._series(())
        series = self._series(self.sketch_key_of((label.name, kind)))
        label.add_row(second, series)
        return series

    # --- reading -------------------------------------------------------------------------------

    cdef int _read(
        self, int section, Cursor *part, list names, int index, long long start
    ) except -1:
        cdef Py_ssize_t numbers = array(part)
        if section == REQUESTS or section == ERRORS or section == RESPONSE_BYTES:
            return self._read_counts(section, part, numbers, names, index)
        if section == TIMINGS:
            return self._read_timings(part, numbers, names, index)
        if section == SKETCHES:
            return self._read_sketches(part, numbers, names, index)
        if section == GAUGE_SECTION:
            return self._read_gauges(part, numbers, names, index)
        return self._read_minutes(part, numbers, names, start)

    cdef int _read_counts(
        self, int section, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label, code = None
        cdef long long second = 0
        cdef long long count
        cdef int series
        cdef Counter cell
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            if section == REQUESTS:
                second = below(part, SMALL_NUMBERS)
            elif section == ERRORS:
                code = <Label>names[below(part, len(names))]
                second = code.id
            count = not_negative(part)
            series = self._find_series(label, second, code)
            if series != NONE:
                cell = <Counter>self._cell(series, index)
                cell.total = plus(cell.total, count)
            numbers -= 2 if section == RESPONSE_BYTES else 3
        return require_whole_rows(numbers)

    cdef int _read_timings(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef int kind, series
        cdef long long count, total, largest
        cdef Distribution cell
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            kind = below(part, SMALL_NUMBERS)
            count = not_negative(part)
            total = not_negative(part)
            largest = not_negative(part)
            if kind < TIMING_KIND_COUNT and self.is_timed_kind[kind]:
                series = self._find_series(label, kind)
                if series != NONE:
                    cell = <Distribution>self._cell(series, index)
                    cell.count = plus(cell.count, count)
                    cell.total = plus(cell.total, total)
                    if largest > cell.largest:
                        cell.largest = largest
            numbers -= 5
        return require_whole_rows(numbers)

    cdef int _read_sketches(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef int kind, series
        cdef Distribution cell
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            kind = below(part, SMALL_NUMBERS)
            numbers -= 2
            cell = None
            if kind < TIMING_KIND_COUNT and self.is_timed_kind[kind]:
                series = self._find_sketch_series(label, kind)
                if series != NONE:
                    cell = <Distribution>self._cell(series, index)
            numbers -= read_bins(part, cell)
        return require_whole_rows(numbers)

    cdef int _read_gauges(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef GaugeSummary summary
        cdef Gauge cell
        cdef long long epoch
        cdef int gauge, series
        if not numbers:
            return 0
        epoch = not_negative(part)
        numbers -= 1
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            gauge = below(part, SMALL_NUMBERS)
            numbers -= 8
            if gauge != self.gauge:
                step_over(part, 6)
                continue
            read_gauge_summary(part, epoch, &summary)
            series = self._find_series(label, gauge)
            if series != NONE:
                cell = <Gauge>self._cell(series, index)
                cell.scale = self.scale
                cell.merge(label.id, &summary)
        return require_whole_rows(numbers)

    cdef int _read_minutes(
        self, Cursor *part, Py_ssize_t numbers, list names, long long start
    ) except -1:
        """Collect active minutes in the labels.

        They are counted in `_finish`, since several rollups of one slot may repeat a minute.
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
            label.minutes[start] = label.minutes.get(start, 0) | (shifted << first)
            numbers -= 3
        return require_whole_rows(numbers)

    cdef int _finish(self) except -1:
        """Count the active minutes of the app added last."""
        cdef Label label
        cdef Dynos cell
        cdef int series
        if not self.is_required[MINUTES]:
            return 0
        for label in self.labels.values():
            if not label.minutes:
                continue
            series = self._find_series(label, 0)
            if series != NONE:
                for start, mask in label.minutes.items():
                    cell = <Dynos>self._cell(series, (start - self.begin) // self.step_s)
                    cell.add(align(start, HOUR_S), mask)
            label.minutes = {}
        return 0

    cdef int _read_extensions(self, Cursor *rollup, int index) except -1:
        """Read tagged sections in Python: their rows are few, and hold their own names."""
        cdef Cursor tag = rollup[0]
        cdef Cursor part = rollup[0]
        cdef int series
        cdef Py_ssize_t _
        for _ in range(array(rollup)):
            if array(rollup) != 2:
                raise ValueError("no section")
            text(rollup, &tag)
            binary(rollup, &part)
            name = tag.at[: tag.end - tag.at].decode()
            if name not in self.required_tags:
                continue
            for row_key, value in decode_rows(SECTION[name], part.at[: part.end - part.at]):
                series = self._series(self.key_of(row_key))
                if series != NONE:
                    self._add_tagged(self._cell(series, index), row_key, value)
        return 0

    cdef int _add_tagged(self, Cell cell, row_key, value) except -1:
        """Add a row of a tagged section: a count, or a gauge of a source."""
        cdef GaugeSummary summary
        if isinstance(cell, Counter):
            (<Counter>cell).total = plus((<Counter>cell).total, value)
        elif isinstance(cell, Gauge):
            summary.count, summary.total = value.count, value.total
            summary.smallest, summary.largest = value.smallest, value.largest
            summary.last_at_ms, summary.last = value.last_at_ms, value.last
            (<Gauge>cell).scale = self.scale
            (<Gauge>cell).merge(self._label(row_key[0].encode()).id, &summary)
        else:
            raise ValueError(f"no cell for the section of {self.query.metric.name}")
        return 0

    # --- answering -----------------------------------------------------------------------------

    def keys(self):
        """The keys of all series that have a cell."""
        self._finish()
        return set(self.series_by_key)

    def values(self, tuple key, app, stat, intervals):
        """The values of a series for these intervals, as app.query.table.Table.values gives them."""
        cdef int series, index
        cdef list row
        cdef set active_apps
        self._finish()
        empty = 0 if self.query.metric.kind == "counter" else None
        series = self.series_by_key.get(key, NONE)
        row = [None] * self.size if series == NONE else <list>self.cells[series]
        values = []
        if intervals and not 0 <= min(intervals) <= max(intervals) < self.size:
            raise IndexError(intervals)
        for index in intervals:
            cell = row[index]
            active_apps = <set>self.active_apps[index]
            if cell is not None:
                values.append((<Cell>cell).value_of(stat, self.step_s))
            elif active_apps if app is None else app in active_apps:
                values.append(empty)
            else:
                values.append(None)
        return values


_CELL_TYPES = {"counter": Counter, "distribution": Distribution, "gauge": Gauge}


cdef Py_ssize_t read_bins(Cursor *part, Distribution cell) except -1:
    """Add the bins of a sketch to a cell, or skip them if it is None.

    Returns how many numbers were read, with the 0 at the end.
    """
    cdef Py_ssize_t numbers = 1  # the 0 at the end
    cdef long long index = 0
    cdef long long in_bins = 0
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
            if cell is not None:
                if index < cell.low or index >= cell.high:
                    cell.grow(<int>index)
                cell.bins[index - cell.low] += value
                in_bins = plus(in_bins, value)
            index += 1
        if index > BINS:
            raise ValueError("no such bin")
        value = number(part)
    if cell is not None:
        cell.in_bins = plus(cell.in_bins, in_bins)
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


cdef int require_whole_rows(Py_ssize_t numbers) except -1:
    if numbers:
        raise ValueError("ends early")
    return 0


cdef long long _sum(long long one, long long other) except -1:
    """Add a number that may be negative to one that is not; a negative sum is an error."""
    if other > 0 and one > NUMBER_MAX - other or one + other < 0:
        raise ValueError("out of range")
    return one + other
