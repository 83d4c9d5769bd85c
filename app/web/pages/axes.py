"""The axes of pictures of charts: scales, and ticks that are round, exact and never the same.

app/web/static/axes.js does the same for interactive charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S

_FACTORS = (1, 2, 5)
_STEPS_MAX = 5  # of a linear axis
_LOG_TICKS_MAX = 8
_TIME_LABELS_MAX = 6
_TIME_STEPS_S = (
    *(MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 10 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S),
    *(HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S),
    *(days * DAY_S for days in (1, 2, 7, 14, 28, 56, 91, 182, 364)),
)
_YEARLESS_S = 28 * DAY_S  # between labels; longer ones have the year
_ROUNDING = 1e-9
_THOUSANDS_FROM, _MILLIONS_FROM = 100_000, 100_000_000


class Tick(NamedTuple):
    """A label on an axis. `share`: where, from 0 (left, or bottom) to 1."""

    share: float
    text: str


class Scale(NamedTuple):
    """An axis of values. `share_of` gives the height of a value, from 0 to 1."""

    ticks: list[Tick]
    share_of: Callable[[float], float]


def linear_scale(highest: float, *, integers: bool = False) -> Scale:
    """A scale from 0 to a multiple of a round step (1, 2 or 5 times a power of ten)."""
    step = round_up(max(highest, 0) / _STEPS_MAX or 1 / _STEPS_MAX)
    if integers:
        step = max(step, 1)
    count = max(math.ceil(highest / step - _ROUNDING), 1)
    digits = max(0, -math.floor(math.log10(step) + _ROUNDING))
    ticks = [Tick(index / count, tick_text(index * step, digits)) for index in range(count + 1)]
    return Scale(ticks, lambda value: value / (count * step))


def log_scale(lowest: float, highest: float) -> Scale:
    """A logarithmic scale whose bounds are 1, 2 or 5 times a power of ten."""
    low = round_down(max(lowest, 1))
    high = max(round_up(max(highest, 1)), round_up(low * 2))
    span = math.log10(high / low)

    def share_of(value: float) -> float:
        return math.log10(max(value, low) / low) / span

    values = round_numbers(low, high)
    if len(values) > _LOG_TICKS_MAX:
        values = [value for value in values if math.log10(value) % 1 < _ROUNDING]
    return Scale([Tick(share_of(value), tick_text(value)) for value in values], share_of)


def tick_text(value: float, digits: int = 0) -> str:
    """A number of an axis. One of more than five digits would be cut: 100k, 100M."""
    if value >= _MILLIONS_FROM:
        return f"{value / 1_000_000:,.0f}M"
    return f"{value / 1_000:,.0f}k" if value >= _THOUSANDS_FROM else f"{value:,.{digits}f}"


def round_up(value: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least `value` (above 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    # The tolerance is for rounding errors, which must not lead to the next number.
    return next(
        factor * power for factor in (*_FACTORS, 10) if factor * power >= value * (1 - _ROUNDING)
    )


def round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most `value` (above 0)."""
    power = 10.0 ** math.floor(math.log10(value) + _ROUNDING)
    return max(factor * power for factor in _FACTORS if factor * power <= value * (1 + _ROUNDING))


def round_numbers(low: float, high: float) -> list[float]:
    """All of 1, 2 and 5 times a power of ten from `low` to `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = [factor * 10.0**power for power in powers for factor in _FACTORS]
    return [number for number in numbers if low * (1 - _ROUNDING) <= number <= high * 1.001]


def time_ticks(start_s: int, end_s: int) -> list[Tick]:
    """Labels of the time axis at round times of UTC: times of day, and the date at midnight.

    Over long ranges, dates have the year.
    """
    length_s = max(end_s - start_s, 1)
    step_s = next(
        (step for step in _TIME_STEPS_S if length_s / step <= _TIME_LABELS_MAX), _TIME_STEPS_S[-1]
    )
    first_s = -(-start_s // step_s) * step_s
    return [
        Tick((at_s - start_s) / length_s, _label_time(at_s, step_s))
        for at_s in range(first_s, end_s, step_s)
    ]


def _label_time(at_s: int, step_s: int) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    if at_s % DAY_S:
        return f"{at:%H:%M}"
    return f"{at.day} {at:%b %Y}" if step_s > _YEARLESS_S else f"{at.day} {at:%b}"


def without_cut_labels(ticks: Sequence[Tick]) -> list[Tick]:
    """Without labels so close to an end that half of them would lie outside."""
    margin = 0.03
    return [tick for tick in ticks if margin <= tick.share <= 1 - margin]
