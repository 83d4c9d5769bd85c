"""Builds the charts of an app's page: their series, and the same query for the API and Prometheus.

Pure: a period goes in, values come out. app/web/pages/svg_charts.py and the page's script draw
them. CHARTS lists the builders in the order of the page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from app.dashboard.chart import Bands, Chart, ChartLine, ComparedPeriod, Pen, Quota, Split
from app.dashboard.chart_styles import DYNO_STYLES, style_codes, style_types
from app.query.selection import Selection
from app.query.snapshot import AppSnapshot, Question
from app.query.stats import SketchBin, Value
from app.rollup.schema import METRICS
from app.rollup.sketch import HIGH_MS, LOW_MS
from app.rollup.statuses import OUTCOMES
from parsers.error_codes import explain
from parsers.samples import labels_of

CODES_SHOWN_MAX = 6
CEILING_RATIO = 3
STATUS_CLASSES = {
    "2xx": "calm",
    "3xx": "calmer",
    "4xx": "warn",
    "5xx": "failing",
    "": "unknown",
    "1xx": "upgraded",
}
_TIME_PENS: dict[str, Pen] = {"p50": "thin", "p99": "thin", "max": "dotted"}
_PERCENT = 100
_MEBIBYTE = 2**20  # Heroku's "512.00MB" means 512 × 2^20 bytes

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
MEMORY_BYTES = Question("memory_total_bytes", ("max",))
MEMORY_BYTES_BY_TYPE = MEMORY_BYTES._replace(by="process_type")
RSS_BY_TYPE = MEMORY_BYTES_BY_TYPE._replace(metric="memory_rss_bytes")
SWAP_BY_TYPE = MEMORY_BYTES_BY_TYPE._replace(metric="memory_swap_bytes")
QUOTA_BY_TYPE = Question("memory_quota_bytes", ("max",), "process_type", whole_range=True)
LOAD = Question("load_avg_1m", ("avg",))
LOAD_BY_TYPE = LOAD._replace(stats=("avg", "max"), by="process_type")
DYNOS = Question("dynos", ("max",))
DYNOS_BY_TYPE = DYNOS._replace(by="process_type")


def current_questions(selection: Selection, split: Split = "types") -> list[Question]:
    """The questions about the period shown."""
    return [
        TIMES_OF_DYNO if selection.dyno else TIMES,
        _times_of_all(selection),
        *(REQUESTS_BY_STATUS_CLASS, REQUESTS_BY_STATUS, REQUESTS_WITH_OUTCOME, FAILED_REQUESTS),
        *(ERRORS_BY_CODE, MEMORY_BYTES_BY_TYPE, RSS_BY_TYPE, SWAP_BY_TYPE, QUOTA_BY_TYPE),
        *(MEMORY, LOAD_BY_TYPE, LOAD, DYNOS_BY_TYPE),
        *([MEMORY_BYTES] if split == "dynos" else []),
    ]


def _times_of_all(selection: Selection) -> Question:
    """The percentiles of all requests of the range; the mean of percentiles would be none."""
    question = TIMES_OF_DYNO if selection.dyno else TIMES
    stats = tuple(stat for stat in question.stats if stat != "bins")
    return question._replace(stats=stats, whole_range=True)


def baseline_questions(selection: Selection) -> list[Question]:
    """The questions about the baseline period."""
    times = AVERAGE_TIME if selection.dyno else P95
    return [
        times,
        REQUESTS_BY_SLOT,
        REQUESTS_WITH_OUTCOME,
        FAILED_REQUESTS,
        ERRORS,
        MEMORY_BYTES,
        LOAD,
        DYNOS,
    ]


# Bounds of the heatmap's rows, about five for each factor of ten.
BAND_BOUNDS_MS = (
    0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000,
    3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 6_000_001,
)  # fmt: skip

# The band of each bin of a sketch, by the lower bound of the bin: the band that its middle is in.
_BANDS: dict[float, int] = {
    low_ms: bisect_right(BAND_BOUNDS_MS, (low_ms + high_ms) / 2) - 1
    for low_ms, high_ms in zip(LOW_MS, HIGH_MS, strict=True)
}


def _response_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    is_dyno = bool(current.selection.dyno)
    all_series = current.series(TIMES_OF_DYNO if is_dyno else TIMES)
    of_all = current.series(_times_of_all(current.selection))
    range_values = {series.stat: series.numbers[-1] for series in of_all}
    shown = [
        ChartLine(stat, series.numbers, stat, _TIME_PENS.get(stat, ""), whole=range_values[stat])
        for series in all_series
        if (stat := series.stat) != "bins"
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
        "No requests in this range, so no response times.",
        log=period.log,
        summary="all",
        ceiling=None if period.log else _ceiling(shown[0 if is_dyno else 1]),
    )


def _ceiling(line: ChartLine) -> Value:
    """A single request of 30 s would make p95 a flat line, so it gets a third of the height."""
    highest = max((value for value in line.values if value is not None), default=None)
    return CEILING_RATIO * highest if highest else None


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
        "Kept per process type, not per dyno: show all dynos to see it."
        if current.selection.dyno
        else "No requests in this range, so no response times.",
        log=True,
        bands=_group_into_bands(bins_by_step) if any(bins_by_step) else None,
    )


def _group_into_bands(bins_by_step: Sequence[Sequence[SketchBin]]) -> Bands:
    """Sum the sketch's bins into bands, without the empty bands at both ends."""
    counts = [[0] * (len(BAND_BOUNDS_MS) - 1) for _ in bins_by_step]
    for row, bins in zip(counts, bins_by_step, strict=True):
        for low_ms, _, count in bins:
            row[_BANDS[low_ms]] += count
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
        "No requests in this range.",
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
    line = ChartLine("failed", failed_percent(current), "failing")
    lines = [line._replace(whole=_failed_percent_of_all(current))]
    if period.baseline is not None:
        lines += period.baseline_lines("failed", failed_percent(period.baseline))
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
        "No requests in this range, so none failed.",
        summary="all",
    )


