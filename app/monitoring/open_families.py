"""Builds the series of open metrics, of add-ons and of queue times for Prometheus.

Counts and distributions are those of an app's total, samples those of the last minutes, as in
app.monitoring.app_metrics. Bounds of buckets are no bounds of bins, so a bucket counts the values
up to its bound ± 1 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from app.monitoring.text_format import MetricFamily, escape_label
from app.query.number_cells import number_of
from app.rollup import number_sketch
from app.rollup.rollup import OpenKey, Rollup
from app.rollup.schema import METRICS, SECTION, Metric
from app.rollup.sketch import PROMETHEUS_BOUNDS_MS, Bins
from app.rollup.summaries import MeasureSummary
from parsers.numbers import MILLION, MS

SAMPLE_SECTIONS = ("custom_samples", "language_samples")
_MS_PER_S = 1_000
_BOUNDS = (
    *(0.001, 0.01, 0.1, 1, 2.5, 5, 10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000, 1_000_000_000),
)
_COUNT_HELP = "Sums of the app's own count# marks"
_SAMPLE_HELP = "Latest values of the app's own sample# marks"
_TIME_HELP = "Times of the app's own measure# marks, in seconds"
_VALUE_HELP = "Values of the app's own measure# marks that are no times, in their unit"
_LANGUAGE_COUNT_HELP = "Sums of counters of language runtimes"
_LANGUAGE_SAMPLE_HELP = "Latest values of gauges of language runtimes"
ADDON_FAMILY = MetricFamily(
    "heroku_addon_sample", "gauge", "Latest samples of add-ons that have no series of their own"
)
_ADDON_METRICS = {  # by sample
    name: metric
    for metric in METRICS.values()
    if metric.sections == ("addon_samples",)
    for name in metric.selection or ()
}

AddonLines = dict[str, list[str]]  # by series


class OpenState(NamedTuple):
    """One app's open metrics: its total, and samples of the last minutes by section."""

    app: str
    total: Rollup
    samples: Mapping[str, Mapping[OpenKey, Any]]


OpenLines = Callable[[OpenState], Iterable[str]]  # of a family, one app's


def addon_lines(app: str, rows: Mapping[OpenKey, Any]) -> AddonLines:
    """The lines of all samples of an app's add-ons, from one pass over their rows."""
    lines: AddonLines = {}
    for key, summary in sorted(rows.items()):
        addon, name, unit, attachment = key
        metric = _ADDON_METRICS.get(name)
        if metric is None:
            series, value = ADDON_FAMILY.name, number_of(summary.last)
            labels = _labels(app, key, "addon_samples")
        elif unit == metric.stored_unit:
            numerator, denominator = metric.scale
            series, value = metric.series, summary.last * numerator / denominator
            labels = f'app="{app}",addon="{addon}",attachment="{attachment}"'
        else:
            continue
        lines.setdefault(series, []).append(f"{series}{{{labels}}} {value}")
    return lines


def queue_time_lines(metric: Metric, state: OpenState) -> Iterator[str]:
    """The histogram of an app's queue times by process type, in seconds."""
    rows = [
        (key[0], key)
        for key in sorted(state.total.custom_measures)
        if key[1] in (metric.selection or ()) and key[2] == metric.stored_unit
    ]
    for process_type, pairs in groupby(rows, key=lambda row: row[0]):
        keys = [key for _, key in pairs]
        labels = f'app="{state.app}",process_type="{process_type}"'
        yield from _histogram(metric.series, labels, state.total, keys, is_time=True)


def _count_lines(section: str, series: str, state: OpenState) -> Iterator[str]:
    for key, value in sorted(state.total.rows(SECTION[section]).items()):
        yield f"{series}_total{{{_labels(state.app, key, section)}}} {number_of(value.total)}"


def _sample_lines(section: str, series: str, state: OpenState) -> Iterator[str]:
    for key, summary in sorted(state.samples[section].items()):
        yield f"{series}{{{_labels(state.app, key, section)}}} {number_of(summary.last)}"


def _measure_lines(series: str, state: OpenState, *, is_time: bool) -> Iterator[str]:
    for key in sorted(state.total.custom_measures):
        if (key[2] == MS) == is_time:
            labels = _labels(state.app, key, "custom_measures", has_unit=not is_time)
            yield from _histogram(series, labels, state.total, [key], is_time=is_time)


def _histogram(
    series: str, labels: str, total: Rollup, keys: Iterable[OpenKey], *, is_time: bool
) -> Iterator[str]:
    """The lines of a histogram of these rows together.

    Values without a sketch, which the limits dropped, count in +Inf only.
    """
    bins: Bins = {}
    summary: MeasureSummary | None = None
    for key in keys:
        for index, count in total.custom_sketches.get(key, {}).items():
            bins[index] = bins.get(index, 0) + count
        row = total.custom_measures[key]
        if summary is None:
            summary = row.copy()
        else:
            summary.merge(row)
    if summary is None:
        return
    scale = _MS_PER_S if is_time else 1
    bounds = PROMETHEUS_BOUNDS_MS if is_time else _BOUNDS
    counts = number_sketch.counts_within(bins, bounds)
    for bound, count in zip(bounds, counts, strict=False):
        yield f'{series}_bucket{{{labels},le="{float(bound / scale)}"}} {count}'
    yield f'{series}_bucket{{{labels},le="+Inf"}} {summary.count}'
    yield f"{series}_count{{{labels}}} {summary.count}"
    if summary.smallest >= 0:  # OpenMetrics allows no sum with negative values
        yield f"{series}_sum{{{labels}}} {summary.total / (MILLION * scale)}"


def _labels(app: str, key: OpenKey, section: str, *, has_unit: bool = True) -> str:
    """The labels of a row. Each text has only letters, digits and . _ - % /, or is escaped."""
    labels = dict(SECTION[section].labels(key))
    if not has_unit:
        del labels["unit"]
    if section in ("custom_counts", "language_counts", "custom_measures"):
        labels.pop("dyno")
    pairs = {"app": app, "name": key[1]} | labels
    return ",".join(f'{name}="{escape_label(value)}"' for name, value in pairs.items())


def _counts(name: str, help_text: str, section: str) -> tuple[MetricFamily, OpenLines]:
    return MetricFamily(name, "counter", help_text), partial(_count_lines, section, name)


def _samples(name: str, help_text: str, section: str) -> tuple[MetricFamily, OpenLines]:
    return MetricFamily(name, "gauge", help_text), partial(_sample_lines, section, name)


def _measures(name: str, help_text: str, *, is_time: bool) -> tuple[MetricFamily, OpenLines]:
    lines = partial(_measure_lines, name, is_time=is_time)
    return MetricFamily(name, "histogram", help_text), lines


OPEN_FAMILIES = (
    _counts("heroku_custom_count", _COUNT_HELP, "custom_counts"),
    _samples("heroku_custom_sample", _SAMPLE_HELP, "custom_samples"),
    _measures("heroku_custom_measure_seconds", _TIME_HELP, is_time=True),
    _measures("heroku_custom_measure_value", _VALUE_HELP, is_time=False),
    _counts("heroku_language_count", _LANGUAGE_COUNT_HELP, "language_counts"),
    _samples("heroku_language_sample", _LANGUAGE_SAMPLE_HELP, "language_samples"),
)
