"""Failures that are few and steady, in thin traffic."""

from __future__ import annotations

from app.judgement.facts import Usual
from app.judgement.onset import Tally
from app.judgement.steady_failures import find_steady_failures
from app.rollup.resolutions import DAY_S

START_S = 1_700_000_040
USUAL = Usual(30 * DAY_S, failed_share={"web": 0.002}, failed_share_max={"web": 0.02})


def minutes(*bad: int, total: int = 2) -> list[Tally]:
    return [Tally(START_S + 60 * n, 60, total, count) for n, count in enumerate(bad)]


def is_found(tallies: list[Tally], usual: Usual = USUAL) -> bool:
    return find_steady_failures(tallies, set(), usual, "web") is not None


STEADY = ([0] * 4 + [1]) * 6


def test_a_tenth_of_two_requests_a_minute() -> None:
    assert is_found(minutes(*[0] * 30, *STEADY))


def test_one_burst_is_not_steady() -> None:
    assert not is_found(minutes(*[0] * 50, 2, 2, 2, 2, 2))


def test_a_cluster_of_failures_in_one_minute_is_one_sign() -> None:
    assert not is_found(minutes(*[0] * 40, 2, *[0] * 18, 2))


def test_what_is_usual_is_not_found() -> None:
    usual = Usual(30 * DAY_S, failed_share={"web": 0.05})
    assert not is_found(minutes(*[0] * 30, *STEADY), usual)


def test_failures_during_restarts_do_not_count() -> None:
    tallies = minutes(*[0] * 30, *STEADY)
    restarts_s = {tally.start_s for tally in tallies[-16:]}
    assert find_steady_failures(tallies, restarts_s, USUAL, "web") is None
