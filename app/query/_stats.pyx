# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled cells of app.query.stats, which defines the results.

Sums are whole numbers of 63 bits; a larger sum raises an OverflowError.
"""

from math import fsum

cimport cython
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from app.rollup.sketch import BIN_COUNT, HIGH_MS, LOW_MS, nearest_rank
from app.query.stats import DistributionCell
from app.rollup.summaries import TimingTotals

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef int SPARE_BINS = 64  # allocated on both sides of new bins, so that few later bins reallocate
cdef list LOWS_MS = list(LOW_MS)
cdef list HIGHS_MS = list(HIGH_MS)
cdef list BIN_MIDDLES_MS = [(low + high) / 2 for low, high in zip(LOW_MS, HIGH_MS, strict=True)]
assert BIN_COUNT == BINS


cdef class Cell:
    """Accumulates one interval of one series."""

    cdef object value_of(self, object stat, long long step_s):
        raise NotImplementedError


cdef class Counter(Cell):
    """The compiled app.query.stats.CounterCell."""

    cdef object value_of(self, object stat, long long step_s):
        return self.total


cdef class Distribution(Cell):
    """The compiled app.query.stats.DistributionCell."""

    def __dealloc__(self):
        free(self.bins)

    cdef int add_times(self, long long count, long long total, long long largest) except -1:
        """Merge totals of times."""
        self.count = plus(self.count, count)
        self.total = plus(self.total, total)
        self.largest = max(self.largest, largest)
        return 0

    cdef int add_bins(self, const Bin *bins, int size) except -1:
        """Merge a sketch. Its bins are in order."""
        cdef int position
        cdef long long in_bins = self.in_bins
        if not size:
            return 0
        if bins[0].index < self.low or bins[size - 1].index >= self.high:
            self._grow(bins[0].index, bins[size - 1].index)
        for position in range(size):
            in_bins = plus(in_bins, bins[position].count)
            self.bins[bins[position].index - self.low] += bins[position].count
        self.in_bins = in_bins
        return 0

    cdef int _grow(self, int first, int last) except -1:
        """Allocate space for the bins `first` to `last`, from 0 to BINS - 1."""
        cdef int low = max(first - SPARE_BINS, 0)
        cdef int high = min(last + SPARE_BINS, BINS)
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
        cdef long long target_rank
        cdef str method = stat.method
        if method == "count":
            return self.count
        if method == "max" or method == "avg":
            if not self.count:
                return None
            return self.largest if method == "max" else <object>self.total / <object>self.count
        if method == "bins":
            return [
                (LOWS_MS[self.low + index], HIGHS_MS[self.low + index], self.bins[index])
                for index in range(self.high - self.low)
                if self.bins[index]
            ] or None
        if method != "quantile":
            return self.to_python().value(stat, step_s)
        if not self.in_bins:
            return None
        target_rank = nearest_rank(stat.argument, self.in_bins)
        for index in range(self.high - self.low):
            below += self.bins[index]
            if below >= target_rank:
                middle = BIN_MIDDLES_MS[self.low + index]
                return min(middle, float(self.largest)) if self.count else middle
        raise AssertionError("the bins add up to less than their total")

    def to_python(self):
        """The same cell in Python, for stats without a fast path."""
        cdef int index
        cell = DistributionCell()
        cell.totals = TimingTotals(self.count, self.total, self.largest)
        cell.bins = {
            self.low + index: self.bins[index]
            for index in range(self.high - self.low)
            if self.bins[index]
        }
        return cell


@cython.no_gc  # there are tens of thousands, and none refers to what refers to it
cdef class Gauge(Cell):
    """The compiled app.query.stats.GaugeCell. Dynos are identified by a number."""

    def __dealloc__(self):
        free(self.dynos)

    cdef int merge(self, long long id, const GaugeSummary *summary) except -1:
        return merge_summary(&self._find(id).summary, summary)

    cdef int merge_fallback(self, long long id, const GaugeSummary *summary) except -1:
        """Merge readings that count only if the dyno has none of its own."""
        if self.fallback is None:
            self.fallback = Gauge()
        return self.fallback.merge(id, summary)

    cdef int _add_missing(self) except -1:
        """Add the fallback's readings of dynos that have none of their own."""
        cdef Gauge fallback = self.fallback
        cdef DynoGauge *dyno
        cdef int position
        self.fallback = None
        for position in range(fallback.size):
            dyno = self._find(fallback.dynos[position].id)
            if not dyno.summary.count:
                dyno.summary = fallback.dynos[position].summary
        return 0

    cdef DynoGauge *_find(self, long long id) except NULL:
        """The entry of a dyno, added if it is new.

        Rollups list dynos in the same order, so the search starts behind the last hit.
        """
        cdef int step, position, capacity
        cdef DynoGauge *grown
        for step in range(self.size):
            position = self.next + step
            if position >= self.size:
                position -= self.size
            if self.dynos[position].id == id:
                self.next = position + 1 if position + 1 < self.size else 0
                return &self.dynos[position]
        if self.size == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 1
            grown = <DynoGauge *>realloc(self.dynos, capacity * sizeof(DynoGauge))
            if grown == NULL:
                raise MemoryError
            self.dynos, self.capacity = grown, capacity
        self.dynos[self.size].id = id
        self.dynos[self.size].summary.count = 0
        self.size += 1
        self.next = 0
        return &self.dynos[self.size - 1]

    cdef int finish(self) except -1:
        """Take over what the fallback has, once all readings are known."""
        if self.fallback is not None:
            self._add_missing()
        return 0

    cdef object value_of(self, object stat, long long step_s):
        cdef str method = stat.method
        cdef GaugeSummary dyno
        cdef double scale = self.scale
        cdef long long extreme
        cdef int position
        self.finish()
        if method == "max":
            extreme = 0
            for position in range(self.size):
                extreme = max(extreme, self.dynos[position].summary.largest)
            return extreme * scale
        if method == "min":
            extreme = NUMBER_MAX
            for position in range(self.size):
                extreme = min(extreme, self.dynos[position].summary.smallest)
            return extreme * scale
        count = total = last = 0  # Python integers: these sums may exceed 63 bits
        means = []
        for position in range(self.size):
            dyno = self.dynos[position].summary
            count += dyno.count
            total += dyno.total
            last += dyno.last
            if method == "sum":
                means.append(<object>dyno.total / <object>dyno.count)
        if method == "avg":
            return total / count * scale
        if method == "last":
            return last / self.size * scale
        return fsum(means) * scale


