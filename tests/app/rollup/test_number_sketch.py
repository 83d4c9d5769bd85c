"""The sketch of any numbers: quantiles within 1 %, whatever the numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup.number_sketch import (
    BIN_MAX,
    ZERO_BIN,
    bin_of,
    bounds,
    count_within,
    counts_within,
    middle,
    quantile,
)
from app.rollup.sketch import bins_of_runs, runs_of_bins

numbers = st.floats(-1e13, 1e13, allow_nan=False).map(lambda number: round(number, 9))


@given(numbers)
def test_the_middle_of_a_bin_is_within_one_percent_of_its_numbers(number: float) -> None:
    assert middle(bin_of(number)) == pytest.approx(number, rel=0.00991)


@given(numbers)
def test_a_number_lies_within_the_bounds_of_its_bin(number: float) -> None:
    low, high = bounds(bin_of(number))
    assert low * (1 + 1e-12) <= number <= high * (1 + 1e-12) or low <= number <= high


@given(numbers, numbers)
def test_bins_are_in_the_order_of_their_numbers(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert bin_of(low) <= bin_of(high)


@pytest.mark.parametrize("number", [5e-324, 1e-300, 1e300, 1.7e308])
def test_numbers_beyond_the_range_fall_in_the_last_bins(number: float) -> None:
    assert 0 < bin_of(number) - ZERO_BIN <= BIN_MAX - ZERO_BIN
    assert bin_of(-number) == 2 * ZERO_BIN - bin_of(number) > 0


def test_the_numbering_of_bins_never_changes() -> None:
    """It is part of what is stored."""
    samples = [0, 1, 1.02, 12.5, 1000, 1e-6, 9e12, -1, -12.5]
    assert [bin_of(number) for number in samples] == [
        *(32768, 49152, 49153, 49280, 49501, 48455, 50659),
        *(16384, 16256),
    ]


@given(st.lists(numbers, min_size=1, max_size=200), st.sampled_from([0.001, 0.5, 0.95, 0.999]))
def test_a_quantile_is_the_nearest_rank_within_one_percent(
    values: list[float], share: float
) -> None:
    expected = sorted(values)[max(1, math.ceil(round(share * len(values), 6))) - 1]
    bins = Counter(map(bin_of, values))
    assert quantile(bins, share) == pytest.approx(expected, rel=0.01)


def test_without_numbers_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@given(st.lists(numbers, max_size=50))
def test_a_sketch_survives_storing(values: list[float]) -> None:
    bins = Counter(map(bin_of, values))
    assert bins_of_runs(runs_of_bins(bins)) == bins


@pytest.mark.parametrize(
    "count", [count_within, lambda bins, limit: counts_within(bins, [limit])[0]]
)
def test_the_count_within_a_limit_is_that_of_a_limit_one_percent_off(
    count: Callable[[dict[int, int], float], float],
) -> None:
    values = [-5.0, 0.0, 0.0, 1.0, *(float(number) for number in range(2, 500))]
    bins = dict(Counter(map(bin_of, values)))
    for limit in (-6, -4, 0, 0.5, 1.5, 10, 100, 499.9, 1000):
        least = sum(value <= limit - abs(limit) * 0.02 for value in values)
        most = sum(value <= limit + abs(limit) * 0.02 for value in values)
        assert least <= count(bins, limit) <= most, limit


def test_counts_within_limits_end_with_the_total() -> None:
    bins = {bin_of(5): 3, bin_of(50): 2}
    assert counts_within(bins, [1, 10, 100]) == [0, 3, 5, 5]
    assert counts_within({}, [1, 10]) == [0, 0, 0]
