"""Detects that no web dyno can answer, also where traffic is too thin to count failures.

The order of requests within an interval is not known. So requests count as the last ones only if
none was answered in any of the intervals that hold them. Events have times of their own.
"""

from __future__ import annotations

from app.judgement.facts import Interval, TypeFacts, Usual
from app.judgement.present import PRESENT_S
from app.judgement.verdict import Finding
from app.judgement.window import Symptom, Window
from app.rollup.events import EventKey
from parsers.samples import labels_of

WEB = "web"
DEAD_CODES = frozenset({"H10", "H14", "H20", "H34", "H82"})  # no dyno was there to answer
DEAD_REQUESTS = 3
CRASH_S = 60  # so long after a crash: Heroku restarts a dyno at once, and that often helps
CRASH_MAX_S = 24 * 3600  # Heroku tries again within hours; then a crash without lines is no news

_NOTHING = TypeFacts()
_HISTORY_S = 2 * 3600
_RECENT_S = 300


def detect_no_dyno(window: Window, usual: Usual) -> list[Symptom]:
    """Find that no web dyno is left: all crashed, or none has answered the last requests."""
    del usual
    finding = window.open_finding("no_dyno", WEB)
    symptom = _from_requests(window, finding) or _from_crashes(window, finding)
    return [symptom] if symptom else []


def _from_requests(window: Window, finding: Finding | None) -> Symptom | None:
    if not _dead_requests(window.last)[0]:
        return None
    dead_requests = 0
    begin = window.last
    answered_s = 0
    partly_s = 0  # how long the interval of the last answers was dead, about
    code = ""
    for interval in reversed(window.over(_HISTORY_S)):
        dead, code_here = _dead_requests(interval)
        requests = interval.types.get(WEB, _NOTHING).requests
        if requests > dead:
            answered_s = interval.end_s
            if interval.end_s == begin.start_s:
                partly_s = round(interval.length_s * dead / requests)
            break
        if dead:
            dead_requests += dead
            begin = interval
            code = code or code_here
    if dead_requests < (1 if finding else DEAD_REQUESTS):
        return None
    if finding:
        since_s, min_s, max_s = finding.since_s, finding.since_min_s, finding.since_max_s
        dead_requests = finding.count + _dead_requests(window.last)[0]
    else:
        # It began after the last answer, and by the first request without one.
        min_s = max(answered_s - 60, begin.start_s - 3600) if answered_s else begin.start_s
        since_s, max_s = begin.start_s - partly_s, begin.end_s
    return Symptom(
        "no_dyno",
        "down",
        since_s,
        min_s,
        max_s,
        process_type=WEB,
        code=code,
        value=1.0,
        count=dead_requests,
        window_s=min(max(window.end_s - since_s, window.last.length_s), PRESENT_S),
    )


def _dead_requests(interval: Interval) -> tuple[int, str]:
    """The number of requests that no dyno was there to answer, and their most frequent code."""
    if not interval.codes:
        return 0, ""
    counts: dict[str, int] = {}
    for (source, code), count in interval.codes.items():
        if code in DEAD_CODES and labels_of(source)[0] == WEB:
            counts[code] = counts.get(code, 0) + count
    if not counts:
        return 0, ""
    return sum(counts.values()), max(counts, key=lambda code: (counts[code], code))


class _WebDynos:
    """Which web dynos are up or crashed, as the events and answers of the last hours tell.

    since_ms  when the last one that was up crashed; 0 while one is up or none has crashed
    """

    def __init__(self) -> None:
        self.up: set[str] = set()
        self.crashed_ms: dict[str, int] = {}
        self.since_ms = 0
        self.crashes = 0
        self.exit_status = 0

    def add(self, interval: Interval) -> None:
        """Add the next interval."""
        for dyno, facts in interval.dynos.items():
            if labels_of(dyno)[0] == WEB:
                crashed_ms = self.crashed_ms.get(dyno)
                has_answered = facts.requests > facts.failed
                # A dyno that measures itself runs. One that crashed proves more: it starts again.
                if crashed_ms is None or (has_answered and crashed_ms < interval.start_s * 1000):
                    self._mark_up(dyno)
        for event in interval.events:
            if labels_of(event.source)[0] == WEB:
                self._add_event(event)

    def _add_event(self, event: EventKey) -> None:
        if event.kind == "up":
            self._mark_up(event.source)
        elif event.kind == "crash":
            self.up.discard(event.source)
            self.crashed_ms[event.source] = event.at_ms
            self.crashes += 1
            if not self.up and not self.since_ms:
                self.since_ms = event.at_ms
        elif event.kind in ("down", "idle"):  # scaled away or asleep: neither up nor crashed
            self.up.discard(event.source)
            self.crashed_ms.pop(event.source, None)
            self.since_ms = self.since_ms if self.crashed_ms else 0
        elif event.kind == "exit" and event.detail.isdigit():
            self.exit_status = int(event.detail)

    def _mark_up(self, dyno: str) -> None:
        self.up.add(dyno)
        self.crashed_ms.pop(dyno, None)
        self.since_ms = 0


def _from_crashes(window: Window, finding: Finding | None) -> Symptom | None:
    """Find that each web dyno has crashed, and for CRASH_S none came up or answered."""
    if finding is None and not any(
        event.kind == "crash" and labels_of(event.source)[0] == WEB
        for interval in window.over(_RECENT_S)
        for event in interval.events
    ):
        return None
    dynos = _WebDynos()
    for interval in window.over(_HISTORY_S):
        dynos.add(interval)
    since_s = dynos.since_ms // 1000
    if finding and not since_s and _is_old_crash(window, finding, dynos):
        since_s = finding.since_s
    if not since_s or window.end_s - since_s < CRASH_S or window.end_s - since_s > CRASH_MAX_S:
        return None
    return Symptom(
        "no_dyno",
        "down",
        since_s,
        since_s,
        since_s,
        process_type=WEB,
        value=1.0,
        count=max(finding.count if finding else 0, dynos.crashes),
        exit_status=dynos.exit_status or (finding.exit_status if finding else 0),
        reason="crashed",
    )


def _is_old_crash(window: Window, finding: Finding, dynos: _WebDynos) -> bool:
    """Whether a crash from before _HISTORY_S lasts, for nothing has happened since."""
    return (
        finding.reason == "crashed"
        and not dynos.up
        and not any(
            labels_of(event.source)[0] == WEB
            for interval in window.over(_HISTORY_S)
            for event in interval.events
        )
    )
