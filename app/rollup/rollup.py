"""Rollup: what one app did in one interval.

Two rollups of an app merge into one. Merging is commutative and associative and an empty rollup is
its identity; all state is whole numbers, so these laws hold exactly. Everything else in Dynometer
leans on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from app.rollup.events import EventKey, first_events
from app.rollup.sketch import BIN_OF, TABLE_SIZE, Bins, bin_of
from app.rollup.statuses import CLASS_SIZE, FIRST_FAILED, SWITCHING_PROTOCOLS, capped_status
from app.rollup.tallies import GaugeSummary, TimingTotals
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

# Which of the four kinds of time a tally or a sketch holds.
SERVICE_OK, SERVICE_FAILED, CONNECT_OK, CONNECT_FAILED = range(4)

OTHER = "other"

TERMINATED = 143  # 128 + SIGTERM: how a dyno ends that Heroku stops
NOT_YET_RUN = frozenset({"created", "provisioning", "starting"})


class CardinalityLimits(NamedTuple):
    """How many names of a kind one rollup keeps. The first in natural order stay; the others are
    summed up as "other".
    """

    process_types: int = 32
    dynos: int = 2_048  # of all process types; Heroku allows 100 of one, more by request
    statuses: int = 64  # about as many as are registered (RFC 9110 and later)
    codes: int = 64  # Heroku documents about 40
    events: int = 128


DEFAULT_LIMITS = CardinalityLimits()


class Rollup:
    """See the comment at each field for what it is keyed by and how it merges."""

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
        self.messages = 0  # stamped in this interval, ignored ones too; add
        self.requests: dict[tuple[str, int], int] = {}  # (source, status) -> count; add
        self.errors: dict[tuple[str, str], int] = {}  # (source, code) -> count; add
        self.tallies: dict[tuple[str, int], TimingTotals] = {}  # (source, which)
        self.response_bytes: dict[str, int] = {}  # process type -> bytes; add
        self.sketches: dict[tuple[str, int], Bins] = {}  # (process type, which) -> bins; add
        self.gauges: dict[tuple[str, int], GaugeSummary] = {}  # (source, index in GAUGES)
        # source -> minutes of the hour it was heard from in, minute m as bit m; or. A 1m rollup has
        # one bit, a 1h rollup up to 60: how many dynos a minute had survives downsampling.
        self.active_minutes: dict[str, int] = {}
        self.ledger: dict[str, int] = {}  # what became of messages -> count; add
        self.events: dict[EventKey, int] = {}  # event -> count; add
        self.exits: dict[tuple[str, int], int] = {}  # (source, exit status) -> count; add
        self.restarts: dict[str, int] = {}  # source -> count; add
        self.released: tuple[int, str] = (0, "")  # (at_ms, version) of the last release; max
        # Sections of newer versions, which this one cannot read: (tag, packed); collected, sorted.
        self.extensions: tuple[tuple[str, bytes], ...] = ()

    @property
    def names(self) -> int:
        """How many entries its largest tables have, which is what it costs."""
        return len(self.requests) + len(self.errors) + len(self.gauges)

    def observe(self, sample: Sample, at_ms: int) -> None:
        """Add what a message of this time says."""
        _OBSERVE[type(sample)](self, sample, at_ms)

    def merge(self, other: Rollup) -> None:
        """Add all that `other` holds; `other` stays as it is."""
        self.messages += other.messages
        _add(self.requests, other.requests)
        _add(self.errors, other.errors)
        _merge(self.tallies, other.tallies)
        _add(self.response_bytes, other.response_bytes)
        for key, bins in other.sketches.items():
            _add(self.sketches.setdefault(key, {}), bins)
        _merge(self.gauges, other.gauges)
        for source, minutes in other.active_minutes.items():
            self.active_minutes[source] = self.active_minutes.get(source, 0) | minutes
        _add(self.ledger, other.ledger)
        _add(self.events, other.events)
        _add(self.exits, other.exits)
        _add(self.restarts, other.restarts)
        self.released = max(self.released, other.released)
        if other.extensions:
            self.extensions = tuple(sorted(self.extensions + other.extensions))

    add = merge  # whatever form sums have, a Rollup can be added to them

    def copy(self) -> Rollup:
        """One of its own."""
        twin = Rollup()
        twin.merge(self)
        return twin

    def without_dynos(self) -> Rollup:
        """What the total keeps: no dynos, gauges, minutes or events, so that it does not grow with
        an app's age.
        """
        projected = self._renamed(_without_dyno, lambda name: name)
        projected.gauges = {}
        projected.active_minutes = {}
        projected.events = {}
        return projected

    def apply_limits(self, limits: CardinalityLimits = DEFAULT_LIMITS) -> None:
        """Sum up as "other" what is over the caps; packing does it, so nothing larger is ever
        stored.

        Which names stay depends on names alone, the first in natural order: a name that is outside
        them in a rollup is outside in every larger one too, so merging stays associative.
        """
        self._bound_sources(limits)
        codes = {code for _, code in self.errors}
        if len(codes) > limits.codes:
            stay = _first(codes, limits.codes)
            self.errors = _rekeyed(
                self.errors, lambda key: (key[0], key[1] if key[1] in stay else OTHER)
            )
        if len(self.events) > limits.events:
            self.events = first_events(self.events, limits.events)
        statuses = {status for _, status in self.requests}
        if len(statuses) > limits.statuses:
            kept = {
                *sorted(status for status in statuses if status >= CLASS_SIZE)[: limits.statuses]
            }
            self.requests = _rekeyed(
                self.requests, lambda key: (key[0], capped_status(key[1], kept))
            )

    def _bound_sources(self, limits: CardinalityLimits) -> None:
        sources = self._sources()
        types = {labels_of(source)[0] for source in sources}
        types.update(self.response_bytes)
        types.update(process_type for process_type, _ in self.sketches)
        if len(types) <= limits.process_types and len(sources) <= limits.dynos:
            return
        types_that_stay = _first(types, limits.process_types)
        stay = _first_dynos(
            (source for source in sources if labels_of(source)[0] in types_that_stay), limits.dynos
        )

        def capped(source: str) -> str:
            process_type = labels_of(source)[0]
            if process_type not in types_that_stay:
                return OTHER
            if source in stay or source == OTHER:
                return source
            return f"{process_type}.{OTHER}"

        bounded = self._renamed(
            capped, lambda process_type: process_type if process_type in types_that_stay else OTHER
        )
        for name in _BY_NAME:
            setattr(self, name, getattr(bounded, name))

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

    def _renamed(self, source_of: Callable[[str], str], type_of: Callable[[str], str]) -> Rollup:
        """A rollup of its own with other names; what gets the same name is merged."""
        renamed = Rollup()
        renamed.messages = self.messages
        renamed.requests = _rekeyed(self.requests, lambda key: (source_of(key[0]), key[1]))
        renamed.errors = _rekeyed(self.errors, lambda key: (source_of(key[0]), key[1]))
        for (source, which), tally in self.tallies.items():
            _merge(renamed.tallies, {(source_of(source), which): tally})
        renamed.response_bytes = _rekeyed(self.response_bytes, type_of)
        for (process_type, which), bins in self.sketches.items():
            _add(renamed.sketches.setdefault((type_of(process_type), which), {}), bins)
        for (source, gauge), reading in self.gauges.items():
            _merge(renamed.gauges, {(source_of(source), gauge): reading})
        for source, minutes in self.active_minutes.items():
            name = source_of(source)
            renamed.active_minutes[name] = renamed.active_minutes.get(name, 0) | minutes
        renamed.exits = _rekeyed(self.exits, lambda key: (source_of(key[0]), key[1]))
        renamed.restarts = _rekeyed(self.restarts, source_of)
        renamed.events = dict(self.events)
        renamed.released = self.released
        renamed.ledger = dict(self.ledger)
        renamed.extensions = self.extensions
        return renamed

    def _heard_from(self, source: str, at_ms: int) -> None:
        bit = 1 << (at_ms // 60_000 % 60)
        self.active_minutes[source] = self.active_minutes.get(source, 0) | bit

    def observe_request(self, request: Request, at_ms: int) -> None:
        """Add one request, by far the most frequent sample."""
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
            failed = status >= FIRST_FAILED or not status  # is_failed, without the call
            if service_ms is not None:
                which = SERVICE_FAILED if failed else SERVICE_OK
                self._observe_time(source, process_type, which, service_ms)
            if connect_ms is not None:
                which = CONNECT_FAILED if failed else CONNECT_OK
                self._observe_time(source, process_type, which, connect_ms)
        if dyno:
            self._heard_from(source, at_ms)

    def _observe_time(self, source: str, process_type: str, which: int, value_ms: int) -> None:
        tally = self.tallies.get((source, which))
        if tally is None:
            tally = self.tallies[source, which] = TimingTotals()
            self.sketches.setdefault((process_type, which), {})
        tally.count += 1
        tally.total += value_ms
        if value_ms > tally.largest:
            tally.largest = value_ms
        bins = self.sketches[process_type, which]
        index = BIN_OF[value_ms] if value_ms < TABLE_SIZE else bin_of(value_ms)
        bins[index] = bins.get(index, 0) + 1

    def _observe_readings(self, readings: RuntimeMetrics, at_ms: int) -> None:
        source, values = readings
        gauges = self.gauges
        for gauge, value in values:
            key = (source, gauge)
            if key in gauges:
                gauges[key].merge(GaugeSummary(1, value, value, value, at_ms, value))
            else:
                gauges[key] = GaugeSummary(1, value, value, value, at_ms, value)
        if labels_of(source)[1]:
            self._heard_from(source, at_ms)

    def _observe_error(self, error: HerokuError, at_ms: int) -> None:
        self._count_error(error.source, error.code)
        if labels_of(error.source)[1]:
            self._heard_from(error.source, at_ms)

    def _observe_state(self, change: StateChange, at_ms: int) -> None:
        if labels_of(change.source)[1]:
            self._heard_from(change.source, at_ms)
        if change.after == "crashed":
            self._note_event(Event("crash", change.source, ""), at_ms)
        elif change.after == "starting" and change.before not in NOT_YET_RUN:
            self.restarts[change.source] = self.restarts.get(change.source, 0) + 1
            self._note_event(Event("restart", change.source, f"was {change.before}"), at_ms)

    def _observe_exit(self, ended: ProcessExit, at_ms: int) -> None:
        key = (ended.source, ended.status)
        self.exits[key] = self.exits.get(key, 0) + 1
        if ended.status not in (0, TERMINATED):
            self._note_event(Event("exit", ended.source, str(ended.status)), at_ms)

    def _note_event(self, event: Event, at_ms: int) -> None:
        key = EventKey(at_ms, *event)
        self.events[key] = self.events.get(key, 0) + 1
        if event.kind == "release":
            self.released = max(self.released, (at_ms, event.detail))

    def _count_error(self, source: str, code: str) -> None:
        self.errors[source, code] = self.errors.get((source, code), 0) + 1


# What the names of sources and process types are in.
_BY_NAME = (
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
    RuntimeMetrics: Rollup._observe_readings,
    HerokuError: Rollup._observe_error,
    StateChange: Rollup._observe_state,
    ProcessExit: Rollup._observe_exit,
    Event: Rollup._note_event,
}


# --- merging and renaming -----------------------------------------------------------------------


def _add(mine: dict[Any, int], theirs: dict[Any, int]) -> None:
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


def _merge(mine: dict[Any, Any], theirs: dict[Any, Any]) -> None:
    for key, value in theirs.items():
        if key in mine:
            mine[key].merge(value)
        else:
            mine[key] = value.copy()


def _rekeyed(counts: dict[Any, int], rename: Callable[[Any], Any]) -> dict[Any, int]:
    renamed: dict[Any, int] = {}
    for key, count in counts.items():
        name = rename(key)
        renamed[name] = renamed.get(name, 0) + count
    return renamed


def _without_dyno(source: str) -> str:
    process_type = labels_of(source)[0]
    return f"{process_type}." if process_type else ""


def _first(names: Iterable[str], cap: int) -> set[str]:
    """The first `cap` names in alphabetical order, and "other", which is no name."""
    return {OTHER, *sorted(name for name in names if name != OTHER)[:cap]}


def _first_dynos(sources: Iterable[str], cap: int) -> set[str]:
    """The first `cap` sources by process type and number. Those of a process type that does not
    stay come after all others, so they leave no room when it goes; "other" always stays, so it
    comes first.
    """
    named = [source for source in sources if source.rpartition(".")[2] != OTHER]
    return {*sorted(named, key=_natural)[:cap]}


def _natural(source: str) -> tuple[bool, str, int, str]:
    process_type, dyno = labels_of(source)
    number = dyno.rpartition(".")[2]
    return (process_type != OTHER, process_type, int(number) if number.isdigit() else -1, source)
