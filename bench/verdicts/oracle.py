"""The best that can be known of thin traffic: a test that knows both rates, and only waits.

The cumulative sum of log-likelihood ratios (Page: "Continuous inspection schemes", Biometrika 1954)
finds a change from one known distribution to another sooner than any other test with as many false
alarms (Moustakides, Annals of Statistics 1986). Its limit is set so that it has one false alarm in
FALSE_ALARM_HOURS. The rate of false alarms is measured by importance sampling, under the
distribution of the incident (Siegmund: "Sequential Analysis", 1985).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from random import Random

from app.judgement.facts import TypeFacts
from app.rollup.sketch import LOW_MS
from bench.verdicts.app_model import AppModel
from bench.verdicts.response_times import ResponseTimes
from bench.verdicts.sampling import binomial, poisson

FALSE_ALARM_HOURS = 1_000
MINUTES_PER_HOUR = 60
RUNS = 4_000
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)  # response times are told apart by these
SHARE_MAX = 0.999


class Oracle:
    """Adds up the evidence, minute after minute, and alarms above a limit.

    before, after  the probabilities of each category of requests, in health and in the incident
    """

    def __init__(self, rate: float, before: Sequence[float], after: Sequence[float]) -> None:
        self._ratios = [math.log(b / a) for a, b in zip(before, after, strict=True)]
        self._limit = alarm_limit(round(rate, 2), _rounded(before), _rounded(after))
        self._sum = 0.0

    def sees(self, counts: Sequence[int]) -> bool:
        """Whether it alarms at the end of a minute with these counts by category."""
        self._sum = max(0.0, self._sum + sum(map(float.__mul__, self._ratios, map(float, counts))))
        return self._sum >= self._limit


class FailingOracle(Oracle):
    """Knows the share of failed requests before and after."""

    def __init__(self, model: AppModel, rate: float, share: float) -> None:
        before = model.failures.share
        after = min(before + share, SHARE_MAX)
        super().__init__(rate, (1 - before, before), (1 - after, after))

    def judge(self, web: TypeFacts) -> bool:
        """Whether it alarms after this minute."""
        return self.sees((web.requests - web.failed, web.failed))


class SlowOracle(Oracle):
    """Knows the distribution of response times before and after."""

    def __init__(self, model: AppModel, rate: float, factor: float) -> None:
        cuts = _cuts(model.times)
        before, after = (_categories(model.times, cuts, times) for times in (1.0, factor))
        self._cuts = cuts
        super().__init__(rate, before, after)

    def judge(self, web: TypeFacts) -> bool:
        """Whether it alarms after this minute."""
        counts = [0] * (len(self._cuts) + 1)
        for index, count in web.times.items():
            counts[sum(LOW_MS[index] > cut for cut in self._cuts)] += count
        return self.sees(counts)


@lru_cache(maxsize=256)
def alarm_limit(rate: float, before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """The limit with one false alarm in FALSE_ALARM_HOURS."""
    rng = Random(f"{rate} {before} {after}")
    ratios = [math.log(b / a) for a, b in zip(before, after, strict=True)]
    cycle = sum(_run(rng, rate, before, ratios, math.inf)[0] for _ in range(RUNS)) / RUNS
    limit = 9.0
    for _ in range(2):
        weights = [_run(rng, rate, after, ratios, limit)[1] for _ in range(RUNS)]
        hits = sum(math.exp(limit - height) for height in weights if height) / RUNS
        target = FALSE_ALARM_HOURS * MINUTES_PER_HOUR
        limit = max(math.log(max(hits, 1e-6) / cycle * target), 0.5)
    return limit


def _run(
    rng: Random, rate: float, shares: Sequence[float], ratios: Sequence[float], limit: float
) -> tuple[int, float]:
    """(minutes until the sum is back at 0 or above the limit, the sum if it is above)."""
    total = 0.0
    minutes = 0
    while minutes < 10_000:
        minutes += 1
        for count, ratio in zip(_draw(rng, rate, shares), ratios, strict=True):
            total += count * ratio
        if total <= 0:
            return minutes, 0.0
        if total >= limit:
            return minutes, total
    return minutes, 0.0


def _draw(rng: Random, rate: float, shares: Sequence[float]) -> list[int]:
    count = poisson(rng, rate)
    counts = []
    rest = 1.0
    for share in shares[:-1]:
        drawn = binomial(rng, count, min(share / rest, 1.0))
        counts.append(drawn)
        count -= drawn
        rest = max(rest - share, 1e-9)
    return [*counts, count]


def _cuts(times: ResponseTimes) -> list[float]:
    """Values between which a response time falls, at QUANTILES of healthy times."""
    cuts = []
    position = 0.0
    wanted = list(QUANTILES)
    for weight, value in zip(times.weights, times.scaled(1.0)[0], strict=True):
        position += weight
        while wanted and position >= wanted[0] - 1e-9:
            cuts.append(float(value))
            wanted.pop(0)
    return cuts


def _categories(times: ResponseTimes, cuts: Sequence[float], factor: float) -> list[float]:
    above = [1.0, *(times.share_above(cut, factor) for cut in cuts), 0.0]
    shares = [max(high - low, 1e-4) for high, low in pairwise(above)]
    return [share / sum(shares) for share in shares]


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that are nearly the same have one limit."""
    rounded = [round(share, 3) or share for share in shares]
    return tuple(share / sum(rounded) for share in rounded)
