"""Charts drawn here, as SVG paths: seen before any script has run, and without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from app.app_view import AppView
from app.rollup import EventKey
from app.stats import Value
from parsers.sample import APP_EVENTS

WIDTH, HEIGHT = 720, 120
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
_NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


class Line(NamedTuple):
    """One series: `path` as SVG draws it, `last` its last value."""

    name: str
    path: str
    last: Value


class Mark(NamedTuple):
    """An event at `x` of the width."""

    x: float
    text: str


class Grid(NamedTuple):
    """A horizontal line at `y`, and the value that it stands for."""

    y: float
    value: float


class Chart(NamedTuple):
    """Lines over a common scale, in `unit`; `query` is what the API is asked for the same."""

    title: str
    unit: str
    grid: list[Grid]
    lines: list[Line]
    marks: list[Mark]
    query: str


def spark(values: Sequence[Value]) -> str:
    """The path of a small line, from 0 to its highest value."""
    highest = max((value for value in values if value is not None), default=0) or 1
    return _path(values, SPARK_WIDTH, lambda value: SPARK_HEIGHT * (1 - value / highest))


def _path(values: Sequence[Value], width: float, y_of: Callable[[float], float]) -> str:
    """A gap in the values is a gap in the line."""
    step = width / max(len(values) - 1, 1)
    points = [
        None if value is None else (index * step, y_of(value)) for index, value in enumerate(values)
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


def charts(view: AppView) -> list[Chart]:
    """The charts of an app's page; one without a value is left out."""
    wanted = (
        (
            "Response time",
            "ms",
            view.percentiles,
            "metric=service_time_ms&stat=p50&stat=p95&stat=p99",
        ),
        ("Requests a minute, by status", "", view.statuses, "metric=requests&by=status_class"),
        (
            "Memory of the fullest dyno, of its quota",
            "%",
            _in_percent(view.memory_used),
            "metric=memory_quota_used_ratio&stat=max&by=process_type",
        ),
        ("Dynos", "", view.dynos_by_type, "metric=dynos&stat=max&by=process_type"),
    )
    scale = {"Response time": _decades}
    marks = _marks([event for event, _ in view.events], view)
    return [
        Chart(
            title,
            unit,
            *_drawn(series, scale.get(title, _linear)),
            marks,
            f"{query}&step={view.step_s}",
        )
        for title, unit, series, query in wanted
        if any(value is not None for values in series.values() for value in values)
    ]


def _in_percent(series: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    return {
        name: [None if value is None else 100 * value for value in values]
        for name, values in series.items()
    }


Scale = Callable[[float, float], tuple[list[float], Callable[[float], float]]]


def _linear(lowest: float, highest: float) -> tuple[list[float], Callable[[float], float]]:
    """(values of the grid, y of a value): from 0 to a round number."""
    top = nice_top(highest)
    return [0, top / 2, top], lambda value: HEIGHT * (1 - value / top)


def _decades(lowest: float, highest: float) -> tuple[list[float], Callable[[float], float]]:
    """The same by powers of ten, for what differs by factors."""
    first = math.floor(math.log10(max(lowest, 1)))
    last = max(math.ceil(math.log10(max(highest, 1))), first + 1)
    grid = [10.0**power for power in range(first, last + 1)]
    return (
        grid,
        lambda value: HEIGHT * (1 - (math.log10(max(value, grid[0])) - first) / (last - first)),
    )


def _drawn(series: Mapping[str, Sequence[Value]], scale: Scale) -> tuple[list[Grid], list[Line]]:
    known = [value for values in series.values() for value in values if value is not None]
    grid, y_of = scale(min(known), max(known))
    lines = [Line(name, _path(each, WIDTH, y_of), _last(each)) for name, each in series.items()]
    return [Grid(round(y_of(value), 1), value) for value in grid], lines


def _last(values: Sequence[Value]) -> Value:
    return next((value for value in reversed(values) if value is not None), None)


def _marks(events: Sequence[EventKey], view: AppView) -> list[Mark]:
    """What was done to the app; what its dynos did is in the list below the charts."""
    length_s = view.span_end_s - view.span_start_s
    return [
        Mark(
            round(WIDTH * (event.at_ms / 1000 - view.span_start_s) / length_s, 1),
            f"{event.kind} {event.detail}",
        )
        for event in events
        if event.kind in APP_EVENTS
    ]
