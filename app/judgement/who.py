"""Finds which dynos stand out in a problem: some, all alike, or it is not sure which.

Failed requests are compared by their share: would a dyno have so many of the failures, if they hit
each request with the same probability? That is an exact binomial test. Of response times only the
mean of each minute is known for a dyno. So each dyno is compared with itself, before the problem:
how much its means rose, in logarithms, against how much they vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log, sqrt
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from app.judgement.binomial import is_share_above
from app.judgement.detectors.crash_loops import crashed_dynos
from app.judgement.detectors.memory import HIGH_RATIO, KILLED, QUOTA, dynos_with, find_leak
from app.judgement.facts import Interval
from app.judgement.verdict import Finding
from app.judgement.window import HISTORY_S, Window
from app.rollup.resolutions import HOUR_S, MINUTE_S
from parsers.samples import labels_of

Who = Literal["everyone", "process_type", "dyno", "unsure"]

_ALPHA = 1e-4  # for all dynos of an app together
_FACTOR_MIN = 2.0  # of a dyno's share of failures, compared with that of the others
_EXPLAINED_MIN = 0.7  # of all failures, by the dynos that are named
_NAMED_MAX = 0.5  # of the dynos: if more stand out, the others do
_EXPECTED_MIN = 5.0  # failures of a dyno, if all were alike: so many would be noticed

_BEFORE_S = 30 * MINUTE_S
_POINTS_MIN = 3
_RISE_MIN = log(1.4)
_ALIKE_MAX = log(1.25)
_DEVIATIONS_MIN = 4.5
_DEVIATION_MIN = 0.05  # of the logarithms: minutes are never more alike


class Affected(NamedTuple):
    """Which dynos a problem is about; none stand out if all are alike or it is not sure.

    all_dynos  those of the type, if lines say of each that it has the problem
    """

    who: Who
    dynos: tuple[str, ...] = ()
    all_dynos: tuple[str, ...] = ()


EVERYONE = Affected("everyone")
UNSURE = Affected("unsure")


def find_affected(window: Window, finding: Finding) -> Affected:
    """Find the dynos that stand out in a finding, in its time within the window."""
    process_type = finding.process_type
    start_s = max(finding.since_min_s or finding.since_s, window.end_s - HISTORY_S)
    intervals = [interval for interval in window.over(HISTORY_S) if interval.end_s > start_s]
    if finding.kind == "crash_loop":
        return _some(crashed_dynos(window, process_type, start_s), intervals, process_type)
    if finding.kind in ("memory_exceeded", "memory_killed"):
        code = QUOTA if finding.kind == "memory_exceeded" else KILLED
        return _some(dynos_with(intervals, code, process_type), intervals, process_type)
    if finding.kind == "memory_high":
        return _some(_fullest(window, finding), intervals, process_type)
    if finding.kind == "failing":
        return compare_failures(intervals, process_type)
    if finding.kind == "slow":
        last_s = finding.since_min_s or finding.since_s
        before = [
            interval
            for interval in window.over(HISTORY_S)
            if last_s - _BEFORE_S <= interval.start_s and interval.end_s <= last_s
        ]
        first_s = finding.since_max_s or finding.since_s
        after = [interval for interval in intervals if interval.start_s >= first_s]
        return compare_times(before, after[-HOUR_S // MINUTE_S :], process_type)
    return EVERYONE


def _some(dynos: Sequence[str], intervals: Sequence[Interval], process_type: str) -> Affected:
    """The dynos of which lines say so themselves, unless these are all of their type."""
    alive = {dyno for interval in intervals for dyno in interval.dynos} | set(dynos)
    same_type = {dyno for dyno in alive if labels_of(dyno)[0] == process_type}
    if not dynos:
        return UNSURE
    if not same_type <= set(dynos):
        return Affected("dyno", tuple(dynos))
    who: Who = "everyone" if same_type == alive else "process_type"
    return Affected(who, all_dynos=tuple(sorted(same_type)))


def _fullest(window: Window, finding: Finding) -> tuple[str, ...]:
    """The dynos that are nearly full; for a leak, those that rise, or else the fullest."""
    ratios = {
        dyno: facts.memory_ratio
        for dyno, facts in window.last.dynos.items()
        if facts.memory_ratio is not None and labels_of(dyno)[0] == finding.process_type
    }
    if finding.reason == "leak":
        leaking = tuple(sorted(dyno for dyno in ratios if find_leak(window, dyno)))
        if leaking:
            return leaking
        return (max(ratios, key=lambda dyno: (ratios[dyno], dyno)),) if ratios else ()
    return tuple(sorted(dyno for dyno, ratio in ratios.items() if ratio >= HIGH_RATIO))


# --- failures -----------------------------------------------------------------------------------


def compare_failures(intervals: Iterable[Interval], process_type: str) -> Affected:
    """Find the dynos on which requests fail more often than on the others."""
    totals: dict[str, int] = {}
    failures: dict[str, int] = {}
    all_failed = 0
    for interval in intervals:
        if process_type in interval.types:
            all_failed += interval.types[process_type].failed
        for dyno, facts in interval.dynos.items():
            if labels_of(dyno)[0] == process_type and facts.requests:
                totals[dyno] = totals.get(dyno, 0) + facts.requests
                failures[dyno] = failures.get(dyno, 0) + facts.failed
    if len(totals) < 2:
        return EVERYONE
    failed_count = sum(failures.values())
    if not failed_count or failed_count < all_failed / 2:
        return EVERYONE  # requests that no dyno got: it does not depend on one
    names = _standing_out(totals, failures)
    if names:
        explained_count = sum(failures[dyno] for dyno in names)
        if len(names) > _NAMED_MAX * len(totals) or explained_count < _EXPLAINED_MIN * failed_count:
            return UNSURE
        return Affected("dyno", tuple(sorted(names)))
    mean_share = failed_count / sum(totals.values())
    is_enough = min(totals.values()) * mean_share >= _EXPECTED_MIN
    is_alike = all(
        0.5 * mean_share < failures[dyno] / total < 2 * mean_share for dyno, total in totals.items()
    )
    return EVERYONE if is_enough and is_alike else UNSURE


def _standing_out(totals: Mapping[str, int], failures: Mapping[str, int]) -> list[str]:
    """The dynos with more failures than by chance, the worst first.

    The worst is taken out, and the others are compared again, as long as one stands out.
    """
    candidates = set(totals)
    names: list[str] = []
    while len(candidates) > 1:
        worst = max(candidates, key=lambda dyno: (failures[dyno] / totals[dyno], dyno))
        remaining = candidates - {worst}
        failed_count = sum(failures[dyno] for dyno in candidates)
        requests = sum(totals[dyno] for dyno in candidates)
        rest_share = (failed_count - failures[worst]) / (requests - totals[worst])
        share = failures[worst] / totals[worst]
        is_apart = is_share_above(
            failures[worst], failed_count, totals[worst] / requests, _ALPHA / len(totals)
        )
        if not is_apart or share < _FACTOR_MIN * rest_share:
            break
        names.append(worst)
        candidates = remaining
    return names


# --- response times -----------------------------------------------------------------------------


class _Rise(NamedTuple):
    """How much the times of a dyno rose, in logarithms, and the standard error of it."""

    rise: float
    error: float


def compare_times(
    before: Sequence[Interval], after: Sequence[Interval], process_type: str
) -> Affected:
    """Find the dynos on which response times rose more than on the others."""
    means_before = _log_means(before, process_type)
    means_after = _log_means(after, process_type)
    dynos = means_after.keys()
    if len(dynos) < 2:
        return EVERYONE if dynos else UNSURE
    rises = {
        dyno: _rise(means_before[dyno], means)
        for dyno, means in means_after.items()
        if len(means) >= _POINTS_MIN and len(means_before.get(dyno, ())) >= _POINTS_MIN
    }
    if len(rises) < len(dynos):
        return UNSURE
    names = _risen(rises)
    if names and len(names) <= _NAMED_MAX * len(rises):
        remaining = [rise for dyno, rise in rises.items() if dyno not in names]
        if all(rise.rise - rise.error < _ALIKE_MAX for rise in remaining):
            return Affected("dyno", tuple(sorted(names)))
        return UNSURE
    if all(rise.rise > _ALIKE_MAX for rise in rises.values()):
        return EVERYONE
    return UNSURE


def _log_means(intervals: Iterable[Interval], process_type: str) -> dict[str, list[float]]:
    """The logarithms of the mean times of each interval, by dyno."""
    means: dict[str, list[float]] = {}
    for interval in intervals:
        for dyno, facts in interval.dynos.items():
            if labels_of(dyno)[0] == process_type and facts.time_mean_ms is not None:
                means.setdefault(dyno, []).append(log(max(facts.time_mean_ms, 1.0)))
    return means


def _rise(before: Sequence[float], after: Sequence[float]) -> _Rise:
    variances = [max(pstdev(means), _DEVIATION_MIN) ** 2 / len(means) for means in (before, after)]
    # Some minutes vary by chance far less than others do, so small samples count for less.
    inflation = 1 + 2 / len(after)
    return _Rise(fmean(after) - fmean(before), inflation * sqrt(sum(variances)))


def _risen(rises: Mapping[str, _Rise]) -> set[str]:
    """The dynos that rose beyond doubt, and beyond the middle one of all."""
    rises_in_order = sorted(rise.rise for rise in rises.values())
    middle = rises_in_order[(len(rises_in_order) - 1) // 2]
    middle_error = max(rise.error for rise in rises.values() if rise.rise == middle)
    return {
        dyno
        for dyno, rise in rises.items()
        if rise.rise - middle
        > max(_RISE_MIN, _DEVIATIONS_MIN * sqrt(rise.error**2 + middle_error**2))
    }
