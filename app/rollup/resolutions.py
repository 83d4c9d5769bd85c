"""Resolutions: the lengths of interval that rollups are stored at, and for how long each is
kept.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
# Slots outlive their retention, so "the last 24 hours" need not be exact to the second.
SLACK_S = HOUR_S
POINTS_MAX = 300  # about as many as a chart has room for

_NICE_STEPS_S = (
    *(minutes * MINUTE_S for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * HOUR_S for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_S for days in (1, 2, 7)),
)
_STEP = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}


class Resolution(NamedTuple):
    """`name` is that of the store's slots; an interval lasts `seconds` and is kept for
    `retention_s`.
    """

    name: str
    seconds: int
    retention_s: int


def resolutions(retention_1m_s: int, retention_10m_s: int, retention_1h_s: int) -> list[Resolution]:
    """The stored resolutions, finest first. Each divides the next, so each is made from the one
    before.
    """
    return [
        Resolution("1m", MINUTE_S, retention_1m_s),
        Resolution("10m", 10 * MINUTE_S, retention_10m_s),
        Resolution("1h", HOUR_S, retention_1h_s),
    ]


def align(t_s: int, seconds: int) -> int:
    """The start of the interval that holds `t_s`, counted from the Unix epoch."""
    return t_s - t_s % seconds


def parse_step(text: str) -> int:
    """Seconds of "1m", "10m", "2h", "1d", "90s" or "600".

    Raises:
        ValueError: none of these, or 0.
    """
    match = _STEP.fullmatch(text)
    if not match or not int(match[1]):
        raise ValueError(f"{text!r} is not a step such as 1m, 10m, 2h, 1d or 600")
    return int(match[1]) * _UNIT_S[match[2]]


def nice_step(range_s: float) -> int:
    """The shortest usual step that divides a range into at most POINTS_MAX intervals."""
    for step_s in _NICE_STEPS_S:
        if range_s / step_s <= POINTS_MAX:
            return step_s
    return _NICE_STEPS_S[-1]
