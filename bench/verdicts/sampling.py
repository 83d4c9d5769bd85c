"""Random counts, fast enough for millions of minutes.

Python has `Random.binomialvariate` only from 3.12 on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

NORMAL_MEAN_MIN = 30  # from this mean on, a count is drawn from the normal distribution


def poisson(rng: Random, mean: float) -> int:
    """A Poisson count: exact below NORMAL_MEAN_MIN, rounded from a normal one above."""
    if mean <= 0:
        return 0
    if mean >= NORMAL_MEAN_MIN:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    draw = rng.random()
    probability = math.exp(-mean)
    count = 0
    while draw > probability and count < 200:
        draw -= probability
        count += 1
        probability *= mean / count
    return count


def binomial(rng: Random, trials: int, share: float) -> int:
    """The number of successes among `trials`: exact unless many are expected of both kinds."""
    if trials <= 0 or share <= 0:
        return 0
    if share >= 1:
        return trials
    if share > 0.5:
        return trials - binomial(rng, trials, 1 - share)
    mean = trials * share
    if mean >= NORMAL_MEAN_MIN:
        count = round(rng.gauss(mean, math.sqrt(mean * (1 - share))))
        return min(max(count, 0), trials)
    draw = rng.random()
    probability = (1 - share) ** trials
    odds = share / (1 - share)
    count = 0
    while draw > probability and count < trials:
        draw -= probability
        probability *= odds * (trials - count) / (count + 1)
        count += 1
    return count


def split_evenly(rng: Random, total: int, parts: int) -> list[int]:
    """`total` things, each put into one of `parts` at random."""
    counts = []
    for remaining in range(parts, 1, -1):
        count = binomial(rng, total, 1 / remaining)
        counts.append(count)
        total -= count
    return [*counts, total]


def split_by(rng: Random, total: int, sizes: Sequence[int]) -> list[int]:
    """`total` of the members of groups of these sizes, each drawn once at most (nearly so)."""
    counts = []
    remaining = sum(sizes)
    for size in sizes:
        share = size / remaining if remaining else 0.0
        count = min(binomial(rng, total, share), size)
        counts.append(count)
        total -= count
        remaining -= size
    return counts
