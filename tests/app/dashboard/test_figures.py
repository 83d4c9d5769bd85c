"""The figures of an app's page: how a range differs from that of last week."""

from __future__ import annotations

import pytest

from app.dashboard.figures import Figure
from app.query.stats import Value


@pytest.mark.parametrize(
    ("unit", "whole", "last_week", "words"),
    [
        ("", 138.0, 100.0, "+38 %"),
        ("", 60.0, 100.0, "−40 %"),
        ("ms", 560.0, 240.0, "2.3 ×"),
        ("ms", 30_000.0, 10.0, "3,000 ×"),
        ("ms", 102.0, 100.0, ""),
        ("%", 0.265, 0.002, "+26 points"),
        ("%", 0.5, 0.75, "−25 points"),
        ("%", 0.004, 0.002, ""),
        ("", 0.0, 0.0, ""),
        ("", 7.0, 0.0, ""),
        ("", 7.0, None, ""),
        ("", None, 7.0, ""),
    ],
)
def test_a_change_is_told_as_people_would_say_it(
    unit: str, whole: Value, last_week: Value, words: str
) -> None:
    assert Figure("x", unit, None, 300, whole, last_week, [], is_bad=False).change == words
