"""When requests fail too often."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from app.judgement.facts import Interval, TypeFacts, Usual
from app.judgement.failing import detect_failing
from app.judgement.verdict import Finding
from app.judgement.window import Symptom
from app.rollup.resolutions import DAY_S, MINUTE_S
from tests.app.judgement.scenes import NEW, USUAL, at, minute, until, window_of

Minute = Callable[[int], Interval]


def failing(
    after: Minute, begin: str = "12:00", end: str = "12:02", **options: object
) -> Symptom | None:
    usual = options.pop("usual", USUAL)
    assert isinstance(usual, Usual)
    window = window_of("10:00", end, until(begin, after), **options)  # type: ignore[arg-type]
    symptoms = detect_failing(window, usual)
    return symptoms[0] if symptoms else None


def of(requests: int, failed: int, **fields: object) -> Minute:
    return lambda start_s: minute(start_s, requests, failed, **fields)  # type: ignore[arg-type]


def every(minutes: int, bad: Minute, good: Minute = minute) -> Minute:
    """A bad minute every so often."""
    return lambda start_s: (bad if start_s // MINUTE_S % minutes == 0 else good)(start_s)


def test_all_requests_fail() -> None:
    symptom = failing(of(20, 20))
    assert symptom is not None
    assert symptom.state == "down"
    assert symptom.value == 1
    assert symptom.count == 40
    assert abs(symptom.since_s - at("12:00")) <= 30


def test_an_app_that_goes_down_is_measured_since_then() -> None:
    symptom = failing(until("12:20", of(60, 60), of(60, 8)), end="12:22")
    assert symptom is not None
    assert (symptom.state, symptom.value, symptom.window_s) == ("down", 1, 120)


def test_thin_traffic_is_measured_over_more_minutes() -> None:
    finding = Finding("failing", "degraded", at("11:30"), process_type="web", limit=0.02)
    symptom = failing(every(3, of(2, 1), of(2, 0)), "11:30", "12:01", findings=(finding,))
    assert symptom is not None and symptom.value is not None
    assert symptom.window_s == 15 * MINUTE_S
    assert abs(symptom.value - 1 / 6) < 0.05


def test_seventeen_of_seventeen_is_down_and_three_of_three_is_not() -> None:
    def judge(first: int, second: int) -> Symptom | None:
        bad = until("12:01", of(second, second), of(first, first))
        window = window_of("10:00", "12:02", until("12:00", bad, Interval))
        symptoms = detect_failing(window, USUAL)
        return symptoms[0] if symptoms else None

    down, degraded, nothing = judge(8, 9), judge(1, 2), judge(1, 1)
    assert down is not None and down.state == "down"
    assert degraded is not None and degraded.state == "degraded"
    assert nothing is None


def test_one_minute_of_failures_is_a_burst() -> None:
    assert failing(of(100, 60), begin="12:01") is None


def test_one_timeout_among_many_requests_is_nothing() -> None:
    assert failing(of(86, 1)) is None


def test_a_bump_that_is_over_is_not_present() -> None:
    bump = until("12:05", minute, of(100, 30))
    assert failing(bump, end="12:05") is not None
    assert failing(bump, end="12:06") is None


def test_few_failures_take_longer_to_be_sure_of() -> None:
    course = until("12:00", of(20, 1), of(20, 0))
    assert failing(course, begin="10:00", end="12:05") is None
    symptom = failing(course, begin="10:00", end="12:20")
    assert symptom is not None
    assert symptom.state == "degraded"


@pytest.mark.parametrize(
    ("share", "highest", "is_found"), [(0.0, 0.0, True), (0.04, 0.0, False), (0.0, 0.11, False)]
)
def test_what_is_usual_is_no_finding(share: float, highest: float, is_found: bool) -> None:
    usual = Usual(30 * DAY_S, failed_share={"web": share}, failed_share_max={"web": highest})
    symptom = failing(of(200, 20), end="12:10", usual=usual)
    assert (symptom is not None) is is_found


def test_however_many_fail_as_a_rule_all_of_them_are_too_many() -> None:
    usual = Usual(30 * DAY_S, failed_share={"web": 0.3}, failed_share_max={"web": 0.9})
    symptom = failing(of(50, 50), end="12:10", usual=usual)
    assert symptom is not None
    assert symptom.limit == 0.5


def test_the_code_of_most_failures_is_named() -> None:
    codes = {("web.1", "H12"): 8, ("web.", "H27"): 40, ("web.2", "R14"): 90}
    symptom = failing(of(100, 10, codes=codes))
    assert symptom is not None
    assert symptom.code == "H12"


def test_without_a_code_the_status_is_named() -> None:
    def bad(start_s: int) -> Interval:
        facts = TypeFacts(100, 40, statuses={500: 38, 502: 2})
        return Interval(start_s, types={"web": facts}, messages=100)

    symptom = failing(bad)
    assert symptom is not None
    assert symptom.code == "500"


def test_a_half_recovered_app_is_no_longer_down() -> None:
    course = until("12:20", of(100, 20), of(100, 100))
    assert failing(course, end="12:20").state == "down"  # type: ignore[union-attr]
    assert failing(course, end="12:21").state == "degraded"  # type: ignore[union-attr]


def test_an_open_finding_goes_on_without_new_proof() -> None:
    finding = Finding("failing", "degraded", at("11:00"), process_type="web", count=7)
    course = every(3, of(20, 1))
    assert failing(course, begin="11:59", end="12:01", findings=(finding,)) is not None
    assert failing(course, begin="11:59", end="12:01") is None


def test_idle_connections_of_a_websocket_app_are_normal() -> None:
    def bad(start_s: int) -> Interval:
        facts = TypeFacts(100, 20, websockets=50)
        return Interval(start_s, types={"web": facts}, codes={("web.1", "H15"): 20}, messages=100)

    assert failing(bad, usual=NEW) is None
    assert failing(bad, usual=USUAL) is not None, "its usual share is known, and is 0"
    assert failing(of(100, 20, codes={("web.1", "H15"): 20}), usual=NEW) is not None


def test_what_a_restart_explains_is_no_failure() -> None:
    window = window_of("10:00", "12:00")
    for start_s in (at("12:00"), at("12:01")):
        window.add(minute(start_s, 100, 40))
        window.excuse_last()
    assert detect_failing(window, USUAL) == []
    window.add(minute(at("12:02"), 100, 3))
    assert detect_failing(window, USUAL) == [], "the failures before are not counted later either"


def test_coarse_intervals_are_enough_each() -> None:
    window = window_of("10:00", "10:01")
    for start_s in range(at("10:10"), at("12:00"), 600):
        window.add(minute(start_s, 1000, 2)._replace(length_s=600))
    window.add(minute(at("12:00"), 1000, 100)._replace(length_s=600))
    (symptom,) = detect_failing(window, USUAL)
    assert at("11:59") <= symptom.since_s <= at("12:10")


def test_noise_at_the_limit_is_no_finding() -> None:
    rng = Random(7)
    usual = Usual(30 * DAY_S, failed_share={"web": 0.01}, failed_share_max={"web": 0.03})

    def noisy(start_s: int) -> Interval:
        requests = rng.randrange(20, 60)
        return minute(start_s, requests, sum(rng.random() < 0.01 for _ in range(requests)))

    window = window_of("00:00", "00:01", noisy)
    for start_s in range(at("00:01"), at("20:00"), MINUTE_S):
        window.add(noisy(start_s))
        assert detect_failing(window, usual) == []
