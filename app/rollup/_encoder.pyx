# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Packs FastRollups and batches. app.rollup.codec and app.rollup.batch_codec define the bytes.

Rows are sorted as there, so equal rollups give equal bytes. Rollups over a limit, and numbers that
do not fit, are left to those modules.
"""

cimport cython

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from app.rollup._msgpack cimport FIELD_COUNT
from app.rollup._numbers cimport (
    FAMILY_SECTIONS, KEY_COLUMNS, Bin, Bins, NumberRow, NumberRows, OpenKey, Sorted,
    number_of_section, sort_bins, split_millionths,
)
from app.rollup._rollup cimport (
    GAUGES,
    TIMING_KINDS,
    ProcessType,
    GaugeSummary,
    RequestCount,
    Source,
    FastRollup,
    TimingTotals,
    add_counts,
    product_fits,
)

from app.rollup import addon_rows, batch_codec, codec
from app.rollup.open_limits import limit_families
from app.rollup.rollup import DEFAULT_LIMITS, limit_rows
from app.rollup.schema import CORE_SECTIONS, FAMILIES, SECTION, SECTIONS, SOURCE

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = codec.VERSION
cdef int BATCH_VERSION = batch_codec.VERSION
cdef enum:
    NUMBER_BYTES_MAX = 9
cdef int STATUS_MAX = 599
cdef int STATUSES = STATUS_MAX + 1
cdef frozenset CORE_NAMES = frozenset(section.name for section in CORE_SECTIONS)
cdef frozenset NAMES_SOURCES = frozenset(
    section.name for section in SECTIONS if SOURCE in section.keys and not section.family
)


cdef list _families = [
    [number_of_section(name) for name in names] for names in FAMILIES.values()
]


cdef inline unsigned char *put(unsigned char *at, long long value) noexcept:
    """Write a number, in up to NUMBER_BYTES_MAX bytes; return the end."""
    if -32 <= value < 128:  # by far the most
        at[0] = value & 0xFF
        return at + 1
    return put_long(at, value)


cdef unsigned char *put_long(unsigned char *at, long long value) noexcept:
    if value >= 0:
        if value < 1 << 8:
            return put_head(at, 0xCC, value, 1)
        if value < 1 << 16:
            return put_head(at, 0xCD, value, 2)
        if value < <long long>1 << 32:
            return put_head(at, 0xCE, value, 4)
        return put_head(at, 0xCF, value, 8)
    if value >= -(1 << 7):
        return put_head(at, 0xD0, value, 1)
    if value >= -(1 << 15):
        return put_head(at, 0xD1, value, 2)
    if value >= -(<long long>1 << 31):
        return put_head(at, 0xD2, value, 4)
    return put_head(at, 0xD3, value, 8)


cdef inline unsigned char *put_head(
    unsigned char *at, int kind, unsigned long long value, int size
) noexcept:
    """Write a type byte and `size` bytes of a number, the most significant first."""
    cdef int shift
    at[0] = kind
    at += 1
    for shift in range(8 * (size - 1), -8, -8):
        at[0] = (value >> shift) & 0xFF
        at += 1
    return at


@cython.final
cdef class Writer:
    """A growing buffer of MessagePack. `numbers` counts the integers since it was last emptied."""

    cdef unsigned char *data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Py_ssize_t numbers

    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef unsigned char *data
        if self.size + more > self.capacity:
            self.capacity = 2 * (self.size + more)
            data = <unsigned char *>realloc(self.data, self.capacity)
            if data == NULL:
                raise MemoryError
            self.data = data
        return 0

    cdef int head(self, int kind, unsigned long long value, int size) except -1:
        """Write a type byte and `size` bytes of a number."""
        self.size = put_head(self.reserve_numbers(1), kind, value, size) - self.data
        return 0

    cdef int number(self, long long value) except -1:
        self.commit_numbers(put(self.reserve_numbers(1), value), 1)
        return 0

    cdef unsigned char *reserve_numbers(self, Py_ssize_t numbers) except NULL:
        """Reserve space for `numbers` integers; return its start, for `put`."""
        self.reserve(NUMBER_BYTES_MAX * numbers + 1)
        return self.data + self.size

    cdef inline void commit_numbers(self, const unsigned char *end, Py_ssize_t numbers) noexcept:
        """Record that `numbers` integers were put and end at `end`."""
        self.size = end - self.data
        self.numbers += numbers

    cdef int array(self, Py_ssize_t items) except -1:
        if items < 16:
            return self.head(0x90 | items, 0, 0)
        if items < 1 << 16:
            return self.head(0xDC, items, 2)
        return self.head(0xDD, items, 4)

    cdef int text(self, str text) except -1:
        cdef Py_ssize_t size
        cdef const char *encoded = PyUnicode_AsUTF8AndSize(text, &size)
        if size < 32:
            self.head(0xA0 | size, 0, 0)
        elif size < 1 << 8:
            self.head(0xD9, size, 1)
        elif size < 1 << 16:
            self.head(0xDA, size, 2)
        else:
            self.head(0xDB, size, 4)
        return self.raw(<const unsigned char *>encoded, size)

    cdef int binary(self, Py_ssize_t size) except -1:
        if size < 1 << 8:
            return self.head(0xC4, size, 1)
        if size < 1 << 16:
            return self.head(0xC5, size, 2)
        return self.head(0xC6, size, 4)

    cdef int raw(self, const unsigned char *data, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    cdef int section(self, Writer rows) except -1:
        """Write the numbers of `rows` as a binary that holds an array, and empty `rows`."""
        cdef Py_ssize_t head = 1 if rows.numbers < 16 else 3 if rows.numbers < 1 << 16 else 5
        self.binary(head + rows.size)
        self.array(rows.numbers)
        self.raw(rows.data, rows.size)
        rows.size = rows.numbers = 0
        return 0


# All calls reuse these buffers, so packing allocates only its result.
cdef Writer _batch = Writer()
cdef Writer _rollup = Writer()
cdef Writer _names = Writer()
cdef Writer _sections = Writer()
cdef Writer _rows = Writer()
cdef Writer _addon = Writer()


def pack(rollup, limits=DEFAULT_LIMITS):
    """Pack a FastRollup or a Rollup, cut to the limits."""
    cdef bytes packed = _pack(rollup, limits)
    return _rollup.data[: _rollup.size] if packed is None else packed


def pack_batch(rollups, limits=DEFAULT_LIMITS):
    """Pack rollups that are keyed by the start of their minute, in Unix seconds."""
    cdef bytes packed
    _batch.size = 0
    _batch.array(2)
    _batch.number(BATCH_VERSION)
    _batch.array(len(rollups))
    for minute in sorted(rollups):
        _batch.array(2)
        _batch.number(minute)
        packed = _pack(rollups[minute], limits)
        if packed is None:
            _batch.binary(_rollup.size)
            _batch.raw(_rollup.data, _rollup.size)
        else:
            _batch.binary(len(packed))
            _batch.raw(packed, len(packed))
    return _batch.data[: _batch.size]


cdef bytes _pack(rollup, limits):
    """Pack into _rollup and return None; if only the codec can, return its bytes instead."""
    cdef FastRollup fast
    if not isinstance(rollup, FastRollup):
        return codec.pack(rollup, limits)
    fast = rollup
    if _may_be_over(fast, limits) or _has_statuses_over(fast, limits):
        fast.limit_names(limits)
    if (
        (fast.other_rows and not CORE_NAMES.isdisjoint(fast.other_rows))
        or _has_statuses_over(fast, limits)
        or not _write(fast, limits)
    ):
        return codec.pack(fast.to_rollup(), limits)
    return None


cdef bint _may_be_over(FastRollup rollup, limits):
    """Whether the rollup may be over a limit on its names: an upper bound, which is cheap."""
    names_max = len(rollup.errors)
    for section in rollup.other_rows:
        if section in NAMES_SOURCES:
            names_max += len(rollup.other_rows[section])
    return (
        len(rollup.sources) + names_max > limits.dynos
        or len(rollup.process_types) + names_max > limits.process_types
        or len(rollup.errors) > limits.codes
    )


cdef bint _has_statuses_over(FastRollup rollup, limits):
    """Whether the rollup has more statuses than the limit, or one that is not known."""
    cdef Source source
    cdef bint has_status[600]
    cdef int position, status, statuses = 0, statuses_max = limits.statuses
    for status in range(STATUSES):
        has_status[status] = False
    for source in rollup.sources.values():
        for position in range(source.requests_size):
            status = source.requests[position].status
            if status < 0 or status > STATUS_MAX:
                return True
            if not has_status[status]:
                has_status[status] = True
                statuses += 1
    return statuses > statuses_max


cdef bint _write(FastRollup rollup, limits) except -1:
    """Pack into _rollup; return False if a number does not fit."""
    cdef dict numbers = {}
    cdef dict ledger = rollup.ledger
    cdef list families = rollup.families
    cdef list sources = [rollup.sources[name] for name in sorted(rollup.sources)]
    cdef list types = [rollup.process_types[name] for name in sorted(rollup.process_types)]
    cdef Source source
    for source in sources:
        source.name_number = -1
    _sections.size = _rows.size = _rows.numbers = _names.size = 0
    _write_requests(sources, numbers)
    _write_errors(rollup.errors, numbers)
    _write_tallies(sources, numbers)
    _write_response_bytes(types, numbers)
    _write_sketches(types, numbers)
    if not _write_gauges(sources, numbers):
        return False
    _write_minutes(sources, numbers)
    if families is not None and _are_families_over(families, limits):
        sections, dropped = limit_families(
            {rows.section: rows.to_python() for rows in filter(None, families)},
            limits.open_names,
            limits.open_series,
            limits.open_bins,
        )
        families = [sections.get(name) for name in FAMILY_SECTIONS]
        ledger = dict(ledger)
        add_counts(ledger, dropped)
    for name in sorted(ledger):
        _rows.number(_number(numbers, name))
        _rows.number(min(ledger[name], NUMBER_MAX))
    _sections.section(_rows)

    _rollup.size = 0
    _rollup.array(FIELD_COUNT)
    _rollup.number(VERSION)
    _rollup.number(rollup.messages)
    _rollup.array(len(numbers))
    _rollup.raw(_names.data, _names.size)
    _rollup.raw(_sections.data, _sections.size)
    _write_extensions(rollup, families, limits)
    return True


cdef bint _are_families_over(list families, limits):
    """Whether open metrics may be over their limits."""
    cdef NumberRows rows
    cdef int size, bins
    for numbers in _families:
        size = bins = 0
        members = [families[number] for number in numbers if families[number] is not None]
        for rows in members:
            size += rows.size
            bins += rows.bin_count()
        if size > limits.open_series or bins > limits.open_bins:
            return True
        if size > limits.open_names:
            names = set()
            for rows in members:
                rows.add_names(names)
            if len(names) > limits.open_names:
                return True
    return False


cdef int _write_extensions(FastRollup rollup, list families, limits) except -1:
    """Write the tagged sections and those of unknown tags, sorted by tag.

    `families`: NumberRows, or dictionaries of those within the limits, or None.
    """
    cdef bytes packed
    if not rollup.extensions and not rollup.other_rows and families is None:
        return _rollup.array(0)
    extensions = list(rollup.extensions)
    for name, rows in zip(FAMILY_SECTIONS, families or ()):
        if isinstance(rows, NumberRows):
            if (<NumberRows>rows).is_of_addons and _write_addons(<NumberRows>rows):
                extensions.append((addon_rows.TAG, _take_rows()))
            if _write_numbers(<NumberRows>rows):
                extensions.append((name, _take_rows()))
        elif rows:
            extensions.extend(codec.encode_tagged(SECTION[name], rows))
    for name, rows in rollup.other_rows.items():
        if rows:
            section = SECTION[name]
            if section.limit_rows is not None:
                rows = limit_rows(section, rows, limits)
            _write_tagged(section, rows)
            extensions.append((name, _take_rows()))
    extensions.sort()
    _rollup.array(len(extensions))
    for tag, packed in extensions:
        _rollup.array(2)
        _rollup.text(tag)
        _rollup.binary(len(packed))
        _rollup.raw(packed, len(packed))
    return 0


cdef bint _write_addons(NumberRows rows) except -1:
    """Write the samples of add-ons that have the compact form into _rows, if there are any."""
    cdef int size, begin = 0, end = 0, addons = 0
    cdef Sorted *ordered = rows.sort(True, &size)
    try:
        for end in range(1, size + 1):
            addons += end == size or not _is_same_addon(rows, &ordered[end - 1], &ordered[end])
        if addons:
            _rows.array(addons)
        for end in range(1, size + 1):
            if end == size or not _is_same_addon(rows, &ordered[end - 1], &ordered[end]):
                _write_addon(rows, &ordered[begin], end - begin)
                begin = end
    finally:
        free(ordered)
    return addons > 0


cdef inline bint _is_same_addon(NumberRows rows, const Sorted *one, const Sorted *other) except -1:
    cdef bytes addon = (<OpenKey>rows.rows[one.position].key).addon
    return addon == (<OpenKey>rows.rows[other.position].key).addon


cdef int _write_addon(NumberRows rows, const Sorted *ordered, int size) except -1:
    cdef NumberRow *row
    cdef long long latest_ms = 0, whole, millionths
    cdef int number
    cdef bytes addon = (<OpenKey>rows.rows[ordered[0].position].key).addon
    for number in range(size):
        latest_ms = max(latest_ms, rows.rows[ordered[number].position].last_at_ms)
    _addon.size = _addon.numbers = 0
    _addon.number(latest_ms)
    for number in range(size):
        row = &rows.rows[ordered[number].position]
        whole = split_millionths(row.last, &millionths)
        _addon.number(ordered[number].sample)
        _addon.number(latest_ms - row.last_at_ms)
        _addon.number(row.count)
        _addon.number(whole)
        _addon.number(millionths)
        if row.count > 1:
            _addon.number(row.whole - whole * row.count)
            _addon.number(row.millionths - millionths * row.count)
            _addon.number(row.smallest - row.last)
            _addon.number(row.largest - row.last)
    _rows.array(3)
    _rows.raw(addon, len(addon))
    _rows.array(_addon.numbers)
    return _rows.raw(_addon.data, _addon.size)


cdef bint _write_numbers(NumberRows rows) except -1:
    """Write rows of open metrics into _rows, if there are any besides those of `_write_addons`."""
    cdef int size, number
    cdef Sorted *ordered = rows.sort(False, &size)
    try:
        if size:
            _rows.array(size)
        for number in range(size):
            _write_number_row(rows, &rows.rows[ordered[number].position])
    finally:
        free(ordered)
    return size > 0


cdef int _write_number_row(NumberRows rows, const NumberRow *row) except -1:
    cdef OpenKey key = <OpenKey>row.key
    _rows.array(KEY_COLUMNS + (1 if rows.is_sketch else 7 if rows.is_summary else 3))
    _rows.raw(key.raw, key.size)
    if rows.is_sketch:
        return _write_runs(&row.bins)
    _rows.number(row.count)
    _rows.number(row.whole)
    _rows.number(row.millionths)
    if rows.is_summary:
        _rows.number(row.smallest)
        _rows.number(row.largest)
        _rows.number(row.last_at_ms)
        _rows.number(row.last)
    return 0


cdef int _write_runs(const Bins *bins) except -1:
    """Write a sketch: the counts of consecutive bins; a negative number skips bins."""
    cdef Bin *ordered = sort_bins(bins)
    cdef int position, next_index = 0, runs = bins.used
    for position in range(bins.used):
        runs += ordered[position].index != next_index
        next_index = ordered[position].index + 1
    _rows.array(runs)
    next_index = 0
    for position in range(bins.used):
        if ordered[position].index != next_index:
            _rows.number(next_index - ordered[position].index)
        _rows.number(ordered[position].count)
        next_index = ordered[position].index + 1
    free(ordered)
    return 0


cdef int _write_tagged(section, dict rows) except -1:
    """Write rows of key and value columns into _rows."""
    cdef Py_ssize_t key_count = len(section.keys)
    cdef Py_ssize_t width = key_count + len(section.values.names)
    cdef bint is_number = section.values.summary is None and section.values.types == (int,)
    _rows.array(len(rows))
    for key in sorted(rows):
        value = rows[key]
        _rows.array(width)
        if key_count == 1:
            _write_column(key)
        else:
            for column in <tuple>key:
                _write_column(column)
        if is_number:
            _write_column(value)
        else:
            for column in section.values.columns(value):
                _write_column(column)
    return 0


cdef inline int _write_column(object column) except -1:
    if type(column) is str:
        return _rows.text(<str>column)
    if type(column) is list:
        _rows.array(len(<list>column))
        for item in <list>column:
            _write_number(item)
        return 0
    return _write_number(column)


cdef inline int _write_number(object column) except -1:
    cdef int sign_over = 0  # 1 or -1 for a number over 63 bits
    cdef long long number = PyLong_AsLongLongAndOverflow(column, &sign_over)
    return _rows.number(sign_over * NUMBER_MAX if sign_over else max(number, -NUMBER_MAX))


cdef bytes _take_rows():
    """Return the bytes in _rows, and empty it."""
    cdef bytes data = _rows.data[: _rows.size]
    _rows.size = _rows.numbers = 0
    return data


cdef long long _number(dict numbers, str name) except -1:
    """Return the position of a name in `names`; a new name is appended."""
    cdef object number = numbers.get(name)
    if number is None:
        number = numbers[name] = len(numbers)
        _names.text(name)
    return number


cdef long long _source_number(dict numbers, Source source) except -1:
    """Return the position of a source's name, which is looked up once in a rollup."""
    if source.name_number < 0:
        source.name_number = _number(numbers, source.name)
    return source.name_number


