"""Texts and numbers as the pages show them."""

from __future__ import annotations

import pytest

from app.web.pages.rendering import keep_units


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("6.7 % of 30 requests", "6.7~% of 30 requests"),
        ("p95 1.6 s, 5.8 × the usual 274 ms", "p95 1.6~s, 5.8~× the usual 274~ms"),
        ("since 21:13 UTC (2 h 05 min)", "since 21:13~UTC (2~h 05~min)"),
        ("3 minutes, 5 sends", "3 minutes, 5 sends"),
    ],
)
def test_a_number_and_its_unit_stay_on_one_line(text: str, kept: str) -> None:
    assert keep_units(text) == kept.replace("~", "\N{NO-BREAK SPACE}")
