"""What the page of an app draws: the series of each chart, and how to ask elsewhere for the same.

Pure: a period in, values out; app/web/pages/svg_charts.py and the page's script draw them.
CHARTS are all of
them, in the order of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from app.query.stats import Band, Value
from app.query.window import Window
from app.rollup.statuses import OUTCOMES
from parsers.error_codes import explain
from parsers.metrics import METRICS

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

# Bounds of the rows in the picture of all response times, about five to a factor of ten.
BAND_BOUNDS_MS = (
    0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000,
    3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 6_000_001,
)  # fmt: skip


class ChartLine(NamedTuple):
    """A value a step. `tone`: what it means (calm, calmer, warn, failing), or "" where colours only
    tell lines apart. `past`: of the time that is compared with.
    """

    name: str
    values: list[Value]
    tone: str = ""
    past: bool = False


class Bands(NamedTuple):
    """How many values lie in each band, a list a step. Band i is from bounds_ms[i] up to, not
    including, bounds_ms[i + 1].
    """

    bounds_ms: list[int]
    counts: list[list[int]]


class Threshold(NamedTuple):
    """A value above which somebody is told, and by which rule."""

    name: str
    value: float


class Chart(NamedTuple):
    """Lines over a common scale in `unit`. `query`: what the API is asked for the same, without the
    range; `promql` the same for Prometheus. `notes`: what more there is to say, a step. `limit`:
    the most there can be. `thresholds`: of alerts.
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
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return self.bands is not None or any(
            value is not None for line in self.lines for value in line.values
        )


