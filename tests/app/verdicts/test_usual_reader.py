"""What is usual for the response times of an app."""

from __future__ import annotations

from app.judgement.facts import Interval, TypeFacts
from app.judgement.verdict import Finding
from app.rollup.sketch import bin_of
from app.verdicts.usual_reader import highest_p95

SLOT_S = 600


def slot(number: int, requests: int, time_ms: int = 100, slow_ms: int = 400) -> Interval:
    """Ten minutes, in which one request of ten is slow."""
    slow = requests // 10
    times = {bin_of(time_ms): requests - slow, bin_of(slow_ms): slow}
    return Interval(number * SLOT_S, SLOT_S, types={"web": TypeFacts(requests, 0, times)})


def p95_of(slots: list[Interval], findings: tuple[Finding, ...] = ()) -> float | None:
    p95 = highest_p95(slots, findings).get("web")
    return None if p95 is None else round(p95, -2)


def test_of_many_requests_the_slowest_slot_is_usual() -> None:
    slots = [slot(0, 1000), slot(1, 1000, slow_ms=900), slot(2, 1000)]
    assert p95_of(slots) == 900


def test_of_few_requests_slots_are_taken_together() -> None:
    slots = [slot(number, 100, slow_ms=2000 if number == 1 else 400) for number in range(12)]
    assert p95_of(slots) == 400


def test_hardly_any_requests_say_nothing() -> None:
    assert p95_of([slot(number, 10) for number in range(5)]) is None


def test_the_time_of_an_incident_is_not_usual() -> None:
    incident = Finding("slow", "degraded", SLOT_S, until_s=2 * SLOT_S, process_type="web")
    slots = [slot(0, 1000), slot(1, 1000, slow_ms=900), slot(2, 1000)]
    assert p95_of(slots, (incident,)) == 400
