"""Response times of an app: a mixture of endpoints, drawn as sketches."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random
from statistics import NormalDist
from typing import NamedTuple

from app.rollup.sketch import Bins, bin_of, quantile_ms
from bench.verdicts.sampling import binomial

# Each response time is one of these quantiles: the tail, where p95 lies, in finer steps.
EDGES = (
    *(step / 20 for step in range(18)),
    *(0.9 + step / 100 for step in range(9)),
    *(0.99 + step / 500 for step in range(4)),
    0.998, 0.9985, 0.999, 0.9995, 1.0,
)  # fmt: skip
SINGLE_DRAWS_MAX = 80  # more values than these are drawn by cell, not one by one
LONGEST_MS = 29_900  # the router ends a request after 30 s
FACTOR_STEP = 0.02


class Endpoint(NamedTuple):
    """A kind of request: its share, its median, and the sigma of its logarithm."""

    share: float
    median_ms: float
    sigma: float = 0.6


class TimesSummary(NamedTuple):
    """Mean and maximum of what one dyno answered."""

    mean_ms: float | None
    max_ms: int | None


class ResponseTimes:
    """The distribution of an app's response times, which a factor makes slower."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.weights = [high - low for low, high in pairwise(EDGES)]
        self._cumulative = list(accumulate(self.weights))
        middles = [(low + high) / 2 for low, high in pairwise(EDGES)]
        self.values_ms = [_mixture_quantile(endpoints, share) for share in middles]
        self._scaled: dict[int, tuple[list[int], float, float]] = {}

    def scaled(self, factor: float) -> tuple[list[int], float, float]:
        """The times `factor` times as long in whole ms, their mean, and their deviation."""
        step = round(factor / FACTOR_STEP)
        if step not in self._scaled:
            factor = step * FACTOR_STEP
            values = [min(round(value * factor), LONGEST_MS) for value in self.values_ms]
            mean = sum(map(float.__mul__, self.weights, map(float, values)))
            squares = sum(
                weight * value * value for weight, value in zip(self.weights, values, strict=True)
            )
            self._scaled[step] = values, mean, math.sqrt(max(squares - mean * mean, 0.0))
        return self._scaled[step]

    def p95_ms(self, factor: float = 1.0) -> float:
        """The p95 of the distribution itself."""
        return self.scaled(factor)[0][bisect_right(self._cumulative, 0.95 - 1e-9)]

    def share_above(self, ms: float, factor: float = 1.0) -> float:
        """The share of times above `ms`."""
        values = self.scaled(factor)[0]
        return sum(weight for weight, value in zip(self.weights, values, strict=True) if value > ms)

    def draw_bins(self, rng: Random, count: int, factor: float = 1.0) -> Bins:
        """A sketch of `count` times."""
        bins: Bins = {}
        self._draw_into(bins, rng, count, factor)
        return bins

    def draw(
        self, rng: Random, counts: Sequence[int], factors: Sequence[tuple[float, float]]
    ) -> tuple[Bins, list[TimesSummary]]:
        """A sketch of the times of several dynos that are alike, and a summary for each dyno.

        factors  (share of the minute, factor), as a minute may be slow in part
        """
        total = sum(counts)
        bins: Bins = {}
        if total > SINGLE_DRAWS_MAX:
            remaining_share = 1.0
            for share, factor in factors:
                count = binomial(rng, total, share / remaining_share)
                self._draw_into(bins, rng, count, factor)
                total -= count
                remaining_share = max(remaining_share - share, 1e-9)
            return bins, [self._summarize(rng, count, factors) for count in counts]
        summaries = []
        for count in counts:
            times: list[int] = []
            for share, factor in factors if count else ():
                part = count - len(times) if factor == factors[-1][1] else round(count * share)
                values = self.scaled(factor)[0]
                times += rng.choices(values, cum_weights=self._cumulative, k=part)
            for ms in times:
                index = bin_of(ms)
                bins[index] = bins.get(index, 0) + 1
            summaries.append(
                TimesSummary(sum(times) / len(times), max(times))
                if times
                else TimesSummary(None, None)
            )
        return bins, summaries

    def _draw_into(self, bins: Bins, rng: Random, count: int, factor: float) -> None:
        values = self.scaled(factor)[0]
        if count <= SINGLE_DRAWS_MAX:
            for ms in rng.choices(values, cum_weights=self._cumulative, k=count):
                index = bin_of(ms)
                bins[index] = bins.get(index, 0) + 1
            return
        remaining_share = 1.0
        for weight, ms in zip(self.weights, values, strict=True):
            drawn = binomial(rng, count, min(weight / remaining_share, 1.0))
            if drawn:
                index = bin_of(ms)
                bins[index] = bins.get(index, 0) + drawn
                count -= drawn
                if not count:
                    return
            remaining_share = max(remaining_share - weight, 1e-9)

    def _summarize(
        self, rng: Random, count: int, factors: Sequence[tuple[float, float]]
    ) -> TimesSummary:
        if not count:
            return TimesSummary(None, None)
        mean = spread = 0.0
        for share, factor in factors:
            _, factor_mean, deviation = self.scaled(factor)
            mean += share * factor_mean
            spread += share * deviation
        draw = rng.random() ** (1 / count)
        index = min(bisect_right(self._cumulative, draw), len(self.weights) - 1)
        slowest = max(factor for _, factor in factors)
        noise = rng.gauss(0, spread / math.sqrt(count))
        return TimesSummary(max(mean + noise, mean / 3), self.scaled(slowest)[0][index])


def _mixture_quantile(endpoints: Sequence[Endpoint], share: float) -> float:
    """A quantile of the mixture, by bisection on the logarithm."""
    total = sum(endpoint.share for endpoint in endpoints)
    normal = NormalDist()
    low, high = math.log(0.5), math.log(60_000.0)
    for _ in range(40):
        middle = (low + high) / 2
        within = sum(
            endpoint.share
            / total
            * normal.cdf((middle - math.log(endpoint.median_ms)) / endpoint.sigma)
            for endpoint in endpoints
        )
        if within < share:
            low = middle
        else:
            high = middle
    return math.exp(low)


def p95_of(bins: Bins) -> float | None:
    """The p95 of a sketch."""
    return quantile_ms(bins, 0.95)
