"""Ticks are exact and differ, and bounds are round."""

from __future__ import annotations

import pytest

from app.web.pages.axes import linear_scale, log_scale, time_ticks

NOON_S = 1_795_348_800  # 22 Nov 12:00 UTC
HOUR_S, DAY_S = 3_600, 86_400


@pytest.mark.parametrize("highest", [0, 0.07, 0.2, 1, 2, 3, 7, 42, 99.9, 1_600, 30_123, 2e9])
@pytest.mark.parametrize("integers", [False, True])
def test_ticks_say_where_they_are_and_never_the_same(highest: float, *, integers: bool) -> None:
    scale = linear_scale(highest, integers=integers)
    texts = [tick.text for tick in scale.ticks]
    assert len(set(texts)) == len(texts) >= 2
    for tick in scale.ticks:
        value = float(tick.text.replace(",", "").replace("k", "e3").replace("M", "e6"))
        assert scale.share_of(value) == pytest.approx(tick.share)
        assert len(tick.text) <= len("99,999")
        assert not integers or "." not in tick.text
    assert scale.share_of(highest) <= 1 + 1e-9


def test_a_logarithmic_scale_has_round_bounds_close_to_the_values() -> None:
    assert [tick.text for tick in log_scale(130, 1_600).ticks] == [
        "100",
        "200",
        "500",
        "1,000",
        "2,000",
    ]
    assert [tick.text for tick in log_scale(1, 1).ticks] == ["1", "2"]
    wide = [tick.text for tick in log_scale(1, 30_000).ticks]
    assert wide == ["1", "10", "100", "1,000", "10,000"]


@pytest.mark.parametrize(
    ("length_s", "texts"),
    [
        (HOUR_S, ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]),
        (DAY_S, ["12:00", "18:00", "23 Nov", "06:00"]),
        (7 * DAY_S, ["23 Nov", "25 Nov", "27 Nov", "29 Nov"]),
        (365 * DAY_S, ["21 Jan 2027", "22 Apr 2027", "22 Jul 2027", "21 Oct 2027"]),
    ],
)
def test_times_are_round_and_the_date_stands_at_midnight(length_s: int, texts: list[str]) -> None:
    assert [tick.text for tick in time_ticks(NOON_S, NOON_S + length_s)] == texts
