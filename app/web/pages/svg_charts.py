"""Charts as SVG paths, visible before any script has run, and without JavaScript. The page also
contains their values, from which the script draws interactive charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from app.dashboard.app_page import AppView
from app.dashboard.charts import Chart, ChartLine
from app.query.stats import Value
from parsers.samples import APP_EVENTS

WIDTH, HEIGHT = 720, 120
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
TIME_LABELS = 5
THRESHOLD_RATIO_MAX = 3
_COLOURS = 8
_DIGITS = 3
_NICE_FACTORS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


class Shape(NamedTuple):
    """A line or area. `path`: SVG path data. `style`: CSS class. `last`: its last value."""

    name: str
    path: str
    style: str
    last: Value


class Mark(NamedTuple):
    """An event at `x`, from 0 to WIDTH."""

    x: float
    text: str


class GridLine(NamedTuple):
    """A horizontal line at `y`, for a value of the scale."""

    y: float
    value: float


class Drawing(NamedTuple):
    """A chart as SVG: shapes over a common scale. `times`: Unix seconds of the axis labels.

    incomplete_x  where the steps begin that are not complete; WIDTH if there are none
    """

    chart: Chart
    grid: list[GridLine]
    shapes: list[Shape]
    thresholds: list[GridLine]
    marks: list[Mark]
    times: list[int]
    incomplete_x: float

    @property
    def is_filled(self) -> bool:
        """Whether shapes are areas, not lines."""
        return self.chart.kind == "bars"


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


def nice_top(highest: float) -> float:
    """The smallest round number that is at least `highest`."""
    if highest <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(highest))
    # The tolerance is for rounding errors, which must not lead to the next number.
    return next(
        factor * power for factor in _NICE_FACTORS if factor * power >= highest * (1 - 1e-9)
    )


def draw_charts(view: AppView) -> list[Drawing]:
    """The charts of an app's page."""
    marks = [
        Mark(round(WIDTH * (at_s - view.start_s) / _length_s(view), 1), text)
        for at_s, text in _events(view)
    ]
    label_gap_s = _length_s(view) / (TIME_LABELS - 1)
    times = [int(view.start_s + index * label_gap_s) for index in range(TIME_LABELS)]
    incomplete_x = round(WIDTH * (view.complete_until_s - view.start_s) / _length_s(view), 1)
    return [Drawing(chart, *_draw(chart), marks, times, incomplete_x) for chart in view.charts]


def _length_s(view: AppView) -> int:
    return view.end_s - view.start_s


def _events(view: AppView) -> list[tuple[float, str]]:
    """(Unix seconds, text) of changes to the app and of its alerts. Events of dynos are only in the
    list below the charts.
    """
    changes = [
        (event.at_ms / 1000, f"{event.kind} {event.detail}")
        for event, _ in view.events
        if event.kind in APP_EVENTS
    ]
    return sorted([*changes, *view.alerts.marks])


# Values of the grid lines, and a function from a value to its y.
Scale = tuple[list[float], Callable[[float], float]]


def _draw(chart: Chart) -> tuple[list[GridLine], list[Shape], list[GridLine]]:
    """(grid lines, shapes, lines of the thresholds)."""
    is_stacked = chart.kind == "bars"
    tops = _tops(chart.lines) if is_stacked else [line.values for line in chart.lines]
    values = [value for top in tops for value in top if value is not None]
    thresholds = near_thresholds(chart, max(values, default=0))
    highest = max([*values, *thresholds, chart.limit or 0], default=0)
    grid, y_of = _logarithmic(min(values), highest) if chart.log and values else _linear(highest)
    shapes = []
    floor: Sequence[Value] = [0] * max((len(top) for top in tops), default=0)
    for index, (line, top) in enumerate(zip(chart.lines, tops, strict=True)):
        area = is_stacked and not line.is_baseline
        path = _area(floor, top, y_of) if area else _path(top, WIDTH, y_of)
        if area:
            floor = top
        shapes.append(Shape(line.name, path, _style(line, index), _last(line.values)))
    threshold_lines = [GridLine(round(y_of(value), 1), value) for value in thresholds]
    return [GridLine(round(y_of(value), 1), value) for value in grid], shapes, threshold_lines


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


def _linear(highest: float) -> Scale:
    """A scale from 0 to a round number."""
    top = nice_top(highest)
    return [0, top / 2, top], lambda value: HEIGHT * (1 - value / top)


def _logarithmic(lowest: float, highest: float) -> Scale:
    """A logarithmic scale with grid lines at powers of ten."""
    first = math.floor(math.log10(max(lowest, 1)))
    last = max(math.ceil(math.log10(max(highest, 1))), first + 1)
    grid = [10.0**power for power in range(first, last + 1)]
    return (
        grid,
        lambda value: HEIGHT * (1 - (math.log10(max(value, grid[0])) - first) / (last - first)),
    )


def _style(line: ChartLine, index: int) -> str:
    """The CSS class of a line, which is also the name of its color variable."""
    return "past" if line.is_baseline else line.tone or f"s{index % _COLOURS}"


def _last(values: Sequence[Value]) -> Value:
    return next((value for value in reversed(values) if value is not None), None)


def script_data(view: AppView) -> dict[str, Any]:
    """The values of the charts, for charts.js. Times in Unix seconds."""
    return {
        "start": view.start_s,
        "step": view.step_s,
        "size": _length_s(view) // view.step_s,
        "complete_until": view.complete_until_s,
        "events": [{"at": at_s, "text": text} for at_s, text in _events(view)],
        "charts": [_chart_data(chart) for chart in view.charts],
    }


def _chart_data(chart: Chart) -> dict[str, Any]:
    return {
        "key": chart.key,
        "title": chart.title,
        "unit": chart.unit,
        "kind": chart.kind,
        "log": chart.log,
        "limit": chart.limit,
        "thresholds": [threshold.value for threshold in chart.thresholds],
        "notes": list(chart.notes),
        "bands": chart.bands._asdict() if chart.bands else None,
        "lines": [
            {
                "name": line.name,
                "style": _style(line, index),
                "past": line.is_baseline,
                "values": [
                    None if value is None else round(value, _DIGITS) for value in line.values
                ],
            }
            for index, line in enumerate(chart.lines)
        ],
    }
