"""What the page of all apps says of an app, gathered in one pass over what is stored of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.query.stats import Value
from app.query.table import WHICH, QueryRange
from app.rollup.codec import merge_packed
from app.rollup.rollup import Rollup
from app.rollup.sketch import Bins, quantile_ms
from app.rollup.statuses import is_failed
from parsers.metrics import GAUGE_INDEX, GAUGES

QUANTILE = 0.95
MEMORY = GAUGE_INDEX["memory_quota_used_ratio"]
SECTIONS = frozenset({"requests", "errors", "sketches", "gauges"})


class Glance(NamedTuple):
    """Of a range of time; None where nothing is known."""

    requests: list[Value]  # of each step; None where nothing was heard
    failed: int  # of the requests
    p95_ms: Value  # of service times
    memory_used_ratio: Value  # of the fullest dyno, of its quota
    codes: dict[str, int]  # with how often, at the end of the range


def glance(span: QueryRange, packed: Iterable[tuple[int, bytes]], code_steps: int) -> Glance:
    """Of packed rollups with the start of their slots, which lie in the range; of codes only those
    in its last `code_steps` steps.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    steps = [Rollup() for _ in range(span.size)]
    for start, data in packed:
        step = steps[(start - span.start) // span.step_s]
        merge_packed(step, data, SECTIONS, gauges=frozenset({MEMORY}))
    return Glance(
        [_requests(step) for step in steps],
        sum(
            count
            for step in steps
            for (_, status), count in step.requests.items()
            if is_failed(status)
        ),
        quantile_ms(_service_times(steps), QUANTILE),
        memory_used_ratio([each.largest for step in steps for each in step.gauges.values()]),
        _codes(steps[max(0, span.size - code_steps) :]),
    )


def memory_used_ratio(largest: Sequence[int]) -> Value:
    """Of the readings that were largest, in the gauge's stored unit."""
    gauge = GAUGES[MEMORY]
    return max(largest) * (gauge.numerator / gauge.denominator) if largest else None


def _requests(step: Rollup) -> Value:
    return sum(step.requests.values()) if step.requests or step.messages else None


def _service_times(steps: Sequence[Rollup]) -> Bins:
    merged: Bins = {}
    for step in steps:
        for (_, which), bins in step.sketches.items():
            if which in WHICH["service_time_ms"]:
                for index, count in bins.items():
                    merged[index] = merged.get(index, 0) + count
    return merged


def _codes(steps: Sequence[Rollup]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for step in steps:
        for (_, code), count in step.errors.items():
            codes[code] = codes.get(code, 0) + count
    return {code: count for code, count in codes.items() if count}
