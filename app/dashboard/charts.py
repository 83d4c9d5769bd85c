"""Builds the charts of an app's page: their series, and the same query for the API and Prometheus.

Pure: a period goes in, values come out. app/web/pages/svg_charts.py and the page's script draw
them. CHARTS lists the builders in the order of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from app.query.selection import Selection
from app.query.snapshot import AppSnapshot, Question
from app.query.stats import SketchBin, Value
from app.rollup.schema import METRICS
from app.rollup.statuses import OUTCOMES
from app.rollup.time_range import ALWAYS, TimeRange
from parsers.error_codes import explain

Kind = Literal["lines", "bars", "bands"]

CODES_SHOWN_MAX = 6
STATUS_CLASSES = {
    "2xx": "calm",
    "3xx": "calmer",
    "4xx": "warn",
    "5xx": "failing",
    "": "s4",
    "1xx": "s6",
}
_PERCENT = 100

# What the charts ask; `current_questions` and `baseline_questions` list it.
REQUESTS = Question("requests", ("sum",))
REQUESTS_WITH_OUTCOME = REQUESTS._replace(filters=(("outcome", OUTCOMES),))
FAILED_REQUESTS = REQUESTS._replace(filters=(("outcome", ("failed",)),))
REQUESTS_BY_STATUS = REQUESTS._replace(by="status")
REQUESTS_BY_SLOT = REQUESTS._replace(by_slot=True)
REQUESTS_BY_STATUS_CLASS = REQUESTS_BY_SLOT._replace(by="status_class")
TIMES = Question("service_time_ms", ("p50", "p95", "p99", "max", "bins"))
TIMES_OF_DYNO = Question("service_time_ms", ("avg", "max"))  # sketches are kept per process type
P95 = Question("service_time_ms", ("p95",))
AVERAGE_TIME = Question("service_time_ms", ("avg",))
ERRORS = Question("heroku_errors", ("sum",))
ERRORS_BY_CODE = ERRORS._replace(by="code")
MEMORY = Question("memory_quota_used_ratio", ("max",))
MEMORY_BY_TYPE = MEMORY._replace(by="process_type")
MEMORY_BY_DYNO = MEMORY._replace(by="dyno")
LOAD = Question("load_avg_1m", ("avg",))
LOAD_BY_TYPE = LOAD._replace(by="process_type")
LOAD_BY_DYNO = LOAD._replace(by="dyno")
DYNOS = Question("dynos", ("max",))
DYNOS_BY_TYPE = DYNOS._replace(by="process_type")


def current_questions(selection: Selection) -> list[Question]:
    """What the charts ask of the period shown."""
    return [
        TIMES_OF_DYNO if selection.dyno else TIMES,
        *(REQUESTS_BY_STATUS_CLASS, REQUESTS_BY_STATUS, REQUESTS_WITH_OUTCOME, FAILED_REQUESTS),
        *(ERRORS_BY_CODE, MEMORY_BY_TYPE, MEMORY_BY_DYNO, LOAD_BY_TYPE, LOAD_BY_DYNO),
        DYNOS_BY_TYPE,
    ]


def baseline_questions(selection: Selection) -> list[Question]:
    """What the charts ask of the period compared with."""
    times = AVERAGE_TIME if selection.dyno else P95
    return [
        times,
        REQUESTS_BY_SLOT,
        REQUESTS_WITH_OUTCOME,
        FAILED_REQUESTS,
        ERRORS,
        MEMORY,
        LOAD,
        DYNOS,
    ]


# Bounds of the heatmap's rows, about five for each factor of ten.
BAND_BOUNDS_MS = (
    0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000,
    3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 6_000_001,
)  # fmt: skip


class ChartLine(NamedTuple):
    """One line of a chart, with a value per step.

    tone         its meaning (calm, calmer, warn, failing); "" if its color only identifies it
    is_baseline  whether it belongs to the period compared with
    """

    name: str
    values: list[Value]
    tone: str = ""
    is_baseline: bool = False


class Bands(NamedTuple):
    """Counts of values by band, a list per step. Band i is [bounds_ms[i], bounds_ms[i + 1])."""

    bounds_ms: list[int]
    counts: list[list[int]]


class Threshold(NamedTuple):
    """A value above which an alert fires, and the name of its rule."""

    name: str
    value: float


class Chart(NamedTuple):
    """A chart: lines over a common scale in `unit`.

    query       parameters of the API for the same series, without the range
    promql      the same series in Prometheus
    log         whether the scale is logarithmic
    notes       additional text for each step, for the tooltip
    limit       the highest possible value
    thresholds  limits of alert rules
    """

    key: str
    title: str
    unit: str
    kind: Kind
    lines: list[ChartLine]
    query: str
    promql: str
    log: bool = False
    notes: Sequence[str] = ()
    limit: Value = None
    bands: Bands | None = None
    thresholds: Sequence[Threshold] = ()

    @property
    def has_data(self) -> bool:
        """Whether there is anything to draw."""
        return self.bands is not None or any(
            value is not None for line in self.lines for value in line.values
        )


class ComparedPeriod(NamedTuple):
    """The period shown, and an optional baseline period to compare it with.

    complete       the time whose slots have rates
    baseline_name  such as "last week"
    shift_s        seconds between the two periods
    log            whether response times have a logarithmic scale
    """

    current: AppSnapshot
    complete: TimeRange
    baseline: AppSnapshot | None = None
    baseline_name: str = ""
    shift_s: int = 0
    log: bool = True

    def resample_baseline(self, values: Sequence[Value]) -> list[Value]:
        """Map values of the baseline to the steps shown; its own steps may be longer."""
        if self.baseline is None:
            return []
        time_range, baseline_range = self.current.time_range, self.baseline.time_range
        starts = range(
            time_range.start - self.shift_s, time_range.end - self.shift_s, time_range.step_s
        )
        indices = [(start - baseline_range.start) // baseline_range.step_s for start in starts]
        return [values[index] if 0 <= index < len(values) else None for index in indices]

    def baseline_lines(self, name: str, values: Sequence[Value]) -> list[ChartLine]:
        """A line of the baseline; none if it has no data."""
        line = ChartLine(
            f"{name}, {self.baseline_name}", self.resample_baseline(values), is_baseline=True
        )
        return [line] if any(value is not None for value in line.values) else []

    def per_minute(self, snapshot: AppSnapshot, values: Sequence[Value]) -> list[Value]:
        """Turn counts per slot into rates per minute.

        A step in which nothing is complete yet has the counts so far. The chart marks it.
        """
        rates = snapshot.per_minute(values, self.complete)
        so_far = snapshot.per_minute(values, ALWAYS)
        return [count if rate is None else rate for rate, count in zip(rates, so_far, strict=True)]


def _response_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    is_dyno = bool(current.selection.dyno)
    all_series = current.series(TIMES_OF_DYNO if is_dyno else TIMES)
    shown = [
        ChartLine(series.stat, series.numbers) for series in all_series if series.stat != "bins"
    ]
    lines = list(shown)
    if period.baseline is not None:
        question = AVERAGE_TIME if is_dyno else P95
        lines += period.baseline_lines(question.stats[0], period.baseline.points(question))
    buckets = _prometheus_selector(current, "process_type", "outcome")
    rate = f"rate(heroku_router_service_time_seconds_bucket{buckets}[5m])"
    return Chart(
        "response",
        "Response time",
        "ms",
        "lines",
        lines,
        _api_query(current, "service_time_ms", *(f"stat={line.name}" for line in shown)),
        f"histogram_quantile(0.95, sum by (le) ({rate}))",
        log=period.log,
    )


def _distribution_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    selector = _prometheus_selector(current, "process_type", "outcome")
    bins_by_step = [] if current.selection.dyno else current.sketch_bins(TIMES)
    return Chart(
        "spread",
        "Response time distribution",
        "ms",
        "bands",
        [],
        _api_query(current, "service_time_ms", "stat=bins"),
        f"sum by (le) (increase(heroku_router_service_time_seconds_bucket{selector}[5m]))",
        log=True,
        bands=_group_into_bands(bins_by_step) if any(bins_by_step) else None,
    )


def _group_into_bands(bins_by_step: Sequence[Sequence[SketchBin]]) -> Bands:
    """Sum the sketch's bins into bands, without the empty bands at both ends."""
    counts = [[0] * (len(BAND_BOUNDS_MS) - 1) for _ in bins_by_step]
    for row, bins in zip(counts, bins_by_step, strict=True):
        band = 0
        for low_ms, high_ms, count in bins:
            while BAND_BOUNDS_MS[band + 1] <= (low_ms + high_ms) / 2:
                band += 1
            row[band] += count
    nonempty = [
        index for index in range(len(BAND_BOUNDS_MS) - 1) if any(row[index] for row in counts)
    ]
    first, last = nonempty[0], nonempty[-1]
    bounds = list(BAND_BOUNDS_MS[first : last + 2])
    return Bands(bounds, [row[first : last + 1] for row in counts])


