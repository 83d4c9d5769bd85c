"""When no web dyno can answer."""

from __future__ import annotations

import pytest

from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.judgement.no_dyno import detect_no_dyno
from app.judgement.verdict import Finding
from app.judgement.window import Symptom
from app.rollup.events import EventKey
from tests.app.judgement.scenes import USUAL, at, event, minute, until, window_of


def dead(start_s: int, requests: int = 1, code: str = "H10") -> Interval:
    """A minute in which no dyno was there to answer."""
    facts = TypeFacts(requests, requests)
    return Interval(
        start_s, types={"web": facts}, codes={("web.", code): requests}, messages=requests
    )


def found(*args: object, **options: object) -> Symptom | None:
    symptoms = detect_no_dyno(window_of(*args, **options), USUAL)  # type: ignore[arg-type]
    return symptoms[0] if symptoms else None


@pytest.mark.parametrize("code", ["H10", "H14", "H20", "H34", "H82"])
def test_three_requests_that_no_dyno_answered_are_enough(code: str) -> None:
    def course(start_s: int) -> Interval:
        return dead(start_s, 1, code) if start_s % 600 == 0 else Interval(start_s)

    assert found("12:00", "12:11", course) is None, "two"
    symptom = found("12:00", "12:21", course)
    assert symptom is not None
    assert (symptom.state, symptom.code, symptom.count) == ("down", code, 3)
    assert symptom.since_s == at("12:00")


def test_a_timeout_is_not_a_missing_dyno() -> None:
    assert found("12:00", "12:10", lambda start_s: dead(start_s, 5, "H12")) is None


def test_an_answer_since_then_says_that_a_dyno_is_there() -> None:
    course = until("12:05", minute, dead)
    assert found("12:00", "12:05", course) is not None
    assert found("12:00", "12:06", course) is None


def test_of_a_minute_with_answers_the_last_requests_are_not_known() -> None:
    def mixed(start_s: int) -> Interval:
        return minute(start_s, 10, 4, codes={("web.", "H10"): 4})

    assert found("12:00", "12:05", mixed) is None


CRASHES = (event("12:00:10", "crash", "web.1"), event("12:00:40", "crash", "web.2"))


def quiet(start_s: int) -> Interval:
    """Two dynos that measure themselves, and no requests."""
    facts = DynoFacts(memory_ratio=0.5)
    return Interval(start_s, messages=4, dynos={"web.1": facts, "web.2": facts})


def crashed(events: tuple[EventKey, ...], end: str = "12:02") -> Symptom | None:
    return found("11:30", end, until("12:00", Interval, quiet), events)


def test_all_dynos_crashed() -> None:
    symptom = crashed(CRASHES)
    assert symptom is not None
    assert symptom.state == "down"
    assert symptom.since_s == at("12:00:40"), "until then one was up"
    assert symptom.count == 2


def test_a_crash_has_a_minute_to_pass() -> None:
    assert crashed(CRASHES, "12:01") is None


def test_one_of_two_dynos_is_enough() -> None:
    assert crashed(CRASHES[:1]) is None


@pytest.mark.parametrize("kind", ["up", "down", "idle"])
def test_a_dyno_that_comes_up_or_is_taken_away_is_not_crashed(kind: str) -> None:
    dynos = ("web.1",) if kind == "up" else ("web.1", "web.2")
    later = tuple(event("12:01:30", kind, dyno) for dyno in dynos)
    assert crashed((*CRASHES, *later)) is None


def test_crashes_of_workers_do_not_matter() -> None:
    crashes = (event("12:00:10", "crash", "worker.1"),)
    assert crashed(crashes) is None


def test_a_dyno_that_answers_is_up() -> None:
    course = until("12:01", minute, quiet)
    assert found("11:30", "12:02", course, CRASHES) is None


def test_the_exit_status_is_told() -> None:
    symptom = crashed((event("12:00:09", "exit", "web.1", "137"), *CRASHES))
    assert symptom is not None
    assert symptom.exit_status == 137


def test_a_crash_lasts_while_nothing_happens() -> None:
    finding = Finding("no_dyno", "down", at("05:00"), process_type="web", reason="crashed", count=2)
    assert found("09:00", "12:00", Interval, findings=(finding,)) is not None
    assert found("09:00", "12:00", quiet, findings=(finding,)) is None
    up = (event("11:59:10", "up", "web.1"),)
    assert found("09:00", "12:00", Interval, up, findings=(finding,)) is None
