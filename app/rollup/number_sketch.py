"""Quantile sketch of any numbers: counts by bin. Bins grow by the factor GAMMA.

It follows DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019), without its limit on the number of bins:
app.rollup.open_limits bounds all sketches of an app together. A quantile is at most 1 % off. Zero
has a bin of its own, and negative numbers mirror the positive ones.

app.rollup.sketch is the other one, for whole milliseconds. The numbering of the bins is part of the
stored format: it must never change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from app.rollup.sketch import nearest_rank

GAMMA = 1.02  # so the middle of a bin is at most 0.0099 of its numbers off
ZERO_BIN = 2**15
BIN_MAX = 2**16 - 1
STEP_MAX = 2**14 - 1  # GAMMA ** ±STEP_MAX is 10 ** ±140; numbers beyond fall in the last bins
MIDDLE_STEP = STEP_MAX + 1  # bin ZERO_BIN ± MIDDLE_STEP ends at ±1
LOG_GAMMA = math.log(GAMMA)
_MIDDLE = 2 / (GAMMA + 1)  # of a bin, as a share of its upper bound


def bin_of(number: float) -> int:
    """The bin of a number."""
    if not number:
        return ZERO_BIN
    step = math.ceil(math.log(abs(number)) / LOG_GAMMA)
    distance = min(max(step, -STEP_MAX), STEP_MAX) + MIDDLE_STEP
    return ZERO_BIN + distance if number > 0 else ZERO_BIN - distance


def bounds(index: int) -> tuple[float, float]:
    """The smallest and the largest number of a bin."""
    if index == ZERO_BIN:
        return 0.0, 0.0
    upper = GAMMA ** (abs(index - ZERO_BIN) - MIDDLE_STEP)
    return (upper / GAMMA, upper) if index > ZERO_BIN else (-upper, -upper / GAMMA)


def middle(index: int) -> float:
    """The number that stands for all numbers of a bin."""
    low, high = bounds(index)
    return (high if index > ZERO_BIN else low) * _MIDDLE


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """A quantile (0 to 1) by nearest rank, as in app.rollup.sketch; None without numbers."""
    total = sum(bins.values())
    if not total:
        return None
    rank = nearest_rank(share, total)
    count = 0
    for index in sorted(bins):
        count += bins[index]
        if count >= rank:
            return middle(index)
    raise AssertionError("the bins add up to less than their total")


def count_within(bins: Mapping[int, int], limit: float) -> float:
    """The number of numbers that are at most `limit`.

    The bin that contains `limit` counts in part, as if its numbers were spread evenly.
    """
    last = bin_of(limit)
    count: float = sum(count for index, count in bins.items() if index < last)
    low, high = bounds(last)
    return count + bins.get(last, 0) * ((limit - low) / (high - low) if high > low else 1)


def counts_within(bins: Mapping[int, int], limits: Sequence[float]) -> list[int]:
    """The number of numbers within each limit, ascending, then their total.

    A bin counts if its middle is within the limit. So each count is exact for a limit that is at
    most 1 % off.
    """
    counts = [0] * (len(limits) + 1)
    position = total = 0
    for index in sorted(bins):
        while position < len(limits) and middle(index) > limits[position]:
            counts[position] = total
            position += 1
        total += bins[index]
    counts[position:] = [total] * (len(counts) - position)
    return counts
