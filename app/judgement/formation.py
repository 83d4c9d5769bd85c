"""Tells whether an app's dynos are meant to run, from its events: asleep, scaled to zero, stopped.

Heroku logs each of these once, so a window may begin later. Then the finding that is open tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.judgement.window import HISTORY_S, Window
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from parsers.samples import labels_of

ONE_OFF_TYPES = frozenset({"run", "scheduler", "release"})
WEB = "web"
NO_WEB_DYNO = "H14"
_MS = 1000
_BOOT_S = MINUTE_S  # a dyno that is scaled away may come up so much later
_STOPPED_AFTER_S = 5 * MINUTE_S
_RESTS = frozenset({"sleep", "hours", "scaled"})  # reasons that last until an event ends them


class Rest(NamedTuple):
    """Why dynos do not run, though nothing is wrong: a reason of verdict.REASONS."""

    reason: str
    since_s: int
    process_type: str = ""


def find_rest(window: Window) -> Rest | None:
    """Find why the app, or its web process, does not run; None if it does or should."""
    key = "rest"
    answer: tuple[int, Rest | None] | None = window.memory.get(key)
    if answer is None or answer[0] != window.end_s:  # several detectors ask
        answer = window.end_s, _find_rest(window)
        window.memory[key] = answer
    return answer[1]


def _find_rest(window: Window) -> Rest | None:
    events = window.events_since(window.end_s - HISTORY_S)
    kinds = {event.kind for event in events}
    rest = _sleep(events) if "idle" in kinds else None
    if rest is None and "scale" in kinds:
        rest = _scaled(window, events)
    if rest is None:
        rest = _open_rest(window)
    if rest is None:
        rest = _unseen_rest(window)
    # After it: of a sleep, the line that says "down" is the last to leave the window.
    if rest is None and "down" in kinds:
        rest = _stopped(window, events)
    if rest is None or _is_resumed(window, events, rest):
        return None
    return rest


def scaled_sizes(detail: str) -> dict[str, int]:
    """The number of dynos by process type, from the detail of a scale event ("web@2:Basic")."""
    sizes = {}
    for item in detail.split():
        process_type, _, size = item.partition("@")
        number = size.partition(":")[0]
        if number.isdigit():
            sizes[process_type] = int(number)
    return sizes


def is_one_off(source: str) -> bool:
    """Whether a source is a process that is meant to end."""
    return labels_of(source)[0] in ONE_OFF_TYPES


def _sleep(events: Iterable[EventKey]) -> Rest | None:
    idle = [event for event in events if event.kind == "idle"]
    if not idle:
        return None
    last = idle[-1]
    return Rest("hours" if last.detail else "sleep", last.at_ms // _MS)


def _scaled(window: Window, events: Iterable[EventKey]) -> Rest | None:
    sizes: dict[str, int] = {}
    since_s = 0
    for event in events:
        if event.kind == "scale":
            change = scaled_sizes(event.detail)
            if change.get(WEB) == 0 or not any(change.values()):
                since_s = event.at_ms // _MS
            sizes |= change
    types = _types(window)
    running = {name for name in types if sizes.get(name) != 0}
    if sizes.get(WEB) == 0:
        return Rest("scaled", since_s, WEB if running - {WEB} else "")
    if sizes and not any(sizes.values()) and not running:
        return Rest("scaled", since_s)
    return None


def _stopped(window: Window, events: Iterable[EventKey]) -> Rest | None:
    """Every dyno went down, none crashed, and nothing came since."""
    last: dict[str, EventKey] = {}
    for event in events:
        if event.kind in ("up", "down", "crash", "restart") and not is_one_off(event.source):
            last[event.source] = event
    dynos = {
        dyno
        for interval in window.over(HISTORY_S)
        for dyno in interval.dynos
        if not is_one_off(dyno)
    }
    if not last or not dynos <= last.keys():
        return None
    if any(event.kind != "down" for event in last.values()):
        return None
    since_s = max(event.at_ms for event in last.values()) // _MS
    if window.heard_s > since_s + MINUTE_S or window.end_s - since_s < _STOPPED_AFTER_S:
        return None
    return Rest("stopped", since_s)


def _open_rest(window: Window) -> Rest | None:
    """The rest that began before the window."""
    for finding in window.open("asleep"):
        if finding.reason in _RESTS:
            return Rest(finding.reason, finding.since_s, finding.process_type)
    return None


def _unseen_rest(window: Window) -> Rest | None:
    """The rest that began before all that is known: in hours, no web dyno and no answer but H14.

    Such an app is without dynos as a rule, so this is no news. An outage would be an open finding.
    """
    if not any(code == NO_WEB_DYNO for _, code in window.last.codes):
        return None
    intervals = window.over(HISTORY_S)
    if intervals[0].start_s > window.end_s - HISTORY_S or window.open("no_dyno", "failing"):
        return None
    if WEB in _types(window) or any(
        facts.requests > facts.failed for interval in intervals for facts in interval.types.values()
    ):
        return None
    is_alone = not _types(window)
    return Rest("scaled", intervals[0].start_s, "" if is_alone else WEB)


def _is_resumed(window: Window, events: Sequence[EventKey], rest: Rest) -> bool:
    """Whether dynos came up since, or requests are answered."""
    settled_s = rest.since_s + (0 if rest.reason in ("sleep", "hours") else _BOOT_S)
    for event in events:
        at_s = event.at_ms // _MS
        if at_s <= rest.since_s:
            continue
        if event.kind == "unidle" or (event.kind == "up" and at_s > settled_s):
            if not is_one_off(event.source) and _concerns(rest, event.source):
                return True
        elif event.kind == "scale" and _starts(rest, scaled_sizes(event.detail)):
            return True
    answers = [
        facts.requests - facts.failed
        for interval in window.over(HISTORY_S)
        if interval.start_s >= rest.since_s + MINUTE_S
        for facts in interval.types.values()
    ]
    return any(answers)


def _concerns(rest: Rest, source: str) -> bool:
    return not rest.process_type or labels_of(source)[0] == rest.process_type


def _starts(rest: Rest, sizes: dict[str, int]) -> bool:
    """Whether a formation has dynos of those that rest."""
    if rest.process_type:
        return sizes.get(rest.process_type, 0) > 0
    return any(sizes.values())


def _types(window: Window) -> set[str]:
    """The process types that ran in the window."""
    return {
        labels_of(dyno)[0]
        for interval in window.over(HISTORY_S)
        for dyno in interval.dynos
        if not is_one_off(dyno)
    }