cdef object value_of_dyno(const GaugeSummary *dyno, str method, double scale):
    """The stat of a single dyno, as Gauge.value_of gives it for a cell with this dyno alone."""
    if method == "max":
        return dyno.largest * scale
    if method == "min":
        return dyno.smallest * scale
    if method == "last":
        return dyno.last * scale
    return <object>dyno.total / <object>dyno.count * scale


cdef class HourCounts:
    """The number of active dynos in each minute of an hour."""

    cdef int counts[60]


cdef class Dynos(Cell):
    """The compiled app.query.stats.DynosCell."""

    def __cinit__(self):
        self.hours = {}

    cdef int add(self, long long hour, unsigned long long minutes) except -1:
        cdef int minute = 0
        cdef HourCounts hour_counts
        hour_counts = self.hours.get(hour)
        if hour_counts is None:
            hour_counts = self.hours[hour] = HourCounts()
        hour_counts = <HourCounts>hour_counts
        while minutes:
            hour_counts.counts[minute] += minutes & 1
            minutes >>= 1
            minute += 1
        return 0

    cdef object value_of(self, object stat, long long step_s):
        cdef str method = stat.method
        cdef HourCounts hour_counts
        cdef int minute, count
        cdef int minutes = 0
        cdef int largest = 0
        cdef int smallest = 0
        cdef int last = 0
        cdef long long total = 0
        for hour in sorted(self.hours):
            hour_counts = <HourCounts>self.hours[hour]
            for minute in range(60):
                count = hour_counts.counts[minute]
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
