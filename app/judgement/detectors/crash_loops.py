"""Finds process types that crash again and again, or crashed and do not come up.

Heroku restarts a crashed dyno at once, and after another crash only after 20 minutes and more
(Heroku Dev Center, "Dyno Crash Restart Policy"). So crashes are few, and far apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from app.judgement.facts import Usual
from app.judgement.formation import find_rest, is_one_off, scaled_sizes
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from parsers.samples import labels_of

CRASHES_MIN = 2
LOOP_S = 30 * MINUTE_S  # within which so many crashes are a loop
_STABLE_S = 5 * MINUTE_S  # a process that is up for so long no longer crashes at start
_CRASHED_S = 2 * MINUTE_S
_UP_S = 2 * MINUTE_S  # a process that is up for so long is told to be
_MS = 1000
_STATES = frozenset({"crash", "up", "restart", "down", "idle"})
_REGULAR_STATUSES = frozenset({0, 143})


class Crashes(NamedTuple):
    """The crashes of a process type, and which of its dynos are crashed now."""

    events: Sequence[EventKey]  # of a run, in order of time
    crashed: tuple[str, ...]

    @property
    def dynos(self) -> tuple[str, ...]:
        """The dynos that crashed."""
        return tuple(sorted({event.source for event in self.events}))


def detect_crash_loops(window: Window, usual: Usual) -> list[Symptom]:
    """Find each process type that crashes, from its first crash on."""
    rest = find_rest(window)
    symptoms: list[Symptom] = []
    states = _states_by_type(window)
    for process_type, events in states.items():
        if rest and rest.process_type in ("", process_type):
            continue
        crashes = _crashes(events, window.end_s)
        if crashes is None:
            continue
        recent = [event for event in crashes.events if _age_s(window, event) <= LOOP_S]
        is_fresh = _age_s(window, crashes.events[-1]) <= _STABLE_S
        is_loop = len(recent) >= CRASHES_MIN and is_fresh
        if is_loop or crashes.crashed:
            symptoms.append(_symptom(window, process_type, crashes, events))
    return symptoms + _lasting(window, {symptom.process_type for symptom in symptoms})


def crashed_dynos(window: Window, process_type: str, since_s: int) -> tuple[str, ...]:
    """The dynos of a process type that crashed since a time."""
    return tuple(
        sorted(
            {
                event.source
                for event in window.events_since(since_s)
                if event.kind == "crash" and labels_of(event.source)[0] == process_type
            }
        )
    )


def _states_by_type(window: Window) -> dict[str, list[EventKey]]:
    """The changes of state by process type, without dynos that were scaled away.

    None if nothing has crashed.
    """
    events = window.events_since(window.end_s - HISTORY_S)
    if not any(event.kind == "crash" for event in events):
        return {}
    sizes: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.kind == "scale":
            sizes |= {
                process_type: (size, event.at_ms)
                for process_type, size in scaled_sizes(event.detail).items()
            }
    states: dict[str, list[EventKey]] = {}
    for event in events:
        if event.kind not in _STATES or is_one_off(event.source):
            continue
        process_type = labels_of(event.source)[0]
        size, scaled_ms = sizes.get(process_type, (0, 0))
        number = event.source.rpartition(".")[2]
        if event.at_ms < scaled_ms and number.isdigit() and int(number) > size:
            continue
        states.setdefault(process_type, []).append(event)
    return states


def _crashes(events: Sequence[EventKey], now_s: int) -> Crashes | None:
    """The last run of crashes: each within LOOP_S of the one before, or of a dyno still down."""
    crashes = [event for event in events if event.kind == "crash"]
    if not crashes:
        return None
    run = [crashes[-1]]
    for event in reversed(crashes[:-1]):
        later = run[-1]
        is_far = later.at_ms - event.at_ms > LOOP_S * _MS  # rarely: an app may crash all the time
        if is_far and any(
            state.kind == "up"
            and state.source == event.source
            and event.at_ms < state.at_ms < later.at_ms - _STABLE_S * _MS
            for state in events
        ):
            break
        run.append(event)
    last = {event.source: event for event in events}
    crashed = [
        dyno
        for dyno, event in last.items()
        if event.kind == "crash" and now_s - event.at_ms / _MS > _CRASHED_S
    ]
    return Crashes(run[::-1], tuple(sorted(crashed)))


def _symptom(
    window: Window, process_type: str, crashes: Crashes, events: Sequence[EventKey]
) -> Symptom:
    since_s = crashes.events[0].at_ms // _MS
    finding = window.open_finding("crash_loop", process_type)
    count = len(crashes.events)
    if finding:
        first_ms = window.last.start_s * _MS
        count = finding.count + sum(event.at_ms >= first_ms for event in crashes.events)
    dynos = set(crashes.dynos)
    has_run = any(
        event.kind == "up" and event.at_ms >= crashes.events[0].at_ms
        for event in events
        if event.source in dynos
    )
    reason = "crashed" if count < CRASHES_MIN else "" if has_run else "start"
    return Symptom(
        "crash_loop",
        "degraded",
        since_s,
        since_min_s=since_s,
        since_max_s=since_s,
        process_type=process_type,
        metric="crashes",
        value=count,
        count=count,
        exit_status=_exit_status(window, process_type, since_s),
        reason=reason,
        up_s=_up_s(window, crashes, events),
    )


def _up_s(window: Window, crashes: Crashes, events: Sequence[EventKey]) -> int:
    """Since when all dynos that crashed are up; 0 while one is not, or only for a moment."""
    last = {event.source: event for event in events if event.source in crashes.dynos}
    if any(event.kind != "up" for event in last.values()):
        return 0
    up_s = max(event.at_ms for event in last.values()) // _MS
    return up_s if window.end_s - up_s >= _UP_S else 0


def _lasting(window: Window, process_types: set[str]) -> list[Symptom]:
    """The loops with crashes before the window only, if nothing came up since."""
    alive = {
        labels_of(event.source)[0]
        for event in window.events_since(window.end_s - HISTORY_S)
        if event.kind in _STATES
    }
    return [
        Symptom(
            "crash_loop",
            "degraded",
            finding.since_s,
            process_type=finding.process_type,
            metric="crashes",
            count=finding.count,
            exit_status=finding.exit_status,
            reason=finding.reason,
        )
        for finding in window.open("crash_loop")
        if finding.process_type not in alive | process_types
        and window.end_s - finding.since_s > HISTORY_S
    ]


def _exit_status(window: Window, process_type: str, since_s: int) -> int:
    """The status with which most processes of a type ended since; 0 if none is known."""
    counts: Counter[int] = Counter()
    for interval in window.over(HISTORY_S):
        if interval.end_s > since_s:
            for (source, status), count in interval.exits.items():
                if status not in _REGULAR_STATUSES and labels_of(source)[0] == process_type:
                    counts[status] += count
    return max(counts, key=lambda status: (counts[status], -status), default=0)


def _age_s(window: Window, event: EventKey) -> float:
    return window.end_s - event.at_ms / _MS
