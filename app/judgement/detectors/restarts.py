"""Tells which errors a deploy, a restart or a dyno that wakes up explains.

While dynos change places, requests that are in progress break off and others wait. That passes by
itself, so it is no state of the app, unless a process crashes, takes too long to start, or most
requests fail.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from app.judgement.facts import Interval, Usual
from app.judgement.formation import WEB
from app.judgement.window import Symptom, Window
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from parsers.samples import labels_of

RESTART_MAX_S = 3 * MINUTE_S
BEGIN_MAX_S = 60  # in which dynos begin to restart, or it is a change without a restart
SETTLED_S = 90  # after the last dyno came up
WAKE_S = 75  # an Eco dyno may take as long to start as Heroku waits for it
RESTARTS_DYNOS = frozenset({"release", "deploy", "rollback", "config", "addon"})
_DYNO_SHARE_MIN = 0.2  # of web dynos: where fewer restart, the others answer
_FAILED_SHARE_MAX = 0.5
_FAILED_MIN = 3
_BOOT_TIMEOUT = "H20"
_CODES = ("H13", "H18", "H21", "H27")
_MS = 1000


class Excuse(NamedTuple):
    """Errors in [start_s, until_s), Unix seconds, come from a restart, which `event` begins."""

    start_s: int
    until_s: int
    event: EventKey


def find_excuse(window: Window) -> Excuse | None:
    """Find the restart that explains errors of the newest interval; None if nothing does."""
    last = window.last
    events = window.events_since(last.start_s - RESTART_MAX_S)
    for excuse in _excuses(window, events):
        if excuse.start_s < last.end_s and last.start_s < excuse.until_s:
            return excuse if _is_harmless(window, excuse) else None
    return None


def detect_restart(window: Window, usual: Usual) -> list[Symptom]:
    """Note the requests that fail during a restart."""
    excuse = find_excuse(window)
    if excuse is None:
        return []
    intervals = _intervals_of(window, excuse)
    failures = sum(map(_count_failed, intervals)) - _count_earlier(window, excuse)
    if failures <= 0:
        return []
    return [
        Symptom(
            "restart",
            "ok",
            excuse.start_s,
            excuse.start_s,
            excuse.start_s,
            process_type=WEB,
            code=_code(intervals),
            count=failures,
        )
    ]


def _excuses(window: Window, events: Sequence[EventKey]) -> list[Excuse]:
    """The restarts of the last minutes, the first one first."""
    if not events:
        return []
    ups_s = _times_s(events, {"up"})
    begins_s = _times_s(events, {"restart", "stop", "down"})
    is_rolling = _is_rolling(window, events)
    excuses = []
    for event in events:
        start_s = event.at_ms // _MS
        if event.kind == "unidle":
            excuses.append(Excuse(start_s, start_s + WAKE_S, event))
        elif _begins_restart(event) or (is_rolling and _is_restart(event)):
            end_s = start_s + RESTART_MAX_S
            last_up_s = _last_within(ups_s, start_s, end_s)
            if last_up_s:
                end_s = min(last_up_s + SETTLED_S, end_s)
            elif not _last_within(begins_s, start_s, start_s + BEGIN_MAX_S):
                end_s = start_s + BEGIN_MAX_S
            excuses.append(Excuse(start_s, end_s, event))
    return excuses


def _times_s(events: Iterable[EventKey], kinds: Collection[str]) -> list[int]:
    """When events of these kinds happened to web dynos, in order of time."""
    return sorted(
        event.at_ms // _MS
        for event in events
        if event.kind in kinds and labels_of(event.source)[0] == WEB
    )


def _last_within(times_s: Sequence[int], start_s: int, end_s: int) -> int:
    """The last of the times in [start_s, end_s); 0 if there is none."""
    position = bisect_left(times_s, end_s)
    last_s = times_s[position - 1] if position else 0
    return last_s if last_s >= start_s else 0


def _begins_restart(event: EventKey) -> bool:
    if event.kind == "release":
        return " " not in event.detail  # not one whose command runs, or failed
    return event.kind in RESTARTS_DYNOS


def _is_restart(event: EventKey) -> bool:
    is_web = labels_of(event.source)[0] == WEB
    if event.kind == "restart":
        return is_web and event.detail == "was up"
    return is_web and event.kind == "cycle"


def _is_rolling(window: Window, events: Iterable[EventKey]) -> bool:
    """Whether so many web dynos restart at a time that requests notice."""
    restarting = {event.source for event in events if _is_restart(event)}
    if not restarting:
        return False
    dynos = {
        dyno
        for interval in window.over(2 * RESTART_MAX_S)
        for dyno in interval.dynos
        if labels_of(dyno)[0] == WEB
    }
    return len(restarting) >= max(1, _DYNO_SHARE_MIN * len(dynos))


def _is_harmless(window: Window, excuse: Excuse) -> bool:
    for interval in _intervals_of(window, excuse):
        for event in interval.events:
            is_web = labels_of(event.source)[0] == WEB
            if event.kind == "crash" and is_web and event.at_ms >= excuse.start_s * _MS:
                return False
        if any(code == _BOOT_TIMEOUT for _, code in interval.codes):
            return False
        requests = sum(facts.requests for facts in interval.types.values())
        failures = _count_failed(interval)
        is_whole = interval.start_s >= excuse.start_s
        if is_whole and failures >= _FAILED_MIN and failures > _FAILED_SHARE_MAX * requests:
            return False
    return True


def _intervals_of(window: Window, excuse: Excuse) -> list[Interval]:
    return [
        interval
        for interval in window.over(2 * RESTART_MAX_S)
        if interval.end_s > excuse.start_s and interval.start_s < excuse.until_s
    ]


def _count_failed(interval: Interval) -> int:
    return sum(facts.failed for facts in interval.types.values())


def _count_earlier(window: Window, excuse: Excuse) -> int:
    """How many failures of the interval in which the restart began may be of the time before it:
    as many as in the interval before, for an outage that the restart ends is not its fault.
    """
    earlier = 0
    for interval in window.over(2 * RESTART_MAX_S):
        if interval.end_s <= excuse.start_s:
            earlier = _count_failed(interval)
        elif interval.start_s < excuse.start_s:
            return min(earlier, _count_failed(interval))
    return 0


def _code(intervals: Iterable[Interval]) -> str:
    counts: Counter[str] = Counter()
    for interval in intervals:
        for (_, code), count in interval.codes.items():
            if code in _CODES:
                counts[code] += count
    return max(counts, key=lambda code: (counts[code], code), default="")
