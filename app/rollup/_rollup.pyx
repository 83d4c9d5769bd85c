# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FastRollup: a Rollup with its most frequent sections in C. app.rollup.rollup defines the results.

A FastRollup holds the same data as a Rollup, merges alike and packs to the same bytes, and each
converts into the other. Sections that few lines add to are dictionaries as in a Rollup.
"""

cimport cython

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from app.rollup._names cimport Name, name_of
from app.rollup._numbers cimport FAMILY_SECTIONS, NumberRows, number_of_section

from app.rollup.events import latest_events
from app.rollup.open_limits import limit_families
from app.rollup.rollup import (
    DEFAULT_LIMITS, Rollup, limit_rows, move_rows, names_in, names_over, rows_in_total,
)
from app.rollup.schema import CORE_GAUGES, SECTION, TAGGED_SECTIONS
from app.rollup.sketch import BIN_COUNT
from app.rollup.summaries import COUNT
from app.rollup.summaries import GaugeSummary as PyGaugeSummary
from app.rollup.summaries import TimingTotals as PyTimingTotals

cdef long long NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
cdef enum:
    SPARE_BINS_MAX = 32  # of 5 KB
    STATUSES = 600  # that are known
    CLASS_SIZE = 100  # as in app.rollup.statuses
assert BIN_COUNT == BINS, f"set BINS in _rollup.pxd to {BIN_COUNT}"
assert sorted(CORE_GAUGES.values()) == list(range(GAUGES)), "the core gauges never change"


# Each POST makes a few of these and drops them again, so dropped ones are reused (freelist). None can
# be part of a reference cycle, so the garbage collector need not track them (no_gc).


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class ProcessType:
    """The sections by process type: response bytes, and sketches."""

    def __cinit__(self, str name):
        self.name = name

    def __dealloc__(self):
        cdef int kind
        for kind in range(TIMING_KINDS):
            if self.bins[kind] != NULL:
                release_bins(self.bins[kind], self.low[kind], self.high[kind])


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Source:
    """The sections by source: requests, times, gauges and active minutes."""

    def __cinit__(self, FastRollup rollup, str name):
        cdef Name cached_name = name_of(name)
        self.name = cached_name.text
        self.cached_name = cached_name
        self.process_type = get_process_type(rollup, cached_name.process_type)
        self.is_dyno = cached_name.is_dyno
        self.requests = self.inline_requests
        self.requests_capacity = INLINE_STATUSES

    def __dealloc__(self):
        if self.requests != self.inline_requests:
            free(self.requests)


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class FastRollup:
    """The compiled app.rollup.rollup.Rollup."""

    def __cinit__(self):
        self.sources = {}
        self.process_types = {}
        self.errors = {}
        self.ledger = {}
        self.other_rows = {}
        self.families = None
        self.extensions = ()

    @property
    def entry_count(self):
        """The number of entries in the tables that grow most, a measure of memory."""
        tables = [*self.other_rows.values(), *filter(None, self.families or ())]
        return len(self.sources) + len(self.errors) + sum(map(len, tables))

    def merge(self, FastRollup rollup):
        """Add the data of `rollup`, which stays unchanged."""
        cdef ProcessType process_type
        cdef Source source
        self.messages = saturating_add(self.messages, rollup.messages)
        for process_type in rollup.process_types.values():
            merge_process_type(get_process_type(self, process_type.name), process_type)
        for source in rollup.sources.values():
            merge_source(get_source(self, source.name), source)
        add_counts(self.errors, rollup.errors)
        add_counts(self.ledger, rollup.ledger)
        for section, rows in rollup.other_rows.items():
            merge_rows(self, section, rows)
        for rows in rollup.families or ():
            if rows is not None:
                get_number_rows(self, (<NumberRows>rows).number).merge(<NumberRows>rows)
        if rollup.extensions:
            self.extensions = tuple(sorted(self.extensions + rollup.extensions))

    def copy(self):
        """Return an independent copy."""
        copy = FastRollup()
        copy.merge(self)
        return copy

    def without_dynos(self):
        """Return the data that the total stores: no dynos, gauges, active minutes or events."""
        cdef FastRollup rollup = FastRollup()
        cdef ProcessType process_type
        cdef Source source, merged_source
        cdef int position
        rollup.messages = self.messages
        for process_type in self.process_types.values():
            merge_process_type(get_process_type(rollup, process_type.name), process_type)
        for source in self.sources.values():
            merged_source = get_source(rollup, _strip_dyno(source.name))
            for position in range(source.requests_size):
                add_requests(
                    merged_source,
                    source.requests[position].status,
                    source.requests[position].count,
                )
            merge_timings(merged_source, source)
        for (name, code), count in self.errors.items():
            add_count(rollup.errors, (_strip_dyno(name), code), count)
        rollup.ledger = dict(self.ledger)
        for section, rows in self.other_rows.items():
            rollup.other_rows[section] = rows_in_total(SECTION[section], rows)
        if self.families is not None:
            rollup.families = [
                rows.without_dynos() if rows and SECTION[rows.section].in_total else None
                for rows in self.families
            ]
        rollup.extensions = self.extensions
        return rollup

    def apply_limits(self, limits=DEFAULT_LIMITS):
        """Merge names over the limits into "other", and drop open metrics over theirs."""
        self.limit_names(limits)
        families = list(filter(None, self.families or ()))
        if sum(map(len, families)) <= min(limits.open_names, limits.open_bins):
            return
        sections, dropped = limit_families(
            {rows.section: rows.to_python() for rows in families},
            limits.open_names,
            limits.open_series,
            limits.open_bins,
        )
        self.families = None
        for name, rows in sections.items():
            get_number_rows(self, number_of_section(name)).add(rows)
        add_counts(self.ledger, dropped)

    def keep_latest_events(self, int count_max):
        """Count all but the latest events of each section of events as MORE_EVENTS."""
        for name in ("events", "lifecycle"):
            if name in self.other_rows:
                self.other_rows[name] = latest_events(self.other_rows[name], count_max)

    def limit_names(self, limits):
        """Merge names over the limits into "other". Packing does it."""
        self.errors = limit_rows(SECTION["errors"], self.errors, limits)
        for name, rows in self.other_rows.items():
            self.other_rows[name] = limit_rows(SECTION[name], rows, limits)
        limit_statuses(self, limits.statuses)
        self.rename(names_over(*self.names, limits))

    @property
    def names(self):
        """The sources and process types, without those of metrics with limits of their own."""
        cdef Source source
        cdef ProcessType process_type
        sources, types = names_in({"errors": self.errors, **self.other_rows})
        for source in self.sources.values():
            if has_rows(source):
                sources.add(source.name)
        for process_type in self.process_types.values():
            if type_has_rows(process_type):
                types.add(process_type.name)
        return sources, types

    def rename(self, names):
        """Merge sources and process types into others: new names by old ones, by key column."""
        if names:
            move_rows({"errors": self.errors, **self.other_rows}, names)
            move_names(self, names["source"], names["process_type"])

    def add(self, rollup):
        """Add the data of a Rollup."""
        cdef GaugeSummary summary
        cdef ProcessType process_type
        cdef Source source
        self.messages = saturating_add(self.messages, _clamp(rollup.messages))
        for (name, status), count in rollup.requests.items():
            add_requests(get_source(self, name), status, _clamp(count))
        for key, totals in rollup.tallies.items():
            name, kind = key
            if kind >= TIMING_KINDS:
                merge_rows(self, "tallies", {key: totals})
                continue
            add_timing(
                get_source(self, name),
                kind,
                _clamp(totals.count),
                _clamp(totals.total),
                _clamp(totals.largest),
            )
        for name, size in rollup.response_bytes.items():
            process_type = get_process_type(self, name)
            process_type.response_bytes = saturating_add(
                process_type.response_bytes, _clamp(size)
            )
        for key, bins in rollup.sketches.items():
            name, kind = key
            if kind >= TIMING_KINDS:
                merge_rows(self, "sketches", {key: bins})
                continue
            for index, count in bins.items():
                add_to_bin(get_process_type(self, name), kind, index, _clamp(count))
        for key, py_summary in rollup.gauges.items():
            name, gauge = key
            if gauge >= GAUGES:
                merge_rows(self, "gauges", {key: py_summary})
                continue
            summary.count, summary.total = _clamp(py_summary.count), _clamp(py_summary.total)
            summary.smallest, summary.largest = py_summary.smallest, py_summary.largest
            summary.last_at_ms, summary.last = py_summary.last_at_ms, py_summary.last
            add_gauge(get_source(self, name), gauge, &summary)
        for name, mask in rollup.active_minutes.items():
            source = get_source(self, name)
            source.active_minutes |= <unsigned long long>mask
        add_counts(self.errors, rollup.errors)
        add_counts(self.ledger, rollup.ledger)
        for section in TAGGED_SECTIONS:
            rows = rollup.rows(section)
            if rows and section.family:
                get_number_rows(self, number_of_section(section.name)).add(rows)
            elif rows:
                merge_rows(self, section.name, rows)
        self.extensions = tuple(sorted(self.extensions + rollup.extensions))

    def to_rollup(self):
        """Convert to a Rollup."""
        cdef Source source
        cdef ProcessType process_type
        cdef int kind, index
        rollup = Rollup()
        rollup.messages = self.messages
        for source in self.sources.values():
            _add_to_rollup(rollup, source)
        for process_type in self.process_types.values():
            if process_type.response_bytes:
                rollup.response_bytes[process_type.name] = process_type.response_bytes
            for kind in range(TIMING_KINDS):
                if process_type.bins[kind] != NULL:
                    rollup.sketches[process_type.name, kind] = {
                        index: process_type.bins[kind][index]
                        for index in range(process_type.low[kind], process_type.high[kind])
                        if process_type.bins[kind][index]
                    }
        rollup.errors = dict(self.errors)
        rollup.ledger = dict(self.ledger)
        for name, rows in self.other_rows.items():
            section = SECTION[name]
            keys = rows if section.make_key is tuple else map(section.make_key, rows)
            if not section.is_core and section.values is COUNT:  # there may be thousands of events
                rollup.rows(section).update(zip(keys, rows.values()))
                continue
            for key, value in zip(keys, rows.values()):
                section.merge_row(rollup.rows(section), key, value)
        for rows in filter(None, self.families or ()):
            setattr(rollup, rows.section, rows.to_python())
        rollup.extensions = self.extensions
        return rollup


cdef _add_to_rollup(rollup, Source source):
    cdef int kind, gauge, position
    cdef TimingTotals *totals
    cdef GaugeSummary *summary
    for position in range(source.requests_size):
        key = (source.name, source.requests[position].status)
        rollup.requests[key] = source.requests[position].count
    for kind in range(TIMING_KINDS):
        totals = &source.tallies[kind]
        if totals.count:
            rollup.tallies[source.name, kind] = PyTimingTotals(
                totals.count, totals.total, totals.largest
            )
    if source.has_gauges:
        for gauge in range(GAUGES):
            summary = &source.gauges[gauge]
            if summary.count:
                rollup.gauges[source.name, gauge] = PyGaugeSummary(
                    summary.count,
                    summary.total,
                    summary.smallest,
                    summary.largest,
                    summary.last_at_ms,
                    summary.last,
                )
    if source.active_minutes:
        rollup.active_minutes[source.name] = source.active_minutes


# --- adding to the sections in C ---------------------------------------------------------------


cdef long long saturating_add(long long one, long long other) noexcept:
    """Add two numbers, neither negative. The sum ends at NUMBER_MAX, as it would when packed."""
    return one + other if one <= NUMBER_MAX - other else NUMBER_MAX


cdef long long _clamp(number) except -1:
    """Convert a Python number that is not negative; a larger one becomes NUMBER_MAX."""
    return min(number, NUMBER_MAX)


cdef ProcessType get_process_type(FastRollup rollup, str name):
    process_type = rollup.process_types.get(name)
    if process_type is None:
        process_type = rollup.process_types[name] = ProcessType(name)
    return process_type


cdef Source get_source(FastRollup rollup, str name):
    source = rollup.sources.get(name)
    if source is None:
        source = rollup.sources[name] = Source(rollup, name)
    return source


cdef int add_requests(Source source, int status, long long count) except -1:
    cdef int position
    for position in range(source.requests_size):
        if source.requests[position].status == status:
            source.requests[position].count = saturating_add(source.requests[position].count, count)
            return 0
    if source.requests_size == source.requests_capacity:
        grow_requests(source)
    source.requests[source.requests_size].status = status
    source.requests[source.requests_size].count = count
    source.requests_size += 1
    return 0


cdef int grow_requests(Source source) except -1:
    """Double the number of statuses that fit."""
    cdef int capacity = 2 * source.requests_capacity
    cdef RequestCount *inline_requests = source.inline_requests
    cdef RequestCount *old = NULL if source.requests == inline_requests else source.requests
    cdef RequestCount *requests = <RequestCount *>realloc(old, capacity * sizeof(RequestCount))
    if requests == NULL:
        raise MemoryError
    if old == NULL:
        memcpy(requests, inline_requests, INLINE_STATUSES * sizeof(RequestCount))
    source.requests = requests
    source.requests_capacity = capacity
    return 0


cdef int add_timing(
    Source source, int kind, long long count, long long total, long long largest
) except -1:
    cdef TimingTotals *totals
    if kind < 0 or kind >= TIMING_KINDS:
        raise ValueError(kind)
    totals = &source.tallies[kind]
    totals.count = saturating_add(totals.count, count)
    totals.total = saturating_add(totals.total, total)
    if largest > totals.largest:
        totals.largest = largest
    return 0


# Released arrays of BINS counts, all 0, for reuse: only the part that was in use is cleared.
cdef long long *_spare_bins[SPARE_BINS_MAX]
cdef int _spare_count = 0


cdef long long *allocate_bins() except NULL:
    """Return BINS counts, all 0."""
    global _spare_count
    cdef long long *bins
    if _spare_count:
        _spare_count -= 1
        return _spare_bins[_spare_count]
    bins = <long long *>calloc(BINS, sizeof(long long))
    if bins == NULL:
        raise MemoryError
    return bins


cdef int release_bins(long long *bins, int low, int high) noexcept:
    """Free counts, all 0 outside [low, high), or keep them for reuse."""
    global _spare_count
    if _spare_count == SPARE_BINS_MAX:
        free(bins)
        return 0
    if low < high:
        memset(bins + low, 0, (high - low) * sizeof(long long))
    _spare_bins[_spare_count] = bins
    _spare_count += 1
    return 0


cdef long long *get_bins(ProcessType process_type, int kind) except NULL:
    if process_type.bins[kind] == NULL:
        process_type.bins[kind] = allocate_bins()
        process_type.low[kind] = BINS
        process_type.high[kind] = 0
    return process_type.bins[kind]


cdef int add_to_bin(ProcessType process_type, int kind, int index, long long count) except -1:
    cdef long long *bins
    if kind < 0 or kind >= TIMING_KINDS or index < 0 or index >= BINS:
        raise ValueError(index)
    bins = get_bins(process_type, kind)
    bins[index] = saturating_add(bins[index], count)
    if index < process_type.low[kind]:
        process_type.low[kind] = index
    if index >= process_type.high[kind]:
        process_type.high[kind] = index + 1
    return 0


cdef int add_gauge(Source source, int gauge, const GaugeSummary *summary) except -1:
    cdef GaugeSummary *target
    if gauge < 0 or gauge >= GAUGES:
        raise ValueError(gauge)
    source.has_gauges = True
    target = &source.gauges[gauge]
    if not target.count:
        target[0] = summary[0]
        return 0
    target.count = saturating_add(target.count, summary.count)
    target.total = saturating_add(target.total, summary.total)
    if summary.smallest < target.smallest:
        target.smallest = summary.smallest
    if summary.largest > target.largest:
        target.largest = summary.largest
    if summary.last_at_ms > target.last_at_ms or (
        summary.last_at_ms == target.last_at_ms and summary.last > target.last
    ):
        target.last_at_ms = summary.last_at_ms
        target.last = summary.last
    return 0


cdef bint has_rows(Source source):
    """Whether a source has any row here: that of an event, say, has none."""
    cdef int kind, gauge
    if source.requests_size or source.active_minutes:
        return True
    for kind in range(TIMING_KINDS):
        if source.tallies[kind].count:
            return True
    for gauge in range(GAUGES if source.has_gauges else 0):
        if source.gauges[gauge].count:
            return True
    return False


cdef bint type_has_rows(ProcessType process_type):
    """Whether a process type has any row of its own, besides those of its dynos."""
    cdef int kind
    for kind in range(TIMING_KINDS):
        if process_type.bins[kind] != NULL:
            return True
    return process_type.response_bytes != 0


cdef int limit_statuses(FastRollup rollup, int count_max) except -1:
    """Merge the statuses over the limit into their class.

    Nothing is done if there is a status that only a newer version knows.
    """
    cdef Source source
    cdef bint has_status[STATUSES]
    cdef int position, status, count = 0
    memset(has_status, 0, sizeof(has_status))
    for source in rollup.sources.values():
        for position in range(source.requests_size):
            status = source.requests[position].status
            if status < 0 or status >= STATUSES:
                return 0
            has_status[status] = True
    for status in range(CLASS_SIZE, STATUSES):
        if has_status[status]:
            count += 1
            has_status[status] = count <= count_max
    if count > count_max:
        for source in rollup.sources.values():
            merge_statuses(source, has_status)
    return 0


cdef int merge_statuses(Source source, const bint *stays) except -1:
    """Merge the statuses that do not stay into their class."""
    cdef int position, status, size = source.requests_size
    cdef RequestCount row
    # Each row is written behind those that were read: a class takes the place of its first status.
    source.requests_size = 0
    for position in range(size):
        row = source.requests[position]
        status = row.status
        if status >= CLASS_SIZE and not stays[status]:
            status //= CLASS_SIZE
        add_requests(source, status, row.count)
    return 0


cdef move_names(FastRollup rollup, dict source_names, dict type_names):
    """Merge sources and process types into those of their new names."""
    cdef Source source
    cdef ProcessType process_type
    memset(rollup.recent_sources, 0, sizeof(rollup.recent_sources))  # some will be freed
    for source in list(rollup.sources.values()):
        if not has_rows(source):  # it would keep the process type that it had
            del rollup.sources[source.name]
    for name, new_name in type_names.items():
        process_type = rollup.process_types.pop(name, None)
        if process_type is not None:
            merge_process_type(get_process_type(rollup, new_name), process_type)
    for name, new_name in source_names.items():
        source = rollup.sources.pop(name, None)
        if source is not None:
            merge_source(get_source(rollup, new_name), source)


# --- merging ------------------------------------------------------------------------------------


cdef int merge_process_type(ProcessType target, ProcessType process_type) except -1:
    cdef int kind, index
    cdef long long *bins
    cdef long long *added_bins
    target.response_bytes = saturating_add(target.response_bytes, process_type.response_bytes)
    for kind in range(TIMING_KINDS):
        added_bins = process_type.bins[kind]
        if added_bins == NULL:
            continue
        bins = get_bins(target, kind)
        for index in range(process_type.low[kind], process_type.high[kind]):
            if added_bins[index]:
                bins[index] = saturating_add(bins[index], added_bins[index])
        target.low[kind] = min(target.low[kind], process_type.low[kind])
        target.high[kind] = max(target.high[kind], process_type.high[kind])
    return 0


cdef int merge_source(Source target, Source source) except -1:
    cdef int gauge, position
    for position in range(source.requests_size):
        add_requests(target, source.requests[position].status, source.requests[position].count)
    merge_timings(target, source)
    if source.has_gauges:
        for gauge in range(GAUGES):
            if source.gauges[gauge].count:
                add_gauge(target, gauge, &source.gauges[gauge])
    target.active_minutes |= source.active_minutes
    return 0


cdef int merge_timings(Source target, Source source) except -1:
    cdef int kind
    cdef TimingTotals *totals
    for kind in range(TIMING_KINDS):
        totals = &source.tallies[kind]
        if totals.count:
            add_timing(target, kind, totals.count, totals.total, totals.largest)
    return 0


cdef dict get_rows(FastRollup rollup, str section):
    """Return the rows of a section in `other_rows`."""
    rows = rollup.other_rows.get(section)
    if rows is None:
        rows = rollup.other_rows[section] = {}
    return rows


cdef NumberRows get_number_rows(FastRollup rollup, int number):
    """Return the rows of the section of a family with this number."""
    if rollup.families is None:
        rollup.families = [None] * len(FAMILY_SECTIONS)
    rows = rollup.families[number]
    if rows is None:
        rows = rollup.families[number] = NumberRows(number)
    return <NumberRows>rows


cdef merge_rows(FastRollup rollup, str section, rows):
    """Add rows to a section in `other_rows`."""
    if section == "events" or section == "lifecycle":  # by far the most
        add_counts(get_rows(rollup, section), rows)
    else:
        SECTION[section].merge(get_rows(rollup, section), rows)


cdef add_counts(dict counts, dict added_counts):
    for key, count in added_counts.items():
        add_count(counts, key, count)


cdef add_count(dict counts, key, count):
    counts[key] = counts.get(key, 0) + count


cdef str _strip_dyno(str source):
    cdef str process_type = name_of(source).process_type
    return f"{process_type}." if process_type else ""
