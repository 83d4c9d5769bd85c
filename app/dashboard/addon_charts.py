"""Builds the charts of an app's databases, caches and connection pools, a line for each of them.

An add-on only sends the samples of its plan, so a chart without data is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from app.dashboard.chart import Chart, ChartLine
from app.dashboard.chart_styles import DYNO_STYLES, style_sources
from app.query.engine import Series
from app.query.snapshot import AppSnapshot, Question
from app.query.stats import Value
from app.rollup.schema import METRICS, Metric

LINES_MAX = 2 * DYNO_STYLES
_FACTORS = {"%": 100.0, "MB": 2.0**-20}  # from a metric's unit to a chart's
_WHOLE_UNITS = frozenset({"connections", "commits", "keys"})


class AddonChart(NamedTuple):
    """A chart of one metric of the catalogue, or of two with the same unit.

    metrics     by the text after the names of their lines; the second one's lines are thin
    is_total    whether the metric only grows, so that its increase is shown
    stands_in   whether it is only drawn for add-ons that the chart before does not show
    """

    key: str
    title: str
    unit: str
    metrics: Mapping[str, str]
    stat: str = "max"
    is_total: bool = False
    stands_in: bool = False

    @property
    def metric(self) -> Metric:
        """The first metric."""
        return METRICS[next(iter(self.metrics.values()))]

    @property
    def factor(self) -> float:
        """From the unit of the metrics to that of the chart."""
        return _FACTORS.get(self.unit, 1)

    @property
    def questions(self) -> dict[str, Question]:
        """The question about each metric."""
        stats = ("max", "min") if self.is_total else (self.stat,)
        return {
            text: Question(metric, stats, "attachment", also_by="addon")
            for text, metric in self.metrics.items()
        }


def _chart_of(key: str, title: str, unit: str, metric: str, **fields: Any) -> AddonChart:
    return AddonChart(key, title, unit, {"": metric}, **fields)


ADDON_CHARTS = (
    _chart_of(
        "pg-connections", "Postgres connections used", "%", "postgres_connections_used_ratio"
    ),
    _chart_of(
        *("pg-open", "Postgres connections", "", "postgres_active_connections"), stands_in=True
    ),
    _chart_of(
        "pg-waiting", "Postgres connections waiting for a lock", "", "postgres_waiting_connections"
    ),
    _chart_of("pg-storage", "Postgres storage used", "%", "postgres_db_size_used_ratio"),
    _chart_of("pg-size", "Postgres storage", "MB", "postgres_db_size_bytes", stands_in=True),
    _chart_of("pg-iops", "Postgres IOPS used", "%", "postgres_iops_used_ratio"),
    AddonChart(
        *("pg-operations", "Postgres IOPS", ""),
        {"reads": "postgres_read_iops", "writes": "postgres_write_iops"},
        stands_in=True,
    ),
    AddonChart(
        *("pg-hits", "Postgres cache hit rate", "%"),
        {"tables": "postgres_table_cache_hit_ratio", "indexes": "postgres_index_cache_hit_ratio"},
        stat="avg",
    ),
    _chart_of("pg-load", "Postgres load", "", "postgres_load_avg_1m", stat="avg"),
    _chart_of("pg-lag", "Postgres followers behind", "commits", "postgres_follower_lag_commits"),
    _chart_of(
        "pool-waiting", "Clients waiting for a pooled connection", "", "pgbouncer_client_waiting"
    ),
    _chart_of("redis-memory", "Redis memory", "MB", "redis_memory_redis_bytes"),
    _chart_of("redis-evicted", "Redis keys evicted", "", "redis_evicted_keys", is_total=True),
    _chart_of("redis-connections", "Redis connections used", "%", "redis_connections_used_ratio"),
    _chart_of(*("redis-open", "Redis connections", "", "redis_active_connections"), stands_in=True),
    _chart_of("redis-hits", "Redis hit rate", "%", "redis_hit_ratio", stat="avg"),
    _chart_of("redis-load", "Redis load", "", "redis_load_avg_1m", stat="avg"),
)


def addon_questions() -> list[Question]:
    """The questions about the period shown."""
    return [question for chart in ADDON_CHARTS for question in chart.questions.values()]


def build_addon_charts(snapshot: AppSnapshot) -> list[Chart]:
    """The charts that have data; none if the app has no add-on that logs samples."""
    all_series = [series for question in addon_questions() for series in snapshot.series(question)]
    names = _names({_key(series) for series in all_series})
    styles = style_sources(names.values())
    charts: list[Chart] = []
    earlier_names: set[str] = set()
    for row in ADDON_CHARTS:
        lines = _lines(snapshot, row, names, styles)
        is_spare = (
            row.stands_in and {line.name.partition(",")[0] for line in lines} <= earlier_names
        )
        if lines and not is_spare:
            charts.append(_chart(snapshot.app, row, lines))
        earlier_names = {line.name for line in lines}
    return charts


def _key(series: Series) -> tuple[str, str]:
    return series.labels["attachment"], series.labels["addon"]


def _names(keys: Set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A name for each (attachment, add-on): the attachment, with the add-on if it has several."""
    attachments = [attachment for attachment, _ in keys]
    return {
        (attachment, addon): f"{attachment} {addon}".strip()
        if not attachment or attachments.count(attachment) > 1
        else attachment
        for attachment, addon in keys
    }


def _lines(
    snapshot: AppSnapshot,
    row: AddonChart,
    names: Mapping[tuple[str, str], str],
    styles: Mapping[str, str],
) -> list[ChartLine]:
    lines = []
    for number, (text, question) in enumerate(row.questions.items()):
        values = _values(snapshot, question, row.stat)
        if row.is_total:
            lowest = _values(snapshot, question, "min")
            values = {key: _increases(values[key], lowest[key]) for key in values}
        for key, numbers in values.items():
            name = names[key]
            scaled = [None if value is None else value * row.factor for value in numbers]
            line = ChartLine(f"{name}, {text}" if text else name, scaled, styles[name])
            lines.append(line._replace(pen="thin") if number else line)
    lines = [line for line in lines if any(value is not None for value in line.values)]
    return sorted(lines, key=lambda line: line.name)


def _values(
    snapshot: AppSnapshot, question: Question, stat: str
) -> dict[tuple[str, str], list[Value]]:
    return {
        _key(series): series.numbers for series in snapshot.series(question) if series.stat == stat
    }


def _increases(highest: Sequence[Value], lowest: Sequence[Value]) -> list[Value]:
    """The increase of a running number in each step. After a restart it begins at 0."""
    increases: list[Value] = []
    last_high: Value = None
    for high, low in zip(highest, lowest, strict=True):
        if high is None or low is None:
            increases.append(None)
            continue
        start = low if last_high is None else last_high
        increases.append(high - start if high >= start else high)
        last_high = high
    return increases


def _chart(app: str, row: AddonChart, lines: Sequence[ChartLine]) -> Chart:
    metric = row.metric
    series = f'{metric.series}{{app="{app}"}}'
    factors = {"%": " * 100", "MB": " / 2^20"}
    limit = f", {LINES_MAX} of {len(lines)}" if len(lines) > LINES_MAX else ""
    return Chart(
        row.key,
        row.title + limit,
        row.unit,
        "lines",
        list(lines[:LINES_MAX]),
        f"metric={metric.name}&stat={row.stat}&by=attachment&by=addon",
        f"increase({series}[5m])" if row.is_total else series + factors.get(row.unit, ""),
        "",
        summary="sum" if row.is_total else "mean",
        integers=metric.unit in _WHOLE_UNITS,
    )
