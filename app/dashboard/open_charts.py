"""Builds the charts of metrics that senders name: a chart for each name and unit of an app."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from app.dashboard.chart import Chart, ChartLine, ComparedPeriod
from app.dashboard.chart_styles import DYNO_STYLES, style_sources
from app.query.open_names import OpenMetric
from app.query.snapshot import AppSnapshot, Question, read_snapshot
from app.rollup.open_metrics import known_metric
from app.storage.interface.rollups import RollupReader
from parsers.numbers import MS
from parsers.samples import QUEUE_TIME_NAMES

CHARTS_MAX = 24
_QUEUE_TIME = OpenMetric(known_metric("queue_time_ms"), MS, ())
_QUEUE_TIME_MEASURES = frozenset(f"custom.measure.{name}" for name in QUEUE_TIME_NAMES)
_SERIES = {"custom": "heroku_custom", "language": "heroku_language"}


class OpenCharts(NamedTuple):
    """The charts of a family of metrics, and the metrics that are beyond CHARTS_MAX."""

    charts: Sequence[Chart] = ()
    further: Sequence[OpenMetric] = ()


async def read_open_charts(store: RollupReader, period: ComparedPeriod, family: str) -> OpenCharts:
    """Read and build the charts of the metrics of a family that have data in the range.

    Raises:
        StoreUnavailable, NewerVersion
    """
    current = period.current
    metrics = [row for row in current.open_metrics if row.metric.name.startswith(f"{family}.")]
    metrics = _with_queue_time(metrics)
    if not metrics:
        return OpenCharts()
    questions = [question for row in metrics[:CHARTS_MAX] for question in _questions(row)]
    snapshot = await read_snapshot(
        *(store, current.app, current.time_range, questions, current.selection),
        whole_sections=frozenset(),
    )
    charts = []
    for number, row in enumerate(metrics[:CHARTS_MAX]):
        await asyncio.sleep(0)
        charts.append(_chart(f"{family}-{number}", row, period, snapshot))
    return OpenCharts(charts, metrics[CHARTS_MAX:])


def _with_queue_time(metrics: Sequence[OpenMetric]) -> list[OpenMetric]:
    """The metrics, with queue time in place of the measures that it is made of."""
    others = [
        row
        for row in metrics
        if row.metric.name not in _QUEUE_TIME_MEASURES or row.unit != _QUEUE_TIME.unit
    ]
    return [_QUEUE_TIME, *others] if len(others) < len(metrics) else others


def _questions(row: OpenMetric) -> list[Question]:
    """The questions about a metric: about its lines, and about the whole range."""
    by_source = "source" if 1 < len(row.sources) <= DYNO_STYLES else ""
    unit = () if row is _QUEUE_TIME else (("unit", (row.unit,)),)
    if row.metric.kind == "counter":
        return [Question(row.metric.name, ("sum",), by_source, by_slot=True, filters=unit)]
    if row.metric.kind == "gauge":
        return [Question(row.metric.name, ("avg", "max"), by_source, filters=unit)]
    lines = Question(row.metric.name, ("avg", "p95"), filters=unit)
    return [lines, lines._replace(whole_range=True)]


def _chart(key: str, row: OpenMetric, period: ComparedPeriod, snapshot: AppSnapshot) -> Chart:
    metric, (question, *_) = row.metric, _questions(row)
    kind, _, name = metric.name.partition(".")[2].partition(".")
    is_count = metric.kind == "counter"
    lines = {
        "counter": _count_lines,
        "gauge": _sample_lines,
        "distribution": _measure_lines,
    }[metric.kind](row, period, snapshot)
    parameters = [f"stat={stat}" for stat in question.stats]
    parameters += [f"by={question.by}"] if question.by else []
    parameters += [f"{label}={quote(value, safe='')}" for label, (value,) in question.filters]
    filters = snapshot.selection.filters(metric)
    parameters += [f"{label}={values[0]}" for label, values in filters.items()]
    is_hidden = bool(snapshot.selection.dyno) and "dyno" not in metric.labels
    return Chart(
        key,
        f"{name}, per minute" if is_count else name or "Queue time",
        row.unit,
        "bars" if is_count else "lines",
        [] if is_hidden else lines,
        "&".join([f"metric={metric.name}", *parameters]),
        _promql(snapshot.app, row, kind, name),
        "Kept per process type, not per dyno: show all dynos to see it."
        if is_hidden
        else "No values in this range.",
        summary="all" if metric.kind == "distribution" else "mean",
    )


def _count_lines(row: OpenMetric, period: ComparedPeriod, snapshot: AppSnapshot) -> list[ChartLine]:
    (question,) = _questions(row)
    points = snapshot.points_by(question) if question.by else {"all": snapshot.points(question)}
    styles = style_sources(points)
    return [
        ChartLine(source or "no source", period.per_minute(snapshot, values), styles[source])
        for source, values in points.items()
    ]


def _sample_lines(
    row: OpenMetric, period: ComparedPeriod, snapshot: AppSnapshot
) -> list[ChartLine]:
    """The mean of each source; without several sources, mean and maximum."""
    (question,) = _questions(row)
    all_series = snapshot.series(question)
    if not question.by:
        mean, highest = (series.numbers for series in all_series)
        return [ChartLine("mean", mean, "d0"), ChartLine("max", highest, "d0", "thin")]
    means = {series.labels["source"]: series for series in all_series if series.stat == "avg"}
    styles = style_sources(means)
    return [
        ChartLine(source or "no source", series.numbers, styles[source])
        for source, series in means.items()
    ]


def _measure_lines(
    row: OpenMetric, period: ComparedPeriod, snapshot: AppSnapshot
) -> list[ChartLine]:
    question, of_all = _questions(row)
    lines = []
    for name, style, series, total in zip(
        ("mean", "p95"),
        ("max", "p95"),
        snapshot.series(question),
        snapshot.series(of_all),
        strict=True,
    ):
        lines.append(ChartLine(name, series.numbers, style, whole=total.numbers[-1]))
    return lines


def _promql(app: str, row: OpenMetric, kind: str, name: str) -> str:
    """The same series in Prometheus. Times are seconds there."""
    if row is _QUEUE_TIME:
        rate = f'rate(heroku_queue_time_seconds_bucket{{app="{app}"}}[5m])'
        return f"1000 * histogram_quantile(0.95, sum by (le) ({rate}))"
    family = _SERIES[row.metric.name.partition(".")[0]]
    labels = f'app="{app}",name="{name}"'
    with_unit = f'{labels},unit="{row.unit}"'
    if kind == "count":
        return f"sum by (source) (rate({family}_count_total{{{with_unit}}}[5m])) * 60"
    if kind == "sample":
        return f"avg by (source) ({family}_sample{{{with_unit}}})"
    is_time = row.unit == MS
    series = f"{family}_measure_seconds" if is_time else f"{family}_measure_value"
    rate = f"rate({series}_bucket{{{labels if is_time else with_unit}}}[5m])"
    factor = "1000 * " if is_time else ""
    return f"{factor}histogram_quantile(0.95, sum by (le) ({rate}))"
