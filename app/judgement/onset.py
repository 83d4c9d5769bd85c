"""Estimates when a share changed: the begin of an incident, and an interval that holds it.

The model: requests are bad with one share before the change, and with a higher one after it. Each
possible time of the change has a likelihood, with the shares that fit it best. With no time more
likely beforehand, these likelihoods are its distribution, of which the estimate is the median. See
Chen and Gupta, "Parametric Statistical Change Point Analysis", 2nd edition, chapter 4 (binomial).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

TEMPER = 0.7  # failures and slow requests come in bursts, so they tell less than independent ones
STEPS = 4  # possible times of the change in an interval
TAIL = 0.02  # the probability that the change lies before the interval; the same for after
PRIOR_REQUESTS = 50  # the usual share counts as so many requests before the change
SHARE_MIN = 1e-4


class Tally(NamedTuple):
    """The requests of an interval, and how many of them were bad."""

    start_s: int
    length_s: int
    total: int
    bad: int


class Onset(NamedTuple):
    """When something began: the best estimate, and the interval that it lies in. Unix seconds."""

    since_s: int
    min_s: int
    max_s: int


def estimate_onset(tallies: Sequence[Tally], usual: float, earliest_s: int) -> Onset:
    """Estimate when the share of bad requests rose. The last tally is after the change.

    usual       the share before, as far as it is known from other days
    earliest_s  the change is known to be later
    """
    candidates = _weigh_candidates(tallies, min(max(usual, SHARE_MIN), 0.5), earliest_s)
    likeliest = max(log_weight for _, _, log_weight in candidates)
    weights = [
        (start_s, end_s, (end_s - start_s) * exp(TEMPER * (log_weight - likeliest)))
        for start_s, end_s, log_weight in candidates
    ]
    return Onset(
        _snap(_quantile(weights, 0.5), tallies),
        int(_quantile(weights, TAIL)),
        -int(-_quantile(weights, 1 - TAIL)),
    )


def _snap(at_s: float, tallies: Sequence[Tally]) -> int:
    """The begin of an interval, if that is as near as the steps are exact; else the time itself."""
    for tally in tallies:
        if abs(tally.start_s - at_s) <= tally.length_s / STEPS / 2:
            return tally.start_s
    return round(at_s)


def _weigh_candidates(
    tallies: Sequence[Tally], usual: float, earliest_s: int
) -> list[tuple[float, float, float]]:
    """(start, end, log-likelihood) of each time in which the change may lie."""
    total = sum(tally.total for tally in tallies)
    bad = sum(tally.bad for tally in tallies)
    total_before = bad_before = 0
    candidates = []
    for tally in tallies:
        total -= tally.total
        bad -= tally.bad
        if tally.start_s >= earliest_s:
            before = (bad_before + usual * PRIOR_REQUESTS) / (total_before + PRIOR_REQUESTS)
            log_before = _log_likelihood(bad_before, total_before, before)
            step_s = tally.length_s / STEPS
            for step in range(STEPS):
                part = 1 - (step + 0.5) / STEPS  # of the interval, after the change
                weight = log_before + _log_split(tally, part, before, bad, total)
                start_s = tally.start_s + step * step_s
                candidates.append((start_s, start_s + step_s, weight))
        total_before += tally.total
        bad_before += tally.bad
    return candidates


def _log_split(tally: Tally, part: float, before: float, bad: int, total: int) -> float:
    """The log-likelihood of an interval that the change lies in, and of all after it.

    part        of the interval that lies after the change
    bad, total  requests after the interval
    """
    mixed_total = total + tally.total * part
    mixed_bad = bad + max(tally.bad - before * (1 - part) * tally.total, 0.0)
    after = max(before, mixed_bad / mixed_total if mixed_total else before)
    after = min(after, 1 - SHARE_MIN)
    mixed = (1 - part) * before + part * after
    return _log_likelihood(tally.bad, tally.total, mixed) + _log_likelihood(bad, total, after)


def _log_likelihood(bad: int, total: int, share: float) -> float:
    return bad * log(share) + (total - bad) * log(1 - share) if total else 0.0


def _quantile(weights: Sequence[tuple[float, float, float]], quantile: float) -> float:
    """The time before which the share `quantile` of all weight lies."""
    left = quantile * sum(weight for _, _, weight in weights)
    for start_s, end_s, weight in weights:
        if weight >= left:
            return start_s + (end_s - start_s) * (left / weight if weight else 0.0)
        left -= weight
    return weights[-1][1]
