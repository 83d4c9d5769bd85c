"""Finds apps of which lines arrive, but none can be read: a wrong format, or a damaged stream."""

from __future__ import annotations

from app.judgement.facts import Usual
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.resolutions import MINUTE_S

_LAST_S = 3 * MINUTE_S  # it must last so long
_RECENT_S = 5 * MINUTE_S
_LINES_MIN = 3
_SHARE_MIN = 0.5  # of all lines; the others hold no metrics, as most that apps write


def detect_unreadable(window: Window, usual: Usual) -> list[Symptom]:
    """Find that no line was counted for some minutes, and most could not be parsed."""
    run = []
    for interval in reversed(window.over(HISTORY_S)):
        if interval.counted:
            break
        run.append(interval)
    unreadable = [interval for interval in run if interval.unparsed]
    lines = sum(interval.unparsed for interval in unreadable)
    messages = sum(interval.messages for interval in run)
    if lines < _LINES_MIN or lines < _SHARE_MIN * messages:
        return []
    first, last = unreadable[-1], unreadable[0]
    if window.end_s - first.start_s < _LAST_S or window.end_s - last.end_s > _RECENT_S:
        return []
    return [
        Symptom(
            "unreadable",
            "unreadable",
            first.start_s,
            since_min_s=first.start_s,
            since_max_s=first.end_s,
            metric="lines_unparsed",
            value=lines / max(lines, messages),
            count=lines,
        )
    ]
