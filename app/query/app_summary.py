"""Summarizes an app's last hour for the list of apps, in one pass over its packed rollups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.query.stats import Value
from app.query.table import QueryRange
from app.rollup.codec import merge_packed
from app.rollup.rollup import Rollup
from app.rollup.schema import CORE_GAUGES, METRICS
from app.rollup.sketch import Bins, quantile_ms
from app.rollup.statuses import is_failed

QUANTILE = 0.95
MEMORY = CORE_GAUGES["memory_quota_used_ratio"]
SECTIONS = frozenset({"requests", "errors", "sketches", "gauges"})


class AppSummary(NamedTuple):
    """An app over a time range. None where nothing is known.

    requests           by step; None for a step without log lines
    failed_requests    over the range
    p95_ms             of service times
    memory_used_ratio  share of the quota, of the dyno with the highest
    codes              lines by error code, in the last steps only
    """

    requests: list[Value]
    failed_requests: int
    p95_ms: Value
    memory_used_ratio: Value
    codes: dict[str, int]


def summarize_app(
    time_range: QueryRange, packed_rollups: Iterable[tuple[int, bytes]], code_steps: int
) -> AppSummary:
    """Summarize (start of the slot, packed rollup) pairs, which lie in the range.

    Error codes are counted in the last `code_steps` steps only.

    Raises:
        PackError, NewerVersion: a rollup cannot be read.
    """
    steps = [Rollup() for _ in range(time_range.size)]
    for start, data in packed_rollups:
        step = steps[(start - time_range.start) // time_range.step_s]
        merge_packed(step, data, SECTIONS, gauges=frozenset({MEMORY}))
    return AppSummary(
        [_count_requests(step) for step in steps],
        sum(
            count
            for step in steps
            for (_, status), count in step.requests.items()
            if is_failed(status)
        ),
        quantile_ms(_merge_service_times(steps), QUANTILE),
        max_memory_ratio([summary.largest for step in steps for summary in step.gauges.values()]),
        _count_codes(steps[max(0, time_range.size - code_steps) :]),
    )


def max_memory_ratio(maxima: Sequence[int]) -> Value:
    """The largest ratio, from maxima in the gauge's stored unit; None without any."""
    numerator, denominator = METRICS["memory_quota_used_ratio"].scale
    return max(maxima) * (numerator / denominator) if maxima else None


def _count_requests(step: Rollup) -> Value:
    return sum(step.requests.values()) if step.requests or step.messages else None


def _merge_service_times(steps: Sequence[Rollup]) -> Bins:
    total: Bins = {}
    for step in steps:
        for (_, kind), bins in step.sketches.items():
            if kind in (METRICS["service_time_ms"].selection or ()):
                for index, count in bins.items():
                    total[index] = total.get(index, 0) + count
    return total


def _count_codes(steps: Sequence[Rollup]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for step in steps:
        for (_, code), count in step.errors.items():
            codes[code] = codes.get(code, 0) + count
    return {code: count for code, count in codes.items() if count}