cdef int _write_requests(list sources, dict numbers) except -1:
    cdef Source source
    cdef RequestCount *rows
    cdef RequestCount row
    cdef int position, insert_at
    cdef long long number
    cdef unsigned char *to
    for source in sources:
        if not source.requests_size:
            continue
        rows = source.requests
        # Insertion sort: the rows are few, and hardly ever out of order.
        for position in range(1, source.requests_size):
            row = rows[position]
            insert_at = position
            while insert_at > 0 and rows[insert_at - 1].status > row.status:
                rows[insert_at] = rows[insert_at - 1]
                insert_at -= 1
            rows[insert_at] = row
        number = _source_number(numbers, source)
        to = _rows.reserve_numbers(3 * source.requests_size)
        for position in range(source.requests_size):
            to = put(to, number)
            to = put(to, rows[position].status)
            to = put(to, rows[position].count)
        _rows.commit_numbers(to, 3 * source.requests_size)
    return _sections.section(_rows)


cdef int _write_errors(dict errors, dict numbers) except -1:
    for source, code in sorted(errors):
        _rows.number(_number(numbers, source))
        _rows.number(_number(numbers, code))
        _rows.number(min(errors[source, code], NUMBER_MAX))
    return _sections.section(_rows)


cdef int _write_tallies(list sources, dict numbers) except -1:
    cdef Source source
    cdef TimingTotals *totals
    cdef int kind
    cdef long long number
    cdef unsigned char *to
    for source in sources:
        for kind in range(TIMING_KINDS):
            totals = &source.tallies[kind]
            if totals.count:
                number = _source_number(numbers, source)
                to = _rows.reserve_numbers(5)
                to = put(to, number)
                to = put(to, kind)
                to = put(to, totals.count)
                to = put(to, totals.total)
                to = put(to, totals.largest)
                _rows.commit_numbers(to, 5)
    return _sections.section(_rows)


