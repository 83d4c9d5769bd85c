"""Cells of open metrics and of add-ons: numbers with a fraction and a sign.

The compiled table reads their rows, except for sketches, but uses these cells too.
"""

from __future__ import annotations

from typing import Any

from app.query.stats import GAUGE_VALUES, Stat, StatValue, Value, merge_summary
from app.rollup import number_sketch
from app.rollup.schema import Metric
from app.rollup.sketch import Bins
from app.rollup.summaries import MeasureSummary, NumberSum, NumberSummary
from parsers.numbers import MILLION

_EXACT_FROM = 1_000  # millionths; below, rounding to millionths is off by more than a bin


def number_of(millionths: int) -> int | float:
    """A number of millionths; a whole number as an int."""
    whole, rest = divmod(millionths, MILLION)
    return whole if not rest else millionths / MILLION


class NumberCounterCell:
    """A sum of counts."""

    __slots__ = ("total",)

    def __init__(self, _: Metric) -> None:
        self.total = 0

    def add(self, app: str, row: Any, value: NumberSum) -> None:
        """Add a row."""
        self.total += value.total

    def value(self, stat: Stat, step_s: int) -> Value:
        """The sum."""
        return number_of(self.total)


class NumberGaugeCell:
    """Readings of one gauge, summarized by app and row: by dyno or add-on, and `source=`."""

    __slots__ = ("scale", "summaries")

    def __init__(self, metric: Metric) -> None:
        self.summaries: dict[tuple[str, Any], NumberSummary] = {}
        self.scale = metric.scale

    def add(self, app: str, row: Any, value: NumberSummary) -> None:
        """Merge the readings of a row."""
        merge_summary(self.summaries, (app, row), value)

    def value(self, stat: Stat, step_s: int) -> Value:
        """The stat in the gauge's unit; None if there were no readings."""
        if not self.summaries:
            return None
        numerator, denominator = self.scale
        return GAUGE_VALUES[stat.method]([*self.summaries.values()]) * numerator / denominator


class MeasureCell:
    """Merged sketches and summaries of numbers."""

    __slots__ = ("bins", "summary")

    def __init__(self, _: Metric) -> None:
        self.bins: Bins = {}
        self.summary: MeasureSummary | None = None

    def add(self, app: str, row: Any, value: MeasureSummary | Bins) -> None:
        """Merge a summary or a sketch."""
        if isinstance(value, MeasureSummary):
            if self.summary is None:
                self.summary = value.copy()
            else:
                self.summary.merge(value)
            return
        for index, count in value.items():
            self.bins[index] = self.bins.get(index, 0) + count

    def value(self, stat: Stat, step_s: int) -> StatValue:
        """The stat in the unit of the numbers; None if there were none."""
        if stat.method == "quantile":
            return self._quantile(stat.argument)
        if stat.method == "bins":
            bins = [(*number_sketch.bounds(index), self.bins[index]) for index in sorted(self.bins)]
            return bins or None
        if stat.method == "within":
            count = sum(self.bins.values())
            return number_sketch.count_within(self.bins, stat.argument) / count if count else None
        if self.summary is None:
            return 0 if stat.method == "count" else None
        if stat.method == "count":
            return self.summary.count
        if stat.method == "avg":
            return self.summary.total / (self.summary.count * MILLION)
        millionths = {
            "sum": self.summary.total,
            "max": self.summary.largest,
            "min": self.summary.smallest,
            "last": self.summary.last,
        }
        return number_of(millionths[stat.method])

    def _quantile(self, share: float) -> float | None:
        """The middle of a bin, but nothing beyond the extremes, which are known exactly."""
        value = number_sketch.quantile(self.bins, share)
        if value is None or self.summary is None:
            return value
        smallest, largest = self.summary.smallest, self.summary.largest
        if abs(largest) >= _EXACT_FROM:
            value = min(value, largest / MILLION)
        if abs(smallest) >= _EXACT_FROM:
            value = max(value, smallest / MILLION)
        return value
