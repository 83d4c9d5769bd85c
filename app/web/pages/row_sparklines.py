"""Sparklines of a row in the list of apps: small paths in whole pixels, as there are hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from app.query.stats import Value

WIDTH, HEIGHT = 72, 20
SHARE_TOP = 0.05  # a share under this is no tall bar, even if it is the highest of the hour
_BAR_GAP = 1


def row_line(values: Sequence[Value]) -> str:
    """The path of a line on a scale from 0 to the highest value; a gap where a value is unknown."""
    top = max(filter(None, values), default=0)
    if not top:
        return ""
    step = WIDTH / len(values)
    points = [
        None if value is None else f"{(index + 0.5) * step:.0f} {HEIGHT * (1 - value / top):.0f}"
        for index, value in enumerate(values)
    ]
    strokes = []
    for is_known, run in groupby(points, key=lambda point: point is not None):
        if is_known:
            positions = [point for point in run if point]
            # A line of length 0 is a dot, because its ends are round.
            strokes.append("M" + "L".join(positions if len(positions) > 1 else positions * 2))
    return "".join(strokes)


def row_bars(shares: Sequence[Value]) -> str:
    """The path of bars, for shares from 0 to 1; "" if all are 0 or unknown."""
    top = max(SHARE_TOP, max(filter(None, shares), default=0))
    width = WIDTH / len(shares) if shares else 0
    return "".join(
        f"M{index * width:.0f} {HEIGHT}v-{max(HEIGHT * share / top, 1):.0f}"
        f"h{width - _BAR_GAP:.0f}V{HEIGHT}z"
        for index, share in enumerate(shares)
        if share
    )
