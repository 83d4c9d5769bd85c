"""Finds dynos that use more memory than their quota, or will.

Heroku repeats R14 about every 20 s while a dyno is over its quota, and kills it with R15 (Heroku
Dev Center, "Memory Behavior"). A leak is a rise that goes on: its slope is the median of the slopes
between all pairs of points (Theil, "A rank-invariant method of linear and polynomial regression
analysis", 1950; Sen, Journal of the American Statistical Association 63, 1968), which single peaks
do not bend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from app.judgement.facts import Interval, Usual
from app.judgement.formation import is_one_off
from app.judgement.window import HISTORY_S, Symptom, Window
from app.rollup.resolutions import HOUR_S, MINUTE_S
from parsers.samples import labels_of

QUOTA, KILLED = "R14", "R15"
HIGH_RATIO = 0.95
_METRIC = "memory_quota_used_ratio"
_RECENT_S = 10 * MINUTE_S
_HIGH_S = 5 * MINUTE_S
_EXCEEDED_MIN = 5  # of the last 10 minutes
_LATEST_S = 2 * MINUTE_S  # R14 that is over is told no longer
_ERRORS_PER_MINUTE = 3

_POINT_S = 5 * MINUTE_S
_POINTS_MIN = 12
_BOOT_S = 10 * MINUTE_S  # memory always rises after a start
_RISE_MIN = 0.08  # of the quota, over the points
_RISING_PAIRS_MIN = 0.85
_STEADY_MIN = 0.5  # the rise of the later half, compared with that of the earlier one
_FULL_WITHIN_S = 24 * HOUR_S
_RATIO_MIN = 0.5


class Leak(NamedTuple):
    """A steady rise of a dyno's memory: from when on, its latest ratio, and when it is full."""

    since_s: int
    ratio: float
    full_s: int


def detect_memory(window: Window, usual: Usual) -> list[Symptom]:
    """Find R14, R15, memory that is nearly full, and leaks, by process type."""
    symptoms = [*_exceeded(window, usual), *_killed(window)]
    types = {symptom.process_type for symptom in symptoms}
    return symptoms + [symptom for symptom in _high(window) if symptom.process_type not in types]


def dynos_with(intervals: Iterable[Interval], code: str, process_type: str) -> tuple[str, ...]:
    """The dynos of a type that logged an error."""
    return tuple(
        sorted(
            {
                source
                for interval in intervals
                for source, name in interval.codes
                if name == code and labels_of(source)[0] == process_type and labels_of(source)[1]
            }
        )
    )


def _types_with(intervals: Iterable[Interval], code: str) -> list[str]:
    return sorted(
        {
            labels_of(source)[0]
            for interval in intervals
            for source, name in interval.codes
            if name == code and not is_one_off(source)
        }
    )


def _exceeded(window: Window, usual: Usual) -> list[Symptom]:
    recent = window.over(_RECENT_S)
    symptoms = []
    for process_type in _types_with(window.over(_LATEST_S), QUOTA):
        minutes = sum(_quota_minutes(interval, process_type) for interval in recent)
        if minutes < _EXCEEDED_MIN:
            continue
        is_chronic = usual.quota_minutes.get(process_type, 0) >= _EXCEEDED_MIN
        begin = _begin_of(window, process_type)
        symptoms.append(
            Symptom(
                "memory_exceeded",
                "ok" if is_chronic else "degraded",
                begin.start_s,
                begin.start_s,
                begin.end_s,
                process_type=process_type,
                code=QUOTA,
                metric=_METRIC,
                value=_highest_ratio(window.over(_LATEST_S), process_type),
                limit=1.0,
                count=sum(
                    _count(interval, QUOTA, process_type)
                    for interval in window.over(HISTORY_S)
                    if interval.start_s >= begin.start_s
                ),
                reason="chronic" if is_chronic else "",
            )
        )
    return symptoms


def _begin_of(window: Window, process_type: str) -> Interval:
    """The first interval with R14 of the run that reaches to the end."""
    begin = window.last
    for interval in reversed(window.over(HISTORY_S)):
        if begin.start_s - interval.end_s >= _HIGH_S:
            break
        if _count(interval, QUOTA, process_type):
            begin = interval
    return begin


def _quota_minutes(interval: Interval, process_type: str) -> float:
    """The minutes of an interval in which a dyno of the type was over its quota, about."""
    counts = [
        count
        for (source, code), count in interval.codes.items()
        if code == QUOTA and labels_of(source)[0] == process_type
    ]
    if not counts or interval.length_s <= MINUTE_S:
        return len(counts) and 1
    return min(max(counts) / _ERRORS_PER_MINUTE, interval.length_s / MINUTE_S)


def _count(interval: Interval, code: str, process_type: str) -> int:
    return sum(
        count
        for (source, name), count in interval.codes.items()
        if name == code and labels_of(source)[0] == process_type
    )


def _killed(window: Window) -> list[Symptom]:
    last = window.last
    symptoms = []
    for process_type in _types_with([last], KILLED):
        finding = window.open_finding("memory_killed", process_type)
        earlier = finding.count if finding else 0
        symptoms.append(
            Symptom(
                "memory_killed",
                "degraded",
                last.start_s,
                last.start_s,
                last.end_s,
                process_type=process_type,
                code=KILLED,
                metric=_METRIC,
                value=_highest_ratio(window.over(_LATEST_S), process_type),
                limit=1.0,
                count=earlier + _count(last, KILLED, process_type),
            )
        )
    return symptoms


