"""The sentence above the figures: says what stands out, and nothing on a quiet day."""

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


def test_on_a_quiet_day_there_is_nothing_to_say() -> None:
    assert find_insights(QUIET) == []


def test_p95_that_doubled_is_told_with_the_release_before_it() -> None:
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
def test_how_far_it_rose_is_said_in_words(after: float, words: str) -> None:
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
def test_what_is_no_lasting_rise_is_not_told(values: list[Value]) -> None:
    assert find_latency_rise(values, START_S, 60) is None


def test_noise_is_no_news() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        values: list[Value] = [rng.lognormvariate(5, 0.25) for _ in range(60)]
        assert find_latency_rise(values, START_S, 60) is None


def test_failures_codes_and_full_memory_are_told() -> None:
    facts = QUIET._replace(
        failed_share=0.034,
        codes={"H12": 12, "R14": 3, "H27": 1, "H18": 1},
        highest_memory=("web.3", 0.98),
    )
    assert find_insights(facts) == [
        "3.4% of requests failed.",
        "In the last 5 minutes: H12 12 ×, R14 3 ×, H27 1 ×.",
        "web.3 is at 98% of its memory.",
    ]


def test_of_a_silent_app_only_that_is_told() -> None:
    facts = QUIET._replace(last_seen_s=START_S + 600, failed_share=0.5)
    assert find_insights(facts) == ["Silent since 10:10 UTC: no line of any kind has come."]


def test_a_rise_that_is_over_is_told_with_its_end() -> None:
    values = [100.0] * 30 + [450.0] * 10 + [110.0] * 20
    assert find_insights(QUIET._replace(p95_ms=values)) == [
        "p95 quadrupled from 10:30 to 10:40 UTC, from 100 to 450 ms."
    ]
