"""The schema: what a rollup holds, and which metrics come of it.

Everything that stores, merges, limits, queries, exports or documents a rollup reads these tables:

    SECTIONS   a row for each section: its key columns, its values and their merge
    METRICS    a row for each metric: the sections that feed it, its unit, statistics and name in
               Prometheus

A new metric of a dyno needs a row in METRICS, with the section `named_counts` or `named_gauges`,
and a parser that returns it as a parsers.samples.Measurements. A value of another shape needs a
row in SECTIONS first.

The *core* sections have a form of their own in the stored bytes (app.rollup.codec), which never
changes. All other sections are *tagged*: a version that does not know the tag keeps their rows
unread. Columns of a section never change; other columns are another section.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from app.rollup.addon_metrics import ADDON_METRICS, AddonMetric
from app.rollup.events import EventKey, limit_events
from app.rollup.statuses import outcome_of, status_class, status_label
from app.rollup.summaries import (
    BINS,
    COUNT,
    MASK,
    NUMBER_BINS,
    GaugeSummary,
    LatestText,
    MeasureSummary,
    NumberSum,
    NumberSummary,
    TimingTotals,
    Values,
    summaries,
)
from parsers.numbers import BYTES, MS
from parsers.samples import QUEUE_TIME_NAMES, labels_of

OTHER = "other"  # stands for the names over a limit
NUMBER_MAX = 2**63 - 1
SMALL_NUMBER_MAX = 2**16 - 1  # of statuses, kinds and gauges, known or of a newer version

Labels = Mapping[str, str]

# The four kinds of time, as they are numbered in stored rollups: service or connect time, of
# requests that succeeded or failed.
TimingKind = int
SERVICE_OK, SERVICE_FAILED, CONNECT_OK, CONNECT_FAILED = range(4)
_OUTCOMES = {
    SERVICE_OK: "ok",
    CONNECT_OK: "ok",
    SERVICE_FAILED: "failed",
    CONNECT_FAILED: "failed",
}


class Key(NamedTuple):
    """A key column.

    Attributes:
        name: of the column; columns of one name are projected and limited alike.
        number_max: the largest number; 0 for text.
        labels: the labels of a value in queries.
        series_label: the one of these labels that series in Prometheus have; "" for none.
        limit: the field of CardinalityLimits that bounds the distinct values; "" for none.
    """

    name: str
    number_max: int
    labels: Callable[[Any], Labels]
    series_label: str = ""
    limit: str = ""


def _source_labels(source: str) -> Labels:
    process_type, dyno = labels_of(source)
    return {"process_type": process_type, "dyno": dyno}


def _status_labels(status: int) -> Labels:
    return {
        "status": status_label(status),
        "status_class": status_class(status),
        "outcome": outcome_of(status),
    }


def _no_labels(_: Any) -> Labels:
    return {}


SOURCE = Key("source", 0, _source_labels, "process_type")  # as parsers.samples says
PROCESS_TYPE = Key(
    "process_type", 0, lambda name: {"process_type": name, "dyno": ""}, "process_type"
)
CODE = Key("code", 0, lambda code: {"code": code}, "code", limit="codes")
STATUS = Key("status", SMALL_NUMBER_MAX, _status_labels, "status", limit="statuses")
EXIT_STATUS = Key("exit_status", 255, lambda status: {"exit_status": str(status)}, "exit_status")
KIND = Key("kind", SMALL_NUMBER_MAX, lambda kind: {"outcome": _OUTCOMES.get(kind, "")})
GAUGE = Key("gauge", SMALL_NUMBER_MAX, _no_labels)  # the number of a core gauge
METRIC = Key("metric", 0, _no_labels)  # the name of a metric
RESULT = Key("result", 0, lambda result: {"result": result}, "result")  # in the ledger
AT_MS = Key("at_ms", NUMBER_MAX, _no_labels)
TEXT = Key("text", 0, _no_labels)
# Of open metrics (app.rollup.open_metrics).
NAME = Key("name", 0, _no_labels)
UNIT = Key("unit", 0, lambda unit: {"unit": unit}, "unit")
ORIGIN = Key("origin", 0, lambda origin: {"source": origin}, "source")  # `source=` of the line
ADDON = Key("addon", 0, lambda addon: {"addon": addon}, "addon")
ATTACHMENT = Key("attachment", 0, lambda name: {"attachment": name}, "attachment")
EVENT = (AT_MS, TEXT, TEXT, TEXT)  # parsers.samples.Event and its time; its source stays as it is


@dataclass(frozen=True, eq=False)
class Section:
    """One section: rows of a key and a value.

    In memory a section is a dictionary. Its keys are tuples of the key columns, or the column
    itself if there is only one.

    Attributes:
        name: the attribute of a Rollup; the tag, if it is a tagged section.
        keys: the key columns.
        values: the value columns and their merge.
        is_core: whether it has a form of its own in the stored bytes.
        in_total: whether the app's total keeps it, with process types instead of dynos.
        make_key: makes a key of several columns.
        limit_rows: bounds the rows to the number that CardinalityLimits has under the section's
            name, where the limits of single columns do not suffice.
        rows_per_dyno: how many rows it may have for each dyno that CardinalityLimits allows; 0 for
            any number, if the second column has few values.
        family: of open metrics, the first part of their names. The sections of a family are
            bounded together (app.rollup.open_limits), and separately from all others.
    """

    name: str
    keys: tuple[Key, ...]
    values: Values
    is_core: bool = False
    in_total: bool = True
    make_key: Callable[[tuple[Any, ...]], Any] = tuple
    limit_rows: Callable[[dict[Any, Any], int], dict[Any, Any]] | None = None
    rows_per_dyno: int = 0
    family: str = ""
    _labels: dict[Any, Labels] = field(default_factory=dict, repr=False)

    def key_of(self, columns: Sequence[Any]) -> Any:
        """The key of these columns."""
        return columns[0] if len(self.keys) == 1 else self.make_key(tuple(columns))

    def columns_of(self, key: Any) -> tuple[Any, ...]:
        """The columns of a key."""
        return (key,) if len(self.keys) == 1 else tuple(key)

    def merge_row(self, rows: dict[Any, Any], key: Any, value: Any) -> None:
        """Add a row to `rows`. The value stays unchanged."""
        if key in rows:
            rows[key] = self.values.combine(rows[key], value)
        else:
            rows[key] = value if isinstance(value, int) else value.copy()

    def merge(self, rows: dict[Any, Any], added_rows: Mapping[Any, Any]) -> None:
        """Add rows to `rows`. The added ones stay unchanged."""
        for key, value in added_rows.items():
            self.merge_row(rows, key, value)

    def rename(
        self, rows: Mapping[Any, Any], names: Mapping[str, Callable[[Any], Any]]
    ) -> dict[Any, Any]:
        """Return the rows with other values in some key columns; rows of equal keys merge.

        `names`: the new value of an old one, by the name of the key column.
        """
        renaming = [names.get(key.name) for key in self.keys]
        renamed_rows: dict[Any, Any] = {}
        for key, value in rows.items():
            columns = [
                column if rename is None else rename(column)
                for rename, column in zip(renaming, self.columns_of(key), strict=True)
            ]
            self.merge_row(renamed_rows, self.key_of(columns), value)
        return renamed_rows

    def column(self, rows: Mapping[Any, Any], key_name: str) -> set[Any]:
        """The distinct values in a key column; empty if the section has no such column."""
        names = [key.name for key in self.keys]
        if key_name not in names:
            return set()
        position = names.index(key_name)
        return set(rows) if len(names) == 1 else {key[position] for key in rows}

    def find_rows(
        self, rows: Mapping[Any, Any], key_name: str, values: Container[Any]
    ) -> list[Any]:
        """The keys of the rows that have one of these values in a key column."""
        names = [key.name for key in self.keys]
        if key_name not in names:
            return []
        if len(names) == 1:
            return [key for key in rows if key in values]
        position = names.index(key_name)
        return [key for key in rows if key[position] in values]

    def labels(self, key: Any) -> Labels:
        """The labels of a row, as queries show them. The same rows come in all apps."""
        labels = self._labels.get(key)
        if labels is None:
            if len(self._labels) >= _CACHED_LABELS_MAX:
                self._labels.clear()
            labels = {}
            for column, column_key in zip(self.columns_of(key), self.keys, strict=True):
                labels |= column_key.labels(column)
            self._labels[key] = labels
        return labels


_CACHED_LABELS_MAX = 4_096


# --- the sections -------------------------------------------------------------------------------


def _events(name: str) -> Section:
    return Section(
        name,
        EVENT,
        COUNT,
        in_total=False,
        make_key=partial(tuple.__new__, EventKey),  # _make takes twice as long
        limit_rows=limit_events,
    )


def _open(name: str, keys: tuple[Key, ...], values: Values, *, in_total: bool = True) -> Section:
    return Section(name, keys, values, in_total=in_total, family=name.partition("_")[0])


_BY_SOURCE = (SOURCE, NAME, UNIT, ORIGIN)
_BY_TYPE = (PROCESS_TYPE, NAME, UNIT, ORIGIN)

# The core sections come in the order of the stored bytes.
SECTIONS = (
    Section("requests", (SOURCE, STATUS), COUNT, is_core=True),
    Section("errors", (SOURCE, CODE), COUNT, is_core=True),
    Section("tallies", (SOURCE, KIND), summaries(TimingTotals), is_core=True),
    Section("response_bytes", (PROCESS_TYPE,), COUNT, is_core=True),
    # There are no sketches by dyno.
    Section("sketches", (PROCESS_TYPE, KIND), BINS, is_core=True),
    Section("gauges", (SOURCE, GAUGE), summaries(GaugeSummary), is_core=True, in_total=False),
    # The minutes of the hour in which a source logged, minute m as bit m. A 1m rollup has one bit,
    # a 1h rollup up to 60, so downsampling keeps the number of dynos by minute.
    Section("active_minutes", (SOURCE,), MASK, is_core=True, in_total=False),
    Section("ledger", (RESULT,), COUNT, is_core=True),
    _events("events"),
    Section("exits", (SOURCE, EXIT_STATUS), COUNT, rows_per_dyno=4),
    Section("restarts", (SOURCE,), COUNT),
    Section("released", (), summaries(LatestText)),  # the last release
    # Metrics of dynos that have no section of their own. A version that does not know a metric
    # still merges it.
    Section("named_counts", (SOURCE, METRIC), COUNT),
    Section("named_gauges", (SOURCE, METRIC), summaries(GaugeSummary), in_total=False),
    _events("lifecycle"),  # the events of parsers.samples.LIFECYCLE_EVENTS
    # Samples of databases and caches, which are no sources. The name is SERVICE.SAMPLE.
    _open(
        "addon_samples", (ADDON, NAME, UNIT, ATTACHMENT), summaries(NumberSummary), in_total=False
    ),
    # What the app itself logs. There are no distributions by dyno.
    _open("custom_counts", _BY_SOURCE, summaries(NumberSum)),
    _open("custom_samples", _BY_SOURCE, summaries(NumberSummary), in_total=False),
    _open("custom_measures", _BY_TYPE, summaries(MeasureSummary)),
    _open("custom_sketches", _BY_TYPE, NUMBER_BINS),
    # What reporters in language runtimes send.
    _open("language_counts", _BY_SOURCE, summaries(NumberSum)),
    _open("language_samples", _BY_SOURCE, summaries(NumberSummary), in_total=False),
)
SECTION = {section.name: section for section in SECTIONS}
CORE_SECTIONS = tuple(section for section in SECTIONS if section.is_core)
TAGGED_SECTIONS = tuple(section for section in SECTIONS if not section.is_core)
ALL_SECTIONS = frozenset(SECTION)
FAMILIES: dict[str, tuple[str, ...]] = {  # the sections of open metrics, by family
    family: tuple(section.name for section in SECTIONS if section.family == family)
    for family in dict.fromkeys(section.family for section in SECTIONS if section.family)
}


# --- the metrics --------------------------------------------------------------------------------

MetricKind = Literal["counter", "gauge", "distribution"]

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
MEASURE_STATS = (*_DISTRIBUTION_STATS, "min", "sum", "last")


class Metric(NamedTuple):
    """One metric as the API and the documentation present it.

    Attributes:
        name, unit, kind, labels, stats, help: as users see them.
        sections: the sections that feed it.
        selection: the values of the second key column whose rows belong to it; None for all rows.
        scale: its values are the stored whole numbers times this numerator / denominator.
        series: its name in Prometheus, without a suffix; "" if it is not exported.
        fallback: the name of the metric, one of `named_gauges`, that stands in for it in an
            interval in which a dyno has no reading of its own; "" for none.
        stored_unit: the unit in the key of its rows; None for rows of any unit.
    """

    name: str
    unit: str
    kind: MetricKind
    labels: tuple[str, ...]
    stats: tuple[str, ...]
    help: str
    sections: tuple[str, ...]
    selection: frozenset[Any] | None = None
    scale: tuple[int, int] = (1, 1)
    series: str = ""
    fallback: str = ""
    stored_unit: str | None = None

    def selection_in(self, section: str) -> frozenset[Any] | None:
        """The values of the second key column of a section whose rows belong to the metric."""
        is_fallback = self.fallback and section == "named_gauges"
        return frozenset({self.fallback}) if is_fallback else self.selection


def counter(
    name: str, unit: str, labels: Sequence[str], help_text: str, section: str, series: str = ""
) -> Metric:
    """A counter: the sum of a section's rows. In `named_counts`, of those with its name."""
    selection = frozenset({name}) if section == "named_counts" else None
    return Metric(
        *(name, unit, "counter", tuple(labels), _COUNTER_STATS, help_text, (section,)),
        selection=selection,
        series=series,
    )


