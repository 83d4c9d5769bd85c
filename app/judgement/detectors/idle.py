"""Finds apps that are asleep, scaled to zero, or of which no lines are expected at this time."""

from __future__ import annotations

from app.judgement.detectors.silence import (
    detect_silence,
    is_unseen,
    silence_limit_min,
    silent_since_s,
)
from app.judgement.facts import Usual
from app.judgement.formation import NO_WEB_DYNO, Rest, find_rest
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.resolutions import DAY_S, MINUTE_S

QUIET_MIN = 30  # minutes without a line, after which an app with few lines is idle


def detect_idle(window: Window, usual: Usual) -> list[Symptom]:
    """Find that an app rests: it is not silent, for nothing is expected of it."""
    rest = find_rest(window)
    if rest is not None:
        return [_resting(window, rest)]
    since_s = silent_since_s(window)
    if not since_s or detect_silence(window, usual):
        return []
    is_new = usual.history_s < DAY_S or usual.heard_share is None
    limit_min = _new_limit_min(window, since_s) if is_new else QUIET_MIN
    if window.end_s - since_s < limit_min * MINUTE_S:
        return []
    reason = "new" if is_new and window.profile.is_live else "quiet"
    if is_unseen(window):
        reason = "unseen"
    minutes = (window.end_s - since_s) / MINUTE_S
    return [
        Symptom(
            "asleep",
            "idle",
            since_s,
            metric="silence_minutes",
            value=minutes,
            usual=usual.heard_share,
            reason=reason,
        )
    ]


def _resting(window: Window, rest: Rest) -> Symptom:
    count = 0
    if rest.reason == "scaled":
        count = sum(
            number
            for interval in window.over(HISTORY_S)
            if interval.end_s > rest.since_s
            for (_, code), number in interval.codes.items()
            if code == NO_WEB_DYNO
        )
    return Symptom(
        "asleep",
        "idle",
        rest.since_s,
        process_type=rest.process_type,
        code=NO_WEB_DYNO if count else "",
        count=count,
        reason=rest.reason,
    )


def _new_limit_min(window: Window, silent_since: int) -> int:
    """After how many minutes an app without history is idle, by its own lines so far."""
    intervals = [
        interval
        for interval in window.over(HISTORY_S)
        if window.profile.first_seen_s < interval.end_s <= silent_since
    ]
    if not intervals:
        return QUIET_MIN
    share = sum(interval.is_heard for interval in intervals) / len(intervals)
    return min(silence_limit_min(share), QUIET_MIN)
