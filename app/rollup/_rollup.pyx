# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Rollups (app.rollup.rollup) as the busy paths hold them: what each line adds to in C, what is rare in
the same dictionaries.

FastRollup is to Rollup as compiled is to plain: the same content, the same merge, the same bytes when
packed, and each turns into the other. Whatever is not exactly as usual is left to Rollup, which
defines what is meant.
"""

cimport cython

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from app.rollup._names cimport Name, name_of

from app.rollup.events import EventKey
from app.rollup.rollup import Rollup
from app.rollup.sketch import BIN_COUNT
from app.rollup.tallies import GaugeSummary as PlainReading
from app.rollup.tallies import TimingTotals as PlainTally
from parsers.metrics import GAUGES as GAUGE_TABLE

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef enum:
    SPARE_MAX = 32  # of 5 KB
assert BIN_COUNT == BINS and len(GAUGE_TABLE) == GAUGES


# Each POST makes some of these and drops them again: what was dropped last is used again, and none
# can be part of a cycle.


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class ProcessType:
    """What is kept by process type: bytes of responses, and sketches."""

    def __cinit__(self, str name):
        self.name = name

    def __dealloc__(self):
        cdef int which
        for which in range(WHICH):
            if self.bins[which] != NULL:
                give_back(self.bins[which], self.low[which], self.high[which])


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Source:
    """What is kept by source: see parsers.samples."""

    def __cinit__(self, FastRollup sums, str name):
        cdef Name known = name_of(name)
        self.name = known.text
        self.known = known
        self.process_type = type_named(sums, known.process_type)
        self.is_dyno = known.is_dyno
        self.requests = self.few
        self.requests_room = FEW

    def __dealloc__(self):
        if self.requests != self.few:
            free(self.requests)


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class FastRollup:
    """See Rollup, of which it has the dictionaries that are not about every line."""

    def __cinit__(self):
        self.sources = {}
        self.process_types = {}
        self.errors = {}
        self.ledger = {}
        self.events = {}  # by plain tuples: an EventKey takes three times as long to make
        self.exits = {}
        self.restarts = {}
        self.released = (0, "")
        self.extensions = ()

    @property
    def names(self):
        """See Rollup."""
        return len(self.sources) + len(self.errors)

    def merge(self, FastRollup other):
        """Add all that `other` holds; `other` stays as it is."""
        cdef ProcessType theirs_of_type
        cdef Source theirs
        self.messages = plus(self.messages, other.messages)
        for theirs_of_type in other.process_types.values():
            merge_type(type_named(self, theirs_of_type.name), theirs_of_type)
        for theirs in other.sources.values():
            merge_source(source_named(self, theirs.name), theirs)
        add_counts(self.errors, other.errors)
        add_counts(self.ledger, other.ledger)
        add_counts(self.events, other.events)
        add_counts(self.exits, other.exits)
        add_counts(self.restarts, other.restarts)
        self.released = max(self.released, other.released)
        if other.extensions:
            self.extensions = tuple(sorted(self.extensions + other.extensions))

    def copy(self):
        """One of its own."""
        twin = FastRollup()
        twin.merge(self)
        return twin

    def without_dynos(self):
        """What the total keeps; see Rollup."""
        cdef FastRollup projected = FastRollup()
        cdef ProcessType theirs_of_type
        cdef Source theirs, ours
        cdef int which, position
        projected.messages = self.messages
        for theirs_of_type in self.process_types.values():
            merge_type(type_named(projected, theirs_of_type.name), theirs_of_type)
        for theirs in self.sources.values():
            ours = source_named(projected, _without_dyno(theirs.name))
            for position in range(theirs.requests_size):
                count_requests(
                    ours, theirs.requests[position].status, theirs.requests[position].count
                )
            merge_tallies(ours, theirs)
        for (source, code), count in self.errors.items():
            add_count(projected.errors, (_without_dyno(source), code), count)
        for (source, status), count in self.exits.items():
            add_count(projected.exits, (_without_dyno(source), status), count)
        for source, count in self.restarts.items():
            add_count(projected.restarts, _without_dyno(source), count)
        projected.ledger = dict(self.ledger)
        projected.released = self.released
        projected.extensions = self.extensions
        return projected

    def add(self, rollup):
        """Add all that a Rollup holds."""
        cdef GaugeSummary reading
        self.messages = plus(self.messages, _fitting(rollup.messages))
        for (source, status), count in rollup.requests.items():
            count_requests(source_named(self, source), status, _fitting(count))
        for (source, which), tally in rollup.tallies.items():
            add_tally(
                source_named(self, source),
                which,
                _fitting(tally.count),
                _fitting(tally.total),
                _fitting(tally.largest),
            )
        for process_type, size in rollup.response_bytes.items():
            of_type = type_named(self, process_type)
            of_type.response_bytes = plus(of_type.response_bytes, _fitting(size))
        for (process_type, which), bins in rollup.sketches.items():
            for index, count in bins.items():
                count_bin(type_named(self, process_type), which, index, _fitting(count))
        for (source, gauge), plain in rollup.gauges.items():
            reading.count, reading.total = _fitting(plain.count), _fitting(plain.total)
            reading.smallest, reading.largest = plain.smallest, plain.largest
            reading.last_at_ms, reading.last = plain.last_at_ms, plain.last
            add_reading(source_named(self, source), gauge, &reading)
        for source, mask in rollup.active_minutes.items():
            ours = source_named(self, source)
            ours.active_minutes |= <unsigned long long>mask
        add_counts(self.errors, rollup.errors)
        add_counts(self.ledger, rollup.ledger)
        add_counts(self.events, rollup.events)
        add_counts(self.exits, rollup.exits)
        add_counts(self.restarts, rollup.restarts)
        self.released = max(self.released, rollup.released)
        self.extensions = tuple(sorted(self.extensions + rollup.extensions))

    def rollup(self):
        """The same as a Rollup of its own."""
        cdef Source source
        cdef ProcessType of_type
        cdef int which, index
        plain = Rollup()
        plain.messages = self.messages
        for source in self.sources.values():
            _write_source(plain, source)
        for of_type in self.process_types.values():
            if of_type.response_bytes:
                plain.response_bytes[of_type.name] = of_type.response_bytes
            for which in range(WHICH):
                if of_type.bins[which] != NULL:
                    plain.sketches[of_type.name, which] = {
                        index: of_type.bins[which][index]
                        for index in range(of_type.low[which], of_type.high[which])
                        if of_type.bins[which][index]
                    }
        plain.errors = dict(self.errors)
        plain.ledger = dict(self.ledger)
        plain.events = {EventKey(*key): count for key, count in self.events.items()}
        plain.exits = dict(self.exits)
        plain.restarts = dict(self.restarts)
        plain.released = self.released
        plain.extensions = self.extensions
        return plain


cdef _write_source(plain, Source source):
    cdef int which, gauge, position
    cdef TimingTotals *tally
    cdef GaugeSummary *reading
    for position in range(source.requests_size):
        key = (source.name, source.requests[position].status)
        plain.requests[key] = source.requests[position].count
    for which in range(WHICH):
        tally = &source.tallies[which]
        if tally.count:
            plain.tallies[source.name, which] = PlainTally(tally.count, tally.total, tally.largest)
    if source.has_gauges:
        for gauge in range(GAUGES):
            reading = &source.gauges[gauge]
            if reading.count:
                plain.gauges[source.name, gauge] = PlainReading(
                    reading.count,
                    reading.total,
                    reading.smallest,
                    reading.largest,
                    reading.last_at_ms,
                    reading.last,
                )
    if source.active_minutes:
        plain.active_minutes[source.name] = source.active_minutes


# --- adding to what is held in C ---------------------------------------------------------------


cdef long long plus(long long one, long long other) noexcept:
    """Of two numbers that are not negative; at most NUMBER_MAX, where packing would end them too."""
    return one + other if one <= NUMBER_MAX - other else NUMBER_MAX


cdef long long _fitting(number) except -1:
    """A number that is not negative; at most NUMBER_MAX."""
    return min(number, NUMBER_MAX)


cdef ProcessType type_named(FastRollup sums, str name):
    found = sums.process_types.get(name)
    if found is None:
        found = sums.process_types[name] = ProcessType(name)
    return found


cdef Source source_named(FastRollup sums, str name):
    found = sums.sources.get(name)
    if found is None:
        found = sums.sources[name] = Source(sums, name)
    return found


cdef int count_requests(Source source, int status, long long count) except -1:
    cdef int position
    for position in range(source.requests_size):
        if source.requests[position].status == status:
            source.requests[position].count = plus(source.requests[position].count, count)
            return 0
    if source.requests_size == source.requests_room:
        make_room(source)
    source.requests[source.requests_size].status = status
    source.requests[source.requests_size].count = count
    source.requests_size += 1
    return 0


cdef int make_room(Source source) except -1:
    """For twice as many statuses."""
    cdef int room = 2 * source.requests_room
    cdef Requests *few = source.few
    cdef Requests *own = NULL if source.requests == few else source.requests
    cdef Requests *grown = <Requests *>realloc(own, room * sizeof(Requests))
    if grown == NULL:
        raise MemoryError
    if own == NULL:
        memcpy(grown, few, FEW * sizeof(Requests))
    source.requests = grown
    source.requests_room = room
    return 0


cdef int add_tally(
    Source source, int which, long long count, long long total, long long largest
) except -1:
    cdef TimingTotals *tally
    if which < 0 or which >= WHICH:
        raise ValueError(which)
    tally = &source.tallies[which]
    tally.count = plus(tally.count, count)
    tally.total = plus(tally.total, total)
    if largest > tally.largest:
        tally.largest = largest
    return 0


cdef long long *_spare[SPARE_MAX]  # BINS counts each, all 0
cdef int _spares = 0


cdef long long *taken() except NULL:
    """BINS counts, all 0."""
    global _spares
    cdef long long *bins
    if _spares:
        _spares -= 1
        return _spare[_spares]
    bins = <long long *>calloc(BINS, sizeof(long long))
    if bins == NULL:
        raise MemoryError
    return bins


cdef int give_back(long long *bins, int low, int high) noexcept:
    """Counts that are 0 outside [low, high)."""
    global _spares
    if _spares == SPARE_MAX:
        free(bins)
        return 0
    if low < high:
        memset(bins + low, 0, (high - low) * sizeof(long long))
    _spare[_spares] = bins
    _spares += 1
    return 0


cdef long long *bins_of(ProcessType process_type, int which) except NULL:
    if process_type.bins[which] == NULL:
        process_type.bins[which] = taken()
        process_type.low[which] = BINS
        process_type.high[which] = 0
    return process_type.bins[which]


cdef int count_bin(ProcessType process_type, int which, int index, long long count) except -1:
    cdef long long *bins
    if which < 0 or which >= WHICH or index < 0 or index >= BINS:
        raise ValueError(index)
    bins = bins_of(process_type, which)
    bins[index] = plus(bins[index], count)
    if index < process_type.low[which]:
        process_type.low[which] = index
    if index >= process_type.high[which]:
        process_type.high[which] = index + 1
    return 0


cdef int add_reading(Source source, int gauge, const GaugeSummary *reading) except -1:
    cdef GaugeSummary *ours
    if gauge < 0 or gauge >= GAUGES:
        raise ValueError(gauge)
    source.has_gauges = True
    ours = &source.gauges[gauge]
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


# --- merging ------------------------------------------------------------------------------------


cdef int merge_type(ProcessType ours, ProcessType theirs) except -1:
    cdef int which, index
    cdef long long *bins
    cdef long long *added
    ours.response_bytes = plus(ours.response_bytes, theirs.response_bytes)
    for which in range(WHICH):
        added = theirs.bins[which]
        if added == NULL:
            continue
        bins = bins_of(ours, which)
        for index in range(theirs.low[which], theirs.high[which]):
            if added[index]:
                bins[index] = plus(bins[index], added[index])
        ours.low[which] = min(ours.low[which], theirs.low[which])
        ours.high[which] = max(ours.high[which], theirs.high[which])
    return 0


cdef int merge_source(Source ours, Source theirs) except -1:
    cdef int gauge, position
    for position in range(theirs.requests_size):
        count_requests(ours, theirs.requests[position].status, theirs.requests[position].count)
    merge_tallies(ours, theirs)
    if theirs.has_gauges:
        for gauge in range(GAUGES):
            if theirs.gauges[gauge].count:
                add_reading(ours, gauge, &theirs.gauges[gauge])
    ours.active_minutes |= theirs.active_minutes
    return 0


cdef int merge_tallies(Source ours, Source theirs) except -1:
    cdef int which
    cdef TimingTotals *tally
    for which in range(WHICH):
        tally = &theirs.tallies[which]
        if tally.count:
            add_tally(ours, which, tally.count, tally.total, tally.largest)
    return 0


cdef add_counts(dict ours, dict theirs):
    for key, count in theirs.items():
        add_count(ours, key, count)


cdef add_count(dict ours, key, count):
    ours[key] = ours.get(key, 0) + count


cdef str _without_dyno(str source):
    cdef str process_type = name_of(source).process_type
    return f"{process_type}." if process_type else ""