def gauge(
    name: str,
    unit: str,
    scale: tuple[int, int],
    help_text: str,
    number: int | None = None,
    series: str = "",
    fallback: str = "",
) -> Metric:
    """A gauge of each dyno. `number`: of a core gauge; others are stored by name."""
    return Metric(
        *(name, unit, "gauge", ("process_type", "dyno")),
        # A sum of ratios has no meaning.
        _GAUGE_STATS if unit == "ratio" else (*_GAUGE_STATS, "sum"),
        help_text,
        ("named_gauges",) if number is None else ("gauges",),
        frozenset({name if number is None else number}),
        scale,
        series,
        fallback,
    )


def _distribution(name: str, kinds: tuple[TimingKind, ...], help_text: str, series: str) -> Metric:
    return Metric(
        *(name, "ms", "distribution", ("process_type", "outcome", "dyno"), _DISTRIBUTION_STATS),
        f"{help_text}; by dyno only avg, max and count",
        ("tallies", "sketches"),
        frozenset(kinds),
        series=series,
    )


def _addon_gauge(service: str, row: AddonMetric) -> Metric:
    return Metric(
        *(f"{service}_{row.metric}", row.unit, "gauge", ("addon", "attachment")),
        _GAUGE_STATS if row.unit == "ratio" else (*_GAUGE_STATS, "sum"),
        *(row.help, ("addon_samples",), frozenset({f"{service}.{row.sample}"})),
        scale=_MILLIONTHS,
        series=f"heroku_{service}_{row.metric}",
        stored_unit=BYTES if row.unit == "bytes" else "",
    )


