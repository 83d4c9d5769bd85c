"""Plots as SVG without a library: bars on a linear scale, lines on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c")
_WIDTH = 720
_LEFT = 190  # space for the names of bars
_ROW = 26
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}.t{font-weight:600;font-size:14px}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}}"
)


def bars(title: str, rows: Sequence[tuple[str, Mapping[str, float], str]], *, unit: str) -> str:
    """A stacked bar for each row (name, parts, label)."""
    parts = list(dict.fromkeys(part for _, values, _ in rows for part in values))
    most = max(sum(values.values()) for _, values, _ in rows)
    scale = (_WIDTH - _LEFT - 150) / most
    body = [_text(0, 16, f"{title} ({unit})", "t"), *_legend(parts, 34)]
    y = 48.0
    for name, values, label in rows:
        x = float(_LEFT)
        for part, value in values.items():
            colour = COLOURS[parts.index(part) % len(COLOURS)]
            body.append(_rect(x, y, max(value * scale, 0.5), _ROW - 8, colour))
            x += value * scale
        body += [_text(_LEFT - 8, y + 13, name, anchor="end"), _text(x + 6, y + 13, label)]
        y += _ROW
    return _document(body, y + 4)


def lines(
    title: str, series: Mapping[str, Sequence[tuple[float, float]]], *, x_name: str, unit: str
) -> str:
    """A line for each series; both axes are logarithmic, and each point has its value."""
    height, left_px, right, top = 300, 60, 150, 48
    points = [point for series_points in series.values() for point in series_points]
    x_scale = _scale([x for x, _ in points], left_px, _WIDTH - right)
    y_scale = _scale([y for _, y in points], height - 50, top)
    body = [_text(0, 16, f"{title} ({unit})", "t")]
    body += [
        _text(x_scale(x), height - 24, f"{x:,g}", anchor="middle")
        for x in sorted({x for x, _ in points})
    ]
    body.append(_text(_WIDTH - right + 24, height - 24, x_name))
    for number, (name, series_points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in series_points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in series_points:
            body.append(
                f'<circle cx="{x_scale(x):.1f}" cy="{y_scale(y):.1f}" r="3" fill="{colour}"/>'
            )
            body.append(_text(x_scale(x), y_scale(y) - 7, f"{y:,.3g}", anchor="middle"))
        last_x, last_y = series_points[-1]
        body.append(_text(x_scale(last_x) + 24, y_scale(last_y) + 4, name))
    return _document(body, height)


class _Scale:
    """Maps values to coordinates by their logarithms."""

    def __init__(self, least: float, most: float, start: float, end: float) -> None:
        self._least = math.log(least)
        self._span = math.log(most) - self._least or 1.0
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log(value) - self._least) / self._span
        return self._start + share * (self._end - self._start)


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    return _Scale(min(values), max(values), start, end)


def _legend(parts: Sequence[str], y: float) -> list[str]:
    elements = []
    for number, part in enumerate(parts if len(parts) > 1 else ()):
        x = _LEFT + 110 * number
        elements += [
            _rect(x, y - 9, 10, 10, COLOURS[number % len(COLOURS)]),
            _text(x + 15, y, part),
        ]
    return elements


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    css_class = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css_class}>{escape(text)}</text>'


def _document(body: Sequence[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}">'
    return "\n".join((head, f"<style>{_STYLE}</style>", *body, "</svg>")) + "\n"
