# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The rows of open metrics in C: numbers with a fraction and a sign, by keys of four texts.

A key is known by its bytes as they are packed, so packed rows are merged and written without making
texts of them. Few keys are made: most rows have the key of the row that comes next in order.
"""

cimport cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcmp, memset

from app.rollup._msgpack cimport Cursor, array, below, not_negative, number, positive, text

import msgspec

from app.rollup import addon_rows
from app.rollup.number_sketch import BIN_MAX
from app.rollup.schema import FAMILIES, SECTION
from app.rollup.summaries import NUMBER_BINS, NumberSummary
from parsers.numbers import MILLION
from parsers.samples import labels_of

cdef enum:
    KEYS_MAX = 20_000  # that are remembered
    ADDONS_MAX = 2_000
    UNHASHED_ROWS_MAX = 8
    BINS_MIN = 8

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef long long _MILLION = MILLION
cdef int SAMPLE_COUNT = len(addon_rows.SAMPLES)
cdef long long COUNT_MAX = addon_rows.COUNT_MAX
cdef long long SUM_MAX = addon_rows.SUM_MAX
cdef int BINS_MAX = BIN_MAX + 1
FAMILY_SECTIONS = tuple([name for names in FAMILIES.values() for name in names])
assert len(FAMILY_SECTIONS) <= FAMILY_SECTIONS_MAX, "raise FAMILY_SECTIONS_MAX"
cdef dict _numbers = {name: number for number, name in enumerate(FAMILY_SECTIONS)}
cdef bint _is_sketch[FAMILY_SECTIONS_MAX]
cdef bint _is_summary[FAMILY_SECTIONS_MAX]
cdef bint _is_by_source[FAMILY_SECTIONS_MAX]
for _name, _number in _numbers.items():
    _values = SECTION[_name].values
    _is_sketch[_number] = _values == NUMBER_BINS
    _is_summary[_number] = _values.summary is not None and issubclass(_values.summary, NumberSummary)
    _is_by_source[_number] = SECTION[_name].keys[0].name == "source"

cdef dict _keys = {}  # OpenKey by packed bytes; all rollups have the same
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, str, str]).decode
cdef dict _addons = {}  # AddonKeys by packed addon and attachment
_decode_addon = msgspec.msgpack.Decoder(tuple[str, str]).decode


@cython.final
cdef class OpenKey:
    """The key of a row: four texts."""

    def __cinit__(self, bytes packed, tuple columns):
        self.packed, self.columns = packed, columns
        self.raw, self.size = packed, len(packed)
        self.hash = hash(packed)
        self.sample = addon_rows.NUMBERS.get(columns[1:3], -1)
        if self.sample >= 0:
            self.addon = _encode((columns[0], columns[3]))[1:]


cdef OpenKey _remember(bytes packed, tuple columns):
    if len(_keys) >= KEYS_MAX:
        _keys.clear()
    key = _keys[packed] = OpenKey(packed, columns)
    return key


cdef OpenKey key_of(tuple columns):
    """The key of these texts."""
    cdef bytes packed = _encode(columns)[1:]  # without the head of the array
    key = _keys.get(packed)
    return _remember(packed, columns) if key is None else <OpenKey>key


cdef tuple _texts(decode, bytes packed):
    """Decode texts that are packed exactly as we pack them."""
    try:
        columns = decode(packed)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if _encode(columns) != packed:
        raise ValueError("a text in another form")
    return columns


cdef OpenKey _key_at(const unsigned char *raw, Py_ssize_t size):
    """The key with these packed columns."""
    cdef bytes packed = PyBytes_FromStringAndSize(<const char *>raw, size)
    key = _keys.get(packed)
    if key is not None:
        return <OpenKey>key
    return _remember(packed, _texts(_decode, b"\x94" + packed))


@cython.final
cdef class AddonKeys:
    """The keys of an add-on's samples that have a number."""

    def __cinit__(self, str addon, str attachment):
        self.addon, self.attachment = addon, attachment
        self.keys = [None] * SAMPLE_COUNT

    cdef OpenKey key(self, int sample):
        key = self.keys[sample]
        if key is None:
            name, unit = addon_rows.SAMPLES[sample]
            key = self.keys[sample] = key_of((self.addon, name, unit, self.attachment))
        return <OpenKey>key


