# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Reads the rows of tagged sections into the cells of queries. For app.query._table alone."""

# As in app/query/_cells.pyx, a row is resolved once to the cells that it feeds, and adds up what its
# rollups hold until one of its queries comes to another interval. Tagged rows hold their own names,
# so a row is found by the bytes of its key. Rollups have the same rows in the same order, so these
# bytes mostly are those of the row behind the last hit, and rows of no query are stepped over.

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from app.query._cells cimport Feed, OpenCell, QueryCells, UNKNOWN, NONE, current_cell
from app.query._stats cimport Counter, Gauge, GaugeSummary, plus
from app.rollup._msgpack cimport (
    Bytes, Cursor, array, below, not_negative, number, positive, step_over, text,
)
from app.rollup._numbers cimport AddonKeys, NumberRow, OpenKey, addon_keys_at, read_addon_row

from app.rollup.addon_rows import SAMPLES
from app.rollup.schema import SECTION

cdef enum:
    ADD, MIN, MAX, LATEST  # how columns merge
    ROWS_MAX = 4_096  # of a section that are remembered

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int SAMPLE_COUNT = len(SAMPLES)
cdef dict _MERGES = {"add": ADD, "min": MIN, "max": MAX, "latest": LATEST}


def has_number_rows(name):
    """Whether a section has rows of whole numbers, no sketches or texts."""
    values = SECTION[name].values
    return set(values.types) == {int} and set(values.merges) <= set(_MERGES)


cdef class TaggedRow:
    """A row of a tagged section, and the cells that it feeds."""

    def __dealloc__(self):
        free(self.feeds)

    cdef bint is_moved(self) noexcept:
        """Whether any of its feeds comes to another interval."""
        cdef int position
        for position in range(self.size):
            if self.feeds[position].interval[0] != self.feeds[position].cell_interval:
                return True
        return False