class ComparedPeriod(NamedTuple):
    """The time that is shown, and one before it to compare with, `past_name` ("last week"). `log`:
    times by powers of ten.
    """

    shown: Window
    now_s: float
    past: Window | None = None
    past_name: str = ""
    shift_s: int = 0
    log: bool = True

    def moved(self, values: Sequence[Value]) -> list[Value]:
        """Values of the past at the steps that are shown, where its own may be longer."""
        if self.past is None:
            return []
        span, past = self.shown.span, self.past.span
        starts = range(span.start - self.shift_s, span.end - self.shift_s, span.step_s)
        indices = [(start - past.start) // past.step_s for start in starts]
        return [values[index] if 0 <= index < len(values) else None for index in indices]

    def before(self, what: str, values: Sequence[Value]) -> list[ChartLine]:
        """A line of the past, unless nothing is known of it."""
        moved = self.moved(values)
        known = any(value is not None for value in moved)
        return [ChartLine(f"{what}, {self.past_name}", moved, past=True)] if known else []

    def per_minute(self, window: Window, values: Sequence[Value]) -> list[Value]:
        """Counts as so many a minute."""
        now_s = self.now_s if window is self.shown else self.now_s - self.shift_s
        return window.per_minute(values, now_s)


def _response_time(period: ComparedPeriod) -> Chart:
    """Sketches are kept by process type: of a dyno there are only mean and maximum."""
    shown, of_dyno = period.shown, bool(period.shown.selection.dyno)
    stats = ("avg", "max") if of_dyno else ("p50", "p95", "p99", "max")
    found = shown.series("service_time_ms", *stats)
    lines = [ChartLine(series.stat, series.numbers) for series in found]
    if period.past is not None:
        compared = "avg" if of_dyno else "p95"
        lines += period.before(compared, period.past.points("service_time_ms", compared))
    buckets = _selector(shown, "process_type", "outcome")
    rate = f"rate(heroku_router_service_time_seconds_bucket{buckets}[5m])"
    return Chart(
        "response",
        "Response time",
        "ms",
        "lines",
        lines,
        _query(shown, "service_time_ms", *(f"stat={stat}" for stat in stats)),
        f"histogram_quantile(0.95, sum by (le) ({rate}))",
        log=period.log,
    )


def _spread(period: ComparedPeriod) -> Chart:
    shown = period.shown
    selector = _selector(shown, "process_type", "outcome")
    found = [] if shown.selection.dyno else shown.bands("service_time_ms")
    return Chart(
        "spread",
        "All response times",
        "ms",
        "bands",
        [],
        _query(shown, "service_time_ms", "stat=bins"),
        f"sum by (le) (increase(heroku_router_service_time_seconds_bucket{selector}[5m]))",
        log=True,
        bands=_bands(found) if any(found) else None,
    )


def _bands(found: Sequence[Sequence[Band]]) -> Bands:
    """The sketch's bins, gathered into bands; those at both ends that are empty are left out."""
    counts = [[0] * (len(BAND_BOUNDS_MS) - 1) for _ in found]
    for row, bins in zip(counts, found, strict=True):
        band = 0
        for low_ms, high_ms, count in bins:
            while BAND_BOUNDS_MS[band + 1] <= (low_ms + high_ms) / 2:
                band += 1
            row[band] += count
    used = [index for index in range(len(BAND_BOUNDS_MS) - 1) if any(row[index] for row in counts)]
    first, last = used[0], used[-1]
    bounds = list(BAND_BOUNDS_MS[first : last + 2])
    return Bands(bounds, [row[first : last + 1] for row in counts])


def _throughput(period: ComparedPeriod) -> Chart:
    shown = period.shown
    found = shown.points_by("requests", "sum", "status_class")
    lines = [
        ChartLine(name or "no status", period.per_minute(shown, found[name]), tone)
        for name, tone in STATUS_CLASSES.items()
        if any(found.get(name, ()))
    ]
    if period.past is not None:
        past = period.past.points("requests", "sum")
        lines += period.before("all", period.per_minute(period.past, past))
    selector = _selector(shown, "process_type")
    return Chart(
        "requests",
        "Requests a minute, by status",
        "",
        "bars",
        lines,
        _query(shown, "requests", "by=status_class"),
        f"sum by (status) (rate(heroku_router_requests_total{selector}[5m])) * 60",
        notes=_listed(shown.points_by("requests", "sum", "status"), "no status"),
    )


def _listed(found: Mapping[str, Sequence[Value]], nameless: str) -> list[str]:
    """ "200 1,234, 503 2", a step."""
    size = max((len(values) for values in found.values()), default=0)
    return [
        ", ".join(
            f"{name or nameless} {values[index]:,}"
            for name, values in found.items()
            if values[index]
        )
        for index in range(size)
    ]


def _failed(period: ComparedPeriod) -> Chart:
    shown = period.shown
    lines = [ChartLine("failed", _failed_percent(shown), "failing")]
    if period.past is not None:
        lines += period.before("failed", _failed_percent(period.past))
    count = "rate(heroku_router_requests_total{}[5m])".format
    selector = _selector(shown, "process_type")
    failed = _selector(shown, "process_type", more='status=~"5..|"')
    return Chart(
        "failed",
        "Failed requests",
        "%",
        "lines",
        lines,
        _query(shown, "requests", "by=outcome"),
        f"100 * sum({count(failed)}) / sum({count(selector)})",
    )


def _failed_percent(window: Window) -> list[Value]:
    failed = window.points("requests", "sum", outcome=["failed"])
    requests = window.points("requests", "sum", outcome=OUTCOMES)
    return [
        _PERCENT * (bad or 0) / all_of_them if all_of_them else None
        for bad, all_of_them in zip(failed, requests, strict=True)
    ]


def _errors(period: ComparedPeriod) -> Chart:
    shown = period.shown
    found = shown.points_by("heroku_errors", "sum", "code")
    totals = {code: sum(value or 0 for value in values) for code, values in found.items()}
    codes = sorted((code for code in found if totals[code]), key=lambda code: -totals[code])
    kept, rest = codes[:CODES_SHOWN_MAX], codes[CODES_SHOWN_MAX:]
    lines = [ChartLine(code, found[code]) for code in kept]
    if rest:
        lines.append(ChartLine("other codes", _added([found[code] for code in rest])))
    if period.past is not None and lines:
        past = period.past.points("heroku_errors", "sum")
        scale = shown.span.step_s / period.past.span.step_s
        scaled = [None if value is None else value * scale for value in past]
        lines += period.before("all", scaled)
    selector = _selector(shown, "process_type")
    return Chart(
        "errors",
        "Errors, by code",
        "",
        "bars",
        lines,
        _query(shown, "heroku_errors", "by=code"),
        f"sum by (code) (increase(heroku_errors_total{selector}[5m]))",
        notes=_meanings({code: found[code] for code in kept}, shown.span.size),
    )


def _meanings(found: Mapping[str, Sequence[Value]], size: int) -> list[str]:
    """What the codes of each step mean."""
    titles = {code: f"{code}: {explain(code).title}" for code in found}
    return [
        ", ".join(titles[code] for code, values in found.items() if values[index])
        for index in range(size)
    ]


def _added(rows: Sequence[Sequence[Value]]) -> list[Value]:
    return [
        None if all(value is None for value in column) else sum(value or 0 for value in column)
        for column in zip(*rows, strict=True)
    ]


def _memory(period: ComparedPeriod) -> Chart:
    shown = period.shown
    found = shown.points_by("memory_quota_used_ratio", "max", "process_type")
    lines = [ChartLine(name, _in_percent(values)) for name, values in found.items()]
    if period.past is not None:
        past = period.past.points("memory_quota_used_ratio", "max")
        lines += period.before("fullest", _in_percent(past))
    selector = _selector(shown, "process_type", "dyno")
    used, quota = (f"heroku_dyno_memory_{each}_bytes{selector}" for each in ("total", "quota"))
    by_dyno = shown.points_by("memory_quota_used_ratio", "max", "dyno")
    return Chart(
        "memory",
        "Memory of the fullest dyno, of its quota",
        "%",
        "lines",
        lines,
        _query(shown, "memory_quota_used_ratio", "stat=max", "by=process_type"),
        f"100 * max by (process_type) ({used} / {quota})",
        notes=_highest(by_dyno, "fullest: {} at {:.0%}"),
        limit=_PERCENT,
    )


def _load(period: ComparedPeriod) -> Chart:
    shown = period.shown
    found = shown.points_by("load_avg_1m", "avg", "process_type")
    lines = [ChartLine(name, values) for name, values in found.items()]
    if period.past is not None:
        lines += period.before("mean", period.past.points("load_avg_1m", "avg"))
    selector = _selector(shown, "process_type", "dyno")
    by_dyno = shown.points_by("load_avg_1m", "avg", "dyno")
    return Chart(
        "load",
        "Load, mean of the dynos",
        "",
        "lines",
        lines,
        _query(shown, "load_avg_1m", "stat=avg", "by=process_type"),
        f"avg by (process_type) (heroku_dyno_load_avg_1m{selector})",
        notes=_highest(by_dyno, "busiest: {} with {:.2f}"),
    )


def _dynos(period: ComparedPeriod) -> Chart:
    shown = period.shown
    found = shown.points_by("dynos", "max", "process_type")
    lines = [ChartLine(name, values) for name, values in found.items() if any(values)]
    if period.past is not None:
        lines += period.before("all", period.past.points("dynos", "max"))
    return Chart(
        "dynos",
        "Dynos",
        "",
        "lines",
        lines,
        _query(shown, "dynos", "stat=max", "by=process_type"),
        f"heroku_dynos{_selector(shown, 'process_type')}",
    )


def _highest(by_dyno: Mapping[str, Sequence[Value]], words: str) -> list[str]:
    """Which dyno has the highest value, a step; "" where there is none or only one."""
    dynos = {name: values for name, values in by_dyno.items() if name}
    if len(dynos) < 2:
        return []
    notes = []
    for values in zip(*dynos.values(), strict=True):
        pairs = [(value, name) for value, name in zip(values, dynos, strict=True) if value]
        notes.append(words.format(*reversed(max(pairs))) if pairs else "")
    return notes


def _in_percent(values: Sequence[Value]) -> list[Value]:
    return [None if value is None else _PERCENT * value for value in values]


def _query(window: Window, metric: str, *parameters: str) -> str:
    """The API's parameters, with what is selected as far as the metric knows it."""
    filters = window.selection.filters(METRICS[metric])
    chosen = [f"{label}={values[0]}" for label, values in filters.items()]
    return "&".join([f"metric={metric}", *parameters, *chosen])


def _selector(window: Window, *labels: str, more: str = "") -> str:
    """Of a series in /metrics: {app="shop",process_type="web"}."""
    chosen = window.selection._asdict()
    parts = [f'app="{window.app}"', *([more] if more else [])]
    parts += [_matched(label, chosen[label]) for label in labels if chosen[label]]
    return "{" + ",".join(parts) + "}"


def _matched(label: str, pattern: str) -> str:
    expression = "".join({"*": ".*", "?": "."}.get(letter, letter) for letter in pattern)
    return f'{label}="{pattern}"' if expression == pattern else f'{label}=~"{expression}"'


CHARTS = (_response_time, _spread, _throughput, _failed, _errors, _memory, _load, _dynos)
