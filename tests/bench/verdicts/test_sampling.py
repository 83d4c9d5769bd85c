"""Random counts have the mean and the spread of their distribution, however they are drawn."""

from __future__ import annotations

from random import Random
from statistics import fmean, pvariance

import pytest

from bench.verdicts.response_times import Endpoint, ResponseTimes, p95_of
from bench.verdicts.sampling import binomial, poisson, split_by, split_evenly

DRAWS = 20_000


@pytest.mark.parametrize("mean", [0.05, 1, 8, 29, 31, 3_000])
def test_poisson_counts_have_their_mean_as_their_variance(mean: float) -> None:
    rng = Random(1)
    counts = [poisson(rng, mean) for _ in range(DRAWS)]
    assert fmean(counts) == pytest.approx(mean, rel=0.06)
    assert pvariance(counts) == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize(
    ("trials", "share"), [(1, 0.3), (20, 0.02), (60, 0.5), (500, 0.1), (3_000, 0.995)]
)
def test_binomial_counts_have_their_mean_and_variance(trials: int, share: float) -> None:
    rng = Random(2)
    counts = [binomial(rng, trials, share) for _ in range(DRAWS)]
    assert min(counts) >= 0
    assert max(counts) <= trials
    assert fmean(counts) == pytest.approx(trials * share, rel=0.06)
    assert pvariance(counts) == pytest.approx(trials * share * (1 - share), rel=0.12)


def test_a_binomial_without_doubt_is_certain() -> None:
    rng = Random(3)
    assert (binomial(rng, 9, 0.0), binomial(rng, 9, 1.0), binomial(rng, 0, 0.5)) == (0, 9, 0)


def test_splitting_loses_nothing() -> None:
    rng = Random(4)
    for total in (0, 1, 7, 400):
        assert sum(split_evenly(rng, total, 5)) == total
    parts = split_by(rng, 30, [10, 0, 40])
    assert sum(parts) == 30
    assert parts[1] == 0


@pytest.mark.parametrize("count", [60, 5_000])
def test_drawn_response_times_have_the_p95_of_their_distribution(count: int) -> None:
    rng = Random(5)
    times = ResponseTimes([Endpoint(0.8, 100), Endpoint(0.2, 400)])
    bins: dict[int, int] = {}
    for _ in range(30):
        for index, drawn in times.draw(rng, [count // 2, count // 2], [(1.0, 1.0)])[0].items():
            bins[index] = bins.get(index, 0) + drawn
    assert sum(bins.values()) == 30 * count
    assert p95_of(bins) == pytest.approx(times.p95_ms(), rel=0.15)


def test_a_factor_makes_every_quantile_as_much_longer() -> None:
    times = ResponseTimes([Endpoint(0.8, 100), Endpoint(0.2, 400)])
    assert times.p95_ms(2.0) == pytest.approx(2 * times.p95_ms(), rel=0.01)


def test_dynos_have_the_mean_of_what_they_answered() -> None:
    times = ResponseTimes([Endpoint(1.0, 100, 0.3)])
    for count in (20, 1_000):
        fast, slow = (
            times.draw(Random(6), [count], [(1.0, factor)])[1][0] for factor in (1.0, 5.0)
        )
        assert fast.mean_ms
        assert slow.mean_ms
        assert slow.mean_ms == pytest.approx(5 * fast.mean_ms, rel=0.1)
        assert slow.max_ms
        assert slow.max_ms > slow.mean_ms
