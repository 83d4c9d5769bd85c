"""Stats of a metric over one interval, and the cells that accumulate rollups to answer them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import fsum
from typing import Any, NamedTuple

from app.rollup.schema import MEASURE_STATS, Metric, MetricKind
from app.rollup.sketch import HIGH_MS, LOW_MS, Bins, count_within, quantile_ms
from app.rollup.summaries import GaugeSummary, NumberSummary, Summary, TimingTotals

DEFAULT_STAT: dict[MetricKind, str] = {"counter": "sum", "distribution": "p95", "gauge": "avg"}
ACCEPTED_STATS: dict[MetricKind, str] = {
    "counter": "sum, rate",
    "distribution": "p1 to p99.9 (such as p95), le_500 (share within 500 ms; any number), "
    "max, avg, count, bins (the sketch itself)",
    "gauge": "avg, max, min, last",
}

_QUANTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")
_WITHIN = re.compile(r"le_([0-9]{1,8})")
_WITHIN_FRACTION = re.compile(r"le_(-?[0-9]{1,13}(?:\.[0-9]{1,6})?)")


class Stat(NamedTuple):
    """One stat: its name as written, its method, and its argument (0.95 of p95, 500 of le_500)."""

    name: str
    method: str
    argument: float

    @property
    def needs_sketch(self) -> bool:
        """Whether the sketch answers it. Sketches are kept per process type, not per dyno."""
        return self.method in ("quantile", "within", "bins")


def parse_stat(name: str, metric: Metric) -> Stat:
    """Parse a stat's name for a metric.

    Raises:
        ValueError: the metric has no such stat; the message lists its stats.
    """
    if metric.kind == "distribution":
        if match := _QUANTILE.fullmatch(name):
            quantile = float(match[1]) / 100
            if quantile > 0:
                return Stat(name, "quantile", quantile)
        has_fractions = metric.scale != (1, 1)
        if match := (_WITHIN_FRACTION if has_fractions else _WITHIN).fullmatch(name):
            return Stat(name, "within", float(match[1]))
    if name in metric.stats and " " not in name:  # some entries describe a family of names
        return Stat(name, name, 0)
    raise ValueError(f"{metric.name} has the stats {accepted_stats(metric)}")


def accepted_stats(metric: Metric) -> str:
    """The stats of a metric as text, for messages and the API reference."""
    names = ACCEPTED_STATS[metric.kind] + (", sum" if _sums_over_dynos(metric) else "")
    return names + (", min, sum, last" if metric.stats == MEASURE_STATS else "")


def _sums_over_dynos(metric: Metric) -> bool:
    return metric.kind == "gauge" and "sum" in metric.stats


Value = int | float | None
SketchBin = tuple[float, float, int]  # (lowest value, highest value, count of values)
StatValue = Value | list[SketchBin]


class CounterCell:
    """A sum of counts."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def value(self, stat: Stat, step_s: int) -> Value:
        """The sum. It takes more than one cell to tell a rate: see app.query.rates."""
        return self.total


class DistributionCell:
    """Merged sketches and totals of times in milliseconds."""

    __slots__ = ("bins", "totals")

    def __init__(self) -> None:
        self.bins: Bins = {}
        self.totals = TimingTotals()

    def add_bins(self, bins: Bins) -> None:
        """Merge a sketch."""
        merged_bins = self.bins
        for index, count in bins.items():
            merged_bins[index] = merged_bins.get(index, 0) + count

    def value(self, stat: Stat, step_s: int) -> StatValue:
        """The stat in milliseconds; None if there were no values."""
        if stat.method == "bins":
            bins = sorted(self.bins.items())
            return [(LOW_MS[index], HIGH_MS[index], count) for index, count in bins] or None
        if stat.method == "quantile":
            return self._quantile(stat.argument)
        if stat.method == "within":
            count = sum(self.bins.values())
            return count_within(self.bins, int(stat.argument)) / count if count else None
        if stat.method == "count":
            return self.totals.count
        if not self.totals.count:
            return None
        if stat.method == "avg":
            return self.totals.total / self.totals.count
        return self.totals.largest

    def _quantile(self, quantile: float) -> float | None:
        """The middle of a bin, but never more than the largest value, which is known exactly."""
        value = quantile_ms(self.bins, quantile)
        if value is None or not self.totals.count:
            return value
        return min(value, float(self.totals.largest))