cdef int _write_response_bytes(list types, dict numbers) except -1:
    cdef ProcessType process_type
    for process_type in types:
        if process_type.response_bytes:
            _rows.number(_number(numbers, process_type.name))
            _rows.number(process_type.response_bytes)
    return _sections.section(_rows)


cdef int _write_sketches(list types, dict numbers) except -1:
    cdef ProcessType process_type
    cdef int kind
    for process_type in types:
        for kind in range(TIMING_KINDS):
            if process_type.bins[kind] != NULL:
                _rows.number(_number(numbers, process_type.name))
                _rows.number(kind)
                _write_bins(process_type.bins[kind], process_type.low[kind], process_type.high[kind])
    return _sections.section(_rows)


cdef int _write_bins(const long long *bins, int low, int high) except -1:
    cdef int index, next_index = 0, number_count = 1
    cdef unsigned char *to = _rows.reserve_numbers(2 * max(0, high - low) + 1)
    for index in range(low, high):
        if bins[index]:
            if index != next_index:
                to = put(to, next_index - index)
                number_count += 1
            to = put(to, bins[index])
            number_count += 1
            next_index = index + 1
    _rows.commit_numbers(put(to, 0), number_count)
    return 0


cdef bint _write_gauges(list sources, dict numbers) except -1:
    cdef Source source
    cdef GaugeSummary *summary
    cdef int gauge
    cdef long long epoch = -1, number
    cdef unsigned char *to
    for source in sources:
        if not source.has_gauges:
            continue
        for gauge in range(GAUGES):
            summary = &source.gauges[gauge]
            if not summary.count:
                continue
            if not product_fits(summary.last, summary.count):
                return False  # total - last · count would not fit
            if epoch < 0 or summary.last_at_ms < epoch:
                epoch = summary.last_at_ms
    if epoch < 0:
        _sections.section(_rows)
        return True
    _rows.number(epoch)
    for source in sources:
        if not source.has_gauges:
            continue
        number = _source_number(numbers, source)
        for gauge in range(GAUGES):
            summary = &source.gauges[gauge]
            if summary.count:
                to = _rows.reserve_numbers(8)
                to = put(to, number)
                to = put(to, gauge)
                to = put(to, summary.last_at_ms - epoch)
                to = put(to, summary.last)
                to = put(to, summary.count)
                to = put(to, summary.total - summary.last * summary.count)
                to = put(to, summary.smallest - summary.last)
                to = put(to, summary.largest - summary.last)
                _rows.commit_numbers(to, 8)
    _sections.section(_rows)
    return True


cdef int _write_minutes(list sources, dict numbers) except -1:
    cdef Source source
    cdef unsigned long long mask
    cdef int first
    for source in sources:
        mask = source.active_minutes
        if mask:
            first = 0
            while not mask & 1:
                mask >>= 1
                first += 1
            _rows.number(_source_number(numbers, source))
            _rows.number(first)
            _rows.number(mask)
    return _sections.section(_rows)
