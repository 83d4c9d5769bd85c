# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Merges packed rollups into a FastRollup. app.rollup.codec.merge_packed defines the results.

It accepts only bytes in exactly the form that the codec writes. Any other bytes are rejected, so
that app.rollup.codec reads them, or rejects them with the reason.
"""

cimport cython

from app.rollup._names cimport Name, name_at
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
    get_process_type,
    get_source,
    product_fits,
    saturating_add,
)

from app.rollup import codec_extensions

from app.rollup import codec
from app.rollup.codec import PackError

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = codec.VERSION
cdef int FIELD_COUNT = 12  # version, messages, names, 8 sections, extensions
cdef int STATUSES = 600
cdef int MINUTES_OF_HOUR = 60
cdef int EXIT_STATUSES = 256


@cython.final
cdef class Reader:
    """Reads MessagePack between `at` and `end`. Any form but the expected one is a PackError."""

    cdef const unsigned char *at
    cdef const unsigned char *end
    cdef list sources  # by the position of their name; None until the first row of a source
    cdef Source last_source  # rows of a source follow each other, so it is looked up once
    cdef Py_ssize_t last_number

    cdef unsigned long long big_endian(self, int size) except? 0xFFFFFFFFFFFFFFFF:
        """Read a number of `size` bytes, the most significant first."""
        cdef unsigned long long value = 0
        cdef int _
        if self.end - self.at < size:
            raise PackError("the data ends early")
        for _ in range(size):
            value = value << 8 | self.at[0]
            self.at += 1
        return value

    cdef int first_byte(self) except -1:
        if self.at >= self.end:
            raise PackError("the data ends early")
        self.at += 1
        return (self.at - 1)[0]

    cdef inline long long number(self) except? -1:
        cdef int kind
        if self.at < self.end and self.at[0] < 0x80:  # by far the most
            kind = self.at[0]
            self.at += 1
            return kind
        return self.long_number()

    cdef long long long_number(self) except? -1:
        cdef int kind = self.first_byte()
        cdef unsigned long long value
        if kind >= 0xE0:
            return kind - 0x100
        if kind == 0xCC:
            return self.big_endian(1)
        if kind == 0xCD:
            return self.big_endian(2)
        if kind == 0xCE:
            return self.big_endian(4)
        if kind == 0xCF or kind == 0xD3:
            value = self.big_endian(8)
            if kind == 0xCF and value > <unsigned long long>NUMBER_MAX:
                raise PackError("a number over 63 bits")
            return <long long>value
        if kind == 0xD0:
            return <signed char>self.big_endian(1)
        if kind == 0xD1:
            return <short>self.big_endian(2)
        if kind == 0xD2:
            return <int>self.big_endian(4)
        raise PackError("not a number")

    cdef inline long long count(self) except -1:
        """Read a number above 0."""
        cdef long long value = self.number()
        if value <= 0:
            raise PackError("not a count")
        return value

    cdef inline long long below(self, long long size) except -1:
        """Read a number in [0, size)."""
        cdef long long value = self.number()
        if value < 0 or value >= size:
            raise PackError("out of range")
        return value

    cdef Py_ssize_t array(self) except -1:
        """Read the head of an array; return the number of its elements."""
        cdef int kind = self.first_byte()
        if kind & 0xF0 == 0x90:
            return kind & 0x0F
        if kind == 0xDC:
            return self.big_endian(2)
        if kind == 0xDD:
            return self.big_endian(4)
        raise PackError("not an array")

    cdef Py_ssize_t binary(self) except -1:
        """Read the head of a binary; return its size in bytes."""
        cdef int kind = self.first_byte()
        cdef unsigned long long size
        if kind < 0xC4 or kind > 0xC6:
            raise PackError("not a binary")
        size = self.big_endian(1 << (kind - 0xC4))
        if size > <unsigned long long>(self.end - self.at):
            raise PackError("the data ends early")
        return size

    cdef str text(self):
        cdef Name name
        cdef int kind = self.first_byte()
        cdef unsigned long long size
        if kind & 0xE0 == 0xA0:
            size = kind & 0x1F
        elif kind >= 0xD9 and kind <= 0xDB:
            size = self.big_endian(1 << (kind - 0xD9))
        else:
            raise PackError("not a text")
        if size > <unsigned long long>(self.end - self.at):
            raise PackError("the data ends early")
        name = name_at(self.at, size)
        if name is None:
            raise PackError("not a text")
        self.at += size
        return name.text


def merge_packed(FastRollup rollup, bytes data):
    """Merge a packed rollup into `rollup`.

    Raises:
        PackError: the bytes are not exactly as `pack` writes them; app.rollup.codec may still read
            them. `rollup` may hold a part of them.
    """
    cdef Reader reader = Reader()
    cdef const unsigned char *raw = data
    cdef list names
    reader.at = raw
    reader.end = raw + len(data)
    if reader.array() != FIELD_COUNT or reader.number() != VERSION:
        raise PackError("another format")
    rollup.messages = saturating_add(rollup.messages, reader.below(NUMBER_MAX))
    names = [reader.text() for _ in range(reader.array())]
    reader.sources = [None] * len(names)
    reader.last_number = -1
    _read_section(rollup, reader, names, _read_requests)
    _read_section(rollup, reader, names, _read_errors)
    _read_section(rollup, reader, names, _read_tallies)
    _read_section(rollup, reader, names, _read_response_bytes)
    _read_section(rollup, reader, names, _read_sketches)
    _read_section(rollup, reader, names, _read_gauges)
    _read_section(rollup, reader, names, _read_minutes)
    _read_section(rollup, reader, names, _read_ledger)
    _read_extensions(rollup, reader)
    if reader.at != reader.end:
        raise PackError("bytes after the rollup")


ctypedef int (*Section)(FastRollup, Reader, list, Py_ssize_t) except -1


cdef int _read_section(FastRollup rollup, Reader reader, list names, Section read) except -1:
    """Read a binary with an array of numbers; `read` must consume exactly all of them."""
    cdef Py_ssize_t size = reader.binary()
    cdef const unsigned char *end = reader.end
    reader.end = reader.at + size
    read(rollup, reader, names, reader.array())
    if reader.at != reader.end:
        raise PackError("bytes after the last row")
    reader.end = end
    return 0


cdef Source _source(FastRollup rollup, Reader reader, list names):
    cdef Py_ssize_t number = reader.below(len(names))
    if number != reader.last_number:
        source = reader.sources[number]
        if source is None:
            source = reader.sources[number] = get_source(rollup, names[number])
        reader.last_source = source
        reader.last_number = number
    return reader.last_source


cdef int _read_requests(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int status
    while numbers > 0:
        source = _source(rollup, reader, names)
        status = reader.below(STATUSES)
        add_requests(source, status, reader.count())
        numbers -= 3
    return _check_last_row(numbers)


cdef int _check_last_row(Py_ssize_t numbers) except -1:
    if numbers:
        raise PackError("the data ends early")
    return 0


cdef int _read_errors(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    while numbers > 0:
        key = (names[reader.below(len(names))], names[reader.below(len(names))])
        rollup.errors[key] = rollup.errors.get(key, 0) + reader.count()
        numbers -= 3
    return _check_last_row(numbers)


cdef int _read_tallies(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int kind
    cdef long long count, total
    while numbers > 0:
        source = _source(rollup, reader, names)
        kind = reader.below(TIMING_KINDS)
        count = reader.count()
        total = reader.below(NUMBER_MAX)
        add_timing(source, kind, count, total, reader.below(NUMBER_MAX))
        numbers -= 5
    return _check_last_row(numbers)


cdef int _read_response_bytes(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef ProcessType process_type
    while numbers > 0:
        process_type = get_process_type(rollup, names[reader.below(len(names))])
        process_type.response_bytes = saturating_add(process_type.response_bytes, reader.count())
        numbers -= 2
    return _check_last_row(numbers)


cdef int _read_sketches(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef ProcessType process_type
    cdef int kind, index
    cdef long long value
    while numbers > 0:
        process_type = get_process_type(rollup, names[reader.below(len(names))])
        kind = reader.below(TIMING_KINDS)
        numbers -= 3  # with the 0 at the end of the row
        index = 0
        value = reader.number()
        if not value:
            raise PackError("an empty sketch")
        while value:
            if value < -BINS:
                raise PackError("no such bin")
            if value < 0:
                index -= <int>value
            if index >= BINS:
                raise PackError("no such bin")
            if value > 0:
                add_to_bin(process_type, kind, index, value)
                index += 1
            numbers -= 1
            value = reader.number()
    return _check_last_row(numbers)


cdef int _read_gauges(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef GaugeSummary summary
    cdef int gauge
    cdef long long epoch, offset_ms
    if not numbers:
        return 0
    epoch = reader.below(NUMBER_MAX)
    numbers -= 1
    while numbers > 0:
        source = _source(rollup, reader, names)
        gauge = reader.below(GAUGES)
        offset_ms = reader.below(NUMBER_MAX)
        if offset_ms > NUMBER_MAX - epoch:
            raise PackError("a time over 63 bits")
        summary.last_at_ms = epoch + offset_ms
        summary.last = reader.below(NUMBER_MAX)
        summary.count = reader.count()
        if not product_fits(summary.last, summary.count):
            raise PackError("a total over 63 bits")
        summary.total = _add_signed(summary.last * summary.count, reader.number())
        summary.smallest = _add_signed(summary.last, reader.number())
        summary.largest = _add_signed(summary.last, reader.number())
        add_gauge(source, gauge, &summary)
        numbers -= 8
    return _check_last_row(numbers)


cdef inline long long _add_signed(long long value, long long difference) except -1:
    """Add a difference, which may be negative, to a value; the result must not be negative."""
    if difference > 0 and value > NUMBER_MAX - difference or value + difference < 0:
        raise PackError("out of range")
    return value + difference


cdef int _read_minutes(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int first
    cdef unsigned long long shifted_mask
    while numbers > 0:
        source = _source(rollup, reader, names)
        first = reader.below(MINUTES_OF_HOUR)
        shifted_mask = reader.count()
        if shifted_mask >> (MINUTES_OF_HOUR - first):
            raise PackError("minutes outside the hour")
        source.active_minutes |= shifted_mask << first
        numbers -= 3
    return _check_last_row(numbers)


cdef int _read_ledger(FastRollup rollup, Reader reader, list names, Py_ssize_t numbers) except -1:
    while numbers > 0:
        name = names[reader.below(len(names))]
        rollup.ledger[name] = rollup.ledger.get(name, 0) + reader.below(NUMBER_MAX)
        numbers -= 2
    return _check_last_row(numbers)


cdef int _read_extensions(FastRollup rollup, Reader reader) except -1:
    """Read the sections of app.rollup.codec_extensions; keep the bytes of others."""
    cdef Py_ssize_t size
    cdef const unsigned char *end
    for _ in range(reader.array()):
        if reader.array() != 2:
            raise PackError("not an extension")
        tag = reader.text()
        size = reader.binary()
        if tag not in codec_extensions.TAGS:
            rollup.extensions = tuple(sorted([*rollup.extensions, (tag, reader.at[:size])]))
            reader.at += size
            continue
        end = reader.end
        reader.end = reader.at + size
        _read_extension(rollup, reader, tag)
        if reader.at != reader.end:
            raise PackError("bytes after the last row")
        reader.end = end
    return 0


cdef int _read_extension(FastRollup rollup, Reader reader, str tag) except -1:
    cdef Py_ssize_t rows = reader.array()
    if tag == "events":
        return _read_events(rollup.events, reader, rows)
    for _ in range(rows):
        if tag == "exits":
            _check_width(reader, 3)
            key = (reader.text(), reader.below(EXIT_STATUSES))
            rollup.exits[key] = rollup.exits.get(key, 0) + reader.below(NUMBER_MAX)
        elif tag == "restarts":
            _check_width(reader, 2)
            key = reader.text()
            rollup.restarts[key] = rollup.restarts.get(key, 0) + reader.below(NUMBER_MAX)
        elif tag == "released":
            _check_width(reader, 2)
            at_ms = reader.below(NUMBER_MAX)
            rollup.released = max(rollup.released, (at_ms, reader.text()))
        else:
            raise PackError("an unknown extension")
    return 0


cdef int _read_events(dict events, Reader reader, Py_ssize_t rows) except -1:
    cdef Py_ssize_t size
    cdef tuple key
    for _ in range(rows):
        _check_width(reader, 5)
        key = (reader.below(NUMBER_MAX), reader.text(), reader.text(), reader.text())
        count = reader.below(NUMBER_MAX)
        size = len(events)
        # Most keys are new: setdefault hashes such a key only once.
        old_count = events.setdefault(key, count)
        if len(events) == size:
            events[key] = old_count + count
    return 0


cdef int _check_width(Reader reader, Py_ssize_t expected) except -1:
    if reader.array() != expected:
        raise PackError("a row of another width")
    return 0
