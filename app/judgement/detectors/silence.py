"""Finds apps that fell silent, though lines are expected."""

from __future__ import annotations

from math import ceil, log

from app.judgement.facts import Usual
from app.judgement.formation import find_rest
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.resolutions import DAY_S, MINUTE_S

FALSE_ALARM_CHANCE = 1e-6  # that a silence is a matter of chance
_SHORTEST_MIN = 5
_LONGEST_MIN = 30 * 24 * 60


def detect_silence(window: Window, usual: Usual) -> list[Symptom]:
    """Find a silence that is longer than chance explains.

    None for apps that are known for less than a day, for review apps and for replayed files: they
    may end at any time. Time of which lines may have been lost, or wait to be counted, is not
    silence.
    """
    profile = window.profile
    if not profile.is_live or profile.is_review_app or usual.history_s < DAY_S:
        return []
    if usual.heard_share is None or find_rest(window) is not None:
        return []
    since_s = silent_since_s(window)
    if is_unseen(window):
        return []
    limit_min = silence_limit_min(usual.heard_share)
    if not since_s or window.end_s - since_s < limit_min * MINUTE_S:
        return []
    return [
        Symptom(
            "silent",
            "silent",
            since_s,
            since_min_s=max(since_s - MINUTE_S, 0),
            since_max_s=since_s,
            metric="silence_minutes",
            value=(window.end_s - since_s) / MINUTE_S,
            usual=usual.heard_share,
            limit=limit_min,
        )
    ]


def is_unseen(window: Window) -> bool:
    """Whether the silence began before all that is known: perhaps the app fell asleep then."""
    if window.heard_s:
        return False
    findings = window.open("silent", "asleep")
    return all(finding.reason == "unseen" for finding in findings)


def silence_limit_min(heard_share: float) -> int:
    """How many minutes without a line are no chance any more.

    If lines come in the share a of minutes, independently, k minutes without any have the
    probability (1 - a)**k. That is FALSE_ALARM_CHANCE at k = ln(chance) / ln(1 - a).
    """
    if heard_share <= 0:
        return _LONGEST_MIN
    if heard_share >= 1:
        return _SHORTEST_MIN
    minutes = ceil(log(FALSE_ALARM_CHANCE) / log(1 - heard_share) - 1e-9)
    return min(max(_SHORTEST_MIN, minutes), _LONGEST_MIN)


def silent_since_s(window: Window) -> int:
    """The end of the last interval with a line, Unix seconds; 0 if lines come.

    A judge that continues for another one may not have seen that line. Then the finding that is
    open knows; without one, it was before all that this judge has seen.
    """
    if window.heard_s == window.end_s:
        return 0
    begins_s = [finding.since_s for finding in window.open("silent", "asleep")]
    return window.heard_s or max(begins_s, default=window.over(HISTORY_S)[0].start_s)