cdef AddonKeys addon_keys_at(Cursor *part):
    """Read a packed addon and attachment."""
    cdef Cursor begin = part[0]
    cdef Cursor column
    text(part, &column)
    text(part, &column)
    cdef bytes packed = begin.at[: part.at - begin.at]
    keys = _addons.get(packed)
    if keys is not None:
        return <AddonKeys>keys
    columns = _texts(_decode_addon, b"\x92" + packed)
    if len(_addons) >= ADDONS_MAX:
        _addons.clear()
    keys = _addons[packed] = AddonKeys(*columns)
    return keys


cdef OpenKey _without_dyno(OpenKey key):
    """The key with the process type instead of the dyno."""
    if key.without_dyno is None:
        source, name, unit, origin = key.columns
        process_type = labels_of(source)[0]
        # An OpenKey that is its own would be a cycle of references.
        key.without_dyno = key_of((f"{process_type}." if process_type else "", name, unit, origin))
    return key.without_dyno


cdef inline long long _plus(long long one, long long other) noexcept:
    """The sum of two numbers, which stays within NUMBER_MAX in either direction."""
    if one > 0 and other > NUMBER_MAX - one:
        return NUMBER_MAX
    if one < 0 and other < -NUMBER_MAX - one:
        return -NUMBER_MAX
    return one + other


cdef inline bint _is_same(OpenKey key, OpenKey other) noexcept:
    return key is other or (
        key.hash == other.hash and key.size == other.size and not memcmp(key.raw, other.raw, key.size)
    )


