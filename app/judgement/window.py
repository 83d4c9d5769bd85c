"""The last hours of an app, as the detectors see them, and the symptoms that they find."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from copy import copy
from typing import Any, Literal

import msgspec

from app.judgement.facts import AppProfile, Interval
from app.judgement.packed_facts import pack_interval
from app.judgement.verdict import Finding, State
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from parsers.samples import APP_EVENTS

HISTORY_S = 2 * 3600  # so far back detectors look: a judge that continues another knows as much
# A judge that continues another one is shown as much: beyond HISTORY_S, the restarts that excuse
# the first minutes of it.
WINDOW_S = HISTORY_S + 10 * 60
COARSE_WINDOW_S = 3 * 3600  # of intervals of 10 minutes and hours: they are few
# Of a window. Only a hostile app has more: new dynos in each minute, or events in each second. Some
# detectors compare all with all.
DYNOS_MAX = 2_048  # as many as an interval has
EVENTS_MAX = 2_048  # five deploys of 100 dynos


class Symptom(msgspec.Struct, frozen=True):
    """A problem that a detector sees at the end of an interval; a finding is made of many.

    The fields are those of a Finding. `since_s` is where this run of symptoms began, as far as the
    detector can tell: a finding keeps the one of its first symptom. `count` is the number so far,
    in this run. `worst` is the value that proves the problem, if `value` is not.
    """

    kind: str
    state: State
    since_s: int
    since_min_s: int = 0
    since_max_s: int = 0
    process_type: str = ""
    code: str = ""
    metric: str = ""
    value: float | None = None
    usual: float | None = None
    limit: float | None = None
    worst: float | None = None
    count: int = 0
    exit_status: int = 0
    certainty: Literal["certain", "likely"] = "certain"
    reason: str = ""
    full_s: int = 0
    up_s: int = 0
    window_s: int = 0


class Window:
    """The intervals of the last WINDOW_S, without gaps, and the findings that are open.

    All but the latest are packed. Dynos over DYNOS_MAX, and events of dynos over EVENTS_MAX, are
    left out.

    profile    the app
    findings   those known before the last interval: open, or ended within the window
    excused_s  the begins of the intervals with errors that a deploy or restart explains
    memory     results that detectors keep for the next interval; they follow from the window alone
    """

    def __init__(self, profile: AppProfile) -> None:
        self.profile = profile
        self.findings: tuple[Finding, ...] = ()
        self.excused_s: set[int] = set()
        self.memory: dict[Hashable, Any] = {}
        self._intervals: list[Interval] = []
        self._starts_s: list[int] = []  # of the intervals
        self._spans: dict[int, list[Interval]] = {}  # answers of `over`
        self._heard_s: int | None = None  # the answer of `heard_s`
        self._eventful_s = 0  # the end of the last interval with events

    def add(self, interval: Interval) -> None:
        """Add the next interval. Time between it and the last one becomes empty intervals."""
        self.forget_spans()
        while self._intervals and self._intervals[-1].end_s < interval.start_s:
            start_s = self._intervals[-1].end_s
            if interval.start_s - start_s > WINDOW_S:
                self._intervals.clear()
                self._starts_s.clear()
                start_s = interval.start_s - WINDOW_S
            length_s = min(interval.length_s, interval.start_s - start_s)
            self._append(Interval(start_s, length_s))
        interval = self._bound(interval)
        if self._intervals:
            self._intervals[-1] = pack_interval(self._intervals[-1])
        self._append(interval)
        self._heard_s = None
        if interval.events:
            self._eventful_s = interval.end_s
        while self._intervals[0].end_s <= interval.end_s - _kept_s(self._intervals[0]):
            self.excused_s.discard(self._starts_s.pop(0))
            del self._intervals[0]

    def _bound(self, interval: Interval) -> Interval:
        """Leave out the dynos and events that are too many for the window."""
        return self._bound_events(self._bound_dynos(interval))

    def _bound_dynos(self, interval: Interval) -> Interval:
        """Leave out dynos that no earlier interval has, beyond DYNOS_MAX."""
        dynos = interval.dynos
        names = [earlier.dyno_names for earlier in self._intervals]
        if not dynos or sum(map(len, names)) + len(dynos) <= DYNOS_MAX:
            return interval
        earlier_names = set[str]().union(*names)
        new_names = sorted(dynos.keys() - earlier_names)
        surplus = {*new_names[max(DYNOS_MAX - len(earlier_names), 0) :]}
        if not surplus:
            return interval
        return interval._replace(
            dynos={name: facts for name, facts in dynos.items() if name not in surplus}
        )

    def _bound_events(self, interval: Interval) -> Interval:
        """Leave out events of dynos, beyond EVENTS_MAX."""
        if not interval.events:
            return interval
        events_max = EVENTS_MAX - sum(len(earlier.events) for earlier in self._intervals)
        if len(interval.events) <= events_max:
            return interval
        return interval._replace(events=_first_events(interval.events, events_max))

    def _append(self, interval: Interval) -> None:
        self._intervals.append(interval)
        self._starts_s.append(interval.start_s)

    def forget_spans(self) -> None:
        """Drop the answers of `over`, which take memory until the next minute."""
        self._spans = {}

    def copy(self) -> Window:
        """A window to look ahead with: intervals added to it are not added to this one."""
        window = copy(self)
        window.excused_s = set(self.excused_s)
        window.memory = dict(self.memory)
        window._intervals = list(self._intervals)
        window._starts_s = list(self._starts_s)
        window._spans = {}
        return window

    def excuse_last(self) -> None:
        """Mark the latest interval: its errors and times are those of a deploy or restart."""
        self.excused_s.add(self.last.start_s)

    def open_finding(self, kind: str, process_type: str = "") -> Finding | None:
        """The finding of this kind that lasts; None if there is none."""
        for finding in self.findings:
            if (finding.kind, finding.process_type, finding.until_s) == (kind, process_type, 0):
                return finding
        return None

    def ended_s(self, kind: str, process_type: str = "") -> int:
        """When the last finding of this kind ended; 0 if none is known."""
        return max(
            (
                finding.until_s
                for finding in self.findings
                if (finding.kind, finding.process_type) == (kind, process_type)
            ),
            default=0,
        )

    @property
    def last(self) -> Interval:
        """The latest interval."""
        return self._intervals[-1]

    @property
    def end_s(self) -> int:
        """The end of the latest interval, Unix seconds."""
        return self._intervals[-1].end_s

    @property
    def heard_s(self) -> int:
        """The end of the last interval of HISTORY_S with a line, Unix seconds; 0 if none has one.

        Lines may wait for an interval that is not complete.
        """
        if self._heard_s is None:  # several detectors ask
            self._heard_s = self._find_heard_s()
        return self._heard_s

    def _find_heard_s(self) -> int:
        first_s = self.end_s - HISTORY_S
        for interval in reversed(self._intervals):
            if interval.start_s < first_s:
                break
            if interval.is_heard or not interval.is_complete:
                return interval.end_s
        return 0

    def over(self, seconds: int) -> Sequence[Interval]:
        """The intervals that begin in the last `seconds`, at least one, oldest first."""
        span = self._spans.get(seconds)
        if span is None:  # several detectors ask for the same one
            first = bisect_left(self._starts_s, self.end_s - seconds)
            span = self._intervals[min(first, len(self._intervals) - 1) :]
            self._spans[seconds] = span
        return span

    def open(self, *kinds: str) -> list[Finding]:
        """The findings of these kinds that last."""
        return [
            finding for finding in self.findings if finding.kind in kinds and not finding.until_s
        ]

    def events_since(self, start_s: int) -> list[EventKey]:
        """The events of the window from `start_s` on, in order of time."""
        if not self._eventful_s or self._eventful_s <= start_s:
            return []
        return sorted(
            event
            for interval in self._intervals
            if interval.events and interval.end_s > start_s
            for event in interval.events
            if event.at_ms >= start_s * 1000
        )


def _first_events(events: Sequence[EventKey], count_max: int) -> tuple[EventKey, ...]:
    """Those of the app, and of dynos as many as there is space for."""
    of_app = [event for event in events if event.kind in APP_EVENTS]
    of_dynos = [event for event in events if event.kind not in APP_EVENTS]
    return tuple(sorted(of_app + of_dynos[: max(count_max - len(of_app), 0)]))


def _kept_s(interval: Interval) -> int:
    return WINDOW_S if interval.length_s <= MINUTE_S else COARSE_WINDOW_S
