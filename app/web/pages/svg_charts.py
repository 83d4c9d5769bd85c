"""Charts as SVG paths, visible before any script has run, and without JavaScript. The page also
contains their values, from which the script draws interactive charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from app.dashboard.app_page import AppView
from app.dashboard.chart import Bands, Chart, ChartLine
from app.dashboard.timeline import TimelineEvent, Track, describe_events
from app.query.stats import Value
from app.web.pages.axes import (
    Scale,
    Tick,
    linear_scale,
    log_scale,
    tick_text,
    time_ticks,
    without_cut_labels,
)

WIDTH, HEIGHT = 720, 120
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
THRESHOLD_RATIO_MAX = 3
QUOTA_HEADROOM = 1.1  # so that the band over it is seen
HEAT_LEVELS = 10
MARKED_TRACKS: tuple[Track, ...] = ("changes", "alerts")
MARK_GAP = 3  # between two marks, in units of WIDTH
BAND_LABELS_MAX = 6
LOWEST_MS, HIGHEST_MS = 0.7, 200_000  # of the distribution; a logarithmic scale cannot show 0
_DIGITS = 3
_SUMMARIES = {"mean": "mean", "sum": "sum", "all": "whole range"}


class Shape(NamedTuple):
    """A line or area. `path`: SVG path data. `style`: CSS classes."""

    name: str
    path: str
    style: str


class LegendEntry(NamedTuple):
    """A name in the legend, with the value that the chart's summary names, and the highest one.

    Means and the highest value leave out steps that are not complete, which would distort them.
    Sums and figures of the whole range are right at any time.
    """

    name: str
    style: str
    summary: Value
    highest: Value


class Mark(NamedTuple):
    """Changes or alerts at a place of the charts: their first time, `x` from 0 to WIDTH, a line
    for each.
    """

    at_s: float
    x: float
    texts: list[str]
    is_alert: bool


class LevelLine(NamedTuple):
    """A horizontal line at `y`, with its name."""

    y: float
    name: str


class Drawing(NamedTuple):
    """A chart as SVG: shapes over a common scale.

    heat          the path of each level of the heatmap, in columns and rows
    incomplete_x  where the steps begin that are not complete; WIDTH if there are none
    """

    chart: Chart
    y_ticks: list[Tick]
    shapes: list[Shape]
    thresholds: list[LevelLine]
    quotas: list[LevelLine]
    heat: list[str]
    legend: list[LegendEntry]
    times: list[Tick]
    incomplete_x: float

    @property
    def is_filled(self) -> bool:
        """Whether shapes are areas, not lines."""
        return self.chart.kind == "bars"

    @property
    def is_cut(self) -> bool:
        """Whether values lie above the chart's ceiling."""
        highest = [entry.highest or 0 for entry in self.legend]
        return self.chart.ceiling is not None and max(highest, default=0) > self.chart.ceiling

    @property
    def summary(self) -> str:
        """The words for the legend's first value."""
        return _SUMMARIES[self.chart.summary]


def sparkline_path(values: Sequence[Value]) -> str:
    """The SVG path of a sparkline, on a scale from 0 to its highest value."""
    highest = max((value for value in values if value is not None), default=0) or 1
    return _path(values, SPARK_WIDTH, lambda value: SPARK_HEIGHT * (1 - value / highest))


def _path(values: Sequence[Value], width: float, y_of: Callable[[float], float]) -> str:
    """A value is drawn in the middle of its step; a gap in the values is a gap in the line."""
    step = width / max(len(values), 1)
    points = [
        None if value is None else ((index + 0.5) * step, y_of(value))
        for index, value in enumerate(values)
    ]
    return " ".join(_strokes(points))


