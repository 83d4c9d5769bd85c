"""Numbers, durations and times as people read them."""

from __future__ import annotations

import pytest

from app.support.quantities import (
    count_in_words,
    duration_in_words,
    names_in_words,
    number_in_words,
    share_in_words,
    time_in_words,
    times_in_words,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (12, "12"), (12.345, "12.3"), (99.96, "100"), (1240.7, "1,241"),
        (0.0412, "0.0412"), (0.00001, "0.00001"), (26_600_000.0, "26,600,000"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number_in_words(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (0.0004, "under 0.1 %"), (0.004, "0.4 %"), (0.09, "9 %"), (0.083, "8.3 %"),
        (0.1249, "12 %"), (0.9951, "over 99 %"), (0.99999, "over 99 %"), (1, "100 %"),
        (0.0996, "10 %"), (1.12, "112 %"),
    ],
)  # fmt: skip
def test_only_all_is_a_hundred_percent_and_only_nothing_is_none(share: float, text: str) -> None:
    assert share_in_words(share) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (246.4, "246 ms"), (999.4, "999 ms"), (1000, "1 s"), (1236, "1.24 s"),
     (30_124, "30.1 s"), (26_600, "26.6 s"), (400_000, "400 s")],
)  # fmt: skip
def test_a_response_time_has_its_unit(milliseconds: float, text: str) -> None:
    assert time_in_words(milliseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "under 1 min"), (29, "under 1 min"), (60, "1 min"), (900, "15 min"), (3600, "1 h"),
     (11_100, "3 h 05 min"), (172_740, "47 h 59 min"), (172_800, "2 days"), (500_000, "5 days")],
)  # fmt: skip
def test_a_duration_is_told_to_the_minute(seconds: float, text: str) -> None:
    assert duration_in_words(seconds) == text


def test_counts_and_names_have_their_plurals() -> None:
    assert count_in_words(1, "line") == "1 line"
    assert count_in_words(1204, "line") == "1,204 lines"
    assert count_in_words(2, "dyno that is up", "dynos that are up") == "2 dynos that are up"
    assert [times_in_words(count) for count in (1, 2, 3)] == ["once", "twice", "3 times"]
    assert names_in_words([]) == ""
    assert names_in_words(["a"]) == "a"
    assert names_in_words(["a", "b"]) == "a and b"
    assert names_in_words(["a", "b", "c", "d"]) == "a, b, c and d"
    assert names_in_words(list("abcdefg")) == "a, b, c and 4 more"
