# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the page of all apps says of an app (app.query.glance), read byte by byte in one pass. What is not
exactly as app.rollup.codec writes it is a PackError, and app.query.glance has to be asked instead.
"""

from libc.string cimport memcmp

from app.query._stats cimport Distribution, GaugeSummary, plus
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, not_negative, number, skip_extensions, step_over,
    text,
)
from app.query._table cimport read_bins, read_reading, whole_rows

from app.query import glance as definition
from app.rollup import codec as packing
from app.query.table import WHICH
from app.rollup.codec import PackError
from app.query.stats import parse_stat
from app.rollup.statuses import is_failed
from parsers.metrics import GAUGES, METRICS

cdef enum:
    KINDS_OF_TIME = 4  # see app.rollup.rollup: SERVICE_OK …
    STATUSES = 600
    SECTIONS = 8

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TALLIES, RESPONSE_BYTES, SKETCHES, OF_GAUGES, MINUTES, LEDGER

cdef int VERSION = packing.VERSION
cdef int GAUGES_KNOWN = len(GAUGES)
cdef int MEMORY = definition.MEMORY
cdef object P95 = parse_stat("p95", METRICS["service_time_ms"])
cdef bint FAILED[STATUSES]
cdef bint SERVICE[KINDS_OF_TIME]
assert packing.SECTIONS[OF_GAUGES] == "gauges" and len(packing.SECTIONS) == SECTIONS
assert P95.argument == definition.QUANTILE

for _position in range(STATUSES):
    FAILED[_position] = is_failed(_position)
for _position in range(KINDS_OF_TIME):
    SERVICE[_position] = _position in WHICH["service_time_ms"]


def glance(span, packed, long long code_steps):
    """See app.query.glance.

    Raises:
        PackError: some of it is not exactly as `pack` writes it, or a sum is too large.
    """
    cdef Gathered gathered = Gathered()
    cdef long long begin = span.start
    cdef long long step_s = span.step_s
    cdef long long size = span.size
    cdef long long start, index
    cdef list requests = [None] * size
    try:
        for start, data in packed:
            index = (start - begin) // step_s
            if start < begin or index >= size:
                raise IndexError(start)
            count = gathered.add(data, index >= size - code_steps)
            if count is not None:
                requests[index] = (requests[index] or 0) + count
    except (ValueError, OverflowError) as error:
        raise PackError(str(error)) from None
    return definition.Glance(
        requests,
        gathered.failed,
        gathered.service_times.value_of(P95, step_s),
        definition.memory_used_ratio([gathered.fullest] if gathered.fullest >= 0 else []),
        gathered.codes,
    )


cdef class Gathered:
    """Of all rollups so far."""

    cdef long long failed
    cdef long long fullest  # -1 before there was a reading
    cdef Distribution service_times
    cdef dict codes
    cdef bytes block  # the names of the rollup before, as they stand there
    cdef Py_ssize_t names  # how many these are

    def __cinit__(self):
        self.fullest = -1
        self.service_times = Distribution()
        self.codes = {}
        self.block = b""

    cdef object add(self, bytes packed, bint with_codes):
        """Returns how many requests there were; None where nothing was heard."""
        cdef Cursor rollup, part
        cdef long long requests = 0
        cdef Py_ssize_t numbers
        cdef bint heard
        cdef int section
        rollup.at = packed
        rollup.end = rollup.at + len(packed)
        if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
            raise ValueError("another format")
        heard = not_negative(&rollup) > 0
        self._names(&rollup)
        for section in range(SECTIONS):
            binary(&rollup, &part)
            if section == REQUESTS:
                numbers = array(&part)
                heard = heard or numbers > 0
                requests = self._requests(&part, numbers)
            elif section == ERRORS:
                self._errors(&part, with_codes)
            elif section == SKETCHES:
                self._sketches(&part)
            elif section == OF_GAUGES:
                self._gauges(&part)
            else:
                continue
            if part.at != part.end:
                raise ValueError("more than its rows")
        skip_extensions(&rollup)
        if rollup.at != rollup.end:
            raise ValueError("more than a rollup")
        return requests if heard else None

    cdef int _names(self, Cursor *rollup) except -1:
        """Rollups of an app mostly have the same names as the one before."""
        cdef Bytes begin = rollup.at
        cdef Py_ssize_t size = len(self.block)
        cdef Cursor part = rollup[0]
        cdef Py_ssize_t _
        if size and size <= rollup.end - begin and not memcmp(begin, <Bytes>self.block, size):
            rollup.at += size
            return 0
        self.names = array(rollup)
        for _ in range(self.names):
            text(rollup, &part)
            part.at[: part.end - part.at].decode()
        self.block = begin[: rollup.at - begin]
        return 0

    cdef str _name(self, Py_ssize_t position):
        cdef Cursor names, part
        cdef Py_ssize_t _
        names.at = self.block
        names.end = names.at + len(self.block)
        part = names
        array(&names)
        for _ in range(position + 1):
            text(&names, &part)
        return part.at[: part.end - part.at].decode()

    cdef long long _requests(self, Cursor *part, Py_ssize_t numbers) except -1:
        cdef long long requests = 0
        cdef long long status, count
        while numbers > 0:
            below(part, self.names)
            status = below(part, STATUSES)
            count = not_negative(part)
            requests = plus(requests, count)
            if FAILED[status]:
                self.failed = plus(self.failed, count)
            numbers -= 3
        whole_rows(numbers)
        return requests

    cdef int _errors(self, Cursor *part, bint with_codes) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef long long code, count
        while numbers > 0:
            below(part, self.names)
            code = below(part, self.names)
            count = not_negative(part)
            if with_codes and count:
                name = self._name(code)
                self.codes[name] = self.codes.get(name, 0) + count
            numbers -= 3
        return whole_rows(numbers)

    cdef int _sketches(self, Cursor *part) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef int which
        while numbers > 0:
            below(part, self.names)
            which = below(part, KINDS_OF_TIME)
            numbers -= 2 + read_bins(part, self.service_times if SERVICE[which] else None)
        return whole_rows(numbers)

    cdef int _gauges(self, Cursor *part) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef GaugeSummary reading
        cdef long long epoch
        if not numbers:
            return 0
        epoch = not_negative(part)
        numbers -= 1
        while numbers > 0:
            below(part, self.names)
            if below(part, GAUGES_KNOWN) == MEMORY:
                read_reading(part, epoch, &reading)
                self.fullest = max(self.fullest, reading.largest)
            else:
                step_over(part, 6)
            numbers -= 8
        return whole_rows(numbers)
