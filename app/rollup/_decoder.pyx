# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Bytes as FastRollup: packed rollups, in the format that app.rollup.codec defines and describes. What is not
exactly as written is refused, for that module to read, or to refuse with the reason.
"""

cimport cython

from app.rollup._names cimport Name, name_at
from app.rollup._rollup cimport (
    BINS,
    GAUGES,
    WHICH,
    ProcessType,
    GaugeSummary,
    Source,
    FastRollup,
    add_reading,
    add_tally,
    count_bin,
    count_requests,
    fits,
    plus,
    source_named,
    type_named,
)

from app.rollup import codec_extensions

from app.rollup import codec as packing
from app.rollup.codec import PackError

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int PARTS = 12  # version, messages, names, 8 sections, later
cdef int STATUSES = 600
cdef int MINUTES_OF_HOUR = 60
cdef int EXIT_STATUSES = 256


@cython.final
cdef class Reader:
    """MessagePack from `at` to before `end`. What is not as expected is a PackError."""

    cdef const unsigned char *at
    cdef const unsigned char *end
    cdef list sources  # by the number of their name, those that were asked for
    cdef Source last  # of these: rows of a source stand together
    cdef Py_ssize_t last_number

    cdef unsigned long long big(self, int size) except? 0xFFFFFFFFFFFFFFFF:
        """A number of so many bytes, the highest first."""
        cdef unsigned long long value = 0
        cdef int _
        if self.end - self.at < size:
            raise PackError("ends early")
        for _ in range(size):
            value = value << 8 | self.at[0]
            self.at += 1
        return value

    cdef int kind(self) except -1:
        if self.at >= self.end:
            raise PackError("ends early")
        self.at += 1
        return (self.at - 1)[0]

    cdef inline long long number(self) except? -1:
        cdef int kind
        if self.at < self.end and self.at[0] < 0x80:  # by far the most
            kind = self.at[0]
            self.at += 1
            return kind
        return self.longer_number()

    cdef long long longer_number(self) except? -1:
        cdef int kind = self.kind()
        cdef unsigned long long value
        if kind >= 0xE0:
            return kind - 0x100
        if kind == 0xCC:
            return self.big(1)
        if kind == 0xCD:
            return self.big(2)
        if kind == 0xCE:
            return self.big(4)
        if kind == 0xCF or kind == 0xD3:
            value = self.big(8)
            if kind == 0xCF and value > <unsigned long long>NUMBER_MAX:
                raise PackError("no such number")
            return <long long>value
        if kind == 0xD0:
            return <signed char>self.big(1)
        if kind == 0xD1:
            return <short>self.big(2)
        if kind == 0xD2:
            return <int>self.big(4)
        raise PackError("no number")

    cdef inline long long count(self) except -1:
        """A number above 0."""
        cdef long long value = self.number()
        if value <= 0:
            raise PackError("no count")
        return value

    cdef inline long long below(self, long long size) except -1:
        """A number in [0, size)."""
        cdef long long value = self.number()
        if value < 0 or value >= size:
            raise PackError("out of range")
        return value

    cdef Py_ssize_t array(self) except -1:
        cdef int kind = self.kind()
        if kind & 0xF0 == 0x90:
            return kind & 0x0F
        if kind == 0xDC:
            return self.big(2)
        if kind == 0xDD:
            return self.big(4)
        raise PackError("no array")

    cdef Py_ssize_t binary(self) except -1:
        cdef int kind = self.kind()
        cdef unsigned long long size
        if kind < 0xC4 or kind > 0xC6:
            raise PackError("no binary")
        size = self.big(1 << (kind - 0xC4))
        if size > <unsigned long long>(self.end - self.at):
            raise PackError("ends early")
        return size

    cdef str text(self):
        cdef Name name
        cdef int kind = self.kind()
        cdef unsigned long long size
        if kind & 0xE0 == 0xA0:
            size = kind & 0x1F
        elif kind >= 0xD9 and kind <= 0xDB:
            size = self.big(1 << (kind - 0xD9))
        else:
            raise PackError("no text")
        if size > <unsigned long long>(self.end - self.at):
            raise PackError("ends early")
        name = name_at(self.at, size)
        if name is None:
            raise PackError("no text")
        self.at += size
        return name.text


def merge_packed(FastRollup sums, bytes data):
    """Merge packed bytes into sums.

    Raises:
        PackError: they are not exactly as `pack` writes them: app.rollup.codec.merge_packed may know more. The
            sums may hold half of them.
    """
    cdef Reader reader = Reader()
    cdef const unsigned char *raw = data
    cdef list names
    reader.at = raw
    reader.end = raw + len(data)
    if reader.array() != PARTS or reader.number() != VERSION:
        raise PackError("another format")
    sums.messages = plus(sums.messages, reader.below(NUMBER_MAX))
    names = [reader.text() for _ in range(reader.array())]
    reader.sources = [None] * len(names)
    reader.last_number = -1
    _read_section(sums, reader, names, _read_requests)
    _read_section(sums, reader, names, _read_errors)
    _read_section(sums, reader, names, _read_tallies)
    _read_section(sums, reader, names, _read_response_bytes)
    _read_section(sums, reader, names, _read_sketches)
    _read_section(sums, reader, names, _read_gauges)
    _read_section(sums, reader, names, _read_minutes)
    _read_section(sums, reader, names, _read_ledger)
    _read_later(sums, reader)
    if reader.at != reader.end:
        raise PackError("more than a rollup")


ctypedef int (*Section)(FastRollup, Reader, list, Py_ssize_t) except -1


cdef int _read_section(FastRollup sums, Reader reader, list names, Section read) except -1:
    """One binary with an array of numbers, of which `read` takes all."""
    cdef Py_ssize_t size = reader.binary()
    cdef const unsigned char *whole = reader.end
    reader.end = reader.at + size
    read(sums, reader, names, reader.array())
    if reader.at != reader.end:
        raise PackError("more than its rows")
    reader.end = whole
    return 0


cdef Source _source(FastRollup sums, Reader reader, list names):
    cdef Py_ssize_t number = reader.below(len(names))
    if number != reader.last_number:
        found = reader.sources[number]
        if found is None:
            found = reader.sources[number] = source_named(sums, names[number])
        reader.last = found
        reader.last_number = number
    return reader.last


cdef int _read_requests(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int status
    while numbers > 0:
        source = _source(sums, reader, names)
        status = reader.below(STATUSES)
        count_requests(source, status, reader.count())
        numbers -= 3
    return _whole_rows(numbers)


cdef int _whole_rows(Py_ssize_t numbers) except -1:
    if numbers:
        raise PackError("ends early")
    return 0


cdef int _read_errors(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    while numbers > 0:
        key = (names[reader.below(len(names))], names[reader.below(len(names))])
        sums.errors[key] = sums.errors.get(key, 0) + reader.count()
        numbers -= 3
    return _whole_rows(numbers)


cdef int _read_tallies(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int which
    cdef long long count, total
    while numbers > 0:
        source = _source(sums, reader, names)
        which = reader.below(WHICH)
        count = reader.count()
        total = reader.below(NUMBER_MAX)
        add_tally(source, which, count, total, reader.below(NUMBER_MAX))
        numbers -= 5
    return _whole_rows(numbers)


cdef int _read_response_bytes(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef ProcessType of_type
    while numbers > 0:
        of_type = type_named(sums, names[reader.below(len(names))])
        of_type.response_bytes = plus(of_type.response_bytes, reader.count())
        numbers -= 2
    return _whole_rows(numbers)


cdef int _read_sketches(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef ProcessType of_type
    cdef int which, index
    cdef long long value
    while numbers > 0:
        of_type = type_named(sums, names[reader.below(len(names))])
        which = reader.below(WHICH)
        numbers -= 3  # with the 0 at its end
        index = 0
        value = reader.number()
        if not value:
            raise PackError("a sketch of nothing")
        while value:
            if value < -BINS:
                raise PackError("no such bin")
            if value < 0:
                index -= <int>value
            if index >= BINS:
                raise PackError("no such bin")
            if value > 0:
                count_bin(of_type, which, index, value)
                index += 1
            numbers -= 1
            value = reader.number()
    return _whole_rows(numbers)


cdef int _read_gauges(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef GaugeSummary reading
    cdef int gauge
    cdef long long epoch, after
    if not numbers:
        return 0
    epoch = reader.below(NUMBER_MAX)
    numbers -= 1
    while numbers > 0:
        source = _source(sums, reader, names)
        gauge = reader.below(GAUGES)
        after = reader.below(NUMBER_MAX)
        if after > NUMBER_MAX - epoch:
            raise PackError("after all times")
        reading.last_at_ms = epoch + after
        reading.last = reader.below(NUMBER_MAX)
        reading.count = reader.count()
        if not fits(reading.last, reading.count):
            raise PackError("too large")
        reading.total = _sum(reading.last * reading.count, reader.number())
        reading.smallest = _sum(reading.last, reader.number())
        reading.largest = _sum(reading.last, reader.number())
        add_reading(source, gauge, &reading)
        numbers -= 8
    return _whole_rows(numbers)


cdef inline long long _sum(long long one, long long other) except -1:
    """Of a number that is not negative and one that may be; the sum must not be either."""
    if other > 0 and one > NUMBER_MAX - other or one + other < 0:
        raise PackError("out of range")
    return one + other


cdef int _read_minutes(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    cdef Source source
    cdef int first
    cdef unsigned long long shifted
    while numbers > 0:
        source = _source(sums, reader, names)
        first = reader.below(MINUTES_OF_HOUR)
        shifted = reader.count()
        if shifted >> (MINUTES_OF_HOUR - first):
            raise PackError("minutes outside the hour")
        source.active_minutes |= shifted << first
        numbers -= 3
    return _whole_rows(numbers)


cdef int _read_ledger(FastRollup sums, Reader reader, list names, Py_ssize_t numbers) except -1:
    while numbers > 0:
        name = names[reader.below(len(names))]
        sums.ledger[name] = sums.ledger.get(name, 0) + reader.below(NUMBER_MAX)
        numbers -= 2
    return _whole_rows(numbers)


cdef int _read_later(FastRollup sums, Reader reader) except -1:
    """The sections of app.rollup.codec_extensions; others are carried along."""
    cdef Py_ssize_t size
    cdef const unsigned char *whole
    for _ in range(reader.array()):
        if reader.array() != 2:
            raise PackError("no section")
        tag = reader.text()
        size = reader.binary()
        if tag not in codec_extensions.TAGS:
            sums.extensions = tuple(sorted([*sums.extensions, (tag, reader.at[:size])]))
            reader.at += size
            continue
        whole = reader.end
        reader.end = reader.at + size
        _read_tagged(sums, reader, tag)
        if reader.at != reader.end:
            raise PackError("more than its rows")
        reader.end = whole
    return 0


cdef int _read_tagged(FastRollup sums, Reader reader, str tag) except -1:
    cdef Py_ssize_t rows = reader.array()
    if tag == "events":
        return _read_events(sums.events, reader, rows)
    for _ in range(rows):
        if tag == "exits":
            _columns(reader, 3)
            key = (reader.text(), reader.below(EXIT_STATUSES))
            sums.exits[key] = sums.exits.get(key, 0) + reader.below(NUMBER_MAX)
        elif tag == "restarts":
            _columns(reader, 2)
            key = reader.text()
            sums.restarts[key] = sums.restarts.get(key, 0) + reader.below(NUMBER_MAX)
        elif tag == "released":
            _columns(reader, 2)
            at_ms = reader.below(NUMBER_MAX)
            sums.released = max(sums.released, (at_ms, reader.text()))
        else:
            raise PackError("no such section")
    return 0


cdef int _read_events(dict events, Reader reader, Py_ssize_t rows) except -1:
    cdef Py_ssize_t held
    cdef tuple key
    for _ in range(rows):
        _columns(reader, 5)
        key = (reader.below(NUMBER_MAX), reader.text(), reader.text(), reader.text())
        count = reader.below(NUMBER_MAX)
        held = len(events)
        before = events.setdefault(key, count)
        if len(events) == held:
            events[key] = before + count
    return 0


cdef int _columns(Reader reader, Py_ssize_t expected) except -1:
    if reader.array() != expected:
        raise PackError("another form of row")
    return 0
