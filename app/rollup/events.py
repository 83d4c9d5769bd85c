"""Events of an app as rollups store them: the key of an event, and the limit on their number."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import NamedTuple

from parsers.samples import APP_EVENTS, KILLING_ERRORS


class EventKey(NamedTuple):
    """An event (parsers.samples.Event) and its time, in Unix milliseconds."""

    at_ms: int
    kind: str
    source: str
    detail: str


MORE_EVENTS = EventKey(0, "more", "", "")  # stands for the events over the limit


def limit_events(events: Mapping[EventKey, int], count_max: int) -> dict[EventKey, int]:
    """Return at most `count_max` of the counted events.

    Events of the app itself (a release, say) go first, then those of its dynos, then errors that
    only complete a stop; in each group, earlier ones before later ones. The others are counted as
    MORE_EVENTS, which comes on top of `count_max`.
    """
    app_events: list[EventKey] = []
    dyno_events: list[EventKey] = []
    errors: list[EventKey] = []
    for event in events:
        _, kind, _, detail = event  # not event.kind: the compiled rollup holds plain tuples
        if kind in APP_EVENTS:
            app_events.append(event)
        elif kind == "stop" and detail in KILLING_ERRORS:
            errors.append(event)
        elif event != MORE_EVENTS:
            dyno_events.append(event)
    first = nsmallest(count_max, app_events)
    first += nsmallest(count_max - len(first), dyno_events)
    first += nsmallest(count_max - len(first), errors)
    selection = {event: events[event] for event in first}
    more = sum(events.values()) - sum(selection.values())
    return {**selection, MORE_EVENTS: more} if more else selection


def latest_events(events: Mapping[EventKey, int], count_max: int) -> dict[EventKey, int]:
    """Return at most `count_max` of the counted events: those of the app itself, and the latest.

    The others are counted as MORE_EVENTS, which comes on top of `count_max`.
    """
    if len(events) <= count_max:
        return dict(events)
    app_events = [event for event in events if event[1] in APP_EVENTS]
    dyno_events = [event for event in events if event[1] not in APP_EVENTS and event != MORE_EVENTS]
    # With so many, sorting is faster than nlargest.
    latest = [*sorted(app_events, reverse=True), *sorted(dyno_events, reverse=True)][:count_max]
    selection = {event: events[event] for event in latest}
    more = sum(events.values()) - sum(selection.values())
    return {**selection, MORE_EVENTS: more} if more else selection