def _highest_ratio(intervals: Iterable[Interval], process_type: str) -> float | None:
    return max(
        (
            facts.memory_ratio
            for interval in intervals
            for dyno, facts in interval.dynos.items()
            if facts.memory_ratio is not None and labels_of(dyno)[0] == process_type
        ),
        default=None,
    )


# --- memory that is nearly full, and leaks ------------------------------------------------------


def _high(window: Window) -> list[Symptom]:
    symptoms: dict[str, Symptom] = {}
    for dyno in sorted(window.last.dynos):
        process_type = labels_of(dyno)[0]
        if is_one_off(dyno):
            continue
        symptom = _leaking(window, dyno) or _nearly_full(window, dyno)
        if symptom is None:
            continue
        symptom_before = symptoms.get(process_type)
        if symptom_before is None or (symptom.value or 0) > (symptom_before.value or 0):
            symptoms[process_type] = symptom
    return list(symptoms.values())


def _nearly_full(window: Window, dyno: str) -> Symptom | None:
    if (window.last.dynos[dyno].memory_ratio or 0.0) < HIGH_RATIO:
        return None
    recent = [interval.dynos.get(dyno) for interval in window.over(_HIGH_S)]
    ratios = [facts.memory_ratio for facts in recent if facts and facts.memory_ratio is not None]
    if len(ratios) < len(recent) or min(ratios) < HIGH_RATIO:
        return None
    first = window.over(_HIGH_S)[0]
    return Symptom(
        "memory_high",
        "ok",
        first.start_s,
        first.start_s,
        first.end_s,
        process_type=labels_of(dyno)[0],
        metric=_METRIC,
        value=ratios[-1],
        limit=HIGH_RATIO,
    )


def _leaking(window: Window, dyno: str) -> Symptom | None:
    leak = find_leak(window, dyno)
    if leak is None:
        return None
    return Symptom(
        "memory_high",
        "ok",
        leak.since_s,
        process_type=labels_of(dyno)[0],
        metric=_METRIC,
        value=leak.ratio,
        limit=HIGH_RATIO,
        reason="leak",
        full_s=leak.full_s,
    )


def find_leak(window: Window, dyno: str) -> Leak | None:
    """Find a steady rise of a dyno's memory since its last start, over an hour or more."""
    ratio = window.last.dynos[dyno].memory_ratio
    if ratio is None or ratio < _RATIO_MIN or not _has_risen(window, dyno, ratio):
        return None
    points = _points(window, dyno, boot_time_s(window, dyno) + _BOOT_S)
    if len(points) < _POINTS_MIN:
        return None
    slope = theil_sen(points)
    span_s = points[-1][0] - points[0][0]
    if slope * span_s < _RISE_MIN or _rising_share(points) < _RISING_PAIRS_MIN:
        return None
    middle = len(points) // 2
    if theil_sen(points[middle:]) < _STEADY_MIN * theil_sen(points[: middle + 1]):
        return None  # memory of caches rises, too, but ever more slowly
    left_s = max(1.0 - points[-1][1], 0.0) / slope
    if left_s > _FULL_WITHIN_S:
        return None
    return Leak(int(points[0][0]), points[-1][1], int(window.end_s + left_s))


def _has_risen(window: Window, dyno: str, ratio: float) -> bool:
    """Whether memory is above that of an hour ago: a cheap test, which most dynos fail."""
    facts = window.over(_POINTS_MIN * _POINT_S)[0].dynos.get(dyno)
    return (
        facts is not None
        and facts.memory_ratio is not None
        and ratio - facts.memory_ratio > _RISE_MIN / 2
    )


def boot_time_s(window: Window, dyno: str) -> int:
    """When a dyno last started, Unix seconds; 0 if that was before the window."""
    key = "boot times"
    answer: tuple[int, dict[str, int]] | None = window.memory.get(key)
    if answer is None or answer[0] != window.end_s:  # asked for each dyno
        answer = window.end_s, _boot_times_s(window)
        window.memory[key] = answer
    return answer[1].get(dyno, 0)


def _boot_times_s(window: Window) -> dict[str, int]:
    """When each dyno last started."""
    return {
        event.source: event.at_ms // 1000
        for event in window.events_since(window.end_s - HISTORY_S)
        if event.kind in ("up", "restart")
    }


def _points(window: Window, dyno: str, start_s: int) -> list[tuple[float, float]]:
    """(time, ratio) of the dyno: the median of each _POINT_S, or an interval that is longer."""
    groups: dict[int, list[float]] = {}
    for interval in window.over(HISTORY_S):
        facts = interval.dynos.get(dyno)
        if interval.start_s >= start_s and facts and facts.memory_ratio is not None:
            groups.setdefault(interval.start_s // _POINT_S, []).append(facts.memory_ratio)
    return [(group * _POINT_S, median(values)) for group, values in sorted(groups.items())]


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """The median slope between all pairs of points, which are in order of x."""
    return median(_slopes(points))


def _rising_share(points: Sequence[tuple[float, float]]) -> float:
    slopes = _slopes(points)
    return sum(slope > 0 for slope in slopes) / len(slopes)


def _slopes(points: Sequence[tuple[float, float]]) -> list[float]:
    return [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for position, earlier in enumerate(points)
        for later in points[position + 1 :]
    ]
