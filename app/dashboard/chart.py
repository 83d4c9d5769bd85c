"""The values of a chart: lines with a value per step, and the words and limits around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from app.query.snapshot import AppSnapshot
from app.query.stats import Value
from app.rollup.time_range import ALWAYS, TimeRange

Kind = Literal["lines", "bars", "bands"]
Pen = Literal["", "thin", "dotted"]
Split = Literal["types", "dynos"]
Summary = Literal["mean", "sum", "all"]


class ChartLine(NamedTuple):
    """One line of a chart, with a value per step.

    style        the name of its color
    pen          how the line is drawn, if the color is not enough to tell it from others
    is_baseline  whether it belongs to the period compared with
    whole        its value for the whole range, where that is not the mean of the steps
    """

    name: str
    values: list[Value]
    style: str
    pen: Pen = ""
    is_baseline: bool = False
    whole: Value = None


class Bands(NamedTuple):
    """Counts of values by band, a list per step. Band i is [bounds_ms[i], bounds_ms[i + 1])."""

    bounds_ms: list[int]
    counts: list[list[int]]

    @property
    def highest(self) -> int:
        """The highest count."""
        return max((max(column, default=0) for column in self.counts), default=0)


class Threshold(NamedTuple):
    """A value above which an alert fires, and the name of its rule."""

    name: str
    value: float


class Quota(NamedTuple):
    """The memory that dynos of these process types may use, in MB."""

    process_types: tuple[str, ...]
    value: float

    @property
    def name(self) -> str:
        """A text for the chart."""
        return f"quota {self.value:,.0f} MB"


class Chart(NamedTuple):
    """A chart: lines over a common scale in `unit`.

    query       parameters of the API for the same series, without the range
    promql      the same series in Prometheus
    empty       the words in place of a chart without data
    log         whether the scale is logarithmic
    summary     the legend's first value: the mean or sum of the steps, or that of all requests
    integers    whether values are whole numbers, so that the axis has no others
    ceiling     values above it are cut off, so that they do not flatten the others
    notes       additional text for each step, for the tooltip
    quotas      the memory that dynos may use, ascending
    thresholds  limits of alert rules
    """

    key: str
    title: str
    unit: str
    kind: Kind
    lines: list[ChartLine]
    query: str
    promql: str
    empty: str
    log: bool = False
    summary: Summary = "mean"
    integers: bool = False
    ceiling: Value = None
    notes: Sequence[str] = ()
    quotas: Sequence[Quota] = ()
    bands: Bands | None = None
    thresholds: Sequence[Threshold] = ()

    @property
    def has_data(self) -> bool:
        """Whether there is anything to draw."""
        return self.bands is not None or any(
            value is not None for line in self.lines for value in line.values
        )


class ComparedPeriod(NamedTuple):
    """The period shown, and an optional baseline period to compare it with.

    complete       the time whose slots have rates
    baseline_name  such as "last week"
    shift_s        seconds between the two periods
    log            whether response times have a logarithmic scale
    split          whether memory and load have a line per process type or per dyno
    """

    current: AppSnapshot
    complete: TimeRange
    baseline: AppSnapshot | None = None
    baseline_name: str = ""
    shift_s: int = 0
    log: bool = False
    split: Split = "types"

    def resample_baseline(self, values: Sequence[Value]) -> list[Value]:
        """Map values of the baseline to the steps shown; its own steps may be longer."""
        if self.baseline is None:
            return []
        time_range, baseline_range = self.current.time_range, self.baseline.time_range
        starts = range(
            time_range.start - self.shift_s, time_range.end - self.shift_s, time_range.step_s
        )
        indices = [(start - baseline_range.start) // baseline_range.step_s for start in starts]
        return [values[index] if 0 <= index < len(values) else None for index in indices]

    def baseline_lines(self, name: str, values: Sequence[Value]) -> list[ChartLine]:
        """A line of the baseline; none if it has no data."""
        line = ChartLine(
            f"{name}, {self.baseline_name}",
            self.resample_baseline(values),
            "past",
            "dotted",
            is_baseline=True,
        )
        return [line] if any(value is not None for value in line.values) else []

    def per_minute(self, snapshot: AppSnapshot, values: Sequence[Value]) -> list[Value]:
        """Turn counts per slot into rates per minute.

        A step in which nothing is complete yet has the counts so far. The chart marks it.
        """
        rates = snapshot.per_minute(values, self.complete)
        so_far = snapshot.per_minute(values, ALWAYS)
        return [count if rate is None else rate for rate, count in zip(rates, so_far, strict=True)]
