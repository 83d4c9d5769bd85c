# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FastRollup as bytes, in the format that app.rollup.codec defines and describes. Rows are sorted as there, so
equal sums give equal bytes. What would first have to be bounded is left to that module.
"""

cimport cython

from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from app.rollup._rollup cimport GAUGES, WHICH, ProcessType, GaugeSummary, Requests, Source, FastRollup, TimingTotals, fits

from app.rollup import batch_codec as batch

from app.rollup import codec as packing
from app.rollup.events import first_events
from app.rollup.rollup import DEFAULT_LIMITS
from parsers.samples import labels_of

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int VERSION = packing.VERSION
cdef int BATCH_VERSION = batch.VERSION
cdef enum:
    NUMBER_BYTES_MAX = 9
cdef int PARTS = 12  # version, messages, names, 8 sections, later
cdef int STATUS_MAX = 599
cdef int STATUSES = STATUS_MAX + 1


cdef inline unsigned char *put(unsigned char *at, long long value) noexcept:
    """Write a number, in up to NUMBER_BYTES_MAX bytes; returns where it ends."""
    if -32 <= value < 128:  # by far the most
        at[0] = value & 0xFF
        return at + 1
    return put_longer(at, value)


cdef unsigned char *put_longer(unsigned char *at, long long value) noexcept:
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
    """A type byte and `size` bytes of a number, the highest first."""
    cdef int shift
    at[0] = kind
    at += 1
    for shift in range(8 * (size - 1), -8, -8):
        at[0] = (value >> shift) & 0xFF
        at += 1
    return at


@cython.final
cdef class Writer:
    """MessagePack, growing. `numbers` counts the integers since it was last emptied."""

    cdef unsigned char *data
    cdef Py_ssize_t size
    cdef Py_ssize_t room
    cdef Py_ssize_t numbers

    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef unsigned char *grown
        if self.size + more > self.room:
            self.room = 2 * (self.size + more)
            grown = <unsigned char *>realloc(self.data, self.room)
            if grown == NULL:
                raise MemoryError
            self.data = grown
        return 0

    cdef int head(self, int kind, unsigned long long value, int size) except -1:
        """A type byte and `size` bytes of a number."""
        self.size = put_head(self.room_for(1), kind, value, size) - self.data
        return 0

    cdef int number(self, long long value) except -1:
        self.put_until(put(self.room_for(1), value), 1)
        return 0

    cdef unsigned char *room_for(self, Py_ssize_t numbers) except NULL:
        """Where so many numbers can be put."""
        self.reserve(NUMBER_BYTES_MAX * numbers + 1)
        return self.data + self.size

    cdef inline void put_until(self, const unsigned char *end, Py_ssize_t numbers) noexcept:
        """So many were put from there on, and end here."""
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
        """The numbers of `rows`, which is emptied, as a binary that holds an array."""
        cdef Py_ssize_t head = 1 if rows.numbers < 16 else 3 if rows.numbers < 1 << 16 else 5
        self.binary(head + rows.size)
        self.array(rows.numbers)
        self.raw(rows.data, rows.size)
        rows.size = rows.numbers = 0
        return 0


cdef Writer _batch = Writer()
cdef Writer _whole = Writer()
cdef Writer _names = Writer()
cdef Writer _sections = Writer()
cdef Writer _rows = Writer()


def pack(of, limits=DEFAULT_LIMITS):
    """The bytes of sums, or of a Rollup, bounded by the limits; see app.rollup.codec.pack."""
    cdef bytes packed = _packed(of, limits)
    return _whole.data[: _whole.size] if packed is None else packed


def pack_batch(rollups, limits=DEFAULT_LIMITS):
    """The bytes of a batch; see app.rollup.batch_codec."""
    cdef bytes packed
    _batch.size = 0
    _batch.array(2)
    _batch.number(BATCH_VERSION)
    _batch.array(len(rollups))
    for minute in sorted(rollups):
        _batch.array(2)
        _batch.number(minute)
        packed = _packed(rollups[minute], limits)
        if packed is None:
            _batch.binary(_whole.size)
            _batch.raw(_whole.data, _whole.size)
        else:
            _batch.binary(len(packed))
            _batch.raw(packed, len(packed))
    return _batch.data[: _batch.size]


cdef bytes _packed(of, limits):
    """Their bytes; None when they are in _whole."""
    cdef FastRollup sums
    cdef dict events
    if not isinstance(of, FastRollup):
        return packing.pack(of, limits)
    sums = of
    events = sums.events
    if len(events) > limits.events:
        events = first_events(events, limits.events)
    if _over(sums, limits) or not _write(sums, events):
        return packing.pack(sums.rollup(), limits)
    return None


cdef bint _over(FastRollup sums, limits):
    """Whether they may have to be bounded, apart from their events."""
    cdef Source source
    cdef bint seen[600]
    cdef int position, status, statuses = 0, statuses_max = limits.statuses
    others = len(sums.errors) + len(sums.exits) + len(sums.restarts)
    if (
        len(sums.sources) + others > limits.dynos
        or len(sums.process_types) + others > limits.process_types
    ) and _sources_over(sums, limits):
        return True
    if len(sums.errors) > limits.codes and len({code for _, code in sums.errors}) > limits.codes:
        return True
    for status in range(STATUSES):
        seen[status] = False
    for source in sums.sources.values():
        for position in range(source.requests_size):
            status = source.requests[position].status
            if status < 0 or status > STATUS_MAX:
                return True
            if not seen[status]:
                seen[status] = True
                statuses += 1
    return statuses > statuses_max


cdef bint _sources_over(FastRollup sums, limits):
    """The same of their names, counted exactly."""
    names = set(sums.sources)
    names.update(source for source, _ in sums.errors)
    names.update(source for source, _ in sums.exits)
    names.update(sums.restarts)
    types = set(sums.process_types)
    types.update(labels_of(name)[0] for name in names)
    return len(names) > limits.dynos or len(types) > limits.process_types


cdef bint _write(FastRollup sums, dict events) except -1:
    """Into _whole, with these events; False when a number does not fit."""
    cdef dict numbers = {}
    cdef list sources = [sums.sources[name] for name in sorted(sums.sources)]
    cdef list types = [sums.process_types[name] for name in sorted(sums.process_types)]
    cdef Source source
    for source in sources:
        source.number = -1
    _sections.size = _rows.size = _rows.numbers = _names.size = 0
    _write_requests(sources, numbers)
    _write_errors(sums.errors, numbers)
    _write_tallies(sources, numbers)
    _write_response_bytes(types, numbers)
    _write_sketches(types, numbers)
    if not _write_gauges(sources, numbers):
        return False
    _write_minutes(sources, numbers)
    for name in sorted(sums.ledger):
        _rows.number(_number(numbers, name))
        _rows.number(min(sums.ledger[name], NUMBER_MAX))
    _sections.section(_rows)

    _whole.size = 0
    _whole.array(PARTS)
    _whole.number(VERSION)
    _whole.number(sums.messages)
    _whole.array(len(numbers))
    _whole.raw(_names.data, _names.size)
    _whole.raw(_sections.data, _sections.size)
    _write_later(sums, events)
    return True


cdef int _write_later(FastRollup sums, dict events) except -1:
    """The sections of app.rollup.codec_extensions, by their tags; what is only carried along, between them."""
    cdef bytes packed
    if not _has_later(sums):
        return _whole.array(0)
    added = list(sums.extensions)
    if events:
        _rows.array(len(events))
        for (at_ms, kind, source, detail), count in sorted(events.items()):
            _rows.array(5)
            _rows.number(at_ms)
            _rows.text(kind)
            _rows.text(source)
            _rows.text(detail)
            _rows.number(min(count, NUMBER_MAX))
        added.append(("events", _taken()))
    if sums.exits:
        _rows.array(len(sums.exits))
        for (source, status), count in sorted(sums.exits.items()):
            _rows.array(3)
            _rows.text(source)
            _rows.number(status)
            _rows.number(min(count, NUMBER_MAX))
        added.append(("exits", _taken()))
    if sums.restarts:
        _rows.array(len(sums.restarts))
        for source, count in sorted(sums.restarts.items()):
            _rows.array(2)
            _rows.text(source)
            _rows.number(min(count, NUMBER_MAX))
        added.append(("restarts", _taken()))
    if sums.released[0]:
        _rows.array(1)
        _rows.array(2)
        _rows.number(sums.released[0])
        _rows.text(sums.released[1])
        added.append(("released", _taken()))
    added.sort()
    _whole.array(len(added))
    for tag, packed in added:
        _whole.array(2)
        _whole.text(tag)
        _whole.binary(len(packed))
        _whole.raw(packed, len(packed))
    return 0


cdef bytes _taken():
    """What was written to _rows, which is emptied."""
    cdef bytes data = _rows.data[: _rows.size]
    _rows.size = _rows.numbers = 0
    return data


cdef bint _has_later(FastRollup sums):
    return bool(
        sums.extensions or sums.events or sums.exits or sums.restarts or sums.released[0]
    )


cdef long long _number(dict numbers, str name) except -1:
    """The position of a label among the names, where it is put as it first appears."""
    cdef object found = numbers.get(name)
    if found is None:
        found = numbers[name] = len(numbers)
        _names.text(name)
    return found


cdef long long _number_of(dict numbers, Source source) except -1:
    """The same of a source, looked for once."""
    if source.number < 0:
        source.number = _number(numbers, source.name)
    return source.number


cdef int _write_requests(list sources, dict numbers) except -1:
    cdef Source source
    cdef Requests *rows
    cdef Requests held
    cdef int position, at
    cdef long long number
    cdef unsigned char *to
    for source in sources:
        if not source.requests_size:
            continue
        rows = source.requests
        for position in range(1, source.requests_size):  # few, and hardly ever out of order
            held = rows[position]
            at = position
            while at > 0 and rows[at - 1].status > held.status:
                rows[at] = rows[at - 1]
                at -= 1
            rows[at] = held
        number = _number_of(numbers, source)
        to = _rows.room_for(3 * source.requests_size)
        for position in range(source.requests_size):
            to = put(to, number)
            to = put(to, rows[position].status)
            to = put(to, rows[position].count)
        _rows.put_until(to, 3 * source.requests_size)
    return _sections.section(_rows)


cdef int _write_errors(dict errors, dict numbers) except -1:
    for source, code in sorted(errors):
        _rows.number(_number(numbers, source))
        _rows.number(_number(numbers, code))
        _rows.number(min(errors[source, code], NUMBER_MAX))
    return _sections.section(_rows)


cdef int _write_tallies(list sources, dict numbers) except -1:
    cdef Source source
    cdef TimingTotals *tally
    cdef int which
    cdef long long number
    cdef unsigned char *to
    for source in sources:
        for which in range(WHICH):
            tally = &source.tallies[which]
            if tally.count:
                number = _number_of(numbers, source)
                to = _rows.room_for(5)
                to = put(to, number)
                to = put(to, which)
                to = put(to, tally.count)
                to = put(to, tally.total)
                to = put(to, tally.largest)
                _rows.put_until(to, 5)
    return _sections.section(_rows)


cdef int _write_response_bytes(list types, dict numbers) except -1:
    cdef ProcessType of_type
    for of_type in types:
        if of_type.response_bytes:
            _rows.number(_number(numbers, of_type.name))
            _rows.number(of_type.response_bytes)
    return _sections.section(_rows)


cdef int _write_sketches(list types, dict numbers) except -1:
    cdef ProcessType of_type
    cdef int which
    for of_type in types:
        for which in range(WHICH):
            if of_type.bins[which] != NULL:
                _rows.number(_number(numbers, of_type.name))
                _rows.number(which)
                _write_bins(of_type.bins[which], of_type.low[which], of_type.high[which])
    return _sections.section(_rows)


cdef int _write_bins(const long long *bins, int low, int high) except -1:
    cdef int index, after = 0, written = 1
    cdef unsigned char *to = _rows.room_for(2 * max(0, high - low) + 1)
    for index in range(low, high):
        if bins[index]:
            if index != after:
                to = put(to, after - index)
                written += 1
            to = put(to, bins[index])
            written += 1
            after = index + 1
    _rows.put_until(put(to, 0), written)
    return 0


cdef bint _write_gauges(list sources, dict numbers) except -1:
    cdef Source source
    cdef GaugeSummary *reading
    cdef int gauge
    cdef long long epoch = -1, number
    cdef unsigned char *to
    for source in sources:
        if not source.has_gauges:
            continue
        for gauge in range(GAUGES):
            reading = &source.gauges[gauge]
            if not reading.count:
                continue
            if not fits(reading.last, reading.count):
                return False  # total - last · count would not
            if epoch < 0 or reading.last_at_ms < epoch:
                epoch = reading.last_at_ms
    if epoch < 0:
        _sections.section(_rows)
        return True
    _rows.number(epoch)
    for source in sources:
        if not source.has_gauges:
            continue
        number = _number_of(numbers, source)
        for gauge in range(GAUGES):
            reading = &source.gauges[gauge]
            if reading.count:
                to = _rows.room_for(8)
                to = put(to, number)
                to = put(to, gauge)
                to = put(to, reading.last_at_ms - epoch)
                to = put(to, reading.last)
                to = put(to, reading.count)
                to = put(to, reading.total - reading.last * reading.count)
                to = put(to, reading.smallest - reading.last)
                to = put(to, reading.largest - reading.last)
                _rows.put_until(to, 8)
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
            _rows.number(_number_of(numbers, source))
            _rows.number(first)
            _rows.number(mask)
    return _sections.section(_rows)
