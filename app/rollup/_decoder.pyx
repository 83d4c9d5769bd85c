# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Merges packed rollups into a FastRollup. app.rollup.codec.merge_packed defines the results.

It accepts only bytes in exactly the form that the codec writes. Any other bytes are rejected, so
that app.rollup.codec reads them, or rejects them with the reason.
"""

cimport cython

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from app.rollup._msgpack cimport (
    FIELD_COUNT,
    Cursor,
    array,
    below,
    binary,
    not_negative,
    number,
    positive,
    text,
)
from app.rollup._names cimport Name, name_at
from app.rollup._numbers cimport number_of_section
from app.rollup._rollup cimport (
    BINS,
    GAUGES,
    TIMING_KINDS,
    ProcessType,
    GaugeSummary,
    Source,
    FastRollup,
    add_gauge,
    add_requests,
    add_timing,
    add_to_bin,
    get_number_rows,
    get_process_type,
    get_rows,
    get_source,
    product_fits,
    saturating_add,
)

from app.rollup import addon_rows, codec
from app.rollup.codec import PackError
from app.rollup.schema import SMALL_NUMBER_MAX, TAGGED_SECTIONS
from app.rollup.summaries import COUNT

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = codec.VERSION
cdef int SMALL_NUMBERS = SMALL_NUMBER_MAX + 1
cdef int MINUTES_OF_HOUR = 60
cdef str ADDONS = addon_rows.TAG
cdef int ADDON_SAMPLES = number_of_section(addon_rows.SECTION)
cdef enum:
    COLUMNS_MAX = 16


@cython.final
cdef class Names:
    """The names of a packed rollup, and its sources by the position of their name."""

    cdef FastRollup rollup
    cdef list names
    cdef list sources  # None until the first row of a source
    cdef Py_ssize_t count
    cdef Source last_source  # rows of a source follow each other, so it is looked up once
    cdef Py_ssize_t last_number

    cdef str name(self, Cursor *part):
        """Read the position of a name."""
        return <str>self.names[below(part, self.count)]

    cdef Source source(self, Cursor *part):
        """Read the position of a source's name."""
        cdef Py_ssize_t number = below(part, self.count)
        if number != self.last_number:
            source = self.sources[number]
            if source is None:
                source = self.sources[number] = get_source(self.rollup, self.names[number])
            self.last_source = source
            self.last_number = number
        return self.last_source


cdef str _text(Cursor *cursor):
    cdef Cursor part = cursor[0]
    cdef Name name
    text(cursor, &part)
    name = name_at(part.at, part.end - part.at)
    if name is None:
        raise ValueError("not a text")
    return name.text


@cython.final
cdef class TaggedSection:
    """A tagged section of app.rollup.schema, as `_read_tagged` uses it."""

    cdef object section
    cdef str name
    cdef int key_count
    cdef bint is_count  # the value is one number to be added
    cdef bint has_count  # the first value is a count, which is not 0
    cdef int width
    cdef long long number_max[COLUMNS_MAX]  # of each column; 0 for text

    def __init__(self, section):
        self.section = section
        self.name = section.name
        self.key_count = len(section.keys)
        self.is_count = section.values == COUNT
        self.has_count = section.values.has_count
        numbers_max = [key.number_max for key in section.keys]
        numbers_max += [NUMBER_MAX if kind is int else 0 for kind in section.values.types]
        self.width = len(numbers_max)
        assert self.width <= COLUMNS_MAX, f"{section.name}: raise COLUMNS_MAX"
        for position, number_max in enumerate(numbers_max):
            self.number_max[position] = number_max


cdef dict _tagged_sections = {
    section.name: TaggedSection(section) for section in TAGGED_SECTIONS if not section.family
}


def merge_packed(FastRollup rollup, bytes data):
    """Merge a packed rollup into `rollup`.

    Raises:
        PackError: the bytes are not exactly as `pack` writes them; app.rollup.codec may still read
            them. `rollup` may hold a part of them.
    """
    try:
        _merge_packed(rollup, data)
    except ValueError as error:
        raise PackError(str(error)) from None