def _strokes(points: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    for has_value, run in groupby(points, key=lambda point: point is not None):
        if has_value:
            coordinates = [f"{point[0]:.1f} {point[1]:.1f}" for point in run if point is not None]
            if len(coordinates) == 1:
                coordinates *= 2  # a line of length 0; its round ends make it a dot
            yield "M" + " L".join(coordinates)


def draw_marks(events: Sequence[TimelineEvent], start_s: int, end_s: int) -> list[Mark]:
    """The marks of changes and alerts. Those at one place, such as a deploy and its release, share
    a mark, so a chart has a bounded number of them.
    """
    width_per_s = WIDTH / (end_s - start_s)

    def x_of(event: TimelineEvent) -> float:
        return (event.at_s - start_s) * width_per_s

    marks = []
    for track in MARKED_TRACKS:
        on_track = (event for event in events if event.track == track)
        for _, place in groupby(on_track, lambda event: x_of(event) // MARK_GAP):
            first, *others = place
            texts = describe_events([first, *others])
            marks.append(Mark(first.at_s, round(x_of(first), 1), texts, track == "alerts"))
    return marks


def draw_charts(view: AppView, charts: Sequence[Chart]) -> list[Drawing]:
    """Charts of an app's page."""
    length_s = _length_s(view)
    times = without_cut_labels(time_ticks(view.start_s, view.end_s))
    incomplete_x = round(WIDTH * (view.complete_until_s - view.start_s) / length_s, 1)
    return [
        _draw(chart, complete_steps(view))._replace(times=times, incomplete_x=incomplete_x)
        for chart in charts
    ]


def complete_steps(view: AppView) -> int:
    """The number of steps that are complete; all of them if none is."""
    return (view.complete_until_s - view.start_s) // view.step_s or _length_s(view) // view.step_s


def _length_s(view: AppView) -> int:
    return view.end_s - view.start_s


def _draw(chart: Chart, complete: int) -> Drawing:
    is_stacked = chart.kind == "bars"
    tops = _tops(chart.lines) if is_stacked else [line.values for line in chart.lines]
    values = [value for top in tops for value in top if value is not None]
    thresholds = near_thresholds(chart, max(values, default=0))
    scale = _scale(chart, values, thresholds)

    def y_of(value: float) -> float:
        return HEIGHT * (1 - scale.share_of(value))

    shapes = []
    floor: Sequence[Value] = [0] * max((len(top) for top in tops), default=0)
    for line, top in zip(chart.lines, tops, strict=True):
        area = is_stacked and not line.is_baseline
        path = _area(floor, top, y_of) if area else _path(top, WIDTH, y_of)
        if area:
            floor = top
        shapes.append(Shape(line.name, path, f"{line.style} {line.pen}".rstrip()))
    return Drawing(
        chart,
        scale.ticks,
        shapes,
        [LevelLine(round(y_of(value), 1), f"alert above {value:,.0f}") for value in thresholds],
        [LevelLine(round(y_of(quota.value), 1), quota.name) for quota in chart.quotas],
        heat_paths(chart.bands) if chart.bands else [],
        [_legend_entry(chart, line, complete) for line in chart.lines],
        *([], WIDTH),
    )


def _scale(chart: Chart, values: Sequence[float], thresholds: Sequence[float]) -> Scale:
    """Bands have their own bounds; other charts hold all values, quotas and thresholds."""
    if chart.bands is not None:
        return _band_scale(chart.bands.bounds_ms)
    quotas = [quota.value * QUOTA_HEADROOM for quota in chart.quotas]
    highest = max([*values, *thresholds, *quotas], default=0)
    if chart.ceiling is not None:
        highest = min(highest, chart.ceiling)
    if chart.log and values:
        return log_scale(min(value for value in values), highest)
    return linear_scale(highest, integers=chart.integers)


def _band_scale(bounds_ms: Sequence[int]) -> Scale:
    """Rows of the heatmap are a band each. Labels stand at their bounds, or at powers of ten."""
    low, high = max(bounds_ms[0], LOWEST_MS), min(bounds_ms[-1], HIGHEST_MS)
    span = math.log10(high / low)

    def share_of(value: float) -> float:
        return math.log10(min(max(value, low), high) / low) / span

    labels = [bound for bound in bounds_ms if low <= bound <= high]
    if len(labels) > BAND_LABELS_MAX:
        labels = [bound for bound in labels if str(bound).rstrip("0") == "1"]
    return Scale([Tick(share_of(label), tick_text(label)) for label in labels], share_of)


def heat_paths(bands: Bands) -> list[str]:
    """A path for each level of the heatmap: a cell is 1 wide, and as high as its band."""
    scale, highest = _band_scale(bands.bounds_ms), bands.highest
    y_of = [round(HEIGHT * (1 - scale.share_of(bound))) for bound in bands.bounds_ms]
    paths = [""] * HEAT_LEVELS
    for x, column in enumerate(bands.counts):
        for band, count in enumerate(column):
            if count:
                cell = f"M{x} {y_of[band + 1]}h1V{y_of[band]}h-1Z"
                paths[heat_level(count, highest)] += cell
    return paths


def heat_level(count: int, count_max: int) -> int:
    """The level of a cell. Logarithmic, so that a few slow requests are seen beside thousands."""
    if count_max <= 1:
        return HEAT_LEVELS - 1
    return min(int(HEAT_LEVELS * math.log(count) / math.log(count_max)), HEAT_LEVELS - 1)


def _legend_entry(chart: Chart, line: ChartLine, complete: int) -> LegendEntry:
    values = [value for value in line.values[:complete] if value is not None]
    highest = max(values, default=None)
    summary: Value = None
    if chart.summary == "sum" and not line.is_baseline:
        summary = sum(value for value in line.values if value is not None)
    elif line.whole is not None:
        summary = line.whole
    elif values:
        summary = sum(values) / len(values)
    return LegendEntry(line.name, f"{line.style} {line.pen}".rstrip(), summary, highest)


def near_thresholds(chart: Chart, highest: float) -> list[float]:
    """The thresholds to draw. One far above all values would flatten the chart."""
    return [
        threshold.value
        for threshold in chart.thresholds
        if threshold.value <= THRESHOLD_RATIO_MAX * highest
    ]


def _tops(lines: Sequence[ChartLine]) -> list[list[Value]]:
    """Stacked values: each line on top of the lines before it. Lines of the past do not stack."""
    tops: list[list[Value]] = []
    below: list[Value] = []
    for line in lines:
        if line.is_baseline:
            tops.append(line.values)
            continue
        below = [
            None if value is None else value + (floor or 0)
            for value, floor in zip(line.values, below or [0] * len(line.values), strict=True)
        ]
        tops.append(below)
    return tops


def _area(floor: Sequence[Value], top: Sequence[Value], y_of: Callable[[float], float]) -> str:
    """A column per value."""
    step = WIDTH / max(len(top), 1)
    return " ".join(
        f"M{index * step:.1f} {y_of(low or 0):.1f}V{y_of(high):.1f}h{step:.1f}v{drop:.1f}Z"
        for index, (low, high) in enumerate(zip(floor, top, strict=True))
        if high is not None and (drop := y_of(low or 0) - y_of(high))
    )


def script_data(view: AppView, marks: Sequence[Mark]) -> dict[str, Any]:
    """The values of the charts, for charts.js. Times in Unix seconds."""
    complete = complete_steps(view)
    return {
        "start": view.start_s,
        "step": view.step_s,
        "size": _length_s(view) // view.step_s,
        "complete_until": view.complete_until_s,
        "marks": [
            {"at": mark.at_s, "text": ", ".join(mark.texts), "alert": mark.is_alert}
            for mark in marks
        ],
        "charts": [_chart_data(chart, complete) for chart in view.all_charts],
    }


def _chart_data(chart: Chart, complete: int) -> dict[str, Any]:
    return {
        "key": chart.key,
        "title": chart.title,
        "unit": chart.unit,
        "kind": chart.kind,
        "log": chart.log,
        "integers": chart.integers,
        "ceiling": _rounded(chart.ceiling),
        "empty": not chart.has_data,
        "quotas": [{"name": quota.name, "value": quota.value} for quota in chart.quotas],
        "thresholds": [threshold.value for threshold in chart.thresholds],
        "notes": list(chart.notes),
        "bands": chart.bands._asdict() if chart.bands else None,
        "lines": [_line_data(chart, line, complete) for line in chart.lines],
    }


def _line_data(chart: Chart, line: ChartLine, complete: int) -> dict[str, Any]:
    legend = _legend_entry(chart, line, complete)
    return {
        "name": line.name,
        "style": line.style,
        "pen": line.pen,
        "past": line.is_baseline,
        "summary": _rounded(legend.summary),
        "highest": _rounded(legend.highest),
        "values": [_rounded(value) for value in line.values],
    }


def _rounded(value: Value) -> Value:
    return None if value is None else round(value, _DIGITS)