def _requests_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_class = current.points_by(REQUESTS_BY_STATUS_CLASS)
    lines = [
        ChartLine(name or "no status", period.per_minute(current, by_class[name]), tone)
        for name, tone in STATUS_CLASSES.items()
        if any(by_class.get(name, ()))
    ]
    if period.baseline is not None:
        total = period.baseline.points(REQUESTS_BY_SLOT)
        lines += period.baseline_lines("all", period.per_minute(period.baseline, total))
    selector = _prometheus_selector(current, "process_type")
    return Chart(
        "requests",
        "Requests per minute, by status",
        "",
        "bars",
        lines,
        _api_query(current, "requests", "by=status_class"),
        f"sum by (status) (rate(heroku_router_requests_total{selector}[5m])) * 60",
        notes=_list_counts(current.points_by(REQUESTS_BY_STATUS), "no status"),
    )


def _list_counts(points: Mapping[str, Sequence[Value]], nameless: str) -> list[str]:
    """A note per step, such as "200 1,234, 503 2"."""
    size = max((len(values) for values in points.values()), default=0)
    return [
        ", ".join(
            f"{name or nameless} {values[index]:,}"
            for name, values in points.items()
            if values[index]
        )
        for index in range(size)
    ]


def _failures_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    lines = [ChartLine("failed", _failed_percent(current), "failing")]
    if period.baseline is not None:
        lines += period.baseline_lines("failed", _failed_percent(period.baseline))
    rate = "rate(heroku_router_requests_total{}[5m])".format
    selector = _prometheus_selector(current, "process_type")
    failed_selector = _prometheus_selector(current, "process_type", more='status=~"5..|5xx|"')
    in_maintenance = _prometheus_selector(current, "process_type", more='code="H80"')
    return Chart(
        "failed",
        "Failed requests",
        "%",
        "lines",
        lines,
        _api_query(current, "requests", "by=outcome"),
        f"100 * (sum({rate(failed_selector)})"
        f" - sum(rate(heroku_errors_total{in_maintenance}[5m]))) / sum({rate(selector)})",
    )


