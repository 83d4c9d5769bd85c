"""Numbers, durations and times in words, for people who read in a hurry.

No scientific notation, and no more digits than tell something.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

_SECOND_MS = 1000
_MINUTE_S = 60
_HOUR_MIN = 60
_DAY_MIN = 24 * _HOUR_MIN
_LIST_MAX = 3


def number_in_words(value: float) -> str:
    """Three significant digits, but all of a whole number: 1,240; 12.3; 0.04."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def share_in_words(share: float) -> str:
    """A share (0 to 1) in percent: 9 %, 0.4 %, under 0.1 %.

    Only all is 100 %, and only nothing 0 %.
    """
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    if share < 0.001:
        return "under 0.1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    percent = share * 100
    return f"{percent:.1f} %".replace(".0 ", " ") if percent < 10 else f"{percent:.0f} %"


def time_in_words(milliseconds: float) -> str:
    """A response time: 240 ms, 1.24 s, 30 s."""
    if milliseconds < _SECOND_MS:
        return f"{milliseconds:.0f} ms"
    return f"{number_in_words(round(milliseconds / _SECOND_MS, 2))} s"


def duration_in_words(seconds: float) -> str:
    """To the minute: under 1 min, 15 min, 1 h, 3 h 05 min, 2 days."""
    minutes = round(seconds / _MINUTE_S)
    if minutes < 1:
        return "under 1 min"
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    if minutes < 2 * _DAY_MIN:
        hours, rest = divmod(minutes, _HOUR_MIN)
        return f"{hours} h {rest:02d} min" if rest else f"{hours} h"
    return f"{minutes // _DAY_MIN} days"


def clock_time(at_s: float, now_s: float) -> str:
    """23:12, with the date if it is not the day of `now_s` (29 Nov 23:12). UTC, not named."""
    at, now = datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(now_s, UTC)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    year = f" {at:%Y}" if abs(at_s - now_s) > 300 * _DAY_MIN * _MINUTE_S else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M}"


def count_in_words(count: int, singular: str, plural: str = "") -> str:
    """1 request, 2 requests, 1,204 lines; with `plural` where no s makes it."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def times_in_words(count: int) -> str:
    """once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def names_in_words(names: Sequence[str]) -> str:
    """web.1; web.1 and web.2; web.1, web.2, web.3 and 4 more."""
    if len(names) > _LIST_MAX + 1:
        return f"{', '.join(names[:_LIST_MAX])} and {len(names) - _LIST_MAX} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