cdef int _merge_packed(FastRollup rollup, bytes data) except -1:
    cdef Names names = Names()
    cdef Cursor cursor
    cdef Py_ssize_t _
    cursor.at = data
    cursor.end = cursor.at + len(data)
    if array(&cursor) != FIELD_COUNT or number(&cursor) != VERSION:
        raise ValueError("another format")
    rollup.messages = saturating_add(rollup.messages, not_negative(&cursor))
    names.rollup = rollup
    names.count = array(&cursor)
    names.names = [_text(&cursor) for _ in range(names.count)]
    names.sources = [None] * names.count
    names.last_number = -1
    _read_section(&cursor, names, _read_requests)
    _read_section(&cursor, names, _read_errors)
    _read_section(&cursor, names, _read_tallies)
    _read_section(&cursor, names, _read_response_bytes)
    _read_section(&cursor, names, _read_sketches)
    _read_section(&cursor, names, _read_gauges)
    _read_section(&cursor, names, _read_minutes)
    _read_section(&cursor, names, _read_ledger)
    for _ in range(array(&cursor)):
        _read_extension(&cursor, rollup)
    return _check_end(&cursor)


cdef int _check_end(Cursor *cursor) except -1:
    if cursor.at != cursor.end:
        raise ValueError("bytes after the last row")
    return 0


ctypedef int (*ReadRows)(Cursor *, Names, Py_ssize_t) except -1


cdef int _read_section(Cursor *cursor, Names names, ReadRows read) except -1:
    """Read a binary with an array of numbers; `read` must consume exactly all of them."""
    cdef Cursor part = cursor[0]
    binary(cursor, &part)
    read(&part, names, array(&part))
    return _check_end(&part)


cdef int _check_last_row(Py_ssize_t numbers) except -1:
    if numbers:
        raise ValueError("the last row ends early")
    return 0


