# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The cells of an answer (app.query.table.Table), gathered from packed rollups byte by byte: only the
section that a query asks for is read, straight into its cells; the others are stepped over.

What is not exactly as app.rollup.codec writes it, and sums over 63 bits, are a PackError: the table is
of no use then, and app.query.table.Table, which defines what is meant, has to be asked instead.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from app.query._stats cimport BINS, Cell, Counter, Distribution, Dynos, Gauge, GaugeSummary, plus
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, not_negative, number, step_over, text,
)

from app.rollup import codec_extensions

from app.rollup import codec as packing
from app.query.table import COUNTERS, VALUES_MAX, WHICH, SeriesKeyer, required_sections
from app.rollup.codec import PackError
from app.rollup.resolutions import HOUR_S, align
from app.rollup.rollup import Rollup
from app.rollup.labels import gauge_labels, sketch_labels, source_labels, timing_labels
from parsers.metrics import GAUGE_INDEX, GAUGES

cdef enum:
    KINDS_OF_TIME = 4  # see app.rollup.rollup: SERVICE_OK …
    MINUTES_OF_HOUR = 60
    STATUSES = 600
    SECTIONS = 8
    NONE = -1  # no series

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TALLIES, RESPONSE_BYTES, SKETCHES, OF_GAUGES, MINUTES, LEDGER

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int GAUGES_KNOWN = len(GAUGES)
assert packing.SECTIONS[OF_GAUGES] == "gauges" and len(packing.SECTIONS) == SECTIONS


cdef struct Row:
    long long second  # what a row has beside its label
    int series


cdef class Label:
    """A name that stands in packed bytes, and the series of the rows that begin with it."""

    cdef str name
    cdef bytes encoded
    cdef long long id
    cdef dict minutes  # in which it was heard, by the start of the slot
    cdef Row *rows
    cdef int size
    cdef int room

    def __cinit__(self, bytes name, long long id):
        self.name = name.decode()
        self.encoded = name
        self.id = id
        self.minutes = {}

    def __dealloc__(self):
        free(self.rows)

    cdef int remember(self, long long second, int series) except -1:
        cdef Row *grown
        cdef int room
        if self.size == self.room:
            room = 2 * self.room if self.room else 4
            grown = <Row *>realloc(self.rows, room * sizeof(Row))
            if grown == NULL:
                raise MemoryError
            self.rows = grown
            self.room = room
        self.rows[self.size].second = second
        self.rows[self.size].series = series
        self.size += 1
        return 0


