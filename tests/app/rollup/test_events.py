"""Which events stay where there are too many."""

from __future__ import annotations

from app.rollup.events import MORE_EVENTS, EventKey, first_events

CYCLES = {EventKey(number, "cycle", f"web.{number}", ""): 1 for number in range(1, 6)}
RELEASE = EventKey(9, "release", "", "v7")


def test_those_of_the_app_come_first_then_those_of_its_dynos_by_time() -> None:
    kept = first_events({**CYCLES, RELEASE: 1}, 2)
    assert kept == {RELEASE: 1, EventKey(1, "cycle", "web.1", ""): 1, MORE_EVENTS: 4}


def test_what_was_counted_before_is_counted_on() -> None:
    assert first_events({**CYCLES, MORE_EVENTS: 7}, 4)[MORE_EVENTS] == 8


def test_of_the_app_alone_there_may_be_too_many() -> None:
    releases = {EventKey(number, "release", "", f"v{number}"): 2 for number in range(3)}
    kept = first_events({**releases, **CYCLES}, 2)
    assert [event.detail for event in kept] == ["v0", "v1", ""]
    assert kept[MORE_EVENTS] == 2 + len(CYCLES)


def test_where_all_fit_all_stay() -> None:
    assert first_events(CYCLES, 5) == CYCLES