def _failed_percent(snapshot: AppSnapshot) -> list[Value]:
    failures = snapshot.points(FAILED_REQUESTS)
    requests = snapshot.points(REQUESTS_WITH_OUTCOME)
    return [
        _PERCENT * (failed_count or 0) / count if count else None
        for failed_count, count in zip(failures, requests, strict=True)
    ]


def _errors_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_code = current.points_by(ERRORS_BY_CODE)
    totals = {code: sum(value or 0 for value in values) for code, values in by_code.items()}
    codes = sorted((code for code in by_code if totals[code]), key=lambda code: -totals[code])
    top_codes, other_codes = codes[:CODES_SHOWN_MAX], codes[CODES_SHOWN_MAX:]
    lines = [ChartLine(code, by_code[code]) for code in top_codes]
    if other_codes:
        lines.append(ChartLine("other codes", _add_rows([by_code[code] for code in other_codes])))
    if period.baseline is not None and lines:
        counts = period.baseline.points(ERRORS)
        scale = current.time_range.step_s / period.baseline.time_range.step_s
        scaled_counts = [None if value is None else value * scale for value in counts]
        lines += period.baseline_lines("all", scaled_counts)
    selector = _prometheus_selector(current, "process_type")
    return Chart(
        "errors",
        "Errors, by code",
        "",
        "bars",
        lines,
        _api_query(current, "heroku_errors", "by=code"),
        f"sum by (code) (increase(heroku_errors_total{selector}[5m]))",
        notes=_list_titles({code: by_code[code] for code in top_codes}, current.time_range.size),
    )


def _list_titles(points: Mapping[str, Sequence[Value]], size: int) -> list[str]:
    """A note per step with the titles of its codes."""
    titles = {code: f"{code}: {explain(code).title}" for code in points}
    return [
        ", ".join(titles[code] for code, values in points.items() if values[index])
        for index in range(size)
    ]


