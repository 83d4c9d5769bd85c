"""Events of a long log are told in parts, with the same result as at once."""

from __future__ import annotations

from app.query.event_stories import tell_events
from app.rollup.events import EventKey
from app.traffic.told_events import ToldEvents

MINUTE_MS = 60_000
START_MS = 1_795_341_600_000


def stop(at_ms: int, dyno: str) -> list[EventKey]:
    """What the lines say when Heroku stops a dyno that does not end by itself."""
    return [
        EventKey(at_ms, "stop", dyno, "SIGTERM"),
        EventKey(at_ms + 30_000, "stop", dyno, "SIGKILL"),
        EventKey(at_ms + 30_100, "exit", dyno, "137"),
    ]


def test_a_story_is_one_event_wherever_the_log_is_cut() -> None:
    events = [
        event
        for number in range(300)
        for event in stop(START_MS + number * MINUTE_MS, f"web.{number % 3}")
    ]
    whole = tell_events(dict.fromkeys(events, 1))
    assert {event.kind for event in whole} == {"stop"}
    told = ToldEvents(held_max=10)
    for event in events:
        told.add({event: 1})
    told.finish()
    assert {kind: found.count for kind, found in told.by_kind.items()} == {"stop": len(whole)}


def test_a_line_far_behind_the_others_still_counts() -> None:
    told = ToldEvents(held_max=1)
    for hour in (5, 6, 7, 8):
        told.add({EventKey(START_MS + hour * 60 * MINUTE_MS, "crash", "web.1", ""): 1})
    told.add({EventKey(START_MS, "crash", "web.2", ""): 2})
    told.finish()
    assert told.by_kind["crash"].count == 6
    assert told.by_kind["crash"].first_s == START_MS // 1000
