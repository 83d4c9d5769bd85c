"""Rollup: the summary of one app over one interval.

Two rollups of an app merge into one. Merging is commutative and associative, with an empty rollup
as identity. All state is whole numbers, so these laws hold exactly. The rest of Dynometer relies on
them: batches may arrive in any order, and workers need not coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from app.rollup.events import EventKey, limit_events
from app.rollup.sketch import BIN_OF, TABLE_SIZE, Bins, bin_of
from app.rollup.statuses import CLASS_SIZE, FIRST_FAILED, SWITCHING_PROTOCOLS, limit_status
from app.rollup.summaries import GaugeSummary, TimingTotals
from parsers.samples import (
    Event,
    HerokuError,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
    labels_of,
)

# The four kinds of time, as they are numbered in stored rollups: service or connect time, of
# requests that succeeded or failed.
TimingKind = int
SERVICE_OK, SERVICE_FAILED, CONNECT_OK, CONNECT_FAILED = range(4)

OTHER = "other"

TERMINATED = 143  # 128 + SIGTERM: the exit status of a dyno that Heroku stops
NOT_YET_RUN = frozenset({"created", "provisioning", "starting"})


class CardinalityLimits(NamedTuple):
    """Limits on the number of distinct names in one rollup.

    The first names in natural order stay; the others are merged into "other".
    """

    process_types: int = 32
    dynos: int = 2_048  # of all process types; Heroku allows 100 of one, more by request
    statuses: int = 64  # about as many as are registered (RFC 9110 and later)
    codes: int = 64  # Heroku documents about 40
    events: int = 128


DEFAULT_LIMITS = CardinalityLimits()


class Rollup:
    """The summary of one app over one interval.

    `__init__` states the key of each section and how its values merge. All but `messages` and
    `extensions` are sections; the codec reads and writes them by name.
    """

    __slots__ = (
        "active_minutes",
        "errors",
        "events",
        "exits",
        "extensions",
        "gauges",
        "ledger",
        "messages",
        "released",
        "requests",
        "response_bytes",
        "restarts",
        "sketches",
        "tallies",
    )

    def __init__(self) -> None:
        self.messages = 0  # with a timestamp in this interval, including ignored ones; add
        self.requests: dict[tuple[str, int], int] = {}  # (source, status) -> count; add
        self.errors: dict[tuple[str, str], int] = {}  # (source, code) -> count; add
        self.tallies: dict[tuple[str, TimingKind], TimingTotals] = {}  # (source, kind)
        self.response_bytes: dict[str, int] = {}  # process type -> bytes; add
        # (process type, kind) -> bins; add. There are no sketches by dyno.
        self.sketches: dict[tuple[str, TimingKind], Bins] = {}
        self.gauges: dict[tuple[str, int], GaugeSummary] = {}  # (source, index in GAUGES)
        # source -> the minutes of the hour in which it logged, minute m as bit m; or. A 1m rollup
        # has one bit, a 1h rollup up to 60, so downsampling keeps the number of dynos by minute.
        self.active_minutes: dict[str, int] = {}
        self.ledger: dict[str, int] = {}  # outcome of messages -> count; add
        self.events: dict[EventKey, int] = {}  # event -> count; add
        self.exits: dict[tuple[str, int], int] = {}  # (source, exit status) -> count; add
        self.restarts: dict[str, int] = {}  # source -> count; add
        self.released: tuple[int, str] = (0, "")  # (at_ms, version) of the last release; max
        # Sections that only newer versions can read: (tag, bytes), sorted; concatenate.
        self.extensions: tuple[tuple[str, bytes], ...] = ()

    @property
    def entry_count(self) -> int:
        """The number of entries in the tables that grow most, a measure of memory."""
        return len(self.requests) + len(self.errors) + len(self.gauges)

    def observe(self, sample: Sample, at_ms: int) -> None:
        """Add a sample from a message with this timestamp, in Unix milliseconds."""
        _OBSERVE[type(sample)](self, sample, at_ms)

    def merge(self, rollup: Rollup) -> None:
        """Add the data of `rollup`, which stays unchanged."""
        self.messages += rollup.messages
        _add_counts(self.requests, rollup.requests)
        _add_counts(self.errors, rollup.errors)
        _merge_summaries(self.tallies, rollup.tallies)
        _add_counts(self.response_bytes, rollup.response_bytes)
        for key, bins in rollup.sketches.items():
            _add_counts(self.sketches.setdefault(key, {}), bins)
        _merge_summaries(self.gauges, rollup.gauges)
        for source, minutes in rollup.active_minutes.items():
            self.active_minutes[source] = self.active_minutes.get(source, 0) | minutes
        _add_counts(self.ledger, rollup.ledger)
        _add_counts(self.events, rollup.events)
        _add_counts(self.exits, rollup.exits)
        _add_counts(self.restarts, rollup.restarts)
        self.released = max(self.released, rollup.released)
        if rollup.extensions:
            self.extensions = tuple(sorted(self.extensions + rollup.extensions))

    # Either FastRollup can add a Rollup; the compiled one merges only its own type.
    add = merge

    def copy(self) -> Rollup:
        """Return an independent copy."""
        copy = Rollup()
        copy.merge(self)
        return copy

    def without_dynos(self) -> Rollup:
        """Return the data that the total stores: no dynos, gauges, active minutes or events.

        So the total does not grow with an app's age.
        """
        rollup = self._rename(_strip_dyno, lambda name: name)
        rollup.gauges = {}
        rollup.active_minutes = {}
        rollup.events = {}
        return rollup

    def apply_limits(self, limits: CardinalityLimits = DEFAULT_LIMITS) -> None:
        """Merge names over the limits into "other". Packing does it, so stored rollups are bounded.

        The choice depends on names alone: the first in natural order stay. A name that is over the
        limit in one rollup is over it in every rollup that contains this one, too. Therefore
        merging stays associative.
        """
        self._limit_sources(limits)
        codes = {code for _, code in self.errors}
        if len(codes) > limits.codes:
            codes = _first_names(codes, limits.codes)
            self.errors = _rekey(
                self.errors, lambda key: (key[0], key[1] if key[1] in codes else OTHER)
            )
        if len(self.events) > limits.events:
            self.events = limit_events(self.events, limits.events)
        statuses = {status for _, status in self.requests}
        if len(statuses) > limits.statuses:
            statuses = {
                *sorted(status for status in statuses if status >= CLASS_SIZE)[: limits.statuses]
            }
            self.requests = _rekey(
                self.requests, lambda key: (key[0], limit_status(key[1], statuses))
            )

    def _limit_sources(self, limits: CardinalityLimits) -> None:
        sources = self._sources()
        types = {labels_of(source)[0] for source in sources}
        types.update(self.response_bytes)
        types.update(process_type for process_type, _ in self.sketches)
        if len(types) <= limits.process_types and len(sources) <= limits.dynos:
            return
        types = _first_names(types, limits.process_types)
        dynos = _first_dynos(
            (source for source in sources if labels_of(source)[0] in types), limits.dynos
        )

        def limited_source(source: str) -> str:
            process_type = labels_of(source)[0]
            if process_type not in types:
                return OTHER
            if source in dynos or source == OTHER:
                return source
            return f"{process_type}.{OTHER}"

        rollup = self._rename(
            limited_source, lambda process_type: process_type if process_type in types else OTHER
        )
        for section in _SECTIONS_BY_SOURCE:
            setattr(self, section, getattr(rollup, section))

    def _sources(self) -> set[str]:
        return {
            *(source for source, _ in self.requests),
            *(source for source, _ in self.errors),
            *(source for source, _ in self.tallies),
            *(source for source, _ in self.gauges),
            *(source for source, _ in self.exits),
            *self.restarts,
            *self.active_minutes,
        }

    def _rename(self, source_of: Callable[[str], str], type_of: Callable[[str], str]) -> Rollup:
        """Return a copy with other names for sources and process types; equal names merge."""
        copy = Rollup()
        copy.messages = self.messages
        copy.requests = _rekey(self.requests, lambda key: (source_of(key[0]), key[1]))
        copy.errors = _rekey(self.errors, lambda key: (source_of(key[0]), key[1]))
        for (source, kind), totals in self.tallies.items():
            _merge_summaries(copy.tallies, {(source_of(source), kind): totals})
        copy.response_bytes = _rekey(self.response_bytes, type_of)
        for (process_type, kind), bins in self.sketches.items():
            _add_counts(copy.sketches.setdefault((type_of(process_type), kind), {}), bins)
        for (source, gauge), summary in self.gauges.items():
            _merge_summaries(copy.gauges, {(source_of(source), gauge): summary})
        for source, minutes in self.active_minutes.items():
            name = source_of(source)
            copy.active_minutes[name] = copy.active_minutes.get(name, 0) | minutes
        copy.exits = _rekey(self.exits, lambda key: (source_of(key[0]), key[1]))
        copy.restarts = _rekey(self.restarts, source_of)
        copy.events = dict(self.events)
        copy.released = self.released
        copy.ledger = dict(self.ledger)
        copy.extensions = self.extensions
        return copy

    def _mark_active(self, source: str, at_ms: int) -> None:
        bit = 1 << (at_ms // 60_000 % 60)
        self.active_minutes[source] = self.active_minutes.get(source, 0) | bit

    def observe_request(self, request: Request, at_ms: int) -> None:
        """Add one request, by far the most frequent sample. `at_ms` is in Unix milliseconds."""
        source, status, code, connect_ms, service_ms, response_bytes = request
        key = (source, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        process_type, dyno = labels_of(source)
        if code:
            self._count_error(source, code)
        if response_bytes:
            total = self.response_bytes.get(process_type, 0)
            self.response_bytes[process_type] = total + response_bytes
        if status != SWITCHING_PROTOCOLS:
            is_failed = status >= FIRST_FAILED or not status  # statuses.is_failed without a call
            if service_ms is not None:
                kind = SERVICE_FAILED if is_failed else SERVICE_OK
                self._observe_time(source, process_type, kind, service_ms)
            if connect_ms is not None:
                kind = CONNECT_FAILED if is_failed else CONNECT_OK
                self._observe_time(source, process_type, kind, connect_ms)
        if dyno:
            self._mark_active(source, at_ms)

    def _observe_time(
        self, source: str, process_type: str, kind: TimingKind, value_ms: int
    ) -> None:
        totals = self.tallies.get((source, kind))
        if totals is None:
            totals = self.tallies[source, kind] = TimingTotals()
            self.sketches.setdefault((process_type, kind), {})
        totals.count += 1
        totals.total += value_ms
        if value_ms > totals.largest:
            totals.largest = value_ms
        bins = self.sketches[process_type, kind]
        index = BIN_OF[value_ms] if value_ms < TABLE_SIZE else bin_of(value_ms)
        bins[index] = bins.get(index, 0) + 1

    def _observe_gauges(self, metrics: RuntimeMetrics, at_ms: int) -> None:
        source, values = metrics
        gauges = self.gauges
        for gauge, value in values:
            key = (source, gauge)
            if key in gauges:
                gauges[key].merge(GaugeSummary(1, value, value, value, at_ms, value))
            else:
                gauges[key] = GaugeSummary(1, value, value, value, at_ms, value)
        if labels_of(source)[1]:
            self._mark_active(source, at_ms)

    def _observe_error(self, error: HerokuError, at_ms: int) -> None:
        self._count_error(error.source, error.code)
        if labels_of(error.source)[1]:
            self._mark_active(error.source, at_ms)

    def _observe_state(self, change: StateChange, at_ms: int) -> None:
        if labels_of(change.source)[1]:
            self._mark_active(change.source, at_ms)
        if change.after == "crashed":
            self._count_event(Event("crash", change.source, ""), at_ms)
        elif change.after == "starting" and change.before not in NOT_YET_RUN:
            self.restarts[change.source] = self.restarts.get(change.source, 0) + 1
            self._count_event(Event("restart", change.source, f"was {change.before}"), at_ms)

    def _observe_exit(self, process_exit: ProcessExit, at_ms: int) -> None:
        key = (process_exit.source, process_exit.status)
        self.exits[key] = self.exits.get(key, 0) + 1
        if process_exit.status not in (0, TERMINATED):
            event = Event("exit", process_exit.source, str(process_exit.status))
            self._count_event(event, at_ms)

    def _count_event(self, event: Event, at_ms: int) -> None:
        key = EventKey(at_ms, *event)
        self.events[key] = self.events.get(key, 0) + 1
        if event.kind == "release":
            self.released = max(self.released, (at_ms, event.detail))

    def _count_error(self, source: str, code: str) -> None:
        self.errors[source, code] = self.errors.get((source, code), 0) + 1


# The sections whose keys contain a source or a process type.
_SECTIONS_BY_SOURCE = (
    "requests",
    "errors",
    "tallies",
    "response_bytes",
    "sketches",
    "gauges",
    "active_minutes",
    "exits",
    "restarts",
)

_OBSERVE: dict[type, Callable[[Rollup, Any, int], None]] = {
    Request: Rollup.observe_request,
    RuntimeMetrics: Rollup._observe_gauges,
    HerokuError: Rollup._observe_error,
    StateChange: Rollup._observe_state,
    ProcessExit: Rollup._observe_exit,
    Event: Rollup._count_event,
}


# --- merging and renaming -----------------------------------------------------------------------


def _add_counts(counts: dict[Any, int], added_counts: dict[Any, int]) -> None:
    for key, count in added_counts.items():
        counts[key] = counts.get(key, 0) + count


def _merge_summaries(summaries: dict[Any, Any], added_summaries: dict[Any, Any]) -> None:
    for key, summary in added_summaries.items():
        if key in summaries:
            summaries[key].merge(summary)
        else:
            summaries[key] = summary.copy()


def _rekey(counts: dict[Any, int], new_key: Callable[[Any], Any]) -> dict[Any, int]:
    new_counts: dict[Any, int] = {}
    for old_key, count in counts.items():
        key = new_key(old_key)
        new_counts[key] = new_counts.get(key, 0) + count
    return new_counts


def _strip_dyno(source: str) -> str:
    process_type = labels_of(source)[0]
    return f"{process_type}." if process_type else ""


def _first_names(names: Iterable[str], count_max: int) -> set[str]:
    """Return the first names in alphabetical order, and "other", which counts as none."""
    return {OTHER, *sorted(name for name in names if name != OTHER)[:count_max]}


def _first_dynos(sources: Iterable[str], count_max: int) -> set[str]:
    """Return the first sources by process type and number.

    Process types over their limit sort behind those within it. So the choice is the same whether
    or not their dynos were merged into "other" before. "other" itself always stays and sorts first.
    Sources such as "web.other" stay too and are not counted.
    """
    dynos = [source for source in sources if source.rpartition(".")[2] != OTHER]
    return {*sorted(dynos, key=_natural_key)[:count_max]}


def _natural_key(source: str) -> tuple[bool, str, int, str]:
    process_type, dyno = labels_of(source)
    number = dyno.rpartition(".")[2]
    return (process_type != OTHER, process_type, int(number) if number.isdigit() else -1, source)