def _add_rows(rows: Sequence[Sequence[Value]]) -> list[Value]:
    return [
        None if all(value is None for value in column) else sum(value or 0 for value in column)
        for column in zip(*rows, strict=True)
    ]


def _memory_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_type = current.points_by(MEMORY_BY_TYPE)
    lines = [ChartLine(name, _in_percent(values)) for name, values in by_type.items()]
    if period.baseline is not None:
        ratios = period.baseline.points(MEMORY)
        lines += period.baseline_lines("fullest", _in_percent(ratios))
    selector = _prometheus_selector(current, "process_type", "dyno")
    total, quota = (f"heroku_dyno_memory_{name}_bytes{selector}" for name in ("total", "quota"))
    by_dyno = current.points_by(MEMORY_BY_DYNO)
    return Chart(
        "memory",
        "Memory used, fullest dyno",
        "%",
        "lines",
        lines,
        _api_query(current, "memory_quota_used_ratio", "stat=max", "by=process_type"),
        f"100 * max by (process_type) ({total} / {quota})",
        notes=_name_highest(by_dyno, "fullest: {} at {:.0%}"),
        limit=_PERCENT,
    )


def _load_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_type = current.points_by(LOAD_BY_TYPE)
    lines = [ChartLine(name, values) for name, values in by_type.items()]
    if period.baseline is not None:
        lines += period.baseline_lines("mean", period.baseline.points(LOAD))
    selector = _prometheus_selector(current, "process_type", "dyno")
    by_dyno = current.points_by(LOAD_BY_DYNO)
    return Chart(
        "load",
        "Load, mean over dynos",
        "",
        "lines",
        lines,
        _api_query(current, "load_avg_1m", "stat=avg", "by=process_type"),
        f"avg by (process_type) (heroku_dyno_load_avg_1m{selector})",
        notes=_name_highest(by_dyno, "busiest: {} at {:.2f}"),
    )


def _dynos_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_type = current.points_by(DYNOS_BY_TYPE)
    lines = [ChartLine(name, values) for name, values in by_type.items() if any(values)]
    if period.baseline is not None:
        lines += period.baseline_lines("all", period.baseline.points(DYNOS))
    return Chart(
        "dynos",
        "Dynos",
        "",
        "lines",
        lines,
        _api_query(current, "dynos", "stat=max", "by=process_type"),
        f"heroku_dynos{_prometheus_selector(current, 'process_type')}",
    )


def _name_highest(by_dyno: Mapping[str, Sequence[Value]], template: str) -> list[str]:
    """A note per step that names the dyno with the highest value; empty for a single dyno."""
    dynos = {name: values for name, values in by_dyno.items() if name}
    if len(dynos) < 2:
        return []
    notes = []
    for values in zip(*dynos.values(), strict=True):
        pairs = [(value, name) for value, name in zip(values, dynos, strict=True) if value]
        notes.append(template.format(*reversed(max(pairs))) if pairs else "")
    return notes


def _in_percent(values: Sequence[Value]) -> list[Value]:
    return [None if value is None else _PERCENT * value for value in values]


def _api_query(snapshot: AppSnapshot, metric: str, *parameters: str) -> str:
    """The API's parameters, with the filters of the selection that the metric supports."""
    filters = snapshot.selection.filters(METRICS[metric])
    filter_parameters = [f"{label}={values[0]}" for label, values in filters.items()]
    return "&".join([f"metric={metric}", *parameters, *filter_parameters])


def _prometheus_selector(snapshot: AppSnapshot, *labels: str, more: str = "") -> str:
    """A selector of series in /metrics, such as {app="shop",process_type="web"}."""
    patterns = snapshot.selection._asdict()
    parts = [f'app="{snapshot.app}"', *([more] if more else [])]
    parts += [_label_matcher(label, patterns[label]) for label in labels if patterns[label]]
    return "{" + ",".join(parts) + "}"


def _label_matcher(label: str, pattern: str) -> str:
    """An exact matcher, or a regular expression if the pattern has * or ?."""
    expression = "".join({"*": ".*", "?": "."}.get(letter, letter) for letter in pattern)
    return f'{label}="{pattern}"' if expression == pattern else f'{label}=~"{expression}"'


CHARTS = (
    _response_chart,
    _distribution_chart,
    _requests_chart,
    _failures_chart,
    _errors_chart,
    _memory_chart,
    _load_chart,
    _dynos_chart,
)
