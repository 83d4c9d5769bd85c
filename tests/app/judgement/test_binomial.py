"""The exact test of a share."""

from __future__ import annotations

from math import comb, exp, factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.judgement.binomial import ALPHA, is_count_above, is_share_above


def tail(count: int, total: int, share: float) -> float:
    """The probability of `count` or more, term by term."""
    return sum(
        comb(total, n) * share**n * (1 - share) ** (total - n) for n in range(count, total + 1)
    )


@pytest.mark.parametrize(
    ("count", "total", "limit", "is_above"),
    [
        (17, 17, 0.5, True),  # 0.5 ** 17 = 7.6e-6
        (16, 16, 0.5, False),  # 0.5 ** 16 = 1.5e-5
        (3, 3, 0.02, True),  # 0.02 ** 3 = 8e-6
        (2, 2, 0.02, False),
        (3, 4, 0.02, False),
        (0, 0, 0.02, False),
        (0, 10, 0.0, False),
        (1, 10, 0.0, True),
        (20, 1000, 0.02, False),
        (50_000, 1_000_000, 0.02, True),
    ],
)
def test_a_share_is_above_a_limit_if_chance_hardly_explains_it(
    count: int, total: int, limit: float, is_above: bool
) -> None:
    assert is_share_above(count, total, limit) is is_above


@given(st.integers(1, 300), st.floats(0.001, 0.6), st.data())
def test_the_test_agrees_with_the_sum_of_all_terms(
    total: int, limit: float, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, total))
    chance = tail(count, total, limit)
    if abs(chance / ALPHA - 1) > 1e-6:
        assert is_share_above(count, total, limit) is (count > total * limit and chance <= ALPHA)


@given(st.integers(0, 60), st.floats(0.01, 40))
def test_a_count_is_above_a_mean_if_chance_hardly_explains_it(count: int, mean: float) -> None:
    below = sum(exp(-mean) * mean**n / factorial(n) for n in range(count))
    if abs((1 - below) / 1e-3 - 1) > 1e-6:
        assert is_count_above(count, mean, 1e-3) is (count > mean and 1 - below <= 1e-3)
