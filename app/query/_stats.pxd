# What app/query/_stats.pyx holds, in C: so that app/query/_table.pyx reaches it without Python's help.

cdef enum:
    BINS = 651  # of app.rollup.sketch

cdef struct GaugeSummary:
    long long count
    long long total
    long long smallest
    long long largest
    long long last_at_ms
    long long last

cdef struct Held:
    long long id
    GaugeSummary reading

cdef class Cell:
    cdef object value_of(self, object stat, long long step_s)

cdef class Counter(Cell):
    cdef long long total

cdef class Distribution(Cell):
    cdef long long count
    cdef long long total
    cdef long long largest
    cdef long long in_bins  # the sum of their counts
    cdef long long *bins  # those in [low, high), which is empty where it is NULL
    cdef int low
    cdef int high
    cdef int make_room(self, int index) except -1

cdef class Gauge(Cell):
    cdef int gauge
    cdef Held *held
    cdef int size
    cdef int room
    cdef int next
    cdef int merge(self, long long id, const GaugeSummary *reading) except -1
    cdef Held *_of(self, long long id) except NULL

cdef class Dynos(Cell):
    cdef dict hours
    cdef int add(self, long long hour, unsigned long long minutes) except -1


cdef inline long long plus(long long one, long long other) except -1:
    """Of two numbers that are not negative."""
    if one > <long long>0x7FFFFFFFFFFFFFFF - other:
        raise OverflowError("a sum over 63 bits")
    return one + other
