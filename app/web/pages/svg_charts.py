"""Charts drawn here, as SVG paths: seen before any script has run, and without one. What the
script needs to draw them anew, so that they can be handled, is written beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from app.dashboard.app_page import AppView
from app.dashboard.charts import Chart, ChartLine
from app.query.stats import Value
from app.rollup.events import EventKey
from parsers.samples import APP_EVENTS

WIDTH, HEIGHT = 720, 120
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
TIMES_SHOWN = 5
NEAR_RATIO = 3
_COLOURS = 8
_DIGITS = 3
_NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


class Shape(NamedTuple):
    """One line or area: `path` as SVG draws it, `style` its class, `last` its last value."""

    name: str
    path: str
    style: str
    last: Value


class Mark(NamedTuple):
    """An event at `x` of the width."""

    x: float
    text: str


class Grid(NamedTuple):
    """A horizontal line at `y`, and the value that it stands for."""

    y: float
    value: float


class Drawing(NamedTuple):
    """A chart as SVG: shapes over a common scale. `times`: Unix seconds along the bottom."""

    chart: Chart
    grid: list[Grid]
    shapes: list[Shape]
    thresholds: list[Grid]
    marks: list[Mark]
    times: list[int]

    @property
    def filled(self) -> bool:
        """Whether shapes are areas."""
        return self.chart.kind == "bars"


def spark(values: Sequence[Value]) -> str:
    """The path of a small line, from 0 to its highest value."""
    highest = max((value for value in values if value is not None), default=0) or 1
    return _path(values, SPARK_WIDTH, lambda value: SPARK_HEIGHT * (1 - value / highest))


def _path(values: Sequence[Value], width: float, y_of: Callable[[float], float]) -> str:
    """A value stands in the middle of its step; a gap in the values is a gap in the line."""
    step = width / max(len(values), 1)
    points = [
        None if value is None else ((index + 0.5) * step, y_of(value))
        for index, value in enumerate(values)
    ]
    return " ".join(_strokes(points))


def _strokes(points: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    for known, run in groupby(points, key=lambda point: point is not None):
        if known:
            places = [f"{point[0]:.1f} {point[1]:.1f}" for point in run if point is not None]
            if len(places) == 1:
                places *= 2  # a dot, by the round end of a line of no length
            yield "M" + " L".join(places)


def nice_top(highest: float) -> float:
    """The least round number that is not below."""
    if highest <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(highest))
    return next(each * power for each in _NICE if each * power >= highest * (1 - 1e-9))


def drawings(view: AppView) -> list[Drawing]:
    """The charts of an app's page."""
    marks = [
        Mark(round(WIDTH * (at_s - view.start_s) / _length_s(view), 1), text)
        for at_s, text in _events(view)
    ]
    apart_s = _length_s(view) / (TIMES_SHOWN - 1)
    times = [int(view.start_s + index * apart_s) for index in range(TIMES_SHOWN)]
    return [Drawing(chart, *_drawn(chart), marks, times) for chart in view.charts]


def _length_s(view: AppView) -> int:
    return view.end_s - view.start_s


def _events(view: AppView) -> list[tuple[float, str]]:
    """What was done to the app, and its alerts; what its dynos did is in the list below the
    charts.
    """

    def told(event: EventKey) -> str:
        return f"{event.kind} {event.detail}"

    done = [
        (event.at_ms / 1000, told(event)) for event, _ in view.events if event.kind in APP_EVENTS
    ]
    return sorted([*done, *view.alerts.marks])


Scale = tuple[list[float], Callable[[float], float]]


def _drawn(chart: Chart) -> tuple[list[Grid], list[Shape], list[Grid]]:
    stacked = chart.kind == "bars"
    tops = _tops(chart.lines) if stacked else [line.values for line in chart.lines]
    known = [value for values in tops for value in values if value is not None]
    near = near_thresholds(chart, max(known, default=0))
    highest = max([*known, *near, chart.limit or 0], default=0)
    grid, y_of = _decades(min(known), highest) if chart.log and known else _linear(highest)
    shapes = []
    floor: Sequence[Value] = [0] * max((len(top) for top in tops), default=0)
    for index, (line, top) in enumerate(zip(chart.lines, tops, strict=True)):
        area = stacked and not line.is_baseline
        path = _area(floor, top, y_of) if area else _path(top, WIDTH, y_of)
        if area:
            floor = top
        shapes.append(Shape(line.name, path, _style(line, index), _last(line.values)))
    drawn_near = [Grid(round(y_of(value), 1), value) for value in near]
    return [Grid(round(y_of(value), 1), value) for value in grid], shapes, drawn_near


def near_thresholds(chart: Chart, highest: float) -> list[float]:
    """Those that are drawn: one far above everything else would press that flat."""
    return [each.value for each in chart.thresholds if each.value <= NEAR_RATIO * highest]


def _tops(lines: Sequence[ChartLine]) -> list[list[Value]]:
    """Each on top of those before it; a line of the past stands by itself."""
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
    """A column for each value."""
    step = WIDTH / max(len(top), 1)
    return " ".join(
        f"M{index * step:.1f} {y_of(low or 0):.1f}V{y_of(high):.1f}h{step:.1f}v{drop:.1f}Z"
        for index, (low, high) in enumerate(zip(floor, top, strict=True))
        if high is not None and (drop := y_of(low or 0) - y_of(high))
    )


def _linear(highest: float) -> Scale:
    """(values of the grid, y of a value): from 0 to a round number."""
    top = nice_top(highest)
    return [0, top / 2, top], lambda value: HEIGHT * (1 - value / top)


def _decades(lowest: float, highest: float) -> Scale:
    """The same by powers of ten, for what differs by factors."""
    first = math.floor(math.log10(max(lowest, 1)))
    last = max(math.ceil(math.log10(max(highest, 1))), first + 1)
    grid = [10.0**power for power in range(first, last + 1)]
    return (
        grid,
        lambda value: HEIGHT * (1 - (math.log10(max(value, grid[0])) - first) / (last - first)),
    )


def _style(line: ChartLine, index: int) -> str:
    """The class of a line, which is also the name of its colour in the style sheet."""
    return "past" if line.is_baseline else line.tone or f"s{index % _COLOURS}"


def _last(values: Sequence[Value]) -> Value:
    return next((value for value in reversed(values) if value is not None), None)


def for_script(view: AppView) -> dict[str, Any]:
    """The charts' values, for the page's script; times in Unix seconds."""
    return {
        "start": view.start_s,
        "step": view.step_s,
        "size": _length_s(view) // view.step_s,
        "events": [{"at": at_s, "text": text} for at_s, text in _events(view)],
        "charts": [_values(chart) for chart in view.charts],
    }


def _values(chart: Chart) -> dict[str, Any]:
    return {
        "key": chart.key,
        "title": chart.title,
        "unit": chart.unit,
        "kind": chart.kind,
        "log": chart.log,
        "limit": chart.limit,
        "thresholds": [each.value for each in chart.thresholds],
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
