"""Finds the change that came before a problem: a release, a config change, scaling or a restart.

It is named as "after", never as the cause. Apps change 25 times a day without harm, so a change is
only named if it is likelier to be the cause than to be there by chance. The chance of an unrelated
change is the same at any time, that of a cause falls with its distance: dynos restart within a
minute, but some code fails only when it is first used. Where the onset is known to some minutes
only, the mean over them counts. So the less exact the onset, the less a single change stands out.

A restart of the very dyno that has the problem stands out, since a dyno restarts about once a day.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import exp
from typing import NamedTuple

from app.judgement.detectors.memory import boot_time_s
from app.judgement.detectors.restarts import RESTART_MAX_S
from app.judgement.verdict import Change, Finding
from app.judgement.window import HISTORY_S, Window
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, MINUTE_S
from parsers.samples import labels_of

UNRELATED_PER_DAY = 25
DELAYS_S = ((0.75, 60.0), (0.25, 200.0))  # from a change to its effect: shares, and their means
CAUSED_SHARE = 0.5  # of incidents that come from a change
EVIDENCE_MIN = 1.0  # how much likelier a cause must be than chance
_LEAD_S = 10 * MINUTE_S  # no change before that is ever likely enough
_ACTION_MS = 5_000  # lines of one action have almost the same time
_CYCLE_MS = 60_000
_MS = 1000
_NO_KINDS = frozenset({"incomplete", "maintenance", "asleep", "fleet"})  # told by themselves
_MEMORY_KINDS = frozenset({"memory_exceeded", "memory_killed", "memory_high"})

# How likely it is that a problem comes from each kind of change, at the same distance.
_WEIGHTS = {
    "release": 1.0,
    "rollback": 1.0,
    "deploy": 1.0,
    "config": 1.0,
    "stack": 1.0,
    "addon": 0.8,
    "scale": 0.6,
    "restart": 0.3,
}
_OWN_RESTART = 1.0
_OF_RELEASES = ("rollback", "deploy", "config", "addon", "stack")  # each makes a release


class _Action(NamedTuple):
    """The events of one action, that which names it first."""

    events: Sequence[EventKey]

    @property
    def at_s(self) -> float:
        """When it began, Unix seconds."""
        return min(event.at_ms for event in self.events) / _MS

    def weight(self, dynos: Collection[str]) -> float:
        """The weight of its strongest event. `dynos`: those that have the problem."""
        return max(
            _OWN_RESTART if _is_of(event, dynos) else _WEIGHTS[event.kind] for event in self.events
        )


def find_change(window: Window, finding: Finding) -> Change | None:
    """Find the change before a finding began; None if none is likely enough."""
    if finding.kind in _NO_KINDS:
        return None
    dynos = finding.dynos
    if finding.kind in _MEMORY_KINDS:
        first_s = last_s = _boot_time_s(window, finding)
        dynos = ()  # a leak begins at a restart, whatever its cause
    else:
        first_s = finding.since_min_s or finding.since_s
        last_s = max(finding.since_max_s, finding.since_s)
    if not first_s:
        return None
    events = window.events_since(int(first_s) - _LEAD_S)
    events = [event for event in events if not _is_of_other_type(event, finding.process_type)]
    actions = [action for action in _actions(events, dynos) if action.at_s <= last_s]

    def evidence(action: _Action) -> float:
        return action.weight(dynos) * _likelihood_ratio(action.at_s, first_s, last_s)

    best = max(actions, key=evidence, default=None)
    if best is None or evidence(best) < EVIDENCE_MIN:
        return None
    (kind, detail), *rest = [_name(event, dynos) for event in best.events]
    return Change(int(best.at_s), kind, detail, tuple(rest))


def _name(event: EventKey, dynos: Collection[str]) -> tuple[str, str]:
    """Kind and detail of an event; the detail of a restart of one of these dynos is the dyno."""
    return event.kind, event.source if _is_of(event, dynos) else event.detail


def _is_of(event: EventKey, dynos: Collection[str]) -> bool:
    """Whether one of these dynos restarts."""
    return event.kind == "restart" and event.source in dynos


def _likelihood_ratio(at_s: float, first_s: float, last_s: float) -> float:
    """How much likelier an action at this time is there as a cause than by chance.

    The delay of a cause is taken for a mixture of exponential ones, and the onset to lie anywhere
    between the two times.
    """
    begin_s = max(first_s, at_s)
    end_s = max(last_s, begin_s, first_s + 1.0)
    probability = sum(
        share * (exp((at_s - begin_s) / mean_s) - exp((at_s - end_s) / mean_s))
        for share, mean_s in DELAYS_S
    )
    density = CAUSED_SHARE * probability / max(last_s - first_s, 1.0)
    return density * DAY_S / UNRELATED_PER_DAY


def _actions(events: Sequence[EventKey], dynos: Collection[str]) -> list[_Action]:
    """The changes among the events: those of one action together, and no failed release.

    `dynos`: their restarts count even if they are the daily ones of Heroku.
    """
    changes = [event for event in events if _is_change(event, events, dynos)]
    failed_ms = [
        event.at_ms
        for event in events
        if event.kind == "release" and event.detail.endswith(" failed")
    ]
    groups: list[list[EventKey]] = []
    for event in changes:
        if event.kind == "restart" and _is_explained(event, changes):
            continue
        if groups and _belongs(event, groups[-1]):
            groups[-1].append(event)
        else:
            groups.append([event])
    return [
        _Action(sorted(group, key=_rank))
        for group in groups
        if any(event.kind == "release" for event in group)
        or not any(abs(group[0].at_ms - at_ms) <= _ACTION_MS for at_ms in failed_ms)
    ]


def _is_of_other_type(event: EventKey, process_type: str) -> bool:
    """Whether a dyno of another type restarts: that explains nothing about this one."""
    return (
        event.kind == "restart"
        and bool(process_type)
        and labels_of(event.source)[0] != process_type
    )


def _is_change(event: EventKey, events: Sequence[EventKey], dynos: Collection[str]) -> bool:
    if event.kind == "release":
        return " " not in event.detail
    if event.kind == "restart":
        is_own = _is_of(event, dynos)
        return event.detail == "was up" and (is_own or not _is_cycled(event, events))
    return event.kind in _WEIGHTS


def _is_cycled(restart: EventKey, events: Sequence[EventKey]) -> bool:
    """Whether Heroku restarts the dyno as it does every day."""
    return any(
        event.kind == "cycle"
        and event.source == restart.source
        and abs(event.at_ms - restart.at_ms) <= _CYCLE_MS
        for event in events
    )


def _is_explained(restart: EventKey, changes: Sequence[EventKey]) -> bool:
    """Whether a change to the app restarts the dyno."""
    return any(
        event.kind != "restart" and 0 <= restart.at_ms - event.at_ms <= RESTART_MAX_S * _MS
        for event in changes
    )


def _belongs(event: EventKey, group: Sequence[EventKey]) -> bool:
    """Whether an event is of the same action: a release and its parts, or restarts."""
    if event.at_ms - group[-1].at_ms > _ACTION_MS:
        return False
    kinds = {event_before.kind for event_before in group}
    if event.kind == "restart":
        return kinds == {"restart"}
    is_of_release = event.kind == "release" or event.kind in _OF_RELEASES
    return is_of_release and event.kind not in kinds and kinds <= {"release", *_OF_RELEASES}


def _rank(event: EventKey) -> tuple[int, int]:
    return (0 if event.kind == "release" else 1), event.at_ms


def _boot_time_s(window: Window, finding: Finding) -> int:
    """When the dyno with the problem last started, Unix seconds; 0 if unknown."""
    if finding.dynos:
        dynos = set(finding.dynos)
    else:
        events = window.events_since(window.end_s - HISTORY_S)
        dynos = {
            event.source
            for event in events
            if event.kind == "up" and labels_of(event.source)[0] == finding.process_type
        }
    return max((boot_time_s(window, dyno) for dyno in dynos), default=0)
