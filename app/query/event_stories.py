"""Events as readers see them: what several log lines tell together becomes one event.

A rollup stores what each line says. The lines of one story may lie in several batches, minutes or
workers, so they are joined here, when they are read:

- The signals with which Heroku stops a dyno, and the status with which its process then ends, are
  one event `stop`. Only a process that ends without a signal is an `exit` of its own. A stop is
  over with its exit, or when the dyno is up again. In doubt, an exit is shown.
- A change to the app whose release command failed says so: `deploy  edab5218 (release v3 failed)`.

Pure. A dyno has 30 seconds to end after SIGTERM (Heroku Dev Center, "Dyno Shutdown Behavior"), so
the lines about a stop begin up to STOP_S before its exit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from app.rollup.events import EventKey
from parsers.samples import KILLING_ERRORS

STOP_S = 60
_STOP_MS = STOP_S * 1000
_EXIT_MS = 45_000  # from a signal to the exit, if the line about SIGKILL was lost
_KILLED_MS = 10_000  # from SIGKILL to the exit; 2.1 s were seen
_DISORDER_MS = 2_000  # lines of one moment may have their times in any order
_CRASH_MS = 5_000  # between an exit and the crash that it is; 0.2 s were seen
_SIGNAL_MS = 10_000  # from the line that says why a dyno stops to the first signal
_KILLED, _HUNG_UP = "137", "129"  # 128 + the signal
_SAME_ACTION_MS = 5_000  # lines of one action have almost the same time
_RELEASE_COMMAND_MS = 3_600_000  # from a deploy to the failure, if no line says when it began
_RELEASING = frozenset({"deploy", "config", "addon", "rollback", "stack"})
_RUNNING, _FAILED = " running", " failed"
_DYNO_KINDS = ("up", "down", "crash", "restart", "cycle", "idle")
_WAS_ENDED = frozenset({"was crashed", "was down", "was idle", "was complete"})


def tell_events(counts: Mapping[EventKey, int]) -> dict[EventKey, int]:
    """The counts by event, with the lines of one story joined."""
    return _join_releases(_join_stops(counts))


def may_lack_beginning(events: Iterable[EventKey], start_s: int) -> bool:
    """Whether the beginning of a story may lie before `start_s`, from which on these are all."""
    return any(event.kind == "exit" and event.at_ms < start_s * 1000 + _STOP_MS for event in events)


def original_detail(event: EventKey) -> str:
    """The detail of an event as its own line says it."""
    return event.detail.partition(" (release ")[0]


# --- stops --------------------------------------------------------------------------------------


class _Stop:
    """The signals of one stop of a dyno, errors for which Heroku killed it, and its exit."""

    __slots__ = ("begin_ms", "end_ms", "killed_ms", "lines", "statuses")

    def __init__(self, first: EventKey) -> None:
        self.begin_ms = first.at_ms
        self.end_ms = first.at_ms  # an exit after this belongs to another process
        self.killed_ms: int | None = None
        self.lines: dict[str, EventKey] = {}
        self.statuses: tuple[str, ...] = ()
        self.add(first)

    def add(self, line: EventKey) -> None:
        """Add a later signal or error."""
        self.lines[line.detail] = line
        is_kill = line.detail == "SIGKILL" or line.detail in KILLING_ERRORS
        if is_kill:
            self.killed_ms = line.at_ms
        self.end_ms = max(self.end_ms, line.at_ms + (_KILLED_MS if is_kill else _EXIT_MS))

    def end(self, exit_event: EventKey) -> None:
        """Add the exit of a process."""
        status = f"status {exit_event.detail}"
        if status not in self.statuses:
            self.statuses += (status,)

    def killed(self, exit_event: EventKey) -> bool:
        """Whether a process ended because Heroku killed it."""
        if exit_event.detail != _KILLED or self.killed_ms is None:
            return False
        return -_DISORDER_MS <= exit_event.at_ms - self.killed_ms <= _KILLED_MS

    def precedes(self, exit_event: EventKey) -> bool:
        """Whether a process ended soon after these signals."""
        return self.begin_ms - _DISORDER_MS <= exit_event.at_ms <= self.end_ms

    def tell(self) -> tuple[EventKey, str] | None:
        """The first line and the detail; None for errors alone, after which no process ended."""
        details = [detail for detail in self.lines if detail not in KILLING_ERRORS]
        if not details and not self.statuses:
            return None
        details = details or list(self.lines)
        return self.lines[details[0]], ", ".join((*details, *self.statuses))


class _Dyno:
    """The lines about one dyno, in order of time."""

    def __init__(self, stops: Sequence[_Stop], by_kind: Mapping[str, list[EventKey]]) -> None:
        self.stops = stops
        self.crashes = by_kind.get("crash", [])
        self.restarts = by_kind.get("restart", [])
        # A process has ended, or another one runs.
        self.turns = sorted([*self.crashes, *by_kind.get("up", ())])
        self.reasons = sorted(
            event
            for kind in ("restart", "cycle", "idle", "down")
            for event in by_kind.get(kind, ())
            if event.detail not in _WAS_ENDED
        )

    def stopped_exits(self, exits: Sequence[EventKey]) -> Iterator[tuple[EventKey, _Stop | None]]:
        """The exits by which stops ended; with None, no line about a signal is known."""
        others = []
        for event in exits:
            stop = self._killing_stop(event)
            if stop:
                stop.end(event)
                yield event, stop
            else:
                others.append(event)
        self.turns = sorted([*self.turns, *exits])
        for event in others:
            # A dyno that Heroku stops does not crash: it is the next process that ended.
            if _between(self.crashes, event.at_ms - _CRASH_MS, event.at_ms + _CRASH_MS):
                continue
            stop = self._open_stop(event)
            if stop:
                stop.end(event)
                yield event, stop
            elif self._has_reason(event):
                yield event, None

    def _killing_stop(self, event: EventKey) -> _Stop | None:
        return next(
            (
                stop
                for stop in _recent(self.stops, event)
                if not stop.statuses and stop.killed(event)
            ),
            None,
        )

    def _open_stop(self, event: EventKey) -> _Stop | None:
        return next(
            (
                stop
                for stop in _recent(self.stops, event)
                if not stop.statuses
                and stop.precedes(event)
                and not self._is_closed(stop.begin_ms, event.at_ms)
            ),
            None,
        )

    def _is_closed(self, begin_ms: int, exit_ms: int) -> bool:
        """Whether what began before an exit was over by then: another process ended, or ran."""
        return bool(
            _between(self.turns, begin_ms + 1, exit_ms - 1)
            # The line about a restart may come just after that about its own signal.
            or _between(self.restarts, begin_ms + _DISORDER_MS + 1, exit_ms - 1)
        )

    def _has_reason(self, event: EventKey) -> bool:
        """Whether Heroku stopped the process for a reason whose signals are unknown."""
        reasons = _between(self.reasons, event.at_ms - _EXIT_MS, event.at_ms + _DISORDER_MS)
        return any(
            not self._is_closed(reason.at_ms, event.at_ms) and not self._is_signalled(reason)
            for reason in reasons
        )

    def _is_signalled(self, reason: EventKey) -> bool:
        first = bisect_left(self.stops, reason.at_ms - _STOP_MS, key=_begin_of)
        return first < bisect_right(self.stops, reason.at_ms + _SIGNAL_MS, key=_begin_of)


class _SharedSource:
    """The lines about several dynos: one-off dynos, whose numbers are not stored, or "other".

    An exit may be that of another dyno. So only a status that the signal itself causes belongs to
    a stop, and any other exit is shown.
    """

    def __init__(self, stops: Sequence[_Stop]) -> None:
        self.stops = stops

    def stopped_exits(self, exits: Sequence[EventKey]) -> Iterator[tuple[EventKey, _Stop]]:
        """The exits by which stops ended."""
        for event in exits:
            for stop in _recent(self.stops, event):
                is_hung_up = event.detail == _HUNG_UP and "SIGHUP" in stop.lines
                if stop.killed(event) or (is_hung_up and stop.precedes(event)):
                    stop.end(event)
                    yield event, stop
                    break


def _join_stops(counts: Mapping[EventKey, int]) -> dict[EventKey, int]:
    by_kind = _group(sorted(counts), _kind_of)
    stops = _find_stops(by_kind.get("stop", ()))
    exits = _group(by_kind.get("exit", ()), _source_of)
    others: dict[str, dict[str, list[EventKey]]] = {source: {} for source in exits}
    for kind in _DYNO_KINDS:
        for source, events in _group(by_kind.get(kind, ()), _source_of).items():
            if source in others:
                others[source][kind] = events
    joined = {event: count for event, count in counts.items() if event.kind != "stop"}
    for source, source_exits in exits.items():
        source_stops = stops.get(source, ())
        lines = (
            _Dyno(source_stops, others[source])
            if source.rpartition(".")[2].isdigit()
            else _SharedSource(source_stops)
        )
        for event, stop in lines.stopped_exits(source_exits):
            count = joined.pop(event)
            if stop is None:
                joined[event._replace(kind="stop", detail=f"status {event.detail}")] = count
    for stop in (stop for source_stops in stops.values() for stop in source_stops):
        if story := stop.tell():
            line, detail = story
            told = line if line.detail == detail else line._replace(detail=detail)
            joined[told] = counts[line]
    return joined


def _find_stops(lines: Iterable[EventKey]) -> dict[str, list[_Stop]]:
    """The stops of each source. A signal that repeats begins another stop."""
    stops: dict[str, list[_Stop]] = {}
    for line in lines:
        source_stops = stops.setdefault(line.source, [])
        last = source_stops[-1] if source_stops else None
        if last is None or line.detail in last.lines or line.at_ms - last.begin_ms > _STOP_MS:
            source_stops.append(_Stop(line))
        else:
            last.add(line)
    return stops


def _recent(stops: Sequence[_Stop], event: EventKey) -> Sequence[_Stop]:
    """The stops that an exit may belong to, the latest first."""
    first = bisect_left(stops, event.at_ms - _STOP_MS - _EXIT_MS, key=_begin_of)
    last = bisect_right(stops, event.at_ms + _DISORDER_MS, key=_begin_of)
    return stops[first:last][::-1]


def _between(events: Sequence[EventKey], start_ms: int, end_ms: int) -> Sequence[EventKey]:
    """The events, which are in order, from `start_ms` to `end_ms`."""
    first = bisect_left(events, start_ms, key=_time_of)
    return events[first : bisect_right(events, end_ms, key=_time_of)]


def _group(
    events: Iterable[EventKey], group_of: Callable[[EventKey], str]
) -> dict[str, list[EventKey]]:
    """The events by group, in their order."""
    groups: defaultdict[str, list[EventKey]] = defaultdict(list)
    for event in events:
        groups[group_of(event)].append(event)
    return groups


_kind_of: Callable[[EventKey], str] = attrgetter("kind")
_source_of: Callable[[EventKey], str] = attrgetter("source")


def _time_of(event: EventKey) -> int:
    return event.at_ms


def _begin_of(stop: _Stop) -> int:
    return stop.begin_ms


# --- releases -----------------------------------------------------------------------------------


def _join_releases(counts: dict[EventKey, int]) -> dict[EventKey, int]:
    releases = {event.detail: event for event in counts if event.kind == "release"}
    changes = sorted(event for event in counts if event.kind in _RELEASING)
    for detail, event in releases.items():
        version = detail.removesuffix(_RUNNING)
        if version != detail and (version in releases or version + _FAILED in releases):
            del counts[event]
    failed_changes = {
        change: failure
        for failure in releases.values()
        if failure.detail.endswith(_FAILED)
        for change in _changes_of(failure, releases, changes)
    }
    for change, failure in failed_changes.items():
        failed = change._replace(detail=f"{change.detail} (release {failure.detail})")
        counts[failed] = counts.pop(change)
    return counts


def _changes_of(
    failure: EventKey, releases: Mapping[str, EventKey], changes: Sequence[EventKey]
) -> Sequence[EventKey]:
    """The changes to an app that a failed release is about."""
    begun = releases.get(failure.detail.removesuffix(_FAILED) + _RUNNING)
    if begun is not None:
        at_ms = begun.at_ms
        return _between(changes, at_ms - _SAME_ACTION_MS, at_ms + _SAME_ACTION_MS)
    recent = _between(changes, failure.at_ms - _RELEASE_COMMAND_MS, failure.at_ms)
    return [event for event in recent if event.kind == "deploy"][-1:]
