# What app/rollup/_rollup.pyx holds, in C: so that the modules beside it reach it without Python's help.

cimport cython

from app.rollup._names cimport Name

cdef enum:
    WHICH = 4  # see app.rollup.rollup: SERVICE_OK …
    GAUGES = 11  # of parsers.samples
    BINS = 651  # of app.rollup.sketch
    RECENT = 64
    FEW = 6  # statuses that a source usually has

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

cdef struct Requests:
    int status
    long long count

@cython.final
cdef class ProcessType:
    cdef readonly str name
    cdef long long response_bytes
    cdef long long *bins[WHICH]  # NULL, or BINS counts, all 0 outside [low, high)
    cdef int low[WHICH]
    cdef int high[WHICH]

@cython.final
cdef class Source:
    cdef readonly str name
    cdef readonly ProcessType process_type
    cdef Name known
    cdef bint is_dyno
    cdef long long number  # of its name, while it is packed; -1 for none yet
    cdef unsigned long long active_minutes
    cdef TimingTotals tallies[WHICH]
    cdef bint has_gauges
    cdef GaugeSummary gauges[GAUGES]  # those without readings with a count of 0
    cdef Requests *requests  # few, or a list of their own
    cdef Requests few[FEW]
    cdef int requests_size
    cdef int requests_room

@cython.final
cdef class FastRollup:
    cdef public long long messages
    cdef readonly dict sources
    cdef readonly dict process_types
    cdef public dict errors
    cdef public dict ledger
    cdef public dict events
    cdef public dict exits
    cdef public dict restarts
    cdef public tuple released
    cdef public tuple extensions
    cdef void *recent[RECENT]  # borrowed from sources: by a hash of their names

cdef inline bint fits(long long one, long long other) noexcept:
    """Whether the product of two numbers that are not negative is one; most are small."""
    return not (one | other) >> 31 or not one or other <= <long long>0x7FFFFFFFFFFFFFFF // one


cdef long long plus(long long one, long long other) noexcept
cdef long long *bins_of(ProcessType process_type, int which) except NULL
cdef int count_bin(ProcessType process_type, int which, int index, long long count) except -1
cdef int count_requests(Source source, int status, long long count) except -1
cdef int add_tally(
    Source source, int which, long long count, long long total, long long largest
) except -1
cdef int add_reading(Source source, int gauge, const GaugeSummary *reading) except -1
cdef add_counts(dict ours, dict theirs)
cdef Source source_named(FastRollup sums, str name)
cdef ProcessType type_named(FastRollup sums, str name)
