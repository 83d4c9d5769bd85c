"""The catalogue of metrics: name, unit, kind, labels, statistics and meaning of each.

METRICS lists all of them. GAUGES lists those that come from runtime-metrics lines, with the unit in
which their values are stored. A gauge is stored under its index in GAUGES, so append new gauges at
the end.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "distribution"]


class Metric(NamedTuple):
    """One metric as the API and the documentation present it."""

    name: str
    unit: str
    kind: Kind
    labels: tuple[str, ...]
    stats: tuple[str, ...]
    help: str


class Gauge(NamedTuple):
    """A gauge from runtime metrics.

    Values are stored as whole numbers: a value in `unit` is the stored value × `numerator` /
    `denominator`.
    """

    name: str
    unit: str
    numerator: int
    denominator: int
    help: str


# Heroku's "512.00MB" means 512 × 2^20 bytes. Memory is stored in hundredths of such a megabyte.
_MEBIBYTE = 2**20

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
        "memory_swap_bytes", "bytes", _MEBIBYTE, 100, "Memory swapped to disk, which slows a dyno"
    ),
    Gauge("memory_quota_bytes", "bytes", _MEBIBYTE, 100, "Memory that the dyno may use before R14"),
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

_COUNTER_STATS = ("sum", "rate")
_DISTRIBUTION_STATS = (
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
            _COUNTER_STATS,
            "Finished requests, including WebSockets (status 101)",
        ),
        Metric(
            "service_time_ms",
            "ms",
            "distribution",
            ("process_type", "outcome", "dyno"),
            _DISTRIBUTION_STATS,
            "Time the dyno took to respond; by dyno only avg, max and count",
        ),
        Metric(
            "connect_time_ms",
            "ms",
            "distribution",
            ("process_type", "outcome", "dyno"),
            _DISTRIBUTION_STATS,
            "Time the router took to connect to the dyno; by dyno only avg, max and count",
        ),
        Metric(
            "response_bytes",
            "bytes",
            "counter",
            ("process_type",),
            _COUNTER_STATS,
            "Bytes of response bodies",
        ),
        Metric(
            "heroku_errors",
            "errors",
            "counter",
            ("code", "process_type", "dyno"),
            _COUNTER_STATS,
            "Lines with an error code: H from the router, R from a dyno, L from the log stream",
        ),
        Metric(
            "dyno_restarts",
            "restarts",
            "counter",
            ("process_type", "dyno"),
            _COUNTER_STATS,
            "Restarts of dynos that had been running, for any reason",
        ),
        Metric(
            "dyno_exits",
            "exits",
            "counter",
            ("process_type", "dyno", "exit_status"),
            _COUNTER_STATS,
            "Processes that ended, by exit status; 128 + the signal for a killed process",
        ),
        *(
            Metric(
                gauge.name,
                gauge.unit,
                "gauge",
                ("process_type", "dyno"),
                # A sum of ratios has no meaning.
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
            "Distinct dynos seen in the log, minute by minute",
        ),
    )
}
