"""Draws the problems of the last days as a strip: the longer a problem, the wider its mark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from app.dashboard.verdict_view import HISTORY_DAYS, FindingLine
from app.judgement.verdict import State
from app.rollup.resolutions import DAY_S, align

_PERCENT = 100
_WIDTH_MIN = 0.35  # percent: a short problem is seen, too


class StripMark(NamedTuple):
    """A problem from `x` on, `width` wide, both in percent of the strip."""

    x: float
    width: float
    state: State
    text: str


class StripDay(NamedTuple):
    """The begin of a day at `x` percent."""

    x: float
    text: str


class HistoryStrip(NamedTuple):
    """The last days from left to right; the right edge is now."""

    days: list[StripDay]
    marks: list[StripMark]


def draw_history(lines: Sequence[FindingLine], now_s: int) -> HistoryStrip:
    """Place problems on the strip. Those that last reach to its right edge."""
    start_s = now_s - HISTORY_DAYS * DAY_S
    first_day_s = align(start_s, DAY_S) + DAY_S
    days = [
        StripDay(_percent_at(day_s, start_s), f"{datetime.fromtimestamp(day_s, UTC):%a %-d}")
        for day_s in range(first_day_s, now_s, DAY_S)
    ]
    marks = []
    for line in lines:
        end_s = line.until_s or now_s
        if end_s <= start_s or line.state in ("ok", "idle"):
            continue
        x = _percent_at(max(line.since_s, start_s), start_s)
        width = max(_percent_at(end_s, start_s) - x, _WIDTH_MIN)
        x = min(x, _PERCENT - width)
        marks.append(StripMark(round(x, 2), round(width, 2), line.state, line.text))
    return HistoryStrip(days, marks)


def _percent_at(at_s: int, start_s: int) -> float:
    return round(_PERCENT * (at_s - start_s) / (HISTORY_DAYS * DAY_S), 2)