# Heroku's "512.00MB" means 512 × 2^20 bytes. Memory is stored in hundredths of such a megabyte.
_MEMORY = (2**20, 100)
_HUNDREDTHS = (1, 100)
_MILLIONTHS = (1, 1_000_000)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        counter(
            "requests",
            "requests",
            ("process_type", "dyno", "status", "status_class", "outcome"),
            "Finished requests, including WebSockets (status 101)",
            "requests",
            "heroku_router_requests",
        ),
        _distribution(
            "service_time_ms",
            (SERVICE_OK, SERVICE_FAILED),
            "Time the dyno took to respond",
            "heroku_router_service_time_seconds",
        ),
        _distribution(
            "connect_time_ms",
            (CONNECT_OK, CONNECT_FAILED),
            "Time the router took to connect to the dyno",
            "heroku_router_connect_time_seconds",
        ),
        counter(
            "response_bytes",
            "bytes",
            ("process_type",),
            "Bytes of response bodies",
            "response_bytes",
            "heroku_router_response_bytes",
        ),
        counter(
            "heroku_errors",
            "errors",
            ("code", "process_type", "dyno"),
            "Lines with an error code: H from the router, R from a dyno, L from the log stream",
            "errors",
            "heroku_errors",
        ),
        counter(
            "dyno_restarts",
            "restarts",
            ("process_type", "dyno"),
            "Restarts of dynos that had been running, for any reason",
            "restarts",
            "heroku_dyno_restarts",
        ),
        counter(
            "dyno_exits",
            "exits",
            ("process_type", "dyno", "exit_status"),
            "Processes that ended, by exit status; 128 + the signal for a killed process",
            "exits",
            "heroku_dyno_exits",
        ),
        gauge(
            "memory_total_bytes",
            "bytes",
            _MEMORY,
            "Memory in use: resident set, cache and swap together; "
            "without runtime metrics, memory_running_bytes",
            0,
            "heroku_dyno_memory_total_bytes",
            fallback="memory_running_bytes",
        ),
        gauge(
            "memory_rss_bytes",
            "bytes",
            _MEMORY,
            "Memory in RAM that is not cache: the resident set",
            1,
            "heroku_dyno_memory_rss_bytes",
        ),
        gauge(
            "memory_cache_bytes",
            "bytes",
            _MEMORY,
            "Memory in RAM that holds disk cache",
            2,
            "heroku_dyno_memory_cache_bytes",
        ),
        gauge(
            "memory_swap_bytes",
            "bytes",
            _MEMORY,
            "Memory swapped to disk, which slows a dyno",
            3,
            "heroku_dyno_memory_swap_bytes",
        ),
        gauge(
            "memory_quota_bytes",
            "bytes",
            _MEMORY,
            "Memory that the dyno may use before R14",
            4,
            "heroku_dyno_memory_quota_bytes",
        ),
        gauge(
            "memory_pgpgin_pages",
            "pages",
            (1, 1),
            "Pages read from disk since the dyno started",
            5,
        ),
        gauge(
            "memory_pgpgout_pages",
            "pages",
            (1, 1),
            "Pages written to disk since the dyno started",
            6,
        ),
        gauge(
            "load_avg_1m",
            "tasks",
            _HUNDREDTHS,
            "Tasks ready to run, averaged over the last minute",
            7,
            "heroku_dyno_load_avg_1m",
        ),
        gauge(
            "load_avg_5m",
            "tasks",
            _HUNDREDTHS,
            "Tasks ready to run, averaged over the last 5 minutes",
            8,
            "heroku_dyno_load_avg_5m",
        ),
        gauge(
            "load_avg_15m",
            "tasks",
            _HUNDREDTHS,
            "Tasks ready to run, averaged over the last 15 minutes",
            9,
            "heroku_dyno_load_avg_15m",
        ),
        gauge(
            "memory_quota_used_ratio",
            "ratio",
            _MILLIONTHS,
            "memory_total / memory_quota of the same line; "
            "without runtime metrics, memory_running_ratio",
            10,
            fallback="memory_running_ratio",
        ),
        gauge(
            "memory_running_bytes",
            "bytes",
            _MEMORY,
            "Memory that Heroku reports while it is over the quota, also without runtime metrics",
            series="heroku_dyno_memory_running_bytes",
        ),
        gauge(
            "memory_running_ratio",
            "ratio",
            _MILLIONTHS,
            "The same memory as a share of the quota",
        ),
        Metric(
            "dynos",
            "dynos",
            "gauge",
            ("process_type",),
            _GAUGE_STATS,
            "Distinct dynos seen in the log, minute by minute",
            ("active_minutes",),
            series="heroku_dynos",
        ),
        Metric(
            *("queue_time_ms", "ms", "distribution", ("process_type",), MEASURE_STATS),
            "Time a request waited for the app, as the app logs it (custom metrics)",
            ("custom_measures", "custom_sketches"),
            QUEUE_TIME_NAMES,
            _MILLIONTHS,
            series="heroku_queue_time_seconds",
            stored_unit=MS,
        ),
        *(_addon_gauge(service, row) for service, rows in ADDON_METRICS.items() for row in rows),
    )
}
# The numbers of the core gauges; the other gauges are stored by name.
CORE_GAUGES = {
    metric.name: number
    for metric in METRICS.values()
    if metric.sections == ("gauges",)
    for number in metric.selection or ()
}
