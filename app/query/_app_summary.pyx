# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled app.query.app_summary: reads packed rollups byte by byte, in one pass.

Bytes that differ from what app.rollup.codec writes raise a PackError. The caller then falls back to
app.query.app_summary, which defines the result.
"""

from libc.string cimport memcmp

from app.query._stats cimport Distribution, GaugeSummary, plus
from app.rollup._msgpack cimport (
    FIELD_COUNT, Bytes, Cursor, array, below, binary, skip_extensions, not_negative, number, step_over, text,
)
from app.query._table cimport read_bins, read_gauge_summary, require_whole_rows

from app.query import app_summary as reference
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.query.stats import parse_stat
from app.rollup.statuses import is_failed
from app.rollup.schema import CORE_SECTIONS, METRICS, SMALL_NUMBER_MAX

cdef enum:
    TIMING_KIND_COUNT = 4  # SERVICE_OK and so on in app.rollup.rollup
    SECTIONS = 8

cdef enum:  # sections in the order of the bytes
    REQUESTS, ERRORS, TIMINGS, RESPONSE_BYTES, SKETCHES, GAUGE_SECTION, MINUTES, LEDGER

cdef int VERSION = packing.VERSION
cdef int SMALL_NUMBERS = SMALL_NUMBER_MAX + 1
cdef int MEMORY = reference.MEMORY
cdef object P95 = parse_stat("p95", METRICS["service_time_ms"])
cdef bint FAILED[600]
cdef bint SERVICE[TIMING_KIND_COUNT]
assert CORE_SECTIONS[GAUGE_SECTION].name == "gauges" and len(CORE_SECTIONS) == SECTIONS
assert P95.argument == reference.QUANTILE

for _position in range(600):
    FAILED[_position] = is_failed(_position)
for _position in range(TIMING_KIND_COUNT):
    SERVICE[_position] = _position in METRICS["service_time_ms"].selection


def summarize_app(time_range, packed_rollups, long long code_steps):
    """Summarize (start of the slot, packed rollup) pairs, which lie in the range.

    Raises:
        PackError: the bytes differ from what `pack` writes, or a sum is too large.
        IndexError: a slot lies outside the range.
    """
    cdef SummaryBuilder builder = SummaryBuilder()
    cdef long long begin = time_range.start
    cdef long long step_s = time_range.step_s
    cdef long long size = time_range.size
    cdef long long start, index
    cdef list requests = [None] * size
    try:
        for start, data in packed_rollups:
            index = (start - begin) // step_s
            if start < begin or index >= size:
                raise IndexError(start)
            count = builder.add(data, index >= size - code_steps)
            if count is not None:
                requests[index] = (requests[index] or 0) + count
    except (ValueError, OverflowError) as error:
        raise PackError(str(error)) from None
    return reference.AppSummary(
        requests,
        builder.failed_requests,
        builder.service_times.value_of(P95, step_s),
        reference.max_memory_ratio([builder.memory_largest] if builder.memory_largest >= 0 else []),
        builder.codes,
    )


cdef class SummaryBuilder:
    """Accumulates the rollups added so far."""

    cdef long long failed_requests
    cdef long long memory_largest  # -1 without readings
    cdef Distribution service_times
    cdef dict codes
    cdef bytes block  # the bytes of the previous rollup's names
    cdef Py_ssize_t name_count  # of the names in `block`

    def __cinit__(self):
        self.memory_largest = -1
        self.service_times = Distribution()
        self.codes = {}
        self.block = b""

    cdef object add(self, bytes data, bint with_codes):
        """Add a packed rollup. Returns its requests, or None without any log line."""
        cdef Cursor rollup, part
        cdef long long requests = 0
        cdef Py_ssize_t numbers
        cdef bint is_active
        cdef int section
        rollup.at = data
        rollup.end = rollup.at + len(data)
        if array(&rollup) != FIELD_COUNT or number(&rollup) != VERSION:
            raise ValueError("another format")
        is_active = not_negative(&rollup) > 0
        self._read_names(&rollup)
        for section in range(SECTIONS):
            binary(&rollup, &part)
            if section == REQUESTS:
                numbers = array(&part)
                is_active = is_active or numbers > 0
                requests = self._read_requests(&part, numbers)
            elif section == ERRORS:
                self._read_errors(&part, with_codes)
            elif section == SKETCHES:
                self._read_sketches(&part)
            elif section == GAUGE_SECTION:
                self._read_gauges(&part)
            else:
                continue
            if part.at != part.end:
                raise ValueError("more than its rows")
        skip_extensions(&rollup, b"")
        if rollup.at != rollup.end:
            raise ValueError("more than a rollup")
        return requests if is_active else None

    cdef int _read_names(self, Cursor *rollup) except -1:
        """Step over the names, checking them.

        Most rollups of an app have exactly the names of the previous one, so its bytes are compared
        first.
        """
        cdef Bytes begin = rollup.at
        cdef Py_ssize_t size = len(self.block)
        cdef Cursor part = rollup[0]
        cdef Py_ssize_t _
        if size and size <= rollup.end - begin and not memcmp(begin, <Bytes>self.block, size):
            rollup.at += size
            return 0
        self.name_count = array(rollup)
        for _ in range(self.name_count):
            text(rollup, &part)
            part.at[: part.end - part.at].decode()
        self.block = begin[: rollup.at - begin]
        return 0

    cdef str _decode_name(self, Py_ssize_t position):
        cdef Cursor names, part
        cdef Py_ssize_t _
        names.at = self.block
        names.end = names.at + len(self.block)
        part = names
        array(&names)
        for _ in range(position + 1):
            text(&names, &part)
        return part.at[: part.end - part.at].decode()

    cdef long long _read_requests(self, Cursor *part, Py_ssize_t numbers) except -1:
        cdef long long requests = 0
        cdef long long status, count
        while numbers > 0:
            below(part, self.name_count)
            status = below(part, SMALL_NUMBERS)
            count = not_negative(part)
            requests = plus(requests, count)
            if status >= 600 or FAILED[status]:
                self.failed_requests = plus(self.failed_requests, count)
            numbers -= 3
        require_whole_rows(numbers)
        return requests

    cdef int _read_errors(self, Cursor *part, bint with_codes) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef long long code, count
        while numbers > 0:
            below(part, self.name_count)
            code = below(part, self.name_count)
            count = not_negative(part)
            if with_codes and count:
                name = self._decode_name(code)
                self.codes[name] = self.codes.get(name, 0) + count
            numbers -= 3
        return require_whole_rows(numbers)

    cdef int _read_sketches(self, Cursor *part) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef int kind
        while numbers > 0:
            below(part, self.name_count)
            kind = below(part, SMALL_NUMBERS)
            numbers -= 2 + read_bins(part, self.service_times if kind < TIMING_KIND_COUNT and SERVICE[kind] else None)
        return require_whole_rows(numbers)

    cdef int _read_gauges(self, Cursor *part) except -1:
        cdef Py_ssize_t numbers = array(part)
        cdef GaugeSummary summary
        cdef long long epoch
        if not numbers:
            return 0
        epoch = not_negative(part)
        numbers -= 1
        while numbers > 0:
            below(part, self.name_count)
            if below(part, SMALL_NUMBERS) == MEMORY:
                read_gauge_summary(part, epoch, &summary)
                self.memory_largest = max(self.memory_largest, summary.largest)
            else:
                step_over(part, 6)
            numbers -= 8
        return require_whole_rows(numbers)
