# The C interface of app/rollup/_rollup.pyx, so that other extension modules call it without Python.

cimport cython

from app.rollup._names cimport Name
from app.rollup._numbers cimport NumberRows

cdef enum:
    TIMING_KINDS = 4  # SERVICE_OK and the others of app.rollup.schema
    GAUGES = 11  # the core gauges of app.rollup.schema
    BINS = 651  # of app.rollup.sketch
    RECENT_SOURCES = 64
    INLINE_STATUSES = 6  # few sources have more

cdef struct TimingTotals:
    long long count
    long long total
    long long largest

cdef struct GaugeSummary:
    long long count
    long long total
    long long smallest
    long long largest
    long long last_at_ms
    long long last

cdef struct RequestCount:
    int status
    long long count

@cython.final
cdef class ProcessType:
    cdef readonly str name
    cdef long long response_bytes
    cdef long long *bins[TIMING_KINDS]  # NULL, or BINS counts, all 0 outside [low, high)
    cdef int low[TIMING_KINDS]
    cdef int high[TIMING_KINDS]

@cython.final
cdef class Source:
    cdef readonly str name
    cdef readonly ProcessType process_type
    cdef Name cached_name
    cdef bint is_dyno
    cdef long long name_number  # position in the names of the rollup that is being packed, or -1
    cdef unsigned long long active_minutes
    cdef TimingTotals tallies[TIMING_KINDS]
    cdef bint has_gauges
    cdef GaugeSummary gauges[GAUGES]  # a count of 0 marks a gauge without values
    cdef RequestCount *requests  # inline_requests, or memory of its own
    cdef RequestCount inline_requests[INLINE_STATUSES]
    cdef int requests_size
    cdef int requests_capacity

@cython.final
cdef class FastRollup:
    cdef public long long messages
    cdef readonly dict sources
    cdef readonly dict process_types
    cdef public dict errors
    cdef public dict ledger
    # The rows that have no place in C, by the name of their section: the tagged sections, and core
    # rows of kinds and gauges that only a newer version knows.
    cdef readonly dict other_rows
    cdef readonly list families  # of open metrics: NumberRows by number, or None; None for none
    cdef public tuple extensions
    cdef void *recent_sources[RECENT_SOURCES]  # by a hash of their names; borrowed from `sources`

cdef inline bint product_fits(long long one, long long other) noexcept:
    """Whether the product of two numbers, neither negative, fits in 63 bits; most are small."""
    return not (one | other) >> 31 or not one or other <= <long long>0x7FFFFFFFFFFFFFFF // one


cdef long long saturating_add(long long one, long long other) noexcept
cdef long long *get_bins(ProcessType process_type, int kind) except NULL
cdef int add_to_bin(ProcessType process_type, int kind, int index, long long count) except -1
cdef int add_requests(Source source, int status, long long count) except -1
cdef int add_timing(
    Source source, int kind, long long count, long long total, long long largest
) except -1
cdef int add_gauge(Source source, int gauge, const GaugeSummary *summary) except -1
cdef add_counts(dict counts, dict added_counts)
cdef add_count(dict counts, key, count)
cdef dict get_rows(FastRollup rollup, str section)
cdef NumberRows get_number_rows(FastRollup rollup, int number)
cdef Source get_source(FastRollup rollup, str name)
cdef ProcessType get_process_type(FastRollup rollup, str name)