cdef class TaggedRows:
    """The rows of one tagged section in a table."""

    def __init__(self, section, readers):
        cdef int position
        self.section, self.readers = section, readers
        self.key_count, self.value_count = len(section.keys), len(section.values.types)
        assert self.value_count <= VALUES_MAX
        for position, merge in enumerate(section.values.merges):
            self.merges[position] = _MERGES[merge]
        self.is_signed, self.has_count = section.values.is_signed, section.values.has_count
        self.start_app("")

    cdef int start_app(self, str app) except -1:
        """Forget all rows: the cells that they feed are those of one app."""
        self.app, self.rows, self.ordered_rows, self.next = app, {}, [], 0
        self.addon_rows = {}
        return 0

    cdef int read(self, Cursor *part, object id_of) except -1:
        """Add packed rows. `id_of` gives the id of the label of a name.

        Raises:
            ValueError: the bytes differ from what the codec writes.
            OverflowError: a sum is too large.
        """
        cdef TaggedRow row
        cdef Py_ssize_t _
        for _ in range(array(part)):
            if array(part) != self.key_count + self.value_count:
                raise ValueError("a row of another width")
            row = self._row(part, id_of)
            if row.size:
                self._read_values(row, part)
            else:
                step_over(part, self.value_count)
        return _check_end(part)

    cdef int read_addons(self, Cursor *part) except -1:
        """Add samples of add-ons in the compact form of app.rollup.addon_rows.

        Raises:
            as `read`.
        """
        cdef AddonKeys keys
        cdef TaggedRow row
        cdef NumberRow one
        cdef list rows
        cdef Py_ssize_t numbers, _
        cdef long long latest_ms
        cdef long long values[VALUES_MAX]
        cdef int sample, more
        for _ in range(array(part)):
            if array(part) != 3:
                raise ValueError("not an add-on")
            keys = addon_keys_at(part)
            rows = self._rows_of_addon(keys)
            numbers = array(part) - 1
            latest_ms = not_negative(part)
            while numbers > 0:
                sample = below(part, SAMPLE_COUNT)
                found = rows[sample]
                row = self._addon_row(keys, sample) if found is None else <TaggedRow>found
                if not row.size:
                    step_over(part, 1)
                    more = 2 if positive(part) == 1 else 6
                    step_over(part, more)
                    numbers -= 3 + more
                    continue
                numbers -= read_addon_row(part, latest_ms, &one)
                values[0], values[1], values[2] = one.count, one.whole, one.millionths
                values[3], values[4] = one.smallest, one.largest
                values[5], values[6] = one.last_at_ms, one.last
                self._add_values(row, values)
            if numbers:
                raise ValueError("the last row ends early")
        return _check_end(part)

    cdef list _rows_of_addon(self, AddonKeys keys):
        """The rows of an add-on by the number of their sample; None for those not met yet."""
        if len(self.rows) + SAMPLE_COUNT > ROWS_MAX:  # not within an add-on
            self.finish()
            self.start_app(self.app)
        rows = self.addon_rows.get(keys)
        if rows is None:
            rows = self.addon_rows[keys] = [None] * SAMPLE_COUNT
        return rows

    cdef TaggedRow _addon_row(self, AddonKeys keys, int sample):
        cdef OpenKey key = keys.key(sample)
        found = self.rows.get(key.packed)
        row = self._add_row(key.packed, key.columns, None) if found is None else <TaggedRow>found
        self.addon_rows[keys][sample] = row
        return row

    cdef TaggedRow _row(self, Cursor *part, object id_of):
        """Read a key; return its row."""
        cdef TaggedRow row
        cdef Bytes begin = part.at
        cdef Py_ssize_t size
        cdef tuple columns
        if self.next < len(self.ordered_rows):
            row = <TaggedRow>self.ordered_rows[self.next]
            size = len(row.packed)
            if size <= part.end - begin and not memcmp(begin, <Bytes>row.packed, size):
                part.at += size
                self.next += 1
                return row
        columns = self._key_columns(part)
        packed = begin[: part.at - begin]
        found = self.rows.get(packed)
        row = self._add_row(packed, columns, id_of) if found is None else <TaggedRow>found
        self.next = row.position + 1
        return row

    cdef tuple _key_columns(self, Cursor *part):
        cdef Cursor name = part[0]
        columns = []
        for key in self.section.keys:
            if key.number_max:
                column = not_negative(part)
                if column > key.number_max:
                    raise ValueError("out of range")
            else:
                text(part, &name)
                column = name.at[: name.end - name.at].decode()
            columns.append(column)
        return tuple(columns)

    cdef TaggedRow _add_row(self, bytes packed, tuple columns, object id_of):
        cdef TaggedRow row = TaggedRow()
        cdef QueryCells cells
        cdef Feed *feed
        if len(self.rows) >= ROWS_MAX:
            self.finish()
            self.start_app(self.app)
        row.packed, row.key, row.series_keys = packed, self.section.key_of(columns), []
        if not self.section.family:
            row.id = id_of(columns[0])
        row.feeds = <Feed *>calloc(len(self.readers), sizeof(Feed))
        if row.feeds == NULL:
            raise MemoryError
        for cells in self.readers:
            selection = cells.query.metric.selection_in(self.section.name)
            if selection is not None and columns[1] not in selection:
                continue
            series_key = cells.query.keyer(self.section.name, self.app)(row.key)
            if series_key is None:
                continue
            row.series_keys.append(series_key)
            feed = &row.feeds[row.size]
            row.size += 1
            feed.cells, feed.key = <void *>cells, <void *>series_key
            feed.interval = &cells.intervals.current
            feed.cell_interval, feed.series = NONE, UNKNOWN
        row.position = len(self.ordered_rows)
        self.ordered_rows.append(row)
        self.rows[packed] = row
        return row

    cdef int _read_values(self, TaggedRow row, Cursor *part) except -1:
        cdef long long values[VALUES_MAX]
        cdef int position
        for position in range(self.value_count):
            values[position] = number(part) if self.is_signed else not_negative(part)
            if values[position] < -NUMBER_MAX:
                raise ValueError("out of range")
        if self.has_count and values[0] < 1:
            raise ValueError("a row has no values")
        return self._add_values(row, values)

    cdef int _add_values(self, TaggedRow row, const long long *values) except -1:
        cdef int position
        if row.is_moved():
            self._pass_on(row)
            for position in range(row.size):
                current_cell(&row.feeds[position])
        return self._merge(row, values)

    cdef int _merge(self, TaggedRow row, const long long *values) except -1:
        cdef long long *sums = row.values
        cdef int position = 0
        cdef bint is_new = not row.has_values
        row.has_values = True
        while position < self.value_count:
            if is_new:
                sums[position] = values[position]
            elif self.merges[position] == ADD:
                sums[position] = _plus(sums[position], values[position])
            elif self.merges[position] == MIN:
                sums[position] = min(sums[position], values[position])
            elif self.merges[position] == MAX:
                sums[position] = max(sums[position], values[position])
            else:  # the last two columns: a time and its value
                if values[position] > sums[position] or (
                    values[position] == sums[position] and values[position + 1] > sums[position + 1]
                ):
                    sums[position], sums[position + 1] = values[position], values[position + 1]
                return 0
            position += 1
        return 0

    cdef int _pass_on(self, TaggedRow row) except -1:
        """Add what a row added up to its cells, and begin anew."""
        cdef Feed *feed
        cdef Gauge gauge
        cdef Counter counter
        cdef GaugeSummary *summary = <GaugeSummary *>row.values  # has the same columns
        cdef int position
        if not row.has_values:
            return 0
        row.has_values = False
        value = None
        if self.section.family:
            value = self.section.values.make(
                [row.values[position] for position in range(self.value_count)]
            )
        for position in range(row.size):
            feed = &row.feeds[position]
            if feed.cell == NULL:
                continue
            if value is not None:
                (<OpenCell?><object>feed.cell).cell.add(self.app, row.key, value)
            elif isinstance(<object>feed.cell, Gauge):
                gauge = <Gauge>feed.cell
                if (<QueryCells>feed.cells).has_fallback:
                    gauge.merge_fallback(row.id, summary)
                else:
                    gauge.merge(row.id, summary)
            else:
                counter = <Counter?><object>feed.cell
                counter.total = plus(counter.total, row.values[0])
        return 0

    cdef int finish(self) except -1:
        """Pass on what all rows added up, after the last rollup of an app."""
        cdef TaggedRow row
        for row in self.ordered_rows:
            self._pass_on(row)
        return 0


cdef inline int _check_end(const Cursor *part) except -1:
    if part.at != part.end:
        raise ValueError("bytes after the last row")
    return 0


cdef inline long long _plus(long long one, long long other) except? -1:
    """The sum of two numbers, either of which may be negative."""
    if one > 0 and other > NUMBER_MAX - one or one < 0 and other < -NUMBER_MAX - one:
        raise OverflowError("a sum over 63 bits")
    return one + other
