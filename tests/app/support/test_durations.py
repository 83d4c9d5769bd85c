"""Durations: a number and its unit."""

from __future__ import annotations

import pytest

from app.support.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("24h", 86_400), ("90d", 7_776_000), ("1w", 604_800)],
)
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


def test_a_number_without_a_unit_is_rejected_with_the_durations_it_may_mean() -> None:
    with pytest.raises(ValueError, match="its unit: one of 24s, 24m, 24h, 24d, 24w"):
        parse_duration("24")


@pytest.mark.parametrize("text", ["", "0", "0h", "h", "1y", "-5m", "1.5h", "5 m", "٣m"])
def test_other_text_is_rejected_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 30s, 5m, 24h or 90d"):
        parse_duration(text)
