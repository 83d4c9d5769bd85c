"""From what a user wrote to a Query: names are checked, times parsed, the range aligned, a
resolution chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.query.stats import DEFAULT_STAT, Stat, parse_stat
from app.query.table import Query, QueryRange
from app.query.time_syntax import ACCEPTED_TIMES, parse_time
from app.rollup.resolutions import SLACK_S, Resolution, align, nice_step, parse_step
from parsers.metrics import METRICS, Metric

POINTS_MAX = 11_000  # as Prometheus limits a range query
DEFAULT_RANGE_S = 3600
STATS_MAX = 20
PATTERNS_MAX = 100  # of one filter
ACCEPTED_STEPS = "1m, 10m, 1h, any multiple (90s is none), seconds, or range for one value"
LABELS = (
    "app",
    "process_type",
    "dyno",
    "status",
    "status_class",
    "code",
    "outcome",
    "exit_status",
)


class QueryError(ValueError):
    """A parameter that cannot be used: its name, what was given, and what is accepted."""

    def __init__(self, parameter: str, given: str, accepted: str) -> None:
        super().__init__(f"{parameter}={given}: accepted are {accepted}")
        self.parameter = parameter
        self.given = given
        self.accepted = accepted


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A query as it was written."""

    metric: str
    stats: Sequence[str] = ()
    by: Sequence[str] = ()
    filters: Mapping[str, Sequence[str]] | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None


def plan(
    asked: QueryRequest, resolutions: Sequence[Resolution], now_s: float
) -> tuple[Query, list[str]]:
    """The query, and warnings where it answers something coarser than was asked.

    Raises:
        QueryError: a parameter cannot be used.
    """
    span, warnings = plan_range(asked.start, asked.end, asked.step, resolutions, now_s)
    return query_over(span, asked.metric, asked.stats, asked.by, asked.filters), warnings


def query_over(
    span: QueryRange,
    metric_name: str,
    stat_names: Sequence[str] = (),
    by: Sequence[str] = (),
    accepted: Mapping[str, Sequence[str]] | None = None,
) -> Query:
    """The query over this range.

    Raises:
        QueryError: a parameter cannot be used.
    """
    if metric_name not in METRICS:
        raise QueryError("metric", metric_name, ", ".join(METRICS))
    metric = METRICS[metric_name]
    if len(stat_names) > STATS_MAX:
        raise QueryError("stat", f"{len(stat_names)} of them", f"{STATS_MAX} at most")
    names = dict.fromkeys(stat_names or [DEFAULT_STAT[metric.kind]])
    stats = tuple(_stat(name, metric) for name in names)
    labels = ("app", *metric.labels)
    for name in by:
        if name not in labels:
            raise QueryError("by", name, f"{', '.join(labels)} for {metric.name}")
    filters = {name: tuple(values) for name, values in (accepted or {}).items() if values}
    for name, values in filters.items():
        if name not in labels:
            raise QueryError(name, values[0], f"filters on {', '.join(labels)} for {metric.name}")
        if len(values) > PATTERNS_MAX:
            raise QueryError(name, f"{len(values)} of them", f"{PATTERNS_MAX} at most")
    _check_dyno(stats, by, filters)
    return Query(metric, stats, span, tuple(dict.fromkeys(by)), filters)


def _stat(name: str, metric: Metric) -> Stat:
    try:
        return parse_stat(name, metric)
    except ValueError as error:
        raise QueryError("stat", name, str(error)) from None


def _check_dyno(
    stats: Sequence[Stat], by: Sequence[str], filters: Mapping[str, Sequence[str]]
) -> None:
    """Sketches are kept per process type: percentiles of one dyno do not exist."""
    for stat in stats:
        if stat.of_sketch and ("dyno" in by or "dyno" in filters):
            raise QueryError(
                "stat", stat.name, "avg, max, count per dyno; percentiles per process_type"
            )


def plan_range(
    start: str | None,
    end: str | None,
    step: str | None,
    resolutions: Sequence[Resolution],
    now_s: float,
) -> tuple[QueryRange, list[str]]:
    """The range, aligned outwards, and warnings. Default: the last hour; `step` None: at most about
    300 points.

    Raises:
        QueryError: a time or step cannot be used.
    """
    end_s = _time("end", end, now_s) if end is not None else now_s
    start_s = _time("start", start, now_s) if start is not None else end_s - DEFAULT_RANGE_S
    if start_s >= end_s:
        raise QueryError("start", str(start), f"times before end ({end or 'now'})")
    kept = [each for each in resolutions if start_s >= now_s - each.retention_s - SLACK_S]
    warnings: list[str] = []
    if not kept:
        kept = [resolutions[-1]]
        warnings.append(
            f"start is older than what is kept: {resolutions[-1].retention_s // 86_400} days"
        )
    if step == "range":
        whole_start, whole_end = _outwards(start_s, end_s, kept[0].seconds)
        return QueryRange(whole_start, whole_end, whole_end - whole_start, kept[0]), warnings
    step_s = _step(step, end_s - start_s, resolutions[0].seconds, warnings)
    if step_s % kept[0].seconds:
        step_s = math.ceil(step_s / kept[0].seconds) * kept[0].seconds
        if step is not None:
            warnings.append(
                f"answered with step={step_s}: finer data is no longer kept for all of the range"
            )
    resolution = [each for each in kept if step_s % each.seconds == 0][-1]
    span = QueryRange(*_outwards(start_s, end_s, step_s), step_s, resolution)
    if span.size > POINTS_MAX:
        raise QueryError(
            "step", str(step), f"steps that give at most {POINTS_MAX} values (this: {span.size})"
        )
    return span, warnings


def _outwards(start_s: float, end_s: float, seconds: int) -> tuple[int, int]:
    return align(int(start_s), seconds), math.ceil(end_s / seconds) * seconds


def _time(name: str, text: str, now_s: float) -> float:
    try:
        return parse_time(text, now_s)
    except (ValueError, OverflowError):
        raise QueryError(name, text, ACCEPTED_TIMES) from None


def _step(text: str | None, range_s: float, finest_s: int, warnings: list[str]) -> int:
    if text is None:
        return nice_step(range_s)
    try:
        step_s = parse_step(text)
    except ValueError:
        raise QueryError("step", text, ACCEPTED_STEPS) from None
    if step_s < finest_s:
        warnings.append(f"answered with step={finest_s}: nothing finer is stored")
        return finest_s
    if step_s % finest_s:
        raise QueryError("step", text, ACCEPTED_STEPS)
    return step_s
