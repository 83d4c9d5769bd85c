"""The limit on events in a rollup."""

from __future__ import annotations

from app.rollup.events import MORE_EVENTS, EventKey, latest_events, limit_events
from app.rollup.rollup import Rollup
from parsers.samples import Event

CYCLES = {EventKey(number, "cycle", f"web.{number}", ""): 1 for number in range(1, 6)}
RELEASE = EventKey(9, "release", "", "v7")


def test_app_events_go_before_dyno_events_and_early_ones_before_late_ones() -> None:
    selection = limit_events({**CYCLES, RELEASE: 1}, 2)
    assert selection == {RELEASE: 1, EventKey(1, "cycle", "web.1", ""): 1, MORE_EVENTS: 4}


def test_events_that_were_merged_before_stay_counted() -> None:
    assert limit_events({**CYCLES, MORE_EVENTS: 7}, 4)[MORE_EVENTS] == 8


def test_app_events_alone_may_exceed_the_limit() -> None:
    releases = {EventKey(number, "release", "", f"v{number}"): 2 for number in range(3)}
    selection = limit_events({**releases, **CYCLES}, 2)
    assert [event.detail for event in selection] == ["v0", "v1", ""]
    assert selection[MORE_EVENTS] == 2 + len(CYCLES)


def test_below_the_limit_all_events_stay() -> None:
    assert limit_events(CYCLES, 5) == CYCLES


def test_errors_that_complete_a_stop_displace_no_other_events() -> None:
    errors = {EventKey(number, "stop", "web.1", "R15"): 1 for number in range(5)}
    signal = EventKey(9, "stop", "web.1", "SIGKILL")
    assert limit_events({**errors, signal: 1}, 2) == {
        signal: 1,
        EventKey(0, "stop", "web.1", "R15"): 1,
        MORE_EVENTS: 4,
    }


def test_stops_and_starts_displace_no_other_events() -> None:
    rollup = Rollup()
    for number in range(600):
        rollup.observe(Event("up", f"web.{number}", ""), number)
    rollup.observe(Event("crash", "web.1", ""), 700)
    rollup.apply_limits()
    assert rollup.events == {EventKey(700, "crash", "web.1", ""): 1}
    assert len(rollup.lifecycle) == 512 + 1
    assert rollup.lifecycle[MORE_EVENTS] == 600 - 512
    assert sum(rollup.all_events.values()) == 601


def test_of_the_latest_events_those_of_the_app_stay_and_the_others_stay_counted() -> None:
    release = EventKey(0, "release", "", "v6")
    assert latest_events({**CYCLES, release: 2, MORE_EVENTS: 7}, 3) == {
        release: 2,
        EventKey(5, "cycle", "web.5", ""): 1,
        EventKey(4, "cycle", "web.4", ""): 1,
        MORE_EVENTS: 10,
    }
    assert latest_events(CYCLES, 5) == CYCLES
