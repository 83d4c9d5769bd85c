"""When crashes are a loop, and when a process has crashed for good."""

from __future__ import annotations

import pytest

from app.judgement.detectors.crash_loops import crashed_dynos, detect_crash_loops
from app.judgement.facts import Interval
from app.judgement.verdict import Finding
from app.judgement.window import Symptom
from app.rollup.events import EventKey
from tests.app.judgement.scenes import USUAL, at, event, minute, window_of


def crash(clock: str, dyno: str = "worker.1") -> EventKey:
    return event(clock, "crash", dyno)


def up(clock: str, dyno: str = "worker.1") -> EventKey:
    return event(clock, "up", dyno)


def symptoms(end: str, *events: EventKey) -> list[Symptom]:
    return detect_crash_loops(window_of("10:00", end, events=events), USUAL)


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ((), 0),
        ((crash("11:00"), up("11:00:30")), 0),  # once, and up again
        ((crash("11:00"), up("11:00:10"), crash("11:01"), up("11:01:10")), 1),
        ((crash("10:20"), up("10:20:10"), crash("11:01"), up("11:01:10")), 0),  # 41 minutes apart
        ((crash("11:00", "run"), crash("11:01", "run")), 0),
    ],
)
def test_two_crashes_in_half_an_hour_are_a_loop(events: tuple[EventKey, ...], count: int) -> None:
    assert len(symptoms("11:03", *events)) == count


def test_a_loop_is_over_when_the_process_has_been_up_for_five_minutes() -> None:
    events = (crash("11:00"), up("11:00:10"), crash("11:01"), up("11:01:10"))
    assert symptoms("11:05", *events)
    assert not symptoms("11:08", *events)


def test_a_loop_says_since_when_all_of_its_dynos_are_up_again() -> None:
    events = (crash("11:00"), up("11:00:10"), crash("11:01"), up("11:01:10"))
    assert [symptom.up_s for symptom in symptoms("11:03", *events)] == [0]  # for a moment
    assert [symptom.up_s for symptom in symptoms("11:04", *events)] == [at("11:01:10")]
    other = crash("11:01:30", "worker.2")
    assert [symptom.up_s for symptom in symptoms("11:04", *events, other)] == [0]


@pytest.mark.parametrize(("end", "count"), [("11:02", 0), ("11:03", 1), ("12:59", 1)])
def test_a_process_that_stays_down_is_told_after_two_minutes(end: str, count: int) -> None:
    found = symptoms(end, crash("11:00:30"))
    assert [symptom.reason for symptom in found] == ["crashed"] * count


def test_heroku_waits_longer_and_longer_yet_it_is_one_loop() -> None:
    (symptom,) = symptoms(
        "12:25", crash("11:00"), crash("11:00:20"), crash("11:21"), crash("12:22")
    )
    assert (symptom.since_s, symptom.count, symptom.reason) == (at("11:00"), 4, "start")


def test_a_process_that_comes_up_before_it_crashes_does_not_crash_at_start() -> None:
    (symptom,) = symptoms("11:05", up("10:59"), crash("11:00"), up("11:00:30"), crash("11:03"))
    assert symptom.reason == ""


def test_the_exit_status_is_that_of_most_processes() -> None:
    def exits(start_s: int) -> Interval:
        return minute(start_s)._replace(
            exits={("worker.1", 137): 1, ("worker.1", 0): 9, ("web.1", 3): 9}
        )

    window = window_of("10:00", "11:05", exits, (crash("11:00"), crash("11:03")))
    (symptom,) = detect_crash_loops(window, USUAL)
    assert symptom.exit_status == 137


def test_dynos_that_crashed_are_named() -> None:
    events = (crash("10:30", "web.3"), crash("11:00", "web.2"), crash("11:01", "web.1"))
    window = window_of("10:00", "11:05", events=events)
    assert crashed_dynos(window, "web", at("11:00")) == ("web.1", "web.2")


def test_a_crashed_dyno_that_was_scaled_away_is_forgotten() -> None:
    scaled = event("11:05", "scale", "", "worker@1:Basic")
    assert symptoms("11:10", crash("11:00", "worker.2")) != []
    assert symptoms("11:10", crash("11:00", "worker.2"), scaled) == []


def test_a_process_that_crashed_before_the_window_is_still_crashed() -> None:
    finding = Finding(
        "crash_loop", "degraded", at("03:00"), process_type="worker", exit_status=1, count=2
    )
    (symptom,) = detect_crash_loops(window_of("10:00", "13:00", findings=(finding,)), USUAL)
    assert (symptom.since_s, symptom.exit_status) == (at("03:00"), 1)
    window = window_of("10:00", "13:00", events=(up("12:00"),), findings=(finding,))
    assert detect_crash_loops(window, USUAL) == []
