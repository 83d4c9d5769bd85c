# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What gathers rollups of one interval and series, and answers stats: the cells of app.query.stats, which
define what is meant, with whole numbers of 63 bits. A sum that is larger is an OverflowError.
"""

from math import fsum

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from app.rollup.sketch import BIN_COUNT, HIGH_MS, LOW_MS, nearest_rank
from app.query.stats import DistributionCell
from app.rollup.summaries import TimingTotals
from parsers.metrics import GAUGES

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int SPARE = 64  # bins on both sides, for those to come
cdef list MIDDLES = [(low + high) / 2 for low, high in zip(LOW_MS, HIGH_MS, strict=True)]
cdef list SCALES = [each.numerator / each.denominator for each in GAUGES]
assert BIN_COUNT == BINS


cdef class Cell:
    """One interval of one series."""

    cdef object value_of(self, object stat, long long step_s):
        raise NotImplementedError


cdef class Counter(Cell):
    """See app.query.stats.CounterCell."""

    cdef object value_of(self, object stat, long long step_s):
        return self.total if stat.method == "sum" else <object>self.total / step_s


cdef class Distribution(Cell):
    """See app.query.stats.DistributionCell."""

    def __dealloc__(self):
        free(self.bins)

    cdef int make_room(self, int index) except -1:
        """For a bin, which is one of BINS."""
        cdef int low = max(index - SPARE, 0)
        cdef int high = min(index + SPARE, BINS)
        cdef long long *bins
        if self.bins != NULL:
            low, high = min(low, self.low), max(high, self.high)
        bins = <long long *>calloc(high - low, sizeof(long long))
        if bins == NULL:
            raise MemoryError
        if self.bins != NULL:
            memcpy(
                bins + (self.low - low), self.bins, (self.high - self.low) * sizeof(long long)
            )
            free(self.bins)
        self.bins, self.low, self.high = bins, low, high
        return 0

    cdef object value_of(self, object stat, long long step_s):
        cdef int index
        cdef long long below = 0
        cdef long long wanted
        if stat.method != "quantile":
            return self.plain().value(stat, step_s)
        if not self.in_bins:
            return None
        wanted = nearest_rank(stat.argument, self.in_bins)
        for index in range(self.high - self.low):
            below += self.bins[index]
            if below >= wanted:
                return MIDDLES[self.low + index]
        raise AssertionError("bins that are less than their sum")

    def plain(self):
        """The same as app.query.stats has it."""
        cdef int index
        cell = DistributionCell()
        cell.tally = TimingTotals(self.count, self.total, self.largest)
        cell.bins = {
            self.low + index: self.bins[index]
            for index in range(self.high - self.low)
            if self.bins[index]
        }
        return cell


cdef class Gauge(Cell):
    """See app.query.stats.GaugeCell. Who gave a reading is known by a number."""

    def __dealloc__(self):
        free(self.held)

    cdef int merge(self, long long id, const GaugeSummary *reading) except -1:
        cdef GaugeSummary *ours = &self._of(id).reading
        if not ours.count:
            ours[0] = reading[0]
            return 0
        ours.count = plus(ours.count, reading.count)
        ours.total = plus(ours.total, reading.total)
        if reading.smallest < ours.smallest:
            ours.smallest = reading.smallest
        if reading.largest > ours.largest:
            ours.largest = reading.largest
        if reading.last_at_ms > ours.last_at_ms or (
            reading.last_at_ms == ours.last_at_ms and reading.last > ours.last
        ):
            ours.last_at_ms = reading.last_at_ms
            ours.last = reading.last
        return 0

    cdef Held *_of(self, long long id) except NULL:
        """RuntimeMetrics come in the same order again and again: mostly it is the one behind the last."""
        cdef int step, position, room
        cdef Held *grown
        for step in range(self.size):
            position = self.next + step
            if position >= self.size:
                position -= self.size
            if self.held[position].id == id:
                self.next = position + 1 if position + 1 < self.size else 0
                return &self.held[position]
        if self.size == self.room:
            room = 2 * self.room if self.room else 1
            grown = <Held *>realloc(self.held, room * sizeof(Held))
            if grown == NULL:
                raise MemoryError
            self.held, self.room = grown, room
        self.held[self.size].id = id
        self.held[self.size].reading.count = 0
        self.size += 1
        self.next = 0
        return &self.held[self.size - 1]

    cdef object value_of(self, object stat, long long step_s):
        cdef str method = stat.method
        cdef GaugeSummary *each
        cdef long long largest = 0
        cdef long long smallest = NUMBER_MAX
        cdef int position
        count = total = last = 0  # which may be over 63 bits
        means = []
        for position in range(self.size):
            each = &self.held[position].reading
            count += each.count
            total += each.total
            last += each.last
            largest = max(largest, each.largest)
            smallest = min(smallest, each.smallest)
            if method == "sum":
                means.append(<object>each.total / <object>each.count)
        if method == "avg":
            value = total / count
        elif method == "max":
            value = largest
        elif method == "min":
            value = smallest
        elif method == "last":
            value = last / self.size
        else:
            value = fsum(means)
        return value * SCALES[self.gauge]


cdef class Hour:
    """How many dynos were heard from in each minute."""

    cdef int counts[60]


cdef class Dynos(Cell):
    """See app.query.stats.DynosCell."""

    def __cinit__(self):
        self.hours = {}

    cdef int add(self, long long hour, unsigned long long minutes) except -1:
        cdef int minute
        cdef Hour of_hour
        found = self.hours.get(hour)
        if found is None:
            found = self.hours[hour] = Hour()
        of_hour = <Hour>found
        for minute in range(60):
            of_hour.counts[minute] += minutes >> minute & 1
        return 0

    cdef object value_of(self, object stat, long long step_s):
        cdef str method = stat.method
        cdef Hour of_hour
        cdef int minute, count
        cdef int minutes = 0
        cdef int largest = 0
        cdef int smallest = 0
        cdef int last = 0
        cdef long long total = 0
        for hour in sorted(self.hours):
            of_hour = <Hour>self.hours[hour]
            for minute in range(60):
                count = of_hour.counts[minute]
                if not count:
                    continue
                largest = max(largest, count)
                smallest = min(smallest, count) if minutes else count
                minutes += 1
                total += count
                last = count
        if method == "avg":
            return <object>total / <object>minutes
        if method == "last":
            return last
        return largest if method == "max" else smallest