class GaugeCell:
    """Readings of one gauge, summarized by (app, source)."""

    __slots__ = ("fallbacks", "scale", "summaries")

    def __init__(self, metric: Metric) -> None:
        self.summaries: dict[tuple[str, str], GaugeSummary] = {}
        self.fallbacks: dict[tuple[str, str], GaugeSummary] = {}
        self.scale = metric.scale[0] / metric.scale[1]

    def add(self, app: str, source: str, summary: GaugeSummary) -> None:
        """Merge one dyno's readings."""
        merge_summary(self.summaries, (app, source), summary)

    def add_fallback(self, app: str, source: str, summary: GaugeSummary) -> None:
        """Merge readings that count only if the dyno has none of its own."""
        merge_summary(self.fallbacks, (app, source), summary)

    def value(self, stat: Stat, step_s: int) -> Value:
        """The stat in the gauge's unit; None if there were no readings.

        "sum" adds up each dyno's mean; "last" is the mean of the dynos' last values.
        """
        summaries = list({**self.fallbacks, **self.summaries}.values())
        return GAUGE_VALUES[stat.method](summaries) * self.scale if summaries else None

    def values_by_source(self, stat: Stat) -> dict[str, float]:
        """The stat of each source alone, of a cell of one app."""
        return {
            source: GAUGE_VALUES[stat.method]([summary]) * self.scale
            for (_, source), summary in {**self.fallbacks, **self.summaries}.items()
        }


def merge_summary(summaries: dict[Any, Any], key: Any, summary: Summary) -> None:
    """Merge a summary into that of the same key, if there is one."""
    if key in summaries:
        summaries[key].merge(summary)
    else:
        summaries[key] = summary.copy()


GAUGE_VALUES: dict[str, Callable[[Sequence[GaugeSummary | NumberSummary]], float]] = {
    "avg": lambda summaries: (
        sum(dyno.total for dyno in summaries) / sum(dyno.count for dyno in summaries)
    ),
    "max": lambda summaries: max(dyno.largest for dyno in summaries),
    "min": lambda summaries: min(dyno.smallest for dyno in summaries),
    "last": lambda summaries: sum(dyno.last for dyno in summaries) / len(summaries),
    # fsum is exact, so the order of the dynos does not change the result.
    "sum": lambda summaries: fsum(dyno.total / dyno.count for dyno in summaries),
}


class DynosCell:
    """The number of active dynos in each minute."""

    __slots__ = ("counts_by_minute",)

    def __init__(self) -> None:
        self.counts_by_minute: dict[int, int] = {}

    def add(self, hour: int, minutes: int) -> None:
        """Add one dyno's active minutes: bit m is minute m of the hour that starts at `hour`.

        `hour` is in Unix seconds.
        """
        while minutes:
            lowest = minutes & -minutes
            minute = hour + 60 * (lowest.bit_length() - 1)
            self.counts_by_minute[minute] = self.counts_by_minute.get(minute, 0) + 1
            minutes ^= lowest

    def value(self, stat: Stat, step_s: int) -> Value:
        """The stat over the minutes in which any dyno was active; None without one."""
        if not self.counts_by_minute:
            return None
        counts = self.counts_by_minute.values()
        if stat.method == "avg":
            return sum(counts) / len(counts)
        if stat.method == "last":
            return self.counts_by_minute[max(self.counts_by_minute)]
        return max(counts) if stat.method == "max" else min(counts)


Cell = CounterCell | DistributionCell | GaugeCell | DynosCell
