"""Events of an app as rollups keep them: which, when, and how often; and which stay where there are
too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import NamedTuple

from parsers.samples import APP_EVENTS


class EventKey(NamedTuple):
    """An event and when it was, in Unix milliseconds; see parsers.samples.Event."""

    at_ms: int
    kind: str
    source: str
    detail: str


MORE_EVENTS = EventKey(0, "more", "", "")  # stands for events over the cap


def first_events(events: Mapping[EventKey, int], cap: int) -> dict[EventKey, int]:
    """The first `cap` of counted events: those of the app before those of its dynos, by time; the
    others are counted as MORE_EVENTS.
    """
    of_app: list[EventKey] = []
    of_dynos: list[EventKey] = []
    for event in events:
        _, kind, _, _ = event  # a plain tuple, where the compiled form holds them
        if kind in APP_EVENTS:
            of_app.append(event)
        elif event != MORE_EVENTS:
            of_dynos.append(event)
    first = nsmallest(cap, of_app)
    first += nsmallest(cap - len(first), of_dynos)
    kept = {event: events[event] for event in first}
    more = sum(events.values()) - sum(kept.values())
    return {**kept, MORE_EVENTS: more} if more else kept
