"""The sentences below the figures describe problems; a quiet hour has none."""

from __future__ import annotations

import random

import pytest

from app.dashboard.insights import AppFacts, find_insights, find_latency_rise
from app.query.stats import Value
from app.rollup.events import EventKey

START_S = 1_795_341_600  # 10:00 UTC
QUIET = AppFacts(
    now_s=START_S + 3600,
    last_seen_s=START_S + 3590,
    start_s=START_S,
    step_s=60,
    p95_ms=[100.0] * 60,
    failed_share=0.001,
    codes={},
    highest_memory=("web.1", 0.6),
    events=[],
)


def event(at_s: float, kind: str, detail: str) -> EventKey:
    return EventKey(int(at_s * 1000), kind, "", detail)


def test_a_quiet_hour_has_no_insights() -> None:
    assert find_insights(QUIET) == []


def test_a_doubled_p95_is_described_with_the_release_before_it() -> None:
    facts = QUIET._replace(
        p95_ms=[210.0] * 30 + [430.0] * 30,
        events=[
            event(START_S + 100, "release", "v211"),
            event(START_S + 29 * 60 + 20, "release", "v212"),
            event(START_S + 29 * 60 + 30, "scale", "web@2"),
        ],
    )
    assert find_insights(facts) == [
        "p95 doubled at 10:30 UTC, from 210 to 430 ms, 40 s after release v212."
    ]


@pytest.mark.parametrize(
    ("after", "words"), [(330.0, "tripled"), (400.0, "quadrupled"), (1000.0, "rose 10-fold")]
)
def test_the_size_of_a_rise_is_described_in_words(after: float, words: str) -> None:
    (sentence,) = find_insights(QUIET._replace(p95_ms=[100.0] * 40 + [after] * 20))
    assert sentence == f"p95 {words} at 10:40 UTC, from 100 to {after:,.0f} ms."


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 30 + [900.0] + [100.0] * 29,  # one bad minute
        [10.0] * 30 + [40.0] * 30,  # too fast to matter
        [500.0] * 30 + [100.0] * 30,  # it fell
        [None] * 60,
        [],
        [None] * 55 + [900.0] * 5,  # nothing to compare with
    ],
)
def test_only_a_lasting_rise_is_found(values: list[Value]) -> None:
    assert find_latency_rise(values, START_S, 60) is None


def test_noise_is_not_a_rise() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        values: list[Value] = [rng.lognormvariate(5, 0.25) for _ in range(60)]
        assert find_latency_rise(values, START_S, 60) is None


def test_failures_codes_and_full_memory_are_described() -> None:
    facts = QUIET._replace(
        failed_share=0.034,
        codes={"H12": 12, "R14": 3, "H27": 1, "H18": 1},
        highest_memory=("web.3", 0.98),
    )
    assert find_insights(facts) == [
        "3.4% of requests failed in the last hour.",
        "12 H12 (Request timeout), 3 R14 (Memory quota exceeded), "
        "1 H27 (Client request interrupted) in the last 5 minutes.",
        "web.3 uses 98% of its memory quota.",
    ]


def test_maintenance_that_has_not_ended_is_described() -> None:
    began = event(START_S + 600, "maintenance", "began")
    seen = event(START_S + 3500, "maintenance", "last seen")
    ended = event(START_S + 3540, "maintenance", "ended")
    assert find_insights(QUIET._replace(events=[began, seen])) == [
        "Maintenance mode is on since 10:10 UTC: requests are answered with 503 (H80)."
    ]
    assert find_insights(QUIET._replace(events=[event(START_S, "maintenance", "on")])) == [
        "Maintenance mode is on: requests are answered with 503 (H80)."
    ]
    assert find_insights(QUIET._replace(events=[began, ended])) == []


def test_for_a_silent_app_nothing_else_is_shown() -> None:
    facts = QUIET._replace(last_seen_s=START_S + 600, failed_share=0.5)
    assert find_insights(facts) == ["Silent since 10:10 UTC: no log lines received."]


def test_a_rise_that_has_ended_is_described_with_its_end() -> None:
    values = [100.0] * 30 + [450.0] * 10 + [110.0] * 20
    assert find_insights(QUIET._replace(p95_ms=values)) == [
        "p95 quadrupled from 10:30 to 10:40 UTC, from 100 to 450 ms."
    ]