def _failed_percent_of_all(snapshot: AppSnapshot) -> Value:
    failures = sum(value or 0 for value in snapshot.points(FAILED_REQUESTS))
    requests = sum(value or 0 for value in snapshot.points(REQUESTS_WITH_OUTCOME))
    return _PERCENT * failures / requests if requests else None


def failed_percent(snapshot: AppSnapshot) -> list[Value]:
    """The share of failed requests in each step, in percent; None without requests."""
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
    styles = style_codes(top_codes)
    lines = [ChartLine(code, by_code[code], styles[code]) for code in top_codes]
    if other_codes:
        rows = [by_code[code] for code in other_codes]
        lines.append(ChartLine("other codes", _add_rows(rows), "other"))
    if period.baseline is not None and lines:
        counts = period.baseline.points(ERRORS)
        scale = current.time_range.step_s / period.baseline.time_range.step_s
        scaled_counts = [None if value is None else value * scale for value in counts]
        lines += period.baseline_lines("all", scaled_counts)
    selector = _prometheus_selector(current, "process_type")
    return Chart(
        "errors",
        "Heroku errors, by code",
        "",
        "bars",
        lines,
        _api_query(current, "heroku_errors", "by=code"),
        f"sum by (code) (increase(heroku_errors_total{selector}[5m]))",
        "No Heroku errors in this range.",
        summary="sum",
        integers=True,
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


def _style_types(snapshot: AppSnapshot) -> dict[str, str]:
    """The style of each process type, the same in all charts."""
    names = {labels_of(source)[0] for source in snapshot.sources}
    for question in (MEMORY_BYTES_BY_TYPE, LOAD_BY_TYPE, DYNOS_BY_TYPE):
        names |= {series.labels["process_type"] for series in snapshot.series(question)}
    return style_types(names)


def _memory_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    is_split = period.split == "dynos"
    lines = _dyno_lines(current, MEMORY_BYTES) if is_split else _memory_lines(current)
    lines = [line._replace(values=_in_megabytes(line.values)) for line in lines]
    if period.baseline is not None:
        sizes = period.baseline.points(MEMORY_BYTES)
        lines += period.baseline_lines("fullest", _in_megabytes(sizes))
    selector = _prometheus_selector(current, "process_type", "dyno")
    label = "dyno" if is_split else "process_type"
    by_dyno = current.points_by_dyno(MEMORY)
    return Chart(
        "memory",
        "Memory, fullest dynos" if is_split else "Memory, fullest dyno",
        "MB",
        "lines",
        lines,
        _api_query(current, "memory_total_bytes", "stat=max", f"by={label}"),
        f"max by ({label}) (heroku_dyno_memory_total_bytes{selector}) / {_MEBIBYTE}",
        "No memory metrics in this range. They need log-runtime-metrics.",
        notes=_name_highest(by_dyno, "fullest: {} at {:.0%} of its quota"),
        quotas=_quotas(current),
    )


def _memory_lines(current: AppSnapshot) -> list[ChartLine]:
    """Total memory of each process type's fullest dyno, its resident set, and swap if there is any.

    They have the color of the process type, and differ in the pen.
    """
    styles = _style_types(current)
    rss, swap = current.points_by(RSS_BY_TYPE), current.points_by(SWAP_BY_TYPE)
    lines = []
    for name, values in current.points_by(MEMORY_BYTES_BY_TYPE).items():
        lines.append(ChartLine(name, values, styles[name]))
        if any(rss.get(name, ())):
            lines.append(ChartLine(f"{name} RSS", rss[name], styles[name], "thin"))
        if any(swap.get(name, ())):
            lines.append(ChartLine(f"{name} swap", swap[name], styles[name], "dotted"))
    return lines


def _dyno_lines(current: AppSnapshot, question: Question) -> list[ChartLine]:
    """A line for each of the dynos with the highest values."""
    by_dyno = current.points_by_dyno(question)
    highest = sorted(by_dyno, key=lambda name: -max(value or 0 for value in by_dyno[name]))
    return [
        ChartLine(name, by_dyno[name], f"d{number}")
        for number, name in enumerate(highest[:DYNO_STYLES])
    ]


def _quotas(current: AppSnapshot) -> list[Quota]:
    types_by_quota: dict[float, list[str]] = {}
    for name, size in current.values_by(QUOTA_BY_TYPE).items():
        if size:
            types_by_quota.setdefault(size / _MEBIBYTE, []).append(name)
    return [Quota(tuple(names), size) for size, names in sorted(types_by_quota.items())]


def _load_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    is_split = period.split == "dynos"
    lines = _dyno_lines(current, LOAD) if is_split else _load_lines(current)
    if period.baseline is not None:
        lines += period.baseline_lines("mean", period.baseline.points(LOAD))
    selector = _prometheus_selector(current, "process_type", "dyno")
    label = "dyno" if is_split else "process_type"
    by_dyno = current.points_by_dyno(LOAD)
    return Chart(
        "load",
        "Load, busiest dynos" if is_split else "Load, mean and max",
        "",
        "lines",
        lines,
        _api_query(
            *(current, "load_avg_1m", "stat=avg"),
            *([] if is_split else ["stat=max"]),
            f"by={label}",
        ),
        f"avg by ({label}) (heroku_dyno_load_avg_1m{selector})",
        "No load metrics in this range. They need log-runtime-metrics.",
        notes=_name_highest(by_dyno, "busiest: {} at {:.2f}"),
    )


def _load_lines(current: AppSnapshot) -> list[ChartLine]:
    """The mean over the dynos of each process type, and the highest reading of any of them."""
    styles = _style_types(current)
    lines = []
    for series in current.series(LOAD_BY_TYPE):
        name = series.labels["process_type"]
        if series.stat == "max":
            lines.append(ChartLine(f"{name} max", series.numbers, styles[name], "thin"))
        else:
            lines.append(ChartLine(name, series.numbers, styles[name]))
    return lines


def _dynos_chart(period: ComparedPeriod) -> Chart:
    current = period.current
    by_type = current.points_by(DYNOS_BY_TYPE)
    styles = _style_types(current)
    lines = [
        ChartLine(name, values, styles[name]) for name, values in by_type.items() if any(values)
    ]
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
        "No dyno was seen in this range.",
        integers=True,
    )


def _name_highest(by_dyno: Mapping[str, Sequence[Value]], template: str) -> list[str]:
    """A note per step that names the dyno with the highest value; empty for a single dyno."""
    if len(by_dyno) < 2:
        return []
    names = sorted(by_dyno, reverse=True)
    notes = []
    for values in zip(*(by_dyno[name] for name in names), strict=True):
        known = [value or 0 for value in values]
        highest = max(known)
        notes.append(template.format(names[known.index(highest)], highest) if highest else "")
    return notes


def _in_megabytes(values: Sequence[Value]) -> list[Value]:
    return [None if value is None else value / _MEBIBYTE for value in values]


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
    _requests_chart,
    _failures_chart,
    _errors_chart,
    _response_chart,
    _distribution_chart,
    _memory_chart,
    _load_chart,
    _dynos_chart,
)
