"""Quantiles are within 1 %, and exact below 50 ms and at Prometheus bounds."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable

import pytest

from app.rollup.sketch import (
    BIN_COUNT,
    HIGH_MS,
    LONGEST_MS,
    LOW_MS,
    PROMETHEUS_BOUNDS_MS,
    Bins,
    bin_of,
    count_within,
    quantile_ms,
    quantiles_ms,
)

QUANTILES = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda rng: 123,
    "zeros": lambda rng: 0,
    "uniform, short": lambda rng: rng.uniform(0, 49),
    "uniform, long": lambda rng: rng.uniform(0, 60_000),
    "normal": lambda rng: rng.gauss(400, 80),
    "exponential": lambda rng: rng.expovariate(1 / 200),
    "log-normal, fast": lambda rng: rng.lognormvariate(3.5, 0.8),
    "log-normal, slow": lambda rng: rng.lognormvariate(7, 1.5),
    "pareto": lambda rng: 20 * rng.paretovariate(1.1),
    "two humps": lambda rng: rng.gauss(30, 5) if rng.random() < 0.9 else rng.gauss(5_000, 500),
    "timeouts": lambda rng: 30_000 if rng.random() < 0.06 else rng.expovariate(1 / 80),
    "hours": lambda rng: rng.uniform(60_000, LONGEST_MS),
}


def values(name: str, size: int) -> list[int]:
    rng = random.Random(f"{name} {size}")
    return [min(max(int(DISTRIBUTIONS[name](rng)), 0), LONGEST_MS) for _ in range(size)]


def sketch_of(numbers: list[int]) -> Bins:
    bins: Bins = {}
    for number in numbers:
        bins[bin_of(number)] = bins.get(bin_of(number), 0) + 1
    return bins


@pytest.mark.parametrize("size", [1, 2, 3, 10, 100, 1_000, 100_000])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_within_one_percent_of_the_nearest_rank(name: str, size: int) -> None:
    numbers = sorted(values(name, size))
    estimates = quantiles_ms(sketch_of(numbers), QUANTILES)
    for quantile, estimate in zip(QUANTILES, estimates, strict=True):
        exact = numbers[max(math.ceil(round(quantile * size, 6)), 1) - 1]
        assert estimate is not None
        if exact < 50:
            assert estimate == exact
        else:
            assert abs(estimate - exact) <= 0.01 * exact


@pytest.mark.parametrize("index", range(BIN_COUNT))
def test_no_bin_is_wider_than_the_error(index: int) -> None:
    middle = (LOW_MS[index] + HIGH_MS[index]) / 2
    assert HIGH_MS[index] - middle <= 0.01 * LOW_MS[index]
    assert bin_of(LOW_MS[index]) == bin_of(HIGH_MS[index]) == index


def test_bins_leave_no_value_out() -> None:
    assert LOW_MS[0] == 0
    assert all(high + 1 == low for high, low in zip(HIGH_MS, LOW_MS[1:], strict=False))
    assert bin_of(10**9) == BIN_COUNT - 1


def test_the_numbering_of_bins_never_changes() -> None:
    """It is part of the stored format: stored sketches would be misread."""
    digest = hashlib.sha256(repr(LOW_MS).encode()).hexdigest()
    assert digest == "985f22c5054d571a1ece2a23951ad2c236b3ef3f35a52a2f8bd1cb38294763f7"


@pytest.mark.parametrize("bound", PROMETHEUS_BOUNDS_MS)
def test_how_many_lie_within_a_prometheus_bound_is_exact(bound: int) -> None:
    numbers = [*values("log-normal, slow", 5_000), bound - 1, bound, bound, bound + 1]
    assert count_within(sketch_of(numbers), bound) == sum(number <= bound for number in numbers)


@pytest.mark.parametrize("bound", range(50))
def test_how_many_lie_within_less_than_50_ms_is_exact(bound: int) -> None:
    numbers = list(range(100)) * 3
    assert count_within(sketch_of(numbers), bound) == 3 * (bound + 1)


def test_inside_a_bin_the_share_of_its_numbers_counts() -> None:
    index = bin_of(20_000)
    low, high = LOW_MS[index], HIGH_MS[index]
    assert count_within({index: 100}, low + (high - low) // 2) == pytest.approx(50, abs=1)
    assert count_within({index: 100}, low - 1) == 0
    assert count_within({index: 100}, high) == 100
    assert count_within({index: 100}, 10**9) == 100


def test_nothing_has_no_quantile() -> None:
    assert quantile_ms({}, 0.95) is None
    assert quantiles_ms({}, (0.5, 0.95)) == [None, None]
    assert count_within({}, 500) == 0


@pytest.mark.parametrize(("quantile", "size"), [(0.07, 100), (0.95, 20), (0.57, 100), (0.29, 100)])
def test_floats_do_not_lift_a_rank(quantile: float, size: int) -> None:
    """In floats 0.07 · 100 is 7.000000000000001; the quantile is the 7th value, not the 8th."""
    bins = {bin_of(value): 1 for value in range(size if size < 50 else 50)}
    numbers = list(range(1, len(bins) + 1))
    bins = sketch_of([number for number in numbers for _ in range(size // len(numbers))])
    rank = round(quantile * size)
    exact = numbers[(rank - 1) // (size // len(numbers))]
    assert quantile_ms(bins, quantile) == exact


def test_merging_sketches_is_counting_all_values() -> None:
    first, second = values("pareto", 500), values("two humps", 700)
    bins = sketch_of(first)
    for index, count in sketch_of(second).items():
        bins[index] = bins.get(index, 0) + count
    assert bins == sketch_of(first + second)
