"""Quantile sketch over whole milliseconds: which bin a value falls in, and what bins say about all
values.

After DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019): bins grow by GAMMA, so a quantile read from them is at most
1 % off, and sketches merge by adding counts. Two changes, because the values are whole numbers:

- bins that hold no whole number do not exist, so below 50 ms every value has a bin of its own:
  exact;
- a bin ends at each of PROMETHEUS_BOUNDS_MS, so how many values lie within such a bound is exact.

The numbering of the bins is part of the stored format: it must never change.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

GAMMA = 1.02
PROMETHEUS_BOUNDS_MS = (
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 30_000,
)  # fmt: skip
LONGEST_MS = 6_000_000  # 100 minutes; longer times are put into the last bin

Bins = dict[int, int]  # bin -> how many values


def _edges() -> tuple[int, ...]:
    """The smallest value of every bin, ascending."""
    lows = [0, 1]
    bounds = {bound + 1 for bound in PROMETHEUS_BOUNDS_MS}
    step = 0
    while lows[-1] <= LONGEST_MS:
        low = lows[-1]
        while (after := math.floor(GAMMA**step) + 1) <= low:
            step += 1
        lows.append(min([after, *(bound for bound in bounds if low < bound < after)]))
    return tuple(lows[:-1])


LOW_MS = _edges()
BIN_COUNT = len(LOW_MS)
HIGH_MS = (*(low - 1 for low in LOW_MS[1:]), LONGEST_MS)

TABLE_SIZE = 65_536
BIN_OF = [bisect_right(LOW_MS, ms) - 1 for ms in range(TABLE_SIZE)]  # of times shorter than this


def bin_of(ms: int) -> int:
    """The bin that a whole, non-negative number of milliseconds falls in."""
    return BIN_OF[ms] if ms < TABLE_SIZE else bisect_right(LOW_MS, ms) - 1


def quantiles_ms(bins: Mapping[int, int], quantiles: Sequence[float]) -> list[float | None]:
    """Each quantile by nearest rank: the smallest value that at least this share of the values do
    not exceed.

    What is returned is the middle of that value's bin: at most 1 % off, exact below 50 ms. None
    when there is no value.
    """
    total = sum(bins.values())
    if not total:
        return [None] * len(quantiles)
    ranks = sorted((rank(quantile, total), place) for place, quantile in enumerate(quantiles))
    found: list[float | None] = [None] * len(quantiles)
    below = at = 0
    for index in sorted(bins):
        below += bins[index]
        while at < len(ranks) and below >= ranks[at][0]:
            found[ranks[at][1]] = (LOW_MS[index] + HIGH_MS[index]) / 2
            at += 1
    return found


def rank(quantile: float, total: int) -> int:
    """Which of so many values, in ascending order and counted from 1, is the quantile."""
    # 0.07 * 100 is 7.000000000000001 in floats: a rank must not be lifted by that
    return min(max(math.ceil(round(quantile * total, 6)), 1), total)


def quantile_ms(bins: Mapping[int, int], quantile: float) -> float | None:
    """One quantile; see quantiles_ms."""
    return quantiles_ms(bins, (quantile,))[0]


_WITHIN = [bisect_left(PROMETHEUS_BOUNDS_MS, low) for low in LOW_MS]  # which bound a bin is within


def counts_within_bounds(bins: Mapping[int, int]) -> list[int]:
    """How many values lie within each of PROMETHEUS_BOUNDS_MS, and how many there are: exact."""
    counts = [0] * (len(PROMETHEUS_BOUNDS_MS) + 1)
    for index, count in bins.items():
        counts[_WITHIN[index]] += count
    return list(accumulate(counts))


def count_within(bins: Mapping[int, int], ms: int) -> float:
    """How many values are at most `ms`: exact where a bin ends at `ms`, else by the share of the
    bin's whole numbers.
    """
    last = bin_of(max(ms, 0))
    within: float = sum(count for index, count in bins.items() if index < last)
    in_last = bins.get(last, 0)
    if not in_last or ms < 0:
        return within
    if ms >= HIGH_MS[last]:
        return within + in_last
    return within + in_last * (ms - LOW_MS[last] + 1) / (HIGH_MS[last] - LOW_MS[last] + 1)