@cython.final
cdef class NumberRows:
    """The rows of one section of a family. `SECTION` says how they merge."""

    def __cinit__(self, int number):
        self.number = number
        self.section = <str>FAMILY_SECTIONS[number]
        self.is_sketch = _is_sketch[number]
        self.is_summary = _is_summary[number]
        self.is_by_source = _is_by_source[number]
        self.is_of_addons = self.section == addon_rows.SECTION

    def __dealloc__(self):
        cdef int position
        for position in range(self.size):
            Py_DECREF(<object>self.rows[position].key)
            free(self.rows[position].bins.slots)
        free(self.rows)
        free(self.places)

    def __len__(self):
        return self.size

    cdef NumberRow *find(self, OpenKey key) except NULL:
        """The row of a key, added if it is new; a new row has a count of 0."""
        cdef int position = self.next
        cdef Py_hash_t place
        if position < self.size and _is_same(<OpenKey>self.rows[position].key, key):
            self.next = position + 1
            return &self.rows[position]
        if self.places == NULL:
            for position in range(self.size):
                if _is_same(<OpenKey>self.rows[position].key, key):
                    self.next = position + 1
                    return &self.rows[position]
            return self._add(key)
        place = key.hash & (self.places_size - 1)
        while self.places[place] >= 0:
            position = self.places[place]
            if _is_same(<OpenKey>self.rows[position].key, key):
                self.next = position + 1
                return &self.rows[position]
            place = (place + 1) & (self.places_size - 1)
        return self._add(key)

    cdef NumberRow *_add(self, OpenKey key) except NULL:
        cdef int capacity
        cdef NumberRow *rows
        cdef Py_hash_t place
        if self.size == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 8
            rows = <NumberRow *>realloc(self.rows, capacity * sizeof(NumberRow))
            if rows == NULL:
                raise MemoryError
            self.rows, self.capacity = rows, capacity
        memset(&self.rows[self.size], 0, sizeof(NumberRow))
        Py_INCREF(key)
        self.rows[self.size].key = <void *>key
        self.size += 1
        self.next = self.size
        if self.size > UNHASHED_ROWS_MAX and 2 * self.size > self.places_size:
            self._rehash()
        elif self.places != NULL:
            place = key.hash & (self.places_size - 1)
            while self.places[place] >= 0:
                place = (place + 1) & (self.places_size - 1)
            self.places[place] = self.size - 1
        return &self.rows[self.size - 1]

    cdef int _rehash(self) except -1:
        cdef int places_size = 4 * UNHASHED_ROWS_MAX
        cdef int *places
        cdef int position
        cdef Py_hash_t place
        while places_size < 4 * self.size:
            places_size *= 2
        places = <int *>malloc(places_size * sizeof(int))
        if places == NULL:
            raise MemoryError
        memset(places, 0xFF, places_size * sizeof(int))  # all -1
        for position in range(self.size):
            place = (<OpenKey>self.rows[position].key).hash & (places_size - 1)
            while places[place] >= 0:
                place = (place + 1) & (places_size - 1)
            places[place] = position
        free(self.places)
        self.places, self.places_size = places, places_size
        return 0

    cdef int add_number(self, OpenKey key, long long millionths, long long at_ms) except -1:
        """Add one number."""
        cdef NumberRow one
        one.count = 1
        one.whole = split_millionths(millionths, &one.millionths)
        one.smallest = one.largest = one.last = millionths
        one.last_at_ms = at_ms
        return self._merge_row(self.find(key), &one)

    cdef int add_to_bin(self, OpenKey key, int index) except -1:
        """Add one number to a sketch."""
        return add_to_bins(&self.find(key).bins, index, 1)

    cdef int _merge_row(self, NumberRow *row, const NumberRow *other) except -1:
        """Merge other numbers of the same key into a row; a new row becomes the same."""
        if not row.count:
            row.count, row.whole, row.millionths = other.count, other.whole, other.millionths
            row.smallest, row.largest = other.smallest, other.largest
            row.last_at_ms, row.last = other.last_at_ms, other.last
            return 0
        row.count = _plus(row.count, other.count)
        row.whole = _plus(row.whole, other.whole)
        row.millionths = _plus(row.millionths, other.millionths)
        if not self.is_summary:
            return 0
        row.smallest = min(row.smallest, other.smallest)
        row.largest = max(row.largest, other.largest)
        if other.last_at_ms > row.last_at_ms or (
            other.last_at_ms == row.last_at_ms and other.last > row.last
        ):
            row.last_at_ms, row.last = other.last_at_ms, other.last
        return 0

    cdef int merge(self, NumberRows other) except -1:
        """Add the rows of the same section of another rollup, which stay unchanged."""
        cdef int position
        for position in range(other.size):
            self._merge_from(<OpenKey>other.rows[position].key, &other.rows[position])
        return 0

    cdef int _merge_from(self, OpenKey key, const NumberRow *other) except -1:
        cdef NumberRow *row = self.find(key)
        cdef int slot
        if not self.is_sketch:
            return self._merge_row(row, other)
        for slot in range(other.bins.size):
            if other.bins.slots[slot].count:
                add_to_bins(&row.bins, other.bins.slots[slot].index, other.bins.slots[slot].count)
        return 0

    def without_dynos(self):
        """The rows with process types instead of dynos."""
        cdef NumberRows rows = NumberRows(self.number)
        cdef OpenKey key
        cdef int position
        for position in range(self.size):
            key = <OpenKey>self.rows[position].key
            rows._merge_from(
                _without_dyno(key) if self.is_by_source else key, &self.rows[position]
            )
        return rows

    def add(self, dict rows):
        """Add rows of a Rollup."""
        cdef NumberRow one
        cdef NumberRow *row
        for columns, value in rows.items():
            if self.is_sketch:
                row = self.find(key_of(columns))
                for index, count in value.items():
                    add_to_bins(&row.bins, index, _clamp(count))
                continue
            one.count, one.whole, one.millionths = (
                _clamp(value.count), _clamp(value.whole), _clamp(value.millionths)
            )
            one.smallest = one.largest = one.last_at_ms = one.last = 0
            if self.is_summary:
                one.smallest, one.largest = _clamp(value.smallest), _clamp(value.largest)
                one.last_at_ms, one.last = _clamp(value.last_at_ms), _clamp(value.last)
            self._merge_row(self.find(key_of(columns)), &one)

    def to_python(self):
        """The rows as those of a Rollup."""
        cdef NumberRow *row
        cdef int position, slot
        summary = SECTION[self.section].values.summary
        rows = {}
        for position in range(self.size):
            row = &self.rows[position]
            columns = (<OpenKey>row.key).columns
            if self.is_sketch:
                rows[columns] = {
                    row.bins.slots[slot].index: row.bins.slots[slot].count
                    for slot in range(row.bins.size)
                    if row.bins.slots[slot].count
                }
            elif self.is_summary:
                rows[columns] = summary(
                    row.count,
                    row.whole,
                    row.millionths,
                    row.smallest,
                    row.largest,
                    row.last_at_ms,
                    row.last,
                )
            else:
                rows[columns] = summary(row.count, row.whole, row.millionths)
        return rows

    # --- limits ---------------------------------------------------------------------------------

    cdef int bin_count(self) noexcept:
        """The number of bins of all its sketches."""
        cdef int position, count = 0
        for position in range(self.size):
            count += self.rows[position].bins.used
        return count

    def add_names(self, set names):
        """Add the names of the metrics to a set."""
        cdef int position
        for position in range(self.size):
            names.add((<OpenKey>self.rows[position].key).columns[1])

    # --- packing --------------------------------------------------------------------------------

    cdef Sorted *sort(self, bint is_compact, int *size) except NULL:
        """The rows in their packed order: those in the compact form of app.rollup.addon_rows, or
        all others. The caller frees them.
        """
        cdef Sorted *rows = <Sorted *>malloc(max(self.size, 1) * sizeof(Sorted))
        cdef Sorted *row = rows
        cdef OpenKey key
        cdef int position
        if rows == NULL:
            raise MemoryError
        for position in range(self.size):
            key = <OpenKey>self.rows[position].key
            if self.is_of_addons and is_compact != _is_compact(&self.rows[position]):
                continue
            row.raw = <const unsigned char *>key.addon if is_compact else key.raw
            row.sample, row.position = key.sample, position
            row += 1
        size[0] = <int>(row - rows)
        qsort(rows, size[0], sizeof(Sorted), _compare_samples if is_compact else _compare)
        return rows

    cdef int read(self, Cursor *part) except -1:
        """Add packed rows, which have exactly the form that `pack` writes."""
        cdef Py_ssize_t _, size
        cdef Cursor begin, column
        cdef NumberRow one
        cdef int width = KEY_COLUMNS + (1 if self.is_sketch else 7 if self.is_summary else 3)
        self.next = 0
        one.smallest = one.largest = one.last_at_ms = one.last = 0
        for _ in range(array(part)):
            if array(part) != width:
                raise ValueError("a row of another width")
            begin = part[0]
            text(part, &column)
            text(part, &column)
            text(part, &column)
            text(part, &column)
            size = part.at - begin.at
            if self.is_sketch:
                _read_runs(part, self._row_at(begin.at, size))
                continue
            one.count, one.whole, one.millionths = number(part), number(part), number(part)
            if self.is_summary:
                one.smallest, one.largest = number(part), number(part)
                one.last_at_ms, one.last = number(part), number(part)
            if one.count < 1:
                raise ValueError("a row has no values")
            self._merge_row(self._row_at(begin.at, size), &one)
        return 0

    cdef int read_addons(self, Cursor *part) except -1:
        """Add rows in the compact form of app.rollup.addon_rows."""
        cdef AddonKeys keys
        cdef NumberRow one
        cdef Py_ssize_t numbers, _
        cdef long long latest_ms
        cdef int sample
        self.next = 0
        for _ in range(array(part)):
            if array(part) != 3:
                raise ValueError("not an add-on")
            keys = addon_keys_at(part)
            numbers = array(part) - 1
            latest_ms = not_negative(part)
            while numbers > 0:
                sample = below(part, SAMPLE_COUNT)
                numbers -= read_addon_row(part, latest_ms, &one)
                self._merge_row(self.find(keys.key(sample)), &one)
            if numbers:
                raise ValueError("the last row ends early")
        return 0

    cdef NumberRow *_row_at(self, const unsigned char *raw, Py_ssize_t size) except NULL:
        """The row of the key with these packed columns."""
        cdef OpenKey key
        cdef int position = self.next
        if position < self.size:
            key = <OpenKey>self.rows[position].key
            if key.size == size and not memcmp(key.raw, raw, size):
                self.next = position + 1
                return &self.rows[position]
        return self.find(_key_at(raw, size))


