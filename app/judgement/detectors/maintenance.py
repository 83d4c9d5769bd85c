"""Finds maintenance mode: the router answers requests with H80."""

from __future__ import annotations

from app.judgement.facts import Interval, Usual
from app.judgement.window import HISTORY_S, Symptom, Window
from app.query.maintenance_runs import Answers, find_maintenance
from parsers.error_codes import MAINTENANCE_CODE


def detect_maintenance(window: Window, usual: Usual) -> list[Symptom]:
    """Find that maintenance mode is on, by the last answers, however long ago they came."""
    recent: list[Interval] = []  # back to one with mostly other answers, which decides
    for interval in reversed(window.over(HISTORY_S)):
        recent.append(interval)
        if _count(interval).others > interval.maintenance:
            break
    recent.reverse()
    counts = [_count(interval) for interval in recent]
    if not any(map(any, counts)):  # no answer at all: the finding knows of earlier ones
        return [_symptom(finding.since_s, 0) for finding in window.open("maintenance")[:1]]
    runs = find_maintenance(counts)
    if not runs or runs[-1].end is not None:
        return []
    begin = recent[runs[-1].first]
    count = sum(interval.maintenance for interval in recent[runs[-1].first :])
    return [_symptom(begin.start_s, count, begin.end_s)]


def _count(interval: Interval) -> Answers:
    others = sum(facts.requests for facts in interval.types.values())
    return Answers(interval.maintenance, others)


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
