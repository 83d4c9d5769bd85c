"""Turns a user's request into a Query: checks names, parses times, aligns the range and chooses
the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.query.stats import DEFAULT_STAT, Stat, parse_stat
from app.query.table import Query, QueryRange
from app.query.time_syntax import ACCEPTED_TIMES, parse_time
from app.rollup.open_metrics import PREFIXES, find_metric, is_open
from app.rollup.resolutions import (
    DAY_S,
    MINUTE_S,
    SLACK_S,
    Resolution,
    align,
    nice_step,
    parse_step,
)
from app.rollup.schema import METRICS, Metric
from app.rollup.statuses import status_pattern

WEEK_S = 7 * DAY_S
_FIRST_MONDAY_S = 4 * DAY_S  # 1970-01-05
POINTS_MAX = 11_000  # as Prometheus limits a range query
DEFAULT_RANGE_S = 3600
STATS_MAX = 20
PATTERNS_MAX = 100  # of one filter
ACCEPTED_STEPS = (
    "1m, 10m, 1h, 1d, 1w or another multiple of 1m, in seconds too, or range for one value"
)
LABELS = (
    "app",
    "process_type",
    "dyno",
    "status",
    "status_class",
    "code",
    "outcome",
    "exit_status",
    "source",
    "unit",
    "addon",
    "attachment",
)
ACCEPTED_METRICS = f"{', '.join(METRICS)}, or {' '.join(f'{prefix}NAME' for prefix in PREFIXES)}"

_SPELLINGS: dict[str, Callable[[str], str]] = {"status": status_pattern, "status_class": str.lower}


class QueryError(ValueError):
    """An invalid parameter: its name, the value given, and the values accepted."""

    def __init__(self, parameter: str, value: str, accepted_values: str) -> None:
        super().__init__(f"{parameter}={value} is invalid. Accepted: {accepted_values}")
        self.parameter = parameter
        self.value = value
        self.accepted_values = accepted_values


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A query as the user wrote it. Times and the step are text, None for the default."""

    metric: str
    stats: Sequence[str] = ()
    by: Sequence[str] = ()
    filters: Mapping[str, Sequence[str]] | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None


def plan(
    request: QueryRequest, resolutions: Sequence[Resolution], now_s: float
) -> tuple[Query, list[str]]:
    """Plan a request. Returns warnings too, where the answer is coarser than requested.

    Raises:
        QueryError: a parameter is invalid.
    """
    time_range, warnings = plan_range(
        request.start,
        request.end,
        request.step,
        resolutions,
        now_s,
        for_rate="rate" in request.stats,
    )
    return build_query(
        time_range, request.metric, request.stats, request.by, request.filters
    ), warnings


def build_query(
    time_range: QueryRange,
    metric_name: str,
    stat_names: Sequence[str] = (),
    by: Sequence[str] = (),
    patterns: Mapping[str, Sequence[str]] | None = None,
) -> Query:
    """Check names and build a query over a range. `patterns`: label -> accepted values.

    Raises:
        QueryError: a parameter is invalid.
    """
    metric = find_metric(metric_name)
    if metric is None:
        raise QueryError("metric", metric_name, ACCEPTED_METRICS)
    if len(stat_names) > STATS_MAX:
        raise QueryError("stat", f"({len(stat_names)} values)", f"at most {STATS_MAX}")
    names = dict.fromkeys(stat_names or [DEFAULT_STAT[metric.kind]])
    stats = tuple(_parse_stat(name, metric) for name in names)
    labels = ("app", *metric.labels)
    for name in by:
        if name not in labels:
            raise QueryError("by", name, f"{', '.join(labels)} for {metric.name}")
    filters = accepted_patterns(patterns or {})
    for name, values in filters.items():
        if name not in labels:
            raise QueryError(name, values[0], f"filters on {', '.join(labels)} for {metric.name}")
        if len(values) > PATTERNS_MAX:
            raise QueryError(name, f"({len(values)} values)", f"at most {PATTERNS_MAX}")
    _reject_dyno_percentiles(stats, by, filters)
    if is_open(metric_name):  # a sum of different units has no meaning
        by = [*by, "unit"]
    return Query(metric, stats, time_range, tuple(dict.fromkeys(by)), filters)