cdef int _read_requests(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int status
    while numbers > 0:
        source = names.source(part)
        status = below(part, SMALL_NUMBERS)
        add_requests(source, status, positive(part))
        numbers -= 3
    return _check_last_row(numbers)


cdef int _read_errors(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef dict errors = names.rollup.errors
    while numbers > 0:
        key = (names.name(part), names.name(part))
        errors[key] = errors.get(key, 0) + positive(part)
        numbers -= 3
    return _check_last_row(numbers)


cdef int _read_tallies(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int kind
    cdef long long count, total
    while numbers > 0:
        source = names.source(part)
        kind = below(part, TIMING_KINDS)  # app.rollup.codec carries those of newer versions
        count = positive(part)
        total = not_negative(part)
        add_timing(source, kind, count, total, not_negative(part))
        numbers -= 5
    return _check_last_row(numbers)


cdef int _read_response_bytes(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef ProcessType process_type
    while numbers > 0:
        process_type = get_process_type(names.rollup, names.name(part))
        process_type.response_bytes = saturating_add(process_type.response_bytes, positive(part))
        numbers -= 2
    return _check_last_row(numbers)


cdef int _read_sketches(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef ProcessType process_type
    cdef int kind, index
    cdef long long value
    while numbers > 0:
        process_type = get_process_type(names.rollup, names.name(part))
        kind = below(part, TIMING_KINDS)  # as above
        numbers -= 3  # with the 0 at the end of the row
        index = 0
        value = number(part)
        if not value:
            raise ValueError("an empty sketch")
        while value:
            if value < -BINS:
                raise ValueError("no such bin")
            if value < 0:
                index -= <int>value
            if index >= BINS:
                raise ValueError("no such bin")
            if value > 0:
                add_to_bin(process_type, kind, index, value)
                index += 1
            numbers -= 1
            value = number(part)
    return _check_last_row(numbers)


cdef int _read_gauges(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef GaugeSummary summary
    cdef int gauge
    cdef long long epoch, offset_ms
    if not numbers:
        return 0
    epoch = not_negative(part)
    numbers -= 1
    while numbers > 0:
        source = names.source(part)
        gauge = below(part, GAUGES)  # as above
        offset_ms = not_negative(part)
        if offset_ms > NUMBER_MAX - epoch:
            raise ValueError("a time over 63 bits")
        summary.last_at_ms = epoch + offset_ms
        summary.last = not_negative(part)
        summary.count = positive(part)
        if not product_fits(summary.last, summary.count):
            raise ValueError("a total over 63 bits")
        summary.total = _add_signed(summary.last * summary.count, number(part))
        summary.smallest = _add_signed(summary.last, number(part))
        summary.largest = _add_signed(summary.last, number(part))
        add_gauge(source, gauge, &summary)
        numbers -= 8
    return _check_last_row(numbers)


cdef inline long long _add_signed(long long value, long long difference) except -1:
    """Add a difference, which may be negative, to a value; the result must not be negative."""
    if difference > 0 and value > NUMBER_MAX - difference or value + difference < 0:
        raise ValueError("out of range")
    return value + difference


cdef int _read_minutes(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int first
    cdef unsigned long long shifted_mask
    while numbers > 0:
        source = names.source(part)
        first = below(part, MINUTES_OF_HOUR)
        shifted_mask = positive(part)
        if shifted_mask >> (MINUTES_OF_HOUR - first):
            raise ValueError("minutes outside the hour")
        source.active_minutes |= shifted_mask << first
        numbers -= 3
    return _check_last_row(numbers)


cdef int _read_ledger(Cursor *part, Names names, Py_ssize_t numbers) except -1:
    cdef dict ledger = names.rollup.ledger
    while numbers > 0:
        name = names.name(part)
        ledger[name] = ledger.get(name, 0) + not_negative(part)
        numbers -= 2
    return _check_last_row(numbers)


cdef int _read_extension(Cursor *cursor, FastRollup rollup) except -1:
    """Read a tagged section; keep the bytes of an unknown one."""
    cdef Cursor part = cursor[0]
    if array(cursor) != 2:
        raise ValueError("not an extension")
    tag = _text(cursor)
    binary(cursor, &part)
    if number_of_section(tag) < 0 and tag not in _tagged_sections and tag != ADDONS:
        data = part.at[: part.end - part.at]
        rollup.extensions = tuple(sorted([*rollup.extensions, (tag, data)]))
        return 0
    return _merge_section(&part, rollup, tag)


cdef int _merge_section(Cursor *part, FastRollup rollup, str tag) except -1:
    cdef int number = number_of_section(tag)
    if number >= 0:
        get_number_rows(rollup, number).read(part)
    elif tag == ADDONS:
        get_number_rows(rollup, ADDON_SAMPLES).read_addons(part)
    else:
        _read_tagged(part, <TaggedSection>_tagged_sections[tag], get_rows(rollup, tag))
    return _check_end(part)


def merge_section(FastRollup rollup, str tag, bytes data):
    """Merge the packed rows of a tagged section.

    Raises:
        ValueError: they differ from what the codec writes. The rollup may then hold part of them.
    """
    cdef Cursor part
    part.at = data
    part.end = part.at + len(data)
    _merge_section(&part, rollup, tag)


cdef int _read_tagged(Cursor *part, TaggedSection section, dict rows) except -1:
    """Read rows of key and value columns."""
    cdef Py_ssize_t _
    for _ in range(array(part)):
        if array(part) != section.width:
            raise ValueError("a row of another width")
        if section.is_count:
            _add_count(rows, _read_key(part, section), not_negative(part))
        else:
            _merge_row(part, section, rows)
    return 0


cdef inline object _read_column(Cursor *part, TaggedSection section, int position):
    cdef long long number
    if not section.number_max[position]:
        return _text(part)
    number = not_negative(part)
    if number > section.number_max[position]:
        raise ValueError("out of range")
    return number


cdef inline object _read_key(Cursor *part, TaggedSection section):
    cdef tuple key
    cdef int position
    if section.key_count == 1:
        return _read_column(part, section, 0)
    key = PyTuple_New(section.key_count)
    for position in range(section.key_count):
        column = _read_column(part, section, position)
        Py_INCREF(column)  # the tuple owns it
        PyTuple_SET_ITEM(key, position, column)
    return key


cdef inline int _add_count(dict rows, key, count) except -1:
    """Most keys are new: setdefault hashes such a key only once."""
    cdef Py_ssize_t size = len(rows)
    old_count = rows.setdefault(key, count)
    if len(rows) == size:
        rows[key] = old_count + count
    return 0


cdef int _merge_row(Cursor *part, TaggedSection section, dict rows) except -1:
    cdef int position
    key = _read_key(part, section)
    values = [
        _read_column(part, section, position)
        for position in range(section.key_count, section.width)
    ]
    if section.has_count and values[0] < 1:
        raise ValueError("a row has no values")
    section.section.merge_row(rows, key, section.section.values.make(values))
    return 0

