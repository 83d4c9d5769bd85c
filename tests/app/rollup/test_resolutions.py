"""Resolutions: how intervals divide time, and the notation of steps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup.resolutions import CHART_POINTS_MAX, align, nice_step, parse_step, resolutions

DAY_S = 86_400


def test_each_resolution_divides_the_next_and_has_its_own_retention() -> None:
    all_resolutions = resolutions(DAY_S, 14 * DAY_S, 90 * DAY_S)
    assert [(resolution.name, resolution.seconds) for resolution in all_resolutions] == [
        ("1m", 60),
        ("10m", 600),
        ("1h", 3600),
    ]
    assert [resolution.retention_s for resolution in all_resolutions] == [
        DAY_S,
        14 * DAY_S,
        90 * DAY_S,
    ]
    for finer, coarser in itertools.pairwise(all_resolutions):
        assert coarser.seconds % finer.seconds == 0


@given(st.integers(0, 2**40), st.sampled_from([60, 600, 3600, 7 * DAY_S]))
def test_aligning_gives_the_start_of_the_interval_that_holds_a_time(t_s: int, seconds: int) -> None:
    start = align(t_s, seconds)
    assert start % seconds == 0
    assert start <= t_s < start + seconds
    assert align(start, seconds) == start


@given(st.integers(0, 2**40))
def test_aligning_in_two_steps_is_aligning_in_one(t_s: int) -> None:
    assert align(align(align(t_s, 60), 600), 3600) == align(t_s, 3600)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m", 60),
        ("10m", 600),
        ("2h", 7200),
        ("1d", DAY_S),
        ("90s", 90),
        ("600", 600),
        ("007m", 420),
        ("999999999", 999_999_999),
    ],
)
def test_a_step_is_a_number_and_a_unit_or_seconds(text: str, seconds: int) -> None:
    assert parse_step(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0m",
        "000",
        "m",
        "1y",
        "1M",
        "-1m",
        "+1m",
        "1.5h",
        "1 m",
        " 1m",
        "1m\n",
        "1_0",
        "٣m",
        "1000000000",
    ],
)
def test_other_text_is_rejected_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 30s, 5m"):
        parse_step(text)


@pytest.mark.parametrize(
    ("range_s", "step_s"),
    [
        (60, 60),
        (3600, 60),
        (5 * 3600, 60),
        (5 * 3600 + 1, 120),
        (6 * 3600, 120),
        (DAY_S, 300),
        (7 * DAY_S, 3600),
        (90 * DAY_S, 12 * 3600),
        (300 * DAY_S, DAY_S),
        (365 * DAY_S, 2 * DAY_S),
        (100 * 365 * DAY_S, 7 * DAY_S),
    ],
)
def test_a_range_gets_a_round_step(range_s: int, step_s: int) -> None:
    assert nice_step(range_s) == step_s


@given(st.floats(1, CHART_POINTS_MAX * 7 * DAY_S))
def test_a_round_step_gives_no_more_points_than_a_chart_can_show(range_s: float) -> None:
    assert range_s / nice_step(range_s) <= CHART_POINTS_MAX
