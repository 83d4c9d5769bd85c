# C declarations of app/query/_stats.pyx, so that other modules use its cells without Python calls.

cdef enum:
    BINS = 651  # of app.rollup.sketch

cdef struct GaugeSummary:
    long long count
    long long total
    long long smallest
    long long largest
    long long last_at_ms
    long long last

cdef struct Bin:
    int index
    long long count

cdef struct DynoGauge:
    long long id
    GaugeSummary summary

cdef class Cell:
    cdef object value_of(self, object stat, long long step_s)

cdef class Counter(Cell):
    cdef long long total

cdef class Distribution(Cell):
    cdef long long count
    cdef long long total
    cdef long long largest
    cdef long long in_bins  # the sum of the counts in the bins
    cdef long long *bins  # counts of the bins in [low, high); NULL if that is empty
    cdef int low
    cdef int high
    cdef int add_times(self, long long count, long long total, long long largest) except -1
    cdef int add_bins(self, const Bin *bins, int size) except -1
    cdef int _grow(self, int first, int last) except -1

cdef class Gauge(Cell):
    cdef double scale
    cdef DynoGauge *dynos
    cdef int size
    cdef int capacity
    cdef int next
    cdef Gauge fallback  # the readings of the metric's fallback, or None
    cdef int merge(self, long long id, const GaugeSummary *summary) except -1
    cdef int merge_fallback(self, long long id, const GaugeSummary *summary) except -1
    cdef DynoGauge *_find(self, long long id) except NULL
    cdef int _add_missing(self) except -1
    cdef int finish(self) except -1

cdef class Dynos(Cell):
    cdef dict hours
    cdef int add(self, long long hour, unsigned long long minutes) except -1


cdef object value_of_dyno(const GaugeSummary *dyno, str method, double scale)


cdef inline int merge_summary(GaugeSummary *total, const GaugeSummary *other) except -1:
    """Merge one dyno's readings into its earlier ones, if there are any (count > 0)."""
    if not total.count:
        total[0] = other[0]
        return 0
    total.count = plus(total.count, other.count)
    total.total = plus(total.total, other.total)
    if other.smallest < total.smallest:
        total.smallest = other.smallest
    if other.largest > total.largest:
        total.largest = other.largest
    if other.last_at_ms > total.last_at_ms or (
        other.last_at_ms == total.last_at_ms and other.last > total.last
    ):
        total.last_at_ms = other.last_at_ms
        total.last = other.last
    return 0


cdef inline long long plus(long long one, long long other) except -1:
    """The sum of two non-negative numbers."""
    if one > <long long>0x7FFFFFFFFFFFFFFF - other:
        raise OverflowError("a sum over 63 bits")
    return one + other
