"""When an app was in maintenance, from its answers: the one rule for judgement and events. Pure.

In maintenance mode the router answers with H80, but a few H80 among many other answers are no
maintenance. So it begins with an interval in which most answers are H80, and ends with one in which
most are not. In between, and in the interval before, other answers are those of requests that were
in progress. Intervals without answers say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Answers(NamedTuple):
    """Numbers of answers in an interval: with H80, and others."""

    in_maintenance: int
    others: int


class MaintenanceRun(NamedTuple):
    """Positions of intervals: the first and the last one in maintenance.

    `end` is the first one after it with mostly other answers; None if none came.
    """

    first: int
    last: int
    end: int | None


def find_maintenance(intervals: Sequence[Answers]) -> list[MaintenanceRun]:
    """Find each time of maintenance in successive intervals, the earliest first."""
    runs: list[MaintenanceRun] = []
    first: int | None = None  # of the current run
    last, before = 0, None
    for position, (in_maintenance, others) in enumerate(intervals):
        if not in_maintenance and not others:
            continue
        if first is None:
            if in_maintenance > others:
                is_edge = before is not None and intervals[before].in_maintenance > 0
                first, last = (before if is_edge else position), position
        elif others > in_maintenance:
            runs.append(MaintenanceRun(first, last, position))
            first = None
        else:
            last = position
        before = position
    if first is not None:
        runs.append(MaintenanceRun(first, last, None))
    return runs
