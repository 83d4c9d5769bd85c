"""Dynos that differ from their peers are found, others are not."""

from __future__ import annotations

import math

import pytest

from app.dashboard.outliers import find_outliers


def test_the_dyno_that_differs_is_found_with_its_ratio() -> None:
    times = {"web.1": 180.0, "web.2": 190.0, "web.3": 1_850.0, "web.4": 185.0}
    assert find_outliers(times) == {"web.3": pytest.approx(1_850 / 187.5)}


@pytest.mark.parametrize(
    "values",
    [
        {"web.1": 100.0, "web.2": 900.0},  # which of two is the odd one?
        {"web.1": 100.0, "web.2": 101.0, "web.3": 100.0, "web.4": 130.0},  # not by much
        {"web.1": 100.0, "web.2": 400.0, "web.3": 900.0, "web.4": 1_500.0},  # all differ
        {"web.1": None, "web.2": None, "web.3": 5.0},
        {"web.1": 0.0, "web.2": 0.0, "web.3": 1.0},  # one error is nothing
    ],
)
def test_what_every_fleet_has_is_no_outlier(values: dict[str, float | None]) -> None:
    assert find_outliers(values) == {}


def test_errors_of_one_dyno_only_are_an_outlier() -> None:
    assert find_outliers({"web.1": 0, "web.2": 0, "web.3": 375}) == {"web.3": math.inf}
