"""Draws the lane of events over the charts: a track each for changes, dynos and alerts, and times.

The lane is as wide as the page, and most charts are half as wide, so it has an axis of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.timeline import TRACKS, EventGroup, Track
from app.web.pages.axes import Tick, time_ticks, without_cut_labels

# Icons in a square of 12 units. Their shapes differ, not only their colors.
ICONS = {
    "release": "M6 1 L11 11 H1 Z",
    "deploy": "M6 1 L11 11 H1 Z",
    "rollback": "M6 11 L11 1 H1 Z",
    "build": "M1 4 H11 V11 H1 Z M3 1 H9 V4 H3 Z",
    "config": "M6 0 L12 6 L6 12 L0 6 Z",
    "scale": "M6 0 L9 4 H7 V8 H9 L6 12 L3 8 H5 V4 H3 Z",
    "maintenance": "M1 1 H5 V11 H1 Z M7 1 H11 V11 H7 Z",
    "note": "M1 1 H11 V8 H6 L3 11 V8 H1 Z",
    "crash": "M1 3 L3 1 L6 4 L9 1 L11 3 L8 6 L11 9 L9 11 L6 8 L3 11 L1 9 L4 6 Z",
    "exit": "M1 5 H11 V7 H1 Z",
    "restart": "M3 1 L11 6 L3 11 Z",
    "alert": "M6 0 A6 6 0 0 1 6 12 A6 6 0 0 1 6 0 Z",
    "mute": "M0 4 H3 L7 1 V11 L3 8 H0 Z M9 3 H11 V9 H9 Z",
    "resolved": "M0 6 L2 4 L5 7 L10 2 L12 4 L5 11 Z",
}
_OTHER = "M3 3 H9 V9 H3 Z"
_LANE_PX = 900  # the width that icons are placed for; other lanes stretch
_ICON_PX, _DIGIT_PX = 18, 8
_HIDDEN = {"up"}  # follows each restart
_EDGE_SHARE = 0.9
_PERCENT = 100


class LaneIcon(NamedTuple):
    """An icon `left` percent and `offset` pixels from the left edge, with a line of `width` percent
    to the last event of its group. `size`: of icon and count, in pixels.
    """

    left: float
    offset: int
    size: int
    width: float
    path: str
    group: EventGroup


class LaneTrack(NamedTuple):
    """A track of the lane, and its icons from left to right."""

    name: Track
    icons: list[LaneIcon]


class Lane(NamedTuple):
    """The tracks, and the times below them."""

    tracks: list[LaneTrack]
    times: list[Tick]


def draw_lane(groups: Sequence[EventGroup], start_s: int, end_s: int) -> Lane:
    """Place the groups of a range on their tracks."""
    tracks = [
        LaneTrack(name, _place([group for group in groups if group.track == name], start_s, end_s))
        for name in TRACKS
    ]
    return Lane(tracks, without_cut_labels(time_ticks(start_s, end_s)))


def _place(groups: Sequence[EventGroup], start_s: int, end_s: int) -> list[LaneIcon]:
    """Icons that would overlap stand side by side; at the right edge, to the left of it."""
    length_s = max(end_s - start_s, 1)
    icons = [_draw_icon(group, start_s, length_s) for group in groups if group.kind not in _HIDDEN]
    return [icon for cluster in _cluster(icons) for icon in _stand_side_by_side(cluster)]


def _cluster(icons: Sequence[LaneIcon]) -> list[list[LaneIcon]]:
    """Icons that would overlap in a lane of _LANE_PX."""
    clusters: list[list[LaneIcon]] = []
    end_px = -1.0
    for icon in icons:
        x_px = _LANE_PX * icon.left / _PERCENT
        if x_px >= end_px:
            clusters.append([])
            end_px = x_px
        clusters[-1].append(icon)
        end_px += icon.size
    return clusters


def _stand_side_by_side(icons: Sequence[LaneIcon]) -> list[LaneIcon]:
    first = icons[0]
    is_at_edge = first.left >= _PERCENT * _EDGE_SHARE
    offset = -sum(icon.size for icon in icons) + _ICON_PX if is_at_edge else 0
    neighbours = []
    for icon in icons:
        neighbours.append(icon._replace(left=first.left, offset=offset))
        offset += icon.size
    return neighbours


def _draw_icon(group: EventGroup, start_s: int, length_s: int) -> LaneIcon:
    left_edge = _percent((group.first_s - start_s) / length_s)
    right_edge = _percent((group.last_s - start_s) / length_s)
    digits = len(str(group.occurrences)) + 1 if group.occurrences > 1 else 0
    size, width = _ICON_PX + digits * _DIGIT_PX, round(right_edge - left_edge, 2)
    return LaneIcon(left_edge, 0, size, width, ICONS.get(group.kind, _OTHER), group)


def _percent(share: float) -> float:
    return round(_PERCENT * min(max(share, 0), 1), 2)
