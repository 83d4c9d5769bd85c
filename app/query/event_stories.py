"""Events as readers see them: what several log lines tell together becomes one event.

A rollup stores what each line says. The lines of one story may lie in several batches, minutes or
workers, so they are joined here, when they are read:

- The signals with which Heroku stops a dyno, and the status with which its process then ends, are
  one event `stop`. Only a process that ends without a signal is an `exit` of its own.
- A change to the app whose release command failed says so: `deploy  edab5218 (release v3 failed)`.

Pure. A dyno has 30 seconds to end after SIGTERM (Heroku Dev Center, "Dyno Shutdown Behavior"), so
the lines about a stop begin up to STOP_S before its exit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

from app.rollup.events import EventKey

STOP_S = 60
_STOP_MS = STOP_S * 1000
_EXIT_MS = 45_000  # from the last signal to the exit, if the line about SIGKILL was lost
_KILLED_MS = 10_000  # from SIGKILL to the exit; 2.1 s were seen
_DISORDER_MS = 2_000  # lines of one moment may have their times in any order
_CRASH_MS = 5_000  # between an exit and the crash that it is; 0.2 s were seen
_KILLED = "137"  # 128 + SIGKILL
_SAME_ACTION_MS = 5_000  # lines of one action have almost the same time
_RELEASE_COMMAND_MS = 3_600_000  # from a deploy to the failure, if no line says when it began
_RELEASING = frozenset({"deploy", "config", "addon", "rollback", "stack"})
_RUNNING, _FAILED = " running", " failed"
_WAS_CRASHED = "was crashed"


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
    """The signals and exits of one stop of a dyno."""

    def __init__(self, signal: EventKey) -> None:
        self.first = signal
        self.last_ms = signal.at_ms
        self.killed_ms: int | None = None
        self.details: dict[str, None] = {}
        self.add(signal)

    def add(self, signal: EventKey) -> None:
        """Add a later signal."""
        self.last_ms = signal.at_ms
        self.details[signal.detail] = None
        if signal.detail == "SIGKILL":
            self.killed_ms = signal.at_ms

    def killed(self, exit_event: EventKey) -> bool:
        """Whether a process ended because Heroku killed it."""
        if exit_event.detail != _KILLED or self.killed_ms is None:
            return False
        return -_DISORDER_MS <= exit_event.at_ms - self.killed_ms <= _KILLED_MS

    def precedes(self, exit_event: EventKey) -> bool:
        """Whether a process ended soon after these signals."""
        at_ms = exit_event.at_ms
        return self.first.at_ms - _DISORDER_MS <= at_ms <= self.last_ms + _EXIT_MS


def _join_stops(counts: Mapping[EventKey, int]) -> dict[EventKey, int]:
    by_kind = _group(counts, lambda event: event.kind)
    stops = _find_stops(by_kind.get("stop", ()))
    crashes = _group(by_kind.get("crash", ()), _source_of)
    reasons = _group(
        (
            event
            for kind in ("restart", "cycle", "idle", "down")
            for event in by_kind.get(kind, ())
            if event.detail != _WAS_CRASHED
        ),
        _source_of,
    )
    joined = {event: count for event, count in counts.items() if event.kind != "stop"}
    for event in by_kind.get("exit", ()):
        # A dyno that Heroku stops with SIGTERM does not crash: it is the next process that ended.
        is_crash = _is_near(event, crashes, _CRASH_MS, _CRASH_MS)
        stop = _stop_of(event, stops.get(event.source, ()), is_crash=is_crash)
        if stop:
            stop.details[f"status {event.detail}"] = None
            del joined[event]
        elif not is_crash and _is_near(event, reasons, _EXIT_MS, _DISORDER_MS):
            unsignalled = event._replace(kind="stop", detail=f"status {event.detail}")
            joined[unsignalled] = joined.pop(event)
    for stop in (stop for source_stops in stops.values() for stop in source_stops):
        joined[stop.first._replace(detail=", ".join(stop.details))] = counts[stop.first]
    return joined


def _find_stops(signals: Iterable[EventKey]) -> dict[str, list[_Stop]]:
    """The stops of each source. A signal that repeats begins another stop."""
    stops: dict[str, list[_Stop]] = {}
    for signal in signals:
        source_stops = stops.setdefault(signal.source, [])
        last = source_stops[-1] if source_stops else None
        if (
            last is None
            or signal.detail in last.details
            or signal.at_ms - last.first.at_ms > _STOP_MS
        ):
            source_stops.append(_Stop(signal))
        else:
            last.add(signal)
    return stops


def _stop_of(event: EventKey, stops: Sequence[_Stop], *, is_crash: bool) -> _Stop | None:
    """The stop that an exit belongs to; None for a process that ended by itself."""
    first = bisect_left(stops, event.at_ms - _STOP_MS - _EXIT_MS, key=_start_of)
    last = bisect_right(stops, event.at_ms + _DISORDER_MS, key=_start_of)
    latest_first = stops[first:last][::-1]
    for stop in latest_first:
        if stop.killed(event):
            return stop
    if is_crash:
        return None
    return next((stop for stop in latest_first if stop.precedes(event)), None)


def _is_near(
    event: EventKey, others: Mapping[str, Sequence[EventKey]], before_ms: int, after_ms: int
) -> bool:
    """Whether one of the others, by source, lies at most so long before or after the event."""
    return bool(
        _between(others.get(event.source, ()), event.at_ms - before_ms, event.at_ms + after_ms)
    )


def _between(events: Sequence[EventKey], start_ms: int, end_ms: int) -> Sequence[EventKey]:
    """The events, which are in order, from `start_ms` to `end_ms`."""
    first = bisect_left(events, start_ms, key=_time_of)
    return events[first : bisect_right(events, end_ms, key=_time_of)]


def _group(
    events: Iterable[EventKey], group_of: Callable[[EventKey], str]
) -> dict[str, list[EventKey]]:
    """The events by group, in order of time."""
    groups: dict[str, list[EventKey]] = {}
    for event in sorted(events):
        groups.setdefault(group_of(event), []).append(event)
    return groups


def _source_of(event: EventKey) -> str:
    return event.source


def _time_of(event: EventKey) -> int:
    return event.at_ms


def _start_of(stop: _Stop) -> int:
    return stop.first.at_ms


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
