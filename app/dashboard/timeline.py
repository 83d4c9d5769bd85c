"""The events of an app in groups: for the lane over the charts, and for the list below them.

Events of one kind that follow each other closely are one group ("crash × 8"). Changes to the app,
events of its dynos, and alerts have tracks of their own, so that none of them hides another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from app.query.maintenance_events import BEGAN, ENDED
from app.rollup.events import EventKey
from parsers.samples import APP_EVENTS

Track = Literal["changes", "dynos", "alerts"]
TRACKS: tuple[Track, ...] = ("changes", "dynos", "alerts")
# Shares of the range: closer events of a kind are one group. Heroku restarts a dyno that crashes
# again and again after longer and longer waits.
_GAP_SHARES: dict[Track, float] = {"changes": 1 / 24, "dynos": 1 / 8, "alerts": 1 / 24}
_LINES_MAX = 6  # of a group's text
_MS = 1000
_TEXTS_CACHED = 4_096  # most events of an app differ only in their times
_ALERT_KINDS = {"alert": "alert", "resolved": "resolved", "alerts": "mute"}  # by their first word
# The most telling kinds of a track come first where several share a place.
_ORDER = ("release", "rollback", "deploy", "config", "scale", "maintenance", "crash", "exit")


class TimelineEvent(NamedTuple):
    """An event, or several equal ones at one time. Times in Unix seconds."""

    at_s: float
    track: Track
    kind: str
    text: str
    occurrences: int = 1


class EventGroup(NamedTuple):
    """Events of one kind from `first_s` to `last_s`, with a text for each."""

    track: Track
    kind: str
    first_s: float
    last_s: float
    occurrences: int
    texts: list[str]

    @property
    def title(self) -> str:
        """The group in a few words."""
        return f"{self.kind} × {self.occurrences}" if self.occurrences > 1 else self.texts[0]


def list_events(
    events: Iterable[tuple[EventKey, int]], alerts: Iterable[tuple[float, str]]
) -> list[TimelineEvent]:
    """All events and alerts, in order of time."""
    timeline = [
        TimelineEvent(
            at_ms / _MS,
            "changes" if kind in APP_EVENTS else "dynos",
            kind,
            _describe(kind, source, detail),
            count,
        )
        for (at_ms, kind, source, detail), count in events
    ]
    timeline += [
        TimelineEvent(at_s, "alerts", _ALERT_KINDS[text.partition(" ")[0].rstrip(":")], text)
        for at_s, text in alerts
    ]
    return sorted(timeline)


def group_events(events: Sequence[TimelineEvent], length_s: float) -> list[EventGroup]:
    """Join events of a kind that are close for a range of this length. Ordered by their start."""
    open_groups: dict[str, list[TimelineEvent]] = {}
    closed_groups = []
    for event in events:
        members = open_groups.setdefault(event.kind, [])
        if members and event.at_s - members[-1].at_s > length_s * _GAP_SHARES[event.track]:
            closed_groups.append(members)
            members = open_groups[event.kind] = []
        members.append(event)
    groups = [_join(members) for members in [*closed_groups, *open_groups.values()]]
    return sorted(groups, key=lambda group: (group.first_s, _rank(group.kind), group.kind))


def _join(members: Sequence[TimelineEvent]) -> EventGroup:
    first, last = members[0], members[-1]
    occurrences = sum(member.occurrences for member in members)
    texts = describe_events(members)
    return EventGroup(first.track, first.kind, first.at_s, last.at_s, occurrences, texts)


def describe_events(events: Iterable[TimelineEvent]) -> list[str]:
    """A line for each different text, and one for those that are too many."""
    counts: dict[str, int] = {}
    for event in events:
        counts[event.text] = counts.get(event.text, 0) + event.occurrences
    texts = [f"{text} ({count} ×)" if count > 1 else text for text, count in counts.items()]
    if len(texts) > _LINES_MAX:
        texts = [*texts[: _LINES_MAX - 1], f"and {len(texts) - _LINES_MAX + 1} others"]
    return texts


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def describe_event(event: EventKey) -> str:
    """The event in words."""
    _, kind, source, detail = event
    return _describe(kind, source, detail)


@lru_cache(maxsize=_TEXTS_CACHED)
def _describe(kind: str, source: str, detail: str) -> str:
    if kind == "crash":
        return f"{source} crashed"
    if kind == "exit":
        return f"{source} exited with status {detail}"
    if kind == "restart":
        reason = " after a crash" if "crashed" in detail else ""
        return f"{source} restarted{reason}"
    if kind == "stop":
        return f"{source} was stopped: {detail}" if detail else f"{source} was stopped"
    if kind == "maintenance" and detail in (BEGAN, ENDED):
        return f"maintenance {detail}"
    return " ".join(part for part in (kind, source, detail) if part)
