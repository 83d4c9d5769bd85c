"""Resolutions: the lengths of the intervals that rollups are stored at, and their retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

from app.support.durations import parse_duration

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
# Slots outlive their retention, so that a query for "the last 24 hours" still finds its first slot.
SLACK_S = HOUR_S
CHART_POINTS_MAX = 300  # about as many as a chart can show

_NICE_STEPS_S = (
    *(minutes * MINUTE_S for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * HOUR_S for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_S for days in (1, 2, 7)),
)


class Resolution(NamedTuple):
    """One length of interval: `seconds` long, stored for `retention_s`.

    `name` is part of the keys in the store: "1m", "10m", "1h".
    """

    name: str
    seconds: int
    retention_s: int


def resolutions(retention_1m_s: int, retention_10m_s: int, retention_1h_s: int) -> list[Resolution]:
    """Return the stored resolutions, finest first.

    Each length divides the next one, so each resolution is made from the one before.
    """
    return [
        Resolution("1m", MINUTE_S, retention_1m_s),
        Resolution("10m", 10 * MINUTE_S, retention_10m_s),
        Resolution("1h", HOUR_S, retention_1h_s),
    ]


class ArchivedTiers(Sequence[Resolution]):
    """The stored resolutions, and after them those of an archive, which reach back further.

    Follows the list of the stored ones when it changes.
    """

    def __init__(self, stored: Sequence[Resolution], archived: Sequence[Resolution]) -> None:
        self._stored = stored
        self._archived = archived

    @overload
    def __getitem__(self, index: int) -> Resolution: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Resolution]: ...

    def __getitem__(self, index: int | slice) -> Resolution | Sequence[Resolution]:
        return [*self._stored, *self._archived][index]

    def __len__(self) -> int:
        return len(self._stored) + len(self._archived)


def align(t_s: int, seconds: int) -> int:
    """Return the start of the interval that contains `t_s`; intervals count from the Unix epoch."""
    return t_s - t_s % seconds


def align_up(t_s: int, seconds: int) -> int:
    """Return the start of the first interval that begins at `t_s` or later."""
    return -align(-t_s, seconds)


def parse_step(text: str) -> int:
    """Return the seconds of a step: a duration, or the number of seconds as in "600".

    Raises:
        ValueError: the text has another form, or is 0.
    """
    return parse_duration(f"{text}s" if text.isdigit() else text)


def nice_step(range_s: float) -> int:
    """Return the shortest round step that divides a range into at most POINTS_MAX intervals.

    The longest step of all if even that one gives more.
    """
    for step_s in _NICE_STEPS_S:
        if range_s / step_s <= CHART_POINTS_MAX:
            return step_s
    return _NICE_STEPS_S[-1]
