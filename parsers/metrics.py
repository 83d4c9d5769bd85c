"""TODO docstring."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "distribution"]


class Metric(NamedTuple):
    """One metric as users meet it in the API and the docs."""

    name: str
    unit: str
    kind: Kind
    labels: tuple[str, ...]
    stats: tuple[str, ...]
    help: str


class Gauge(NamedTuple):
    """How a runtime metric is stored: `unit` values are stored values times `numerator` /
    `denominator`.
    """

    name: str
    unit: str
    numerator: int
    denominator: int
    help: str


_MEBIBYTE = (
    2**20
)  # Heroku's "512.00MB" dyno has 512 × 2^20 bytes; values are stored in hundredths of that


GAUGES = (
    Gauge(
        "memory_total_bytes",
        "bytes",
        _MEBIBYTE,
        100,
        "Memory in use: resident set, cache and swap together",
    ),
    Gauge(
        "memory_rss_bytes",
        "bytes",
        _MEBIBYTE,
        100,
        "Memory in RAM that is not cache: the resident set",
    ),
    Gauge("memory_cache_bytes", "bytes", _MEBIBYTE, 100, "Memory in RAM that holds disk cache"),
    Gauge(
        "memory_swap_bytes", "bytes", _MEBIBYTE, 100, "Memory on disk: a dyno that swaps is slow"
    ),
    Gauge("memory_quota_bytes", "bytes", _MEBIBYTE, 100, "What the dyno may use before R14"),
    Gauge("memory_pgpgin_pages", "pages", 1, 1, "Pages read from disk since the dyno started"),
    Gauge("memory_pgpgout_pages", "pages", 1, 1, "Pages written to disk since the dyno started"),
    Gauge("load_avg_1m", "tasks", 1, 100, "Tasks ready to run, averaged over the last minute"),
    Gauge("load_avg_5m", "tasks", 1, 100, "Tasks ready to run, averaged over the last 5 minutes"),
    Gauge("load_avg_15m", "tasks", 1, 100, "Tasks ready to run, averaged over the last 15 minutes"),
    Gauge(
        "memory_quota_used_ratio",
        "ratio",
        1,
        1_000_000,
        "memory_total / memory_quota of the same line",
    ),
)


GAUGE_INDEX = {gauge.name: index for index, gauge in enumerate(GAUGES)}


_QUANTILES = (
    "p1 … p99.9",
    "le_500 (share within 500 ms; any number)",
    "max",
    "avg",
    "count",
    "bins",
)


_GAUGE_STATS = ("avg", "max", "min", "last")


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "requests",
            "requests",
            "counter",
            ("process_type", "dyno", "status", "status_class", "outcome"),
            ("sum", "rate"),
            "Requests that ended, WebSockets (status 101) included",
        ),
        Metric(
            "service_time_ms",
            "ms",
            "distribution",
            ("process_type", "outcome", "dyno"),
            _QUANTILES,
            "Time the dyno took to answer; dyno only with avg, max and count",
        ),
        Metric(
            "connect_time_ms",
            "ms",
            "distribution",
            ("process_type", "outcome", "dyno"),
            _QUANTILES,
            "Time the router took to connect to the dyno; dyno only with avg, max and count",
        ),
        Metric(
            "response_bytes",
            "bytes",
            "counter",
            ("process_type",),
            ("sum", "rate"),
            "Bytes of response bodies",
        ),
        Metric(
            "heroku_errors",
            "errors",
            "counter",
            ("code", "process_type", "dyno"),
            ("sum", "rate"),
            "Lines with an error code: H from the router, R from a dyno, L from the log stream",
        ),
        Metric(
            "dyno_restarts",
            "restarts",
            "counter",
            ("process_type", "dyno"),
            ("sum", "rate"),
            "Dynos that had run and started again, for whatever reason",
        ),
        Metric(
            "dyno_exits",
            "exits",
            "counter",
            ("process_type", "dyno", "exit_status"),
            ("sum", "rate"),
            "Processes that ended, by exit status; 128 + the signal for one that was killed",
        ),
        *(
            Metric(
                gauge.name,
                gauge.unit,
                "gauge",
                ("process_type", "dyno"),
                _GAUGE_STATS if gauge.unit == "ratio" else (*_GAUGE_STATS, "sum"),
                gauge.help,
            )
            for gauge in GAUGES
        ),
        Metric(
            "dynos",
            "dynos",
            "gauge",
            ("process_type",),
            _GAUGE_STATS,
            "Distinct dynos heard from, minute by minute",
        ),
    )
}
