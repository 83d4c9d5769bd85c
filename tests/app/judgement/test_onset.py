"""When an incident began."""

from __future__ import annotations

from random import Random

import pytest

from app.judgement.onset import Tally, estimate_onset

START_S = 1_700_000_040


def minutes(*bad: int, total: int = 20) -> list[Tally]:
    return [Tally(START_S + 60 * n, 60, total, count) for n, count in enumerate(bad)]


def test_a_change_at_the_begin_of_a_minute_is_seen_there() -> None:
    onset = estimate_onset(minutes(*[0] * 30, 20, 20), 0.0, START_S)
    assert abs(onset.since_s - (START_S + 30 * 60)) <= 15
    assert onset.min_s <= START_S + 30 * 60 <= onset.max_s


def test_a_minute_that_is_bad_in_part_tells_where_in_it_the_change_was() -> None:
    onset = estimate_onset(minutes(*[0] * 30, 5, 20), 0.0, START_S)
    assert abs(onset.since_s - (START_S + 30 * 60 + 45)) <= 15


def test_without_requests_the_change_may_be_anywhere_since_the_last_answer() -> None:
    tallies = [*minutes(*[0] * 30), Tally(START_S + 40 * 60, 60, 20, 20)]
    gap = [Tally(START_S + 60 * n, 60, 0, 0) for n in range(30, 40)]
    onset = estimate_onset([*tallies[:-1], *gap, tallies[-1]], 0.0, START_S)
    assert onset.min_s <= START_S + 31 * 60
    assert onset.max_s >= START_S + 39 * 60


def test_a_change_before_the_earliest_time_is_not_considered() -> None:
    onset = estimate_onset(minutes(*[20] * 30), 0.0, START_S + 20 * 60)
    assert onset.min_s >= START_S + 20 * 60


@pytest.mark.parametrize("length_s", [600, 3600])
def test_coarse_intervals_give_coarse_onsets(length_s: int) -> None:
    tallies = [
        Tally(START_S + length_s * n, length_s, 1000, 500 if n == 5 else 1) for n in range(6)
    ]
    onset = estimate_onset(tallies, 0.001, START_S)
    assert START_S + 5 * length_s - 1 <= onset.since_s <= START_S + 6 * length_s


def test_the_interval_nearly_always_holds_the_onset_of_a_mild_incident() -> None:
    rng = Random(25)
    held = 0
    for _ in range(200):
        onset_s = START_S + 40 * 60 + rng.randrange(60)
        tallies = []
        for n in range(45):
            start_s = START_S + 60 * n
            part = min(max((start_s + 60 - onset_s) / 60, 0), 1)
            share = 0.1 * part + 0.003 * (1 - part)
            tallies.append(Tally(start_s, 60, 60, sum(rng.random() < share for _ in range(60))))
        onset = estimate_onset(tallies, 0.003, START_S)
        held += onset.min_s <= onset_s <= onset.max_s
    assert held >= 180
