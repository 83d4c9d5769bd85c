"""What a query can ask of a metric over one interval: stats, and the cells that gather rollups to
answer them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import fsum
from typing import NamedTuple

from app.rollup.sketch import HIGH_MS, LOW_MS, Bins, count_within, quantile_ms
from app.rollup.summaries import GaugeSummary, TimingTotals
from parsers.metrics import GAUGES, Kind, Metric

DEFAULT_STAT: dict[Kind, str] = {"counter": "sum", "distribution": "p95", "gauge": "avg"}
ACCEPTED_STATS: dict[Kind, str] = {
    "counter": "sum, rate",
    "distribution": "p1 to p99.9 (such as p95), le_500 (share within 500 ms; any number), "
    "max, avg, count, bins (the sketch itself)",
    "gauge": "avg, max, min, last",
}

_QUANTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")
_WITHIN = re.compile(r"le_([0-9]{1,8})")


class Stat(NamedTuple):
    """One stat: its name as asked, what it needs, and its number (0.95 of p95, 500 of le_500)."""

    name: str
    method: str
    argument: float

    @property
    def of_sketch(self) -> bool:
        """Whether it is answered from the sketch, which is kept per process type and not per
        dyno.
        """
        return self.method in ("quantile", "within", "bins")


def parse_stat(name: str, metric: Metric) -> Stat:
    """
    Raises:
        ValueError: the metric has no such stat; the message names those it has.
    """
    if metric.kind == "distribution":
        if match := _QUANTILE.fullmatch(name):
            quantile = float(match[1]) / 100
            if quantile > 0:
                return Stat(name, "quantile", quantile)
        if match := _WITHIN.fullmatch(name):
            return Stat(name, "within", float(match[1]))
    if name in metric.stats:
        return Stat(name, name, 0)
    raise ValueError(f"{metric.name} has the stats {accepted_stats(metric)}")


def accepted_stats(metric: Metric) -> str:
    """The stats of a metric, as a sentence says them."""
    return ACCEPTED_STATS[metric.kind] + (", sum" if _has_sum_of_dynos(metric) else "")


def _has_sum_of_dynos(metric: Metric) -> bool:
    return metric.kind == "gauge" and "sum" in metric.stats


Value = int | float | None
Band = tuple[int, int, int]  # (lowest ms, highest ms, how many values)
Answered = Value | list[Band]


class CounterCell:
    """A sum of counts."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def value(self, stat: Stat, step_s: int) -> Value:
        """sum, or rate per second over the whole interval."""
        return self.total if stat.method == "sum" else self.total / step_s


class DistributionCell:
    """Sketches and tallies of times in milliseconds, merged."""

    __slots__ = ("bins", "tally")

    def __init__(self) -> None:
        self.bins: Bins = {}
        self.tally = TimingTotals()

    def add_bins(self, bins: Bins) -> None:
        """Merge a sketch."""
        mine = self.bins
        for index, count in bins.items():
            mine[index] = mine.get(index, 0) + count

    def value(self, stat: Stat, step_s: int) -> Answered:
        """None when there were no values."""
        if stat.method == "bins":
            bins = sorted(self.bins.items())
            return [(LOW_MS[index], HIGH_MS[index], count) for index, count in bins] or None
        if stat.method == "quantile":
            return quantile_ms(self.bins, stat.argument)
        if stat.method == "within":
            count = sum(self.bins.values())
            return count_within(self.bins, int(stat.argument)) / count if count else None
        if stat.method == "count":
            return self.tally.count
        if not self.tally.count:
            return None
        if stat.method == "avg":
            return self.tally.total / self.tally.count
        return self.tally.largest


class GaugeCell:
    """Readings by who gave them: (app, source)."""

    __slots__ = ("readings", "scale")

    def __init__(self, gauge: int) -> None:
        self.readings: dict[tuple[str, str], GaugeSummary] = {}
        self.scale = GAUGES[gauge].numerator / GAUGES[gauge].denominator

    def add(self, app: str, source: str, reading: GaugeSummary) -> None:
        """Merge one dyno's readings."""
        mine = self.readings.get((app, source))
        if mine is None:
            self.readings[app, source] = reading.copy()
        else:
            mine.merge(reading)

    def value(self, stat: Stat, step_s: int) -> Value:
        """In the gauge's unit. sum: each dyno's mean, summed; last: the mean of the dynos' last
        values.
        """
        readings = list(self.readings.values())
        return _GAUGE_VALUES[stat.method](readings) * self.scale if readings else None


_GAUGE_VALUES: dict[str, Callable[[list[GaugeSummary]], float]] = {
    "avg": lambda readings: (
        sum(each.total for each in readings) / sum(each.count for each in readings)
    ),
    "max": lambda readings: max(each.largest for each in readings),
    "min": lambda readings: min(each.smallest for each in readings),
    "last": lambda readings: sum(each.last for each in readings) / len(readings),
    "sum": lambda readings: fsum(each.total / each.count for each in readings),  # in any order
}


class DynosCell:
    """How many dynos were heard from, by minute."""

    __slots__ = ("by_minute",)

    def __init__(self) -> None:
        self.by_minute: dict[int, int] = {}

    def add(self, hour: int, minutes: int) -> None:
        """Take one dyno's minutes: bit m of `minutes` is minute m of the hour that starts at `hour`
        (Unix s).
        """
        while minutes:
            lowest = minutes & -minutes
            minute = hour + 60 * (lowest.bit_length() - 1)
            self.by_minute[minute] = self.by_minute.get(minute, 0) + 1
            minutes ^= lowest

    def value(self, stat: Stat, step_s: int) -> Value:
        """Over the minutes in which a dyno was heard from."""
        if not self.by_minute:
            return None
        counts = self.by_minute.values()
        if stat.method == "avg":
            return sum(counts) / len(counts)
        if stat.method == "last":
            return self.by_minute[max(self.by_minute)]
        return max(counts) if stat.method == "max" else min(counts)


Cell = CounterCell | DistributionCell | GaugeCell | DynosCell
