# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.query.table.Table: accumulates packed rollups into cells, byte by byte.

Only the sections that a query needs are read, straight into the cells of all queries; the others are
skipped. No rollup is decoded into Python objects, which is what makes long ranges fast.

Bytes that differ from what app.rollup.codec writes, and sums over 63 bits, raise a PackError. The table
is then unusable, and the caller falls back to app.query.table.Table, which defines the result.
"""

# How rows reach the cells is told in app/query/_cells.pyx.

from libc.string cimport memcmp, memset

from app.query._cells cimport (
    ERRORS, GAUGE_SECTION, LEDGER, MINUTES, NONE, REQUESTS, RESPONSE_BYTES, SECTIONS, SKETCHES,
    TIMING_KIND_COUNT, TIMINGS, UNKNOWN, Feed, Intervals, Label, QueryCells, Row, Rows, current_cell,
    expected_row, feed_minutes, finish_row, turn_row,
)
from app.query._stats cimport (
    BINS, Bin, Counter, Distribution, Gauge, GaugeSummary, merge_summary, plus,
)
from app.query._tagged cimport TaggedRows
from app.rollup._rollup cimport product_fits
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, not_negative, number, skip_extensions, step_over,
    text,
)

from app.rollup import codec as packing
from app.query._tagged import has_number_rows
from app.query.table import WHOLE_SECTIONS
from app.rollup import addon_rows
from app.rollup._decoder import merge_section
from app.rollup._rollup import FastRollup
from app.rollup.codec import PackError, decode_rows
from app.rollup.schema import CORE_GAUGES, CORE_SECTIONS, SECTION, SMALL_NUMBER_MAX

cdef enum:
    MINUTES_PER_HOUR = 60
    GAUGES_MAX = 64
    STATUSES = 600  # that are known

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int SMALL_NUMBERS = SMALL_NUMBER_MAX + 1
cdef int GAUGE_COUNT = len(CORE_GAUGES)
cdef str ADDONS = addon_rows.TAG
cdef str ADDON_SAMPLES = addon_rows.SECTION
assert GAUGE_COUNT <= GAUGES_MAX

_POSITIONS = {section.name: position for position, section in enumerate(CORE_SECTIONS)}
_STATUS_LABELS = frozenset({"status", "status_class", "outcome"})


# --- reading ------------------------------------------------------------------------------------


cdef class Table:
    """The compiled app.query.table.Table."""

    cdef list cells  # a QueryCells for each query
    cdef list intervals
    cdef list row_readers  # for each section a list of the QueryCells that read its rows
    cdef list sum_readers  # the same for queries for one series, which need no rows
    cdef list gauge_readers  # the same for queries for one series of a gauge, by its number
    cdef list status_readers  # the same for queries about the statuses of requests
    cdef Label any_source  # has the rows of `status_readers`
    cdef long long counts_by_status[STATUSES]  # of the rollup being read
    cdef bint has_status[STATUSES]
    cdef bint is_required[SECTIONS]
    cdef bint has_row_readers[SECTIONS]
    cdef bint is_read[SECTIONS]  # in the rollup being read: some query has it in its range
    cdef bint is_gauge_read[GAUGES_MAX]
    cdef bint is_kind_read[TIMING_KIND_COUNT]
    cdef dict tagged_rows  # the TaggedRows of each tagged section that some query is about
    cdef dict sketch_readers  # the QueryCells that are about a tagged section of sketches
    cdef frozenset extensions  # that are merged as a whole
    cdef int turns[SECTIONS]  # counts changes of the intervals that its rows feed, from 1 on
    cdef list latest_gauges  # a Gauge for each gauge if last values are wanted, or None
    cdef bint counts_minutes
    cdef str app
    cdef dict labels  # by their bytes
    cdef bytes block  # the bytes of the previous rollup's names
    cdef list block_labels
    cdef list names  # of all labels, by their ids
    cdef readonly object whole_rollup  # a FastRollup that `extensions` are merged into

    def __init__(self, queries, whole_sections=frozenset()):
        cdef QueryCells cells
        cdef int section
        intervals_by_range = {}
        self.cells = []
        self.names = [""]
        for section in range(SECTIONS):
            self.turns[section] = 1
        for query in queries:
            if query.range not in intervals_by_range:
                intervals_by_range[query.range] = Intervals(query.range)
            self.cells.append(QueryCells(query, intervals_by_range[query.range], self.names))
        self.intervals = list(intervals_by_range.values())
        self.row_readers = [[] for _ in range(SECTIONS)]
        self.sum_readers = [[] for _ in range(SECTIONS)]
        self.gauge_readers = [[] for _ in range(GAUGES_MAX)]
        self.status_readers = []
        self.sketch_readers = {}
        tagged_readers = {}
        for cells in self.cells:
            for name in cells.sections:
                if SECTION[name].is_core:
                    self._add_reader(cells, _POSITIONS[name])
                elif has_number_rows(name):
                    tagged_readers.setdefault(name, []).append(cells)
                else:
                    self.sketch_readers.setdefault(name, []).append(cells)
        self.tagged_rows = {
            name: TaggedRows(SECTION[name], readers)
            for name, readers in tagged_readers.items()
        }
        if "gauges" in whole_sections:
            self.latest_gauges = [Gauge() for _ in range(GAUGE_COUNT)]
            self.is_required[GAUGE_SECTION] = True
        self.is_required[MINUTES] = "active_minutes" in whole_sections
        self.extensions = whole_sections & (WHOLE_SECTIONS | {"named_gauges"})
        self.whole_rollup = FastRollup()
        self._start_app("")

    cdef int _add_reader(self, QueryCells cells, int section) except -1:
        cdef int kind
        if cells.is_single_series and section == GAUGE_SECTION:
            self.gauge_readers[cells.gauge].append(cells)
        elif cells.is_single_series and section != MINUTES:
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
        cdef TaggedRows rows
        self.app = app
        self.labels = {}
        self.any_source = Label(b"", 0)
        self.block, self.block_labels = b"", []
        for cells in self.cells:
            cells.keyers = [None] * SECTIONS
        for rows in self.tagged_rows.values():
            rows.start_app(app)
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
        cdef Label label
        cdef list before = self.block_labels
        if size and size <= rollup.end - begin and not memcmp(begin, <Bytes>self.block, size):
            rollup.at += size
            return before
        self.block, self.block_labels = b"", []
        position = 0
        for _ in range(array(rollup)):
            label = self._read_label(rollup, before[position] if position < len(before) else None)
            label.position, position = len(self.block_labels), label.position + 1
            self.block_labels.append(label)
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
        cdef Label label = self.labels.get(name)
        if label is None:
            label = self.labels[name] = Label(name, len(self.names))
            self.names.append(label.name)
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
        cdef Py_ssize_t position
        cdef Py_ssize_t size = len(names)
        cdef bint has_rows = self.has_row_readers[TIMINGS]
        cdef Row sums[TIMING_KIND_COUNT]  # of all sources
        cdef Row *row
        memset(sums, 0, sizeof(sums))
        while numbers > 0:
            position = below(part, size)
            kind = below(part, SMALL_NUMBERS)
            count = not_negative(part)
            total = not_negative(part)
            largest = not_negative(part)
            numbers -= 5
            if kind >= TIMING_KIND_COUNT or not self.is_kind_read[kind]:
                continue
            add_times(&sums[kind], count, total, largest)
            if has_rows:
                label = <Label>names[position]
                row = expected_row(label, TIMINGS, kind)
                if row == NULL:
                    row = self._row(label, TIMINGS, kind)
                if row.size:
                    if row.turn != self.turns[TIMINGS]:
                        turn_row(row, TIMINGS, label.id, self.turns[TIMINGS])
                    add_times(row, count, total, largest)
        for kind in range(TIMING_KIND_COUNT):
            if sums[kind].count:
                self._add_times_to_sums(kind, &sums[kind])
        return numbers

    cdef int _add_times_to_sums(self, int kind, const Row *sums) except -1:
        """Add the times of all sources to the queries for one series."""
        cdef QueryCells cells
        for cells in <list>self.sum_readers[TIMINGS]:
            if cells.is_timed_kind[kind] and cells.intervals.current != NONE:
                (<Distribution>cells.sum_cell()).add_times(sums.count, sums.total, sums.largest)
        return 0

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
            for cells in <list>self.gauge_readers[gauge]:
                if cells.intervals.current != NONE:
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
                label.add_minutes(start, shifted << first)
            numbers -= 3
        return numbers

    def label_id(self, str name):
        """The id of the label of a name."""
        return self._label(name.encode()).id

    cdef int _read_extensions(self, Cursor *rollup) except -1:
        """Read tagged sections."""
        cdef Cursor tag = rollup[0]
        cdef Cursor part = rollup[0]
        cdef Py_ssize_t _
        if not self.extensions and not self.tagged_rows and not self.sketch_readers:
            return skip_extensions(rollup)
        for _ in range(array(rollup)):
            if array(rollup) != 2:
                raise ValueError("no section")
            text(rollup, &tag)
            binary(rollup, &part)
            tag_name = tag.at[: tag.end - tag.at].decode()
            name = ADDON_SAMPLES if tag_name == ADDONS else tag_name
            if name in self.extensions:
                merge_section(self.whole_rollup, tag_name, part.at[: part.end - part.at])
            rows = self.tagged_rows.get(name)
            if rows is not None and tag_name == ADDONS:
                (<TaggedRows>rows).read_addons(&part)
            elif rows is not None:
                (<TaggedRows>rows).read(&part, self.label_id)
            readers = self.sketch_readers.get(name)
            if readers is not None:
                self._read_sketch_rows(SECTION[name], part.at[: part.end - part.at], readers)
        return 0

    cdef int _read_sketch_rows(self, section, bytes data, readers) except -1:
        """Read rows of sketches that some query is about. Python decodes them."""
        cdef QueryCells cells
        keyers = [(<QueryCells>cells).query.keyer(section.name, self.app) for cells in readers]
        names = frozenset().union(*[cells.query.metric.selection for cells in readers])
        for row, value in decode_rows(section, data, names):
            for cells, key_of in zip(readers, keyers):
                cells.add_open(key_of(row), cells.intervals.current, self.app, row, value)
        return 0

    # --- results ---------------------------------------------------------------------------------

    cdef int _finish_app(self) except -1:
        """Pass on what the rows of the app added last added up, and count its active minutes."""
        cdef Label label
        cdef Row *row
        cdef Feed *feed
        cdef TaggedRows tagged
        cdef int section, position, slot
        for tagged in self.tagged_rows.values():
            tagged.finish()
        for label in (self.any_source, *self.labels.values()):
            for section in range(SECTIONS):
                if section == MINUTES or section == SKETCHES:
                    continue
                for position in range(label.rows[section].size):
                    finish_row(&label.rows[section].rows[position], section, label.id)
            if not label.active_count:
                continue
            row = self._row(label, MINUTES, 0)
            for position in range(row.size):
                feed = &row.feeds[position]
                for slot in range(label.active_count):
                    feed_minutes(
                        feed, label.active_slots[slot].start, label.active_slots[slot].mask
                    )
            label.active_count = 0
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

    @property
    def name_count(self):
        """How many names the rollups of the app added last have."""
        return len(self.labels)

    def label_names(self):
        """These names."""
        cdef Label label
        return [label.name for label in self.labels.values()]

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
        values = {}
        for gauge in range(GAUGE_COUNT if self.latest_gauges is not None else 0):
            cell = <Gauge>self.latest_gauges[gauge]
            for position in range(cell.size):
                name = self.names[cell.dynos[position].id]
                values[name, gauge] = cell.dynos[position].summary.last
        for key, summary in self.whole_rollup.other_rows.get("named_gauges", {}).items():
            values[key] = summary.last
        return values

    @property
    def merged_rollup(self):
        """A rollup with the sections that are merged as a whole."""
        return self.whole_rollup.to_rollup()


cdef inline int add_times(
    Row *row, long long count, long long total, long long largest
) except -1:
    row.count = plus(row.count, count)
    row.total = plus(row.total, total)
    row.largest = max(row.largest, largest)
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
    if not product_fits(summary.last, summary.count):
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
