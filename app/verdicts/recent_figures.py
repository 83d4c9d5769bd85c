"""The figures of an app in the last hour, as the list of apps shows them.

The worker that judges an app computes them from the minutes that it reads anyway, and stores them
with the verdict. So a list of hundreds of apps is one read. The values are those that queries over
the same minutes give.

Pure.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterable
from copy import copy
from itertools import chain
from typing import NamedTuple

import msgspec

from app.judgement.facts import Interval
from app.rollup.resolutions import HOUR_S, MINUTE_S, align
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.rollup.sketch import quantile_ms
from app.rollup.statuses import is_failed
from app.rollup.time_range import TimeRange, since
from parsers.error_codes import MAINTENANCE_CODE

STEP_S = 5 * MINUTE_S
RECENT_S = HOUR_S + 3 * STEP_S  # of minutes, with a step before the first end and some delay
_STEPS = HOUR_S // STEP_S
_STEP_MINUTES = STEP_S // MINUTE_S
_P95 = 0.95
_TIMES = METRICS["service_time_ms"].selection or frozenset()
_MEMORY = METRICS["memory_quota_used_ratio"]
_MEMORY_GAUGE = _MEMORY.selection or frozenset()
_MEMORY_SCALE = _MEMORY.scale[0] / _MEMORY.scale[1]
_MINUTES, _COLUMNS = HOUR_S // MINUTE_S, 3  # of `RecentMinutes._steps`


class RecentFigures(msgspec.Struct, frozen=True, array_like=True):
    """The figures of the hour that ends at `end_s`, in steps of STEP_S, oldest first.

    None stands for what is not known.

    requests_per_min   of the minutes with a line
    failed_shares      of the requests
    p95s_ms            response times
    memory_used_ratio  share of the quota in the last step, of the fullest dyno
    """

    end_s: int
    requests_per_min: tuple[float | None, ...]
    failed_shares: tuple[float | None, ...]
    p95s_ms: tuple[float | None, ...]
    memory_used_ratio: float | None


class _MinuteCounts(NamedTuple):
    """A minute with a line. `times`: a sketch as bins and counts in turn."""

    start_s: int
    requests: int
    failures: int
    times: array[int]
    time_max_ms: int
    memory_used_ratio: float | None


class RecentMinutes:
    """Adds up the minutes of one app, in little memory, as every app has one."""

    def __init__(self, first_s: int, since_s: int) -> None:
        """
        Args:
            first_s: when the app's first line came, so that minute is not complete.
            since_s: older minutes are not needed.
        """
        self._first_s = first_s
        self._end_s = align(since_s, MINUTE_S)
        self._minutes: deque[_MinuteCounts] = deque()  # of the last step
        # Of each minute of the last hour, the figures of the step that ends with it.
        self._steps = array("d")

    def add(self, interval: Interval) -> None:
        """Add the next interval. One that is coarser says nothing about its minutes."""
        if interval.end_s <= self._end_s or interval.length_s != MINUTE_S:
            return
        self._end_s = max(self._end_s, interval.start_s - HOUR_S)
        while self._end_s < interval.start_s:  # a gap
            self._end_minute(self._end_s + MINUTE_S)
        if interval.rollup is not None and interval.rollup.messages:
            self._minutes.append(_minute_of(interval.start_s, interval.rollup))
        self._end_minute(interval.end_s)

    def _end_minute(self, end_s: int) -> None:
        self._end_s = end_s
        while self._minutes and self._minutes[0].start_s < end_s - STEP_S:
            self._minutes.popleft()
        self._steps.extend(_figures_of(self._minutes, since(self._first_s)))
        del self._steps[: -_MINUTES * _COLUMNS]

    def preview(self, interval: Interval, last_s: int) -> RecentFigures:
        """The figures with an interval that is not final."""
        minutes = copy(self)
        minutes._minutes = deque(self._minutes)
        minutes._steps = self._steps[:]
        minutes.add(interval)
        return minutes.figures(last_s)

    def figures(self, last_s: int) -> RecentFigures:
        """The figures up to the end of the last interval.

        `last_s`: when the app's last line came, so that minute may not be complete.
        """
        steps = self._steps[:-_COLUMNS]
        steps.extend(_figures_of(self._minutes, TimeRange(self._first_s, last_s + 1)))
        ends = range(len(steps) - _COLUMNS, -1, -_STEP_MINUTES * _COLUMNS)
        rows = [[*steps[end : end + _COLUMNS]] for end in reversed(ends)]
        rows = [[math.nan] * _COLUMNS] * (_STEPS - len(rows)) + rows
        rates, shares, p95s = (
            tuple(None if math.isnan(value) else value for value in column)
            for column in zip(*rows, strict=True)
        )
        memory = [ratio for minute in self._minutes if (ratio := minute.memory_used_ratio)]
        return RecentFigures(self._end_s, rates, shares, p95s, max(memory, default=None))


def _minute_of(start_s: int, rollup: Rollup) -> _MinuteCounts:
    """The part of a rollup that the figures are made of."""
    failures = sum(count for (_, status), count in rollup.requests.items() if is_failed(status))
    in_maintenance = sum(
        count for (_, code), count in rollup.errors.items() if code == MAINTENANCE_CODE
    )
    times: Counter[int] = Counter()
    for (_, kind), bins in rollup.sketches.items():
        if kind in _TIMES:
            times.update(bins)
    totals = [total for (_, kind), total in rollup.tallies.items() if kind in _TIMES]
    return _MinuteCounts(
        start_s,
        sum(rollup.requests.values()),
        failures - in_maintenance,
        array("q", chain.from_iterable(times.items())),
        max((total.largest for total in totals), default=0),
        _memory_used_ratio(rollup),
    )


def _memory_used_ratio(rollup: Rollup) -> float | None:
    """The highest share of its quota that a dyno used; from another metric if it lacks this one."""
    largest: dict[str, int] = {
        source: summary.largest
        for (source, name), summary in rollup.named_gauges.items()
        if name == _MEMORY.fallback
    }
    largest.update(
        (source, summary.largest)
        for (source, gauge), summary in rollup.gauges.items()
        if gauge in _MEMORY_GAUGE
    )
    return max(largest.values()) * _MEMORY_SCALE if largest else None


def _figures_of(
    minutes: Iterable[_MinuteCounts], complete: TimeRange
) -> tuple[float, float, float]:
    """The rate, the share of failed requests, and the p95 of a step; nan where unknown."""
    requests = failures = time_max_ms = rated_requests = rated_minutes = 0
    times: Counter[int] = Counter()
    for minute in minutes:
        requests += minute.requests
        failures += minute.failures
        if complete.covers(TimeRange(minute.start_s, minute.start_s + MINUTE_S)):
            rated_requests += minute.requests
            rated_minutes += 1
        time_max_ms = max(time_max_ms, minute.time_max_ms)
        for index, count in zip(minute.times[::2], minute.times[1::2], strict=True):
            times[index] += count
    p95_ms = quantile_ms(times, _P95)
    return (
        rated_requests / rated_minutes if rated_minutes else math.nan,
        max(failures, 0) / requests if requests else math.nan,
        math.nan if p95_ms is None else min(p95_ms, time_max_ms or p95_ms),
    )
