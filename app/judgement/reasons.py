"""Rules reasons out: memory and load that are as before send the reader elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from app.judgement.facts import DynoFacts, Interval
from app.judgement.verdict import Finding
from app.judgement.window import HISTORY_S, Window
from app.rollup.resolutions import HOUR_S
from parsers.samples import labels_of

_KINDS = frozenset({"failing", "no_dyno", "slow", "crash_loop"})
_INTERVALS_MIN = 3
_MEMORY_RISE_MAX = 0.05  # of the quota
_MEMORY_MAX = 0.9
_LOAD_FACTOR_MAX = 1.3
_LOAD_RISE_MAX = 0.2


def find_not_reasons(window: Window, finding: Finding) -> tuple[str, ...]:
    """Find which of "memory" and "load" are as they were in the hour before.

    Without figures before and since, neither is said.
    """
    if finding.kind not in _KINDS:
        return ()
    process_type = finding.process_type or "web"
    first_s = finding.since_min_s or finding.since_s
    intervals = window.over(HISTORY_S)
    before = [
        interval
        for interval in intervals
        if first_s - HOUR_S <= interval.start_s and interval.end_s <= first_s
    ]
    since = [interval for interval in intervals if interval.start_s >= first_s]
    reasons = []
    for name, value_of, is_alike in (
        ("memory", _memory_of, _is_memory_alike),
        ("load", _load_of, _is_load_alike),
    ):
        old, new = (_highest(part, process_type, value_of) for part in (before, since))
        if min(len(old), len(new)) >= _INTERVALS_MIN and is_alike(old, new):
            reasons.append(name)
    return tuple(reasons)


def _memory_of(facts: DynoFacts) -> float | None:
    return facts.memory_ratio


def _load_of(facts: DynoFacts) -> float | None:
    return facts.load


def _highest(
    intervals: Sequence[Interval],
    process_type: str,
    value_of: Callable[[DynoFacts], float | None],
) -> list[float]:
    """The highest value of any dyno, for each interval with one."""
    values = (
        max(
            (
                value
                for dyno, facts in interval.dynos.items()
                if labels_of(dyno)[0] == process_type and (value := value_of(facts)) is not None
            ),
            default=None,
        )
        for interval in intervals
    )
    return [value for value in values if value is not None]


def _is_memory_alike(before: Sequence[float], since: Sequence[float]) -> bool:
    return max(since) < _MEMORY_MAX and fmean(since) <= fmean(before) + _MEMORY_RISE_MAX


def _is_load_alike(before: Sequence[float], since: Sequence[float]) -> bool:
    return fmean(since) <= max(_LOAD_FACTOR_MAX * fmean(before), fmean(before) + _LOAD_RISE_MAX)
