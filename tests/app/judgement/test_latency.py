"""When responses take longer than usual."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from app.judgement.facts import Interval, PastP95, TypeFacts, Usual
from app.judgement.latency import detect_slow
from app.judgement.verdict import Finding
from app.judgement.window import Symptom
from app.rollup.resolutions import DAY_S, MINUTE_S
from app.rollup.sketch import bin_of
from tests.app.judgement.scenes import NEW, at, until, window_of

KNOWN = Usual(30 * DAY_S, p95={"web": PastP95(400.0, 380.0)})
Minute = Callable[[int], Interval]


def of(fast: int, slow: int, fast_ms: int = 100, slow_ms: int = 400) -> Minute:
    """A minute with requests of two times; with 94 to 6, the slow ones make the p95."""

    def build(start_s: int) -> Interval:
        times = {bin_of(fast_ms): fast, bin_of(slow_ms): slow}
        return Interval(start_s, types={"web": TypeFacts(fast + slow, 0, times)}, messages=1)

    return build


NORMAL = of(94, 6)


def slow(
    after: Minute, usual: Usual = KNOWN, begin: str = "12:00", end: str = "12:02", **options: object
) -> Symptom | None:
    before = options.pop("before", NORMAL)
    window = window_of("10:00", end, until(begin, after, before), **options)  # type: ignore[arg-type]
    symptoms = detect_slow(window, usual)
    return symptoms[0] if symptoms else None


def test_a_p95_that_doubles_is_found_within_two_minutes() -> None:
    symptom = slow(of(70, 30, slow_ms=900))
    assert symptom is not None
    assert symptom.state == "degraded"
    assert symptom.value == pytest.approx(900, rel=0.02)
    assert symptom.usual == pytest.approx(400, rel=0.02)
    assert abs(symptom.since_s - at("12:00")) <= 45
    assert symptom.certainty == "certain"


def test_one_slow_minute_is_nothing() -> None:
    assert slow(of(70, 30, slow_ms=900), begin="12:01") is None


def test_a_p95_under_300_ms_is_fast_enough() -> None:
    quick = of(94, 6, 20, 80)
    usual = Usual(30 * DAY_S, p95={"web": PastP95(80.0)})
    assert slow(of(70, 30, 20, 280), usual, before=quick) is None
    assert slow(of(70, 30, 20, 320), usual, before=quick) is not None


def test_a_slow_app_may_be_as_slow_as_yesterday() -> None:
    usual = Usual(30 * DAY_S, p95={"web": PastP95(900.0, 380.0)})
    assert slow(of(70, 30, slow_ms=900), usual) is None


def test_the_hour_before_counts_as_usual_too() -> None:
    assert slow(of(70, 30, slow_ms=900), before=of(94, 6, slow_ms=800)) is None


def test_without_a_day_of_history_the_hour_before_is_all_there_is() -> None:
    symptom = slow(of(70, 30, slow_ms=900), NEW)
    assert symptom is not None
    assert symptom.reason == "new"
    assert symptom.certainty == "likely"


def test_without_anything_to_compare_with_nothing_is_slow() -> None:
    window = window_of("11:58", "12:02", of(70, 30, slow_ms=3000))
    assert detect_slow(window, NEW) == []


def test_too_few_requests_prove_nothing() -> None:
    few = of(5, 3, slow_ms=900)
    assert slow(few, end="12:02") is None
    assert slow(few, end="12:08") is not None


def test_the_hour_of_an_incident_is_no_reference() -> None:
    bad = of(70, 30, slow_ms=900)
    finding = Finding(
        "slow", "degraded", at("11:00"), until_s=at("11:50"), process_type="web", usual=400.0
    )
    course = until("11:50", until("12:00", bad, NORMAL), until("11:00", bad, NORMAL))
    window = window_of("09:00", "12:02", course, findings=(finding,))
    assert detect_slow(window, NEW) != []


def test_a_finding_goes_on_until_a_minute_is_as_usual() -> None:
    finding = Finding("slow", "degraded", at("11:55"), process_type="web", usual=400.0, limit=720.0)
    bad = of(85, 15, slow_ms=900)
    assert slow(bad, begin="12:01", findings=(finding,)) is not None
    assert slow(NORMAL, findings=(finding,)) is None


def test_noise_is_no_finding() -> None:
    rng = Random(3)
    usual = Usual(30 * DAY_S, p95={"web": PastP95(620.0, 600.0)})

    def noisy(start_s: int) -> Interval:
        times: dict[int, int] = {}
        for _ in range(rng.randrange(20, 60)):
            index = bin_of(int(rng.lognormvariate(5, 0.85)))
            times[index] = times.get(index, 0) + 1
        facts = TypeFacts(sum(times.values()), 0, times)
        return Interval(start_s, types={"web": facts}, messages=1)

    window = window_of("00:00", "00:01", noisy)
    for start_s in range(at("00:01"), at("20:00"), MINUTE_S):
        window.add(noisy(start_s))
        assert detect_slow(window, usual) == []


def test_a_job_that_slows_the_app_down_every_hour_is_no_incident() -> None:
    job = of(70, 30, slow_ms=900)

    def hourly(start_s: int) -> Interval:
        return (job if start_s // MINUTE_S % 60 < 4 else NORMAL)(start_s)

    assert slow(hourly, begin="10:30", end="12:03") is None
    assert slow(job, begin="12:20", end="12:23", before=hourly) is not None


def thin(fast: int, slow_ms: int) -> Minute:
    """Every second minute has requests, one of them slow."""

    def build(start_s: int) -> Interval:
        if start_s // MINUTE_S % 2:
            return Interval(start_s)
        return of(fast, 1, slow_ms=slow_ms)(start_s)

    return build


def test_a_doubled_p95_of_two_requests_a_minute_is_found_within_half_an_hour() -> None:
    before = of(2, 0)
    assert slow(thin(3, 900), begin="12:00", end="12:11", before=before) is None
    symptom = slow(thin(3, 900), begin="12:00", end="12:29", before=before)
    assert symptom is not None
    assert symptom.usual == 400.0


def test_two_requests_a_minute_prove_nothing_of_an_app_without_usual_values() -> None:
    assert slow(thin(1, 900), NEW, begin="11:50", end="12:15", before=of(2, 0)) is None
