"""Quantile sketch over whole milliseconds: counts of values by bin.

It follows DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019). The width of bins grows by the factor GAMMA, so a quantile
that is read from them is at most 1 % off. Sketches merge by adding counts. Values are whole
numbers, which allows two changes:

- Bins that contain no whole number are left out. Below 50 ms every value has a bin of its own, and
  quantiles are exact.
- A bin ends at each of PROMETHEUS_BOUNDS_MS, so the number of values within such a bound is exact.

The numbering of the bins is part of the stored format: it must never change.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

GAMMA = 1.02
PROMETHEUS_BOUNDS_MS = (
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 30_000,
)  # fmt: skip
LONGEST_MS = 6_000_000  # 100 minutes; longer times fall in the last bin

Bins = dict[int, int]  # bin -> number of values


def _edges() -> tuple[int, ...]:
    """Return the smallest value of every bin, ascending."""
    lows = [0, 1]
    bounds = {bound + 1 for bound in PROMETHEUS_BOUNDS_MS}
    step = 0
    while lows[-1] <= LONGEST_MS:
        low = lows[-1]
        while (next_low := math.floor(GAMMA**step) + 1) <= low:  # skip bins without a whole number
            step += 1
        lows.append(min([next_low, *(bound for bound in bounds if low < bound < next_low)]))
    return tuple(lows[:-1])


LOW_MS = _edges()
BIN_COUNT = len(LOW_MS)
HIGH_MS = (*(low - 1 for low in LOW_MS[1:]), LONGEST_MS)

TABLE_SIZE = 65_536
BIN_OF = [bisect_right(LOW_MS, ms) - 1 for ms in range(TABLE_SIZE)]  # by time below TABLE_SIZE


def bin_of(ms: int) -> int:
    """Return the bin of a whole, non-negative number of milliseconds."""
    return BIN_OF[ms] if ms < TABLE_SIZE else bisect_right(LOW_MS, ms) - 1


def quantiles_ms(bins: Mapping[int, int], quantiles: Sequence[float]) -> list[float | None]:
    """Return each quantile (0 to 1) by nearest rank, in ms; None if there are no values.

    The quantile q is the smallest value such that at least the share q of all values does not
    exceed it. The result is the middle of that value's bin: at most 1 % off, exact below 50 ms.
    """
    total = sum(bins.values())
    if not total:
        return [None] * len(quantiles)
    # One pass over the bins answers all quantiles, by ascending rank.
    ranks = sorted(
        (nearest_rank(quantile, total), index) for index, quantile in enumerate(quantiles)
    )
    values: list[float | None] = [None] * len(quantiles)
    count = position = 0
    for index in sorted(bins):
        count += bins[index]
        while position < len(ranks) and count >= ranks[position][0]:
            values[ranks[position][1]] = (LOW_MS[index] + HIGH_MS[index]) / 2
            position += 1
    return values


def nearest_rank(quantile: float, total: int) -> int:
    """Return the position of a quantile among `total` ascending values, counted from 1."""
    # In floats 0.07 * 100 is 7.000000000000001; without rounding, ceil would return 8.
    return min(max(math.ceil(round(quantile * total, 6)), 1), total)


def quantile_ms(bins: Mapping[int, int], quantile: float) -> float | None:
    """Return one quantile by nearest rank, in ms; None if there are no values."""
    return quantiles_ms(bins, (quantile,))[0]


# Of each bin: the index of the first bound that it lies within.
_BOUND_OF = [bisect_left(PROMETHEUS_BOUNDS_MS, low) for low in LOW_MS]


def counts_within_bounds(bins: Mapping[int, int]) -> list[int]:
    """Return the exact number of values within each of PROMETHEUS_BOUNDS_MS, then their total."""
    counts = [0] * (len(PROMETHEUS_BOUNDS_MS) + 1)
    for index, count in bins.items():
        counts[_BOUND_OF[index]] += count
    return list(accumulate(counts))


def count_within(bins: Mapping[int, int], ms: int) -> float:
    """Return the number of values that are at most `ms`.

    Exact if a bin ends at `ms`. Otherwise the bin that contains `ms` counts in part, as if its
    values were spread evenly over its whole numbers.
    """
    last = bin_of(max(ms, 0))
    count: float = sum(count for index, count in bins.items() if index < last)
    last_count = bins.get(last, 0)
    if not last_count or ms < 0:
        return count
    if ms >= HIGH_MS[last]:
        return count + last_count
    return count + last_count * (ms - LOW_MS[last] + 1) / (HIGH_MS[last] - LOW_MS[last] + 1)


def runs_of_bins(bins: Mapping[int, int]) -> Iterator[int]:
    """Yield a sketch as it is stored: the counts of consecutive bins.

    A negative number skips that many bins.
    """
    next_index = 0
    for index, count in sorted(bins.items()):
        if index != next_index:
            yield next_index - index
        yield count
        next_index = index + 1


def bins_of_runs(runs: Iterable[int]) -> Bins:
    """The sketch that `runs_of_bins` wrote."""
    bins: Bins = {}
    index = 0
    for value in runs:
        if value < 0:
            index -= value
        else:
            bins[index] = bins.get(index, 0) + value
            index += 1
    return bins