cdef int number_of_section(str name):
    """The number of a section, or -1 if it is of no family."""
    number = _numbers.get(name)
    return -1 if number is None else number


# --- the compact form of samples of add-ons -----------------------------------------------------


cdef long long split_millionths(long long value, long long *millionths) noexcept:
    """The whole part of a number of millionths, rounded down; `millionths` becomes the rest."""
    cdef long long whole = value // _MILLION  # rounded towards zero, as in C
    millionths[0] = value - whole * _MILLION
    if millionths[0] < 0:
        whole -= 1
        millionths[0] += _MILLION
    return whole


cdef inline bint _is_small(long long value) noexcept:
    return -SUM_MAX < value < SUM_MAX


cdef bint _is_compact(const NumberRow *row) noexcept:
    """Whether a row is packed in the compact form."""
    cdef long long whole, millionths
    if (<OpenKey>row.key).sample < 0 or not 0 < row.count <= COUNT_MAX:
        return False
    whole = split_millionths(row.last, &millionths)
    if row.count == 1 and (
        row.whole != whole
        or row.millionths != millionths
        or row.smallest != row.last
        or row.largest != row.last
    ):
        return False
    return (
        0 <= row.last_at_ms < SUM_MAX
        and -((SUM_MAX - 1) // row.count) <= whole <= (SUM_MAX - 1) // row.count
        and _is_small(row.whole)
        and _is_small(row.millionths)
        and _is_small(row.smallest)
        and _is_small(row.largest)
        and _is_small(row.last)
    )


cdef int read_addon_row(Cursor *part, long long latest_ms, NumberRow *row) except -1:
    """Read a row behind its sample; return how many numbers it has, with the sample."""
    cdef long long whole, millionths
    row.last_at_ms = latest_ms - not_negative(part)
    row.count = positive(part)
    whole, millionths = number(part), below(part, _MILLION)
    if (
        not 0 <= row.last_at_ms < SUM_MAX
        or row.count > COUNT_MAX
        or not -((SUM_MAX - 1) // row.count) <= whole <= (SUM_MAX - 1) // row.count
        or not -(SUM_MAX // _MILLION) <= whole < SUM_MAX // _MILLION
    ):
        raise ValueError("out of range")
    row.last = whole * _MILLION + millionths
    if row.count == 1:
        row.whole, row.millionths, row.smallest, row.largest = whole, millionths, row.last, row.last
        return 5
    row.whole = _small_sum(whole * row.count, number(part))
    row.millionths = _small_sum(millionths * row.count, number(part))
    row.smallest = _small_sum(row.last, number(part))
    row.largest = _small_sum(row.last, number(part))
    return 9


cdef inline long long _small_sum(long long one, long long other) except? -1:
    """The sum of two numbers, the first of which is small."""
    if other > SUM_MAX - 1 - one or other < 1 - SUM_MAX - one:
        raise ValueError("out of range")
    return one + other


# --- sketches -----------------------------------------------------------------------------------


cdef int add_to_bins(Bins *bins, int index, long long count) except -1:
    """Add to the count of a bin."""
    cdef unsigned int place
    if not count:  # which would look like an empty slot
        return 0
    if 2 * bins.used >= bins.size:
        _grow_bins(bins)
    place = _place_of(index, bins.size)
    while bins.slots[place].count and bins.slots[place].index != index:
        place = (place + 1) & (bins.size - 1)
    bins.used += not bins.slots[place].count
    bins.slots[place].index = index
    bins.slots[place].count = _plus(bins.slots[place].count, count)
    return 0


cdef inline unsigned int _place_of(int index, int size) noexcept:
    # By the golden ratio, so that neighbours do not lie side by side.
    return (<unsigned int>index * <unsigned int>2654435769 >> 12) & (size - 1)


cdef int _grow_bins(Bins *bins) except -1:
    cdef int size = 2 * bins.size if bins.size else BINS_MIN
    cdef Bin *slots = <Bin *>calloc(size, sizeof(Bin))
    cdef int slot
    cdef unsigned int place
    if slots == NULL:
        raise MemoryError
    for slot in range(bins.size):
        if bins.slots[slot].count:
            place = _place_of(bins.slots[slot].index, size)
            while slots[place].count:
                place = (place + 1) & (size - 1)
            slots[place] = bins.slots[slot]
    free(bins.slots)
    bins.slots, bins.size = slots, size
    return 0


cdef Bin *sort_bins(const Bins *bins) except NULL:
    """The bins in their order. The caller frees them."""
    cdef Bin *result = <Bin *>malloc(max(bins.used, 1) * sizeof(Bin))
    cdef int slot, size = 0
    if result == NULL:
        raise MemoryError
    for slot in range(bins.size):
        if bins.slots[slot].count:
            result[size] = bins.slots[slot]
            size += 1
    qsort(result, size, sizeof(Bin), _compare_bins)
    return result


cdef int _compare_bins(const void *one, const void *other) noexcept nogil:
    return (<const Bin *>one).index - (<const Bin *>other).index


cdef int _read_runs(Cursor *part, NumberRow *row) except -1:
    """Add a packed sketch."""
    cdef Py_ssize_t _
    cdef long long value = -1, index = 0
    for _ in range(array(part)):
        value = number(part)
        if value < -BINS_MAX or not value:
            raise ValueError("not a sketch")
        if value < 0:
            index -= value
        else:
            if index >= BINS_MAX:
                raise ValueError("no such bin")
            add_to_bins(&row.bins, <int>index, value)
            index += 1
        if index > BINS_MAX:
            raise ValueError("no such bin")
    if value < 0:
        raise ValueError("not a sketch")
    return 0


cdef long long _clamp(number) except? -1:
    return max(-NUMBER_MAX, min(number, NUMBER_MAX))


cdef int _compare(const void *one, const void *other) noexcept nogil:
    """Compare two packed keys column by column, as Python compares tuples of texts."""
    return _compare_texts((<const Sorted *>one).raw, (<const Sorted *>other).raw, KEY_COLUMNS)


cdef int _compare_samples(const void *one, const void *other) noexcept nogil:
    """Compare addons, then attachments, then samples."""
    cdef const Sorted *first = <const Sorted *>one
    cdef const Sorted *second = <const Sorted *>other
    cdef int difference = 0
    if first.raw != second.raw:
        difference = _compare_texts(first.raw, second.raw, 2)
    return difference if difference else first.sample - second.sample


cdef int _compare_texts(
    const unsigned char *first, const unsigned char *second, int columns
) noexcept nogil:
    cdef size_t first_size, second_size
    cdef int column, difference
    for column in range(columns):
        first = _skip_head(first, &first_size)
        second = _skip_head(second, &second_size)
        difference = memcmp(first, second, min(first_size, second_size))
        if difference:
            return difference
        if first_size != second_size:
            return 1 if first_size > second_size else -1
        first += first_size
        second += second_size
    return 0


cdef inline const unsigned char *_skip_head(const unsigned char *at, size_t *size) noexcept nogil:
    """Read the head of a text in MessagePack."""
    cdef int length, position
    if at[0] < 0xC0:
        size[0] = at[0] & 0x1F
        return at + 1
    length = 1 << (at[0] - 0xD9)  # of the size: 1, 2 or 4 bytes
    size[0] = 0
    for position in range(1, length + 1):
        size[0] = size[0] << 8 | at[position]
    return at + 1 + length