cdef class Table:
    """See app.query.table.Table."""

    cdef object query
    cdef tuple sections  # that are asked for: names
    cdef bint wanted[SECTIONS]
    cdef str of_later  # the tag of the section that is asked for, or None
    cdef int gauge
    cdef bint which[KINDS_OF_TIME]
    cdef object kind  # of cells
    cdef long long begin
    cdef long long step_s
    cdef int size
    cdef dict numbers  # of series, by their key
    cdef list cells  # of each series: one for each interval, or None
    cdef list heard
    cdef str app
    cdef bint undivided  # all rows belong to one series
    cdef object keys_of  # key of a row
    cdef object sketch_keys_of
    cdef dict labels  # by their bytes
    cdef bytes block  # the names of the rollup before, as they stand there
    cdef list of_block
    cdef long long ids

    def __init__(self, query):
        name = query.metric.name
        self.query = query
        self.begin, self.step_s, self.size = query.range.start, query.range.step_s, query.range.size
        sections = required_sections(query).sections
        for position, section in enumerate(packing.SECTIONS):
            self.wanted[position] = section in sections
        self.sections = tuple(sections)
        self.of_later = next(iter(sections & codec_extensions.TAGS), None)
        self.gauge = GAUGE_INDEX.get(name, NONE)
        for position in range(KINDS_OF_TIME):
            self.which[position] = position in WHICH.get(name, ())
        self.kind = Counter if name in COUNTERS else _KINDS[query.metric.kind]
        if name == "dynos":
            self.kind = Dynos
        self.undivided = not query.by and not query.filters
        self.numbers = {}
        self.cells = []
        self.heard = [set() for _ in range(self.size)]
        self._begin("")

    cdef int _begin(self, str app) except -1:
        """What is remembered of names is of one app."""
        name = self.query.metric.name
        if name in COUNTERS:
            labels = COUNTERS[name][1]
        elif name in WHICH:
            labels = timing_labels
            self.sketch_keys_of = SeriesKeyer(self.query, app, sketch_labels)
        else:
            labels = source_labels if name == "dynos" else gauge_labels
        self.keys_of = SeriesKeyer(self.query, app, labels)
        self.app = app
        self.labels = {}
        self.block, self.of_block = b"", []
        return 0

    def add(self, str app, long long start, bytes packed):
        """Take packed bytes of the slot that starts then, which lies in the query's range.

        Raises:
            PackError: they are not exactly as `pack` writes them, or a sum is too large.
        """
        cdef long long index = (start - self.begin) // self.step_s
        if start < self.begin or index >= self.size:
            raise IndexError(start)
        if app != self.app:
            self._finish()
            self._begin(app)
        try:
            self._add(start, <int>index, packed)
        except (ValueError, OverflowError) as error:
            raise PackError(str(error)) from None

    cdef int _add(self, long long start, int index, bytes packed) except -1:
        cdef Cursor rollup, part
        cdef list names
        cdef int section
        rollup.at = packed
        rollup.end = rollup.at + len(packed)
        if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
            raise ValueError("another format")
        if not_negative(&rollup):
            (<set>self.heard[index]).add(self.app)
        names = self._names(&rollup)
        for section in range(SECTIONS):
            binary(&rollup, &part)
            if self.wanted[section]:
                self._read(section, &part, names, index, start)
                if part.at != part.end:
                    raise ValueError("more than its rows")
        self._read_later(&rollup, index)
        if rollup.at != rollup.end:
            raise ValueError("more than a rollup")
        return 0

    cdef list _names(self, Cursor *rollup):
        """Rollups of an app mostly have the same names as the one before, or nearly so."""
        cdef Bytes begin = rollup.at
        cdef Py_ssize_t size = len(self.block)
        cdef Py_ssize_t position
        cdef list before = self.of_block
        if size and size <= rollup.end - begin and not memcmp(begin, <Bytes>self.block, size):
            rollup.at += size
            return before
        self.block = b""
        self.of_block = [
            self._label(rollup, before[position] if position < len(before) else None)
            for position in range(array(rollup))
        ]
        self.block = begin[: rollup.at - begin]
        return self.of_block

    cdef Label _label(self, Cursor *names, Label likely):
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
        name = part.at[:size]
        found = self.labels.get(name)
        if found is None:
            self.ids += 1
            found = self.labels[name] = Label(name, self.ids)
        return found

    # --- which series, and its cell ------------------------------------------------------------

    cdef Cell _cell(self, int series, int index):
        cdef list row = <list>self.cells[series]
        cell = row[index]
        if cell is None:
            cell = row[index] = self.kind()
        return <Cell>cell

    cdef int _series(self, object key) except -2:
        if key is None:
            return NONE
        found = self.numbers.get(key)
        if found is None:
            if len(self.numbers) and (len(self.numbers) + 1) * self.size > VALUES_MAX:
                self.numbers[key] = NONE  # the answer will be that these are too many
                return NONE
            found = self.numbers[key] = len(self.cells)
            self.cells.append([None] * self.size)
        return found

    cdef int _of(self, Label label, long long second, Label code=None) except -2:
        """The series of a row; `second`: what it has beside its label, `code`: if that is a
        label, too.
        """
        cdef int position, series
        for position in range(label.size):
            if label.rows[position].second == second:
                return label.rows[position].series
        if self.undivided:
            return self._series(())
        if self.wanted[RESPONSE_BYTES] or self.wanted[MINUTES]:
            raw = label.name
        elif code is not None:
            raw = (label.name, code.name)
        else:
            raw = (label.name, second)
        series = self._series(self.keys_of(raw))
        label.remember(second, series)
        return series

    cdef int _of_sketch(self, Label label, int which) except -2:
        cdef int position, series
        cdef long long second = KINDS_OF_TIME + which  # apart from those of tallies
        for position in range(label.size):
            if label.rows[position].second == second:
                return label.rows[position].series
        if self.undivided:
            return self._series(())
        series = self._series(self.sketch_keys_of((label.name, which)))
        label.remember(second, series)
        return series

    # --- reading -------------------------------------------------------------------------------

    cdef int _read(
        self, int section, Cursor *part, list names, int index, long long start
    ) except -1:
        cdef Py_ssize_t numbers = array(part)
        if section == REQUESTS or section == ERRORS or section == RESPONSE_BYTES:
            return self._read_counts(section, part, numbers, names, index)
        if section == TALLIES:
            return self._read_tallies(part, numbers, names, index)
        if section == SKETCHES:
            return self._read_sketches(part, numbers, names, index)
        if section == OF_GAUGES:
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
                second = below(part, STATUSES)
            elif section == ERRORS:
                code = <Label>names[below(part, len(names))]
                second = code.id
            count = not_negative(part)
            series = self._of(label, second, code)
            if series != NONE:
                cell = <Counter>self._cell(series, index)
                cell.total = plus(cell.total, count)
            numbers -= 2 if section == RESPONSE_BYTES else 3
        return whole_rows(numbers)

    cdef int _read_tallies(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef int which, series
        cdef long long count, total, largest
        cdef Distribution cell
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            which = below(part, KINDS_OF_TIME)
            count = not_negative(part)
            total = not_negative(part)
            largest = not_negative(part)
            if self.which[which]:
                series = self._of(label, which)
                if series != NONE:
                    cell = <Distribution>self._cell(series, index)
                    cell.count = plus(cell.count, count)
                    cell.total = plus(cell.total, total)
                    if largest > cell.largest:
                        cell.largest = largest
            numbers -= 5
        return whole_rows(numbers)

    cdef int _read_sketches(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef int which, series
        cdef Distribution cell
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            which = below(part, KINDS_OF_TIME)
            numbers -= 2
            cell = None
            if self.which[which]:
                series = self._of_sketch(label, which)
                if series != NONE:
                    cell = <Distribution>self._cell(series, index)
            numbers -= read_bins(part, cell)
        return whole_rows(numbers)

    cdef int _read_gauges(
        self, Cursor *part, Py_ssize_t numbers, list names, int index
    ) except -1:
        cdef Label label
        cdef GaugeSummary reading
        cdef Gauge cell
        cdef long long epoch
        cdef int gauge, series
        if not numbers:
            return 0
        epoch = not_negative(part)
        numbers -= 1
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            gauge = below(part, GAUGES_KNOWN)
            numbers -= 8
            if gauge != self.gauge:
                step_over(part, 6)
                continue
            read_reading(part, epoch, &reading)
            series = self._of(label, gauge)
            if series != NONE:
                cell = <Gauge>self._cell(series, index)
                cell.gauge = gauge
                cell.merge(label.id, &reading)
        return whole_rows(numbers)

    cdef int _read_minutes(
        self, Cursor *part, Py_ssize_t numbers, list names, long long start
    ) except -1:
        """Into the labels first: of a slot there may be more than one rollup."""
        cdef Label label
        cdef int first
        cdef unsigned long long shifted
        while numbers > 0:
            label = <Label>names[below(part, len(names))]
            first = below(part, MINUTES_OF_HOUR)
            shifted = not_negative(part)
            if not shifted or shifted >> (MINUTES_OF_HOUR - first):
                raise ValueError("minutes outside the hour")
            label.minutes[start] = label.minutes.get(start, 0) | (shifted << first)
            numbers -= 3
        return whole_rows(numbers)

    cdef int _finish(self) except -1:
        """Count the minutes of the app that was added last."""
        cdef Label label
        cdef Dynos cell
        cdef int series
        if not self.wanted[MINUTES]:
            return 0
        for label in self.labels.values():
            if not label.minutes:
                continue
            series = self._of(label, 0)
            if series != NONE:
                for start, mask in label.minutes.items():
                    cell = <Dynos>self._cell(series, (start - self.begin) // self.step_s)
                    cell.add(align(start, HOUR_S), mask)
            label.minutes = {}
        return 0

    cdef int _read_later(self, Cursor *rollup, int index) except -1:
        """Rare, and each row with its names in it: as app.rollup.codec_extensions reads them."""
        cdef Cursor tag = rollup[0]
        cdef Cursor part = rollup[0]
        cdef int series
        cdef Counter cell
        cdef Py_ssize_t _
        for _ in range(array(rollup)):
            if array(rollup) != 2:
                raise ValueError("no section")
            text(rollup, &tag)
            binary(rollup, &part)
            name = tag.at[: tag.end - tag.at].decode()
            if name != self.of_later:
                continue
            plain = Rollup()
            codec_extensions.merge_extensions(
                plain,
                [(name, part.at[: part.end - part.at])],
                frozenset(self.sections),
                keep_unknown=False,
            )
            for raw, count in getattr(plain, name).items():
                series = self._series(self.keys_of(raw))
                if series != NONE:
                    cell = <Counter>self._cell(series, index)
                    cell.total = plus(cell.total, count)
        return 0

    # --- answering -----------------------------------------------------------------------------

    def keys(self):
        """See app.query.table.Table."""
        self._finish()
        return set(self.numbers)

    def values(self, tuple key, app, stat, intervals):
        """See app.query.table.Table."""
        cdef int series, index
        cdef list row
        cdef set heard
        self._finish()
        nothing = 0 if self.query.metric.kind == "counter" else None
        series = self.numbers.get(key, NONE)
        row = [None] * self.size if series == NONE else <list>self.cells[series]
        found = []
        if intervals and not 0 <= min(intervals) <= max(intervals) < self.size:
            raise IndexError(intervals)
        for index in intervals:
            cell = row[index]
            heard = <set>self.heard[index]
            if cell is not None:
                found.append((<Cell>cell).value_of(stat, self.step_s))
            elif heard if app is None else app in heard:
                found.append(nothing)
            else:
                found.append(None)
        return found


_KINDS = {"distribution": Distribution, "gauge": Gauge}


cdef Py_ssize_t read_bins(Cursor *part, Distribution cell) except -1:
    """The bins of a sketch, of which nothing is kept without a cell; returns how many numbers they
    are.
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
                    cell.make_room(<int>index)
                cell.bins[index - cell.low] += value
                in_bins = plus(in_bins, value)
            index += 1
        if index > BINS:
            raise ValueError("no such bin")
        value = number(part)
    if cell is not None:
        cell.in_bins = plus(cell.in_bins, in_bins)
    return numbers


cdef int read_reading(Cursor *part, long long epoch, GaugeSummary *reading) except -1:
    """A row of gauges behind its name and gauge."""
    cdef long long after, difference, smallest, largest
    after = not_negative(part)
    reading.last = not_negative(part)
    reading.count = not_negative(part)
    difference = number(part)
    smallest = number(part)
    largest = number(part)
    if reading.count < 1:
        raise ValueError("a gauge without readings")
    if reading.last and reading.count > NUMBER_MAX // reading.last:
        raise ValueError("too large")
    if after > NUMBER_MAX - epoch:
        raise ValueError("after all times")
    reading.last_at_ms = epoch + after
    reading.total = _sum(reading.last * reading.count, difference)
    reading.smallest = _sum(reading.last, smallest)
    reading.largest = _sum(reading.last, largest)
    return 0


cdef int whole_rows(Py_ssize_t numbers) except -1:
    if numbers:
        raise ValueError("ends early")
    return 0


cdef long long _sum(long long one, long long other) except -1:
    """Of a number that is not negative and one that may be; the sum must not be either."""
    if other > 0 and one > NUMBER_MAX - other or one + other < 0:
        raise ValueError("out of range")
    return one + other