def accepted_patterns(filters: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The patterns of a query's filters: as given, but status=5xx stands for its class."""
    return {
        label: tuple(_SPELLINGS.get(label, str)(value) for value in values)
        for label, values in filters.items()
        if values
    }


def _parse_stat(name: str, metric: Metric) -> Stat:
    try:
        return parse_stat(name, metric)
    except ValueError as error:
        raise QueryError("stat", name, str(error)) from None


def _reject_dyno_percentiles(
    stats: Sequence[Stat], by: Sequence[str], filters: Mapping[str, Sequence[str]]
) -> None:
    """Reject percentiles of a single dyno: sketches are kept per process type only."""
    for stat in stats:
        if stat.needs_sketch and ("dyno" in by or "dyno" in filters):
            raise QueryError(
                "stat", stat.name, "avg, max, count per dyno; percentiles per process_type"
            )


def plan_range(
    start: str | None,
    end: str | None,
    step: str | None,
    resolutions: Sequence[Resolution],
    now_s: float,
    *,
    for_rate: bool = False,
) -> tuple[QueryRange, list[str]]:
    """Align a range outwards to its step and choose its resolution; also returns warnings.

    The default range is the last hour. The default step gives at most about 300 points.
    `now` is the end of the current minute, so the last hour is 60 minutes, not 61. A rate is
    answered from minutes where they are kept, because it is about those that were observed.

    Raises:
        QueryError: a time or the step is invalid.
    """
    minute_end_s = _minute_end(now_s)
    end_s = minute_end_s if end is None else _parse_time("end", end, minute_end_s)
    if start is None:
        start_s = _minute_end(end_s) - DEFAULT_RANGE_S
    else:
        start_s = _parse_time("start", start, minute_end_s)
    if start_s >= end_s:
        raise QueryError("start", str(start), f"times before end ({end or 'now'})")
    candidates = [
        resolution
        for resolution in resolutions
        if start_s >= now_s - resolution.retention_s - SLACK_S
    ]
    warnings: list[str] = []
    if not candidates:
        candidates = [resolutions[-1]]
        warnings.append(
            f"start is older than the retention of {resolutions[-1].retention_s // 86_400} days"
        )
    if step == "range":
        aligned_start, aligned_end = _align_outwards(start_s, end_s, candidates[0].seconds)
        return QueryRange(
            aligned_start, aligned_end, aligned_end - aligned_start, candidates[0]
        ), warnings
    step_s = _parse_step(step, end_s - start_s, resolutions[0].seconds, warnings)
    if step_s % candidates[0].seconds:
        step_s = math.ceil(step_s / candidates[0].seconds) * candidates[0].seconds
        if step is not None:
            warnings.append(
                f"answered with step={step_s}: finer data has expired for part of the range"
            )
    aligned_start, aligned_end = _align_outwards(start_s, end_s, step_s)
    possible = [resolution for resolution in candidates if step_s % resolution.seconds == 0]
    few = [
        entry for entry in possible if (aligned_end - aligned_start) // entry.seconds <= POINTS_MAX
    ]
    resolution = few[0] if for_rate and few else possible[-1]
    time_range = QueryRange(aligned_start, aligned_end, step_s, resolution)
    if time_range.size > POINTS_MAX:
        raise QueryError(
            "step",
            str(step),
            f"steps that give at most {POINTS_MAX} values (this: {time_range.size})",
        )
    return time_range, warnings


def _minute_end(at_s: float) -> float:
    return math.ceil(at_s / MINUTE_S) * MINUTE_S


def _align_outwards(start_s: float, end_s: float, seconds: int) -> tuple[int, int]:
    """The whole intervals around a range. Weeks begin on Monday, UTC."""
    offset_s = _FIRST_MONDAY_S if seconds % WEEK_S == 0 else 0
    first_s = align(int(start_s) - offset_s, seconds)
    last_s = math.ceil((end_s - offset_s) / seconds) * seconds
    return first_s + offset_s, last_s + offset_s


def _parse_time(name: str, text: str, now_s: float) -> float:
    try:
        return parse_time(text, now_s)
    except (ValueError, OverflowError):
        raise QueryError(name, text, ACCEPTED_TIMES) from None


def _parse_step(text: str | None, range_s: float, finest_s: int, warnings: list[str]) -> int:
    if text is None:
        return nice_step(range_s)
    try:
        step_s = parse_step(text)
    except ValueError:
        raise QueryError("step", text, ACCEPTED_STEPS) from None
    if step_s < finest_s:
        warnings.append(f"answered with step={finest_s}, the finest that is stored")
        return finest_s
    if step_s % finest_s:
        raise QueryError("step", text, ACCEPTED_STEPS)
    return step_s
