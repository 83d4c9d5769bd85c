"""Finds maintenance mode: the router answers requests with H80."""

from __future__ import annotations

from app.judgement.facts import Interval, Usual
from app.judgement.window import HISTORY_S, Symptom, Window
from parsers.error_codes import MAINTENANCE_CODE


def detect_maintenance(window: Window, usual: Usual) -> list[Symptom]:
    """Find that maintenance mode is on: most of the last requests, however long ago, got H80.

    The interval in which it began may hold more other answers. A few H80 among many are no
    maintenance of the app.
    """
    begin: Interval | None = None
    count = 0
    for interval in reversed(window.over(HISTORY_S)):
        answers = _count_answers(interval)
        if interval.maintenance and (begin is not None or interval.maintenance > answers):
            begin = interval
            count += interval.maintenance
        if answers >= max(interval.maintenance, 1):
            break
    else:
        if begin is None:  # no answer at all: the finding knows of earlier ones
            return [_symptom(finding.since_s, 0) for finding in window.open("maintenance")[:1]]
    return [_symptom(begin.start_s, count, begin.end_s)] if begin else []


def _count_answers(interval: Interval) -> int:
    return sum(facts.requests for facts in interval.types.values())


def _symptom(since_s: int, count: int, since_max_s: int = 0) -> Symptom:
    return Symptom(
        "maintenance",
        "maintenance",
        since_s,
        since_min_s=since_s,
        since_max_s=since_max_s or since_s,
        code=MAINTENANCE_CODE,
        count=count,
    )
