"""Rollup: the summary of one app over one interval.

Two rollups of an app merge into one. Merging is commutative and associative, with an empty rollup
as identity. All state is whole numbers, so these laws hold exactly. The rest of Dynometer relies on
them: batches may arrive in any order, and workers need not coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

from app.rollup import number_sketch
from app.rollup.events import EventKey, latest_events
from app.rollup.open_limits import DROPPED, limit_families
from app.rollup.schema import (
    CONNECT_FAILED,
    CONNECT_OK,
    CORE_GAUGES,
    METRICS,
    OTHER,
    SECTION,
    SECTIONS,
    SERVICE_FAILED,
    SERVICE_OK,
    TAGGED_SECTIONS,
    Section,
    TimingKind,
)
from app.rollup.sketch import BIN_OF, TABLE_SIZE, Bins, bin_of
from app.rollup.statuses import CLASS_SIZE, FIRST_FAILED, SWITCHING_PROTOCOLS, limit_status
from app.rollup.summaries import (
    GaugeSummary,
    LatestText,
    MeasureSummary,
    NumberSum,
    NumberSummary,
    TimingTotals,
)
from parsers.numbers import MILLION, Quantity
from parsers.samples import (
    KILLING_ERRORS,
    LIFECYCLE_EVENTS,
    AddonSamples,
    CustomMarks,
    Event,
    HerokuError,
    LanguageMetrics,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
    labels_of,
)

TERMINATED = 143  # 128 + SIGTERM: the exit status of a dyno that Heroku stops
NOT_YET_RUN = frozenset({"created", "provisioning", "starting"})


class CardinalityLimits(NamedTuple):
    """Limits on the number of distinct names in one rollup.

    The first names in natural order stay; the others are merged into "other".
    """

    process_types: int = 32
    dynos: int = 2_048  # of all process types; Heroku allows 100 of one, more by request
    statuses: int = 64  # about as many as are registered (RFC 9110 and later)
    codes: int = 64  # Heroku documents about 40
    events: int = 128
    lifecycle: int = (
        512  # two stops and starts of 100 dynos, and more than as many of an app usually
    )
    # Of open metrics: see app.rollup.open_limits.
    open_names: int = 200
    open_series: int = 2_000
    open_bins: int = 10_000  # 100 measures with 100 bins each: about 20 KB


DEFAULT_LIMITS = CardinalityLimits()
UNLIMITED = CardinalityLimits(*[2**31 - 1] * len(DEFAULT_LIMITS))


OpenKey = tuple[str, str, str, str]  # source, process type or add-on; name; unit; origin


class Rollup:
    """The summary of one app over one interval: a dictionary for each of schema.SECTIONS."""

    requests: dict[tuple[str, int], int]
    errors: dict[tuple[str, str], int]
    tallies: dict[tuple[str, TimingKind], TimingTotals]
    response_bytes: dict[str, int]
    sketches: dict[tuple[str, TimingKind], Bins]
    gauges: dict[tuple[str, int], GaugeSummary]
    active_minutes: dict[str, int]
    ledger: dict[str, int]
    events: dict[EventKey, int]
    exits: dict[tuple[str, int], int]
    restarts: dict[str, int]
    released: dict[tuple[()], LatestText]
    named_counts: dict[tuple[str, str], int]
    named_gauges: dict[tuple[str, str], GaugeSummary]
    lifecycle: dict[EventKey, int]
    addon_samples: dict[OpenKey, NumberSummary]
    custom_counts: dict[OpenKey, NumberSum]
    custom_samples: dict[OpenKey, NumberSummary]
    custom_measures: dict[OpenKey, MeasureSummary]
    custom_sketches: dict[OpenKey, Bins]
    language_counts: dict[OpenKey, NumberSum]
    language_samples: dict[OpenKey, NumberSummary]

    def __init__(self) -> None:
        self.messages = 0  # with a timestamp in this interval, including ignored ones; add
        for section in SECTIONS:
            setattr(self, section.name, {})
        # Sections that only newer versions can read: (tag, bytes), sorted; concatenate.
        self.extensions: tuple[tuple[str, bytes], ...] = ()

    def rows(self, section: Section) -> dict[Any, Any]:
        """The rows of a section, by key."""
        rows: dict[Any, Any] = getattr(self, section.name)
        return rows

    @property
    def last_release(self) -> tuple[int, str]:
        """(Unix ms, version) of the last release; (0, "") if there was none."""
        release = self.released.get(())
        return (release.at_ms, release.text) if release else (0, "")

    @property
    def all_events(self) -> dict[EventKey, int]:
        """The counts by event of the app and of its dynos, as their lines say them."""
        counts = {**self.events}
        for event, count in self.lifecycle.items():
            counts[event] = counts.get(event, 0) + count
        return counts

    @property
    def entry_count(self) -> int:
        """The number of entries in the tables that grow most, a measure of memory."""
        tagged = sum(len(self.rows(section)) for section in TAGGED_SECTIONS)
        return len(self.requests) + len(self.errors) + len(self.gauges) + tagged

    def observe(self, sample: Sample, at_ms: int) -> None:
        """Add a sample from a message with this timestamp, in Unix milliseconds."""
        _OBSERVE[type(sample)](self, sample, at_ms)

    def merge(self, rollup: Rollup) -> None:
        """Add the data of `rollup`, which stays unchanged."""
        self.messages += rollup.messages
        for section in SECTIONS:
            section.merge(self.rows(section), rollup.rows(section))
        if rollup.extensions:
            self.extensions = tuple(sorted(self.extensions + rollup.extensions))

    # Either FastRollup can add a Rollup; the compiled one merges only its own type.
    add = merge

    def copy(self) -> Rollup:
        """Return an independent copy."""
        copy = Rollup()
        copy.merge(self)
        return copy

    def without_dynos(self) -> Rollup:
        """Return the data that the total stores: the sections in the total, without dynos.

        So the total does not grow with an app's age.
        """
        rollup = Rollup()
        rollup.messages = self.messages
        for section in SECTIONS:
            setattr(rollup, section.name, rows_in_total(section, self.rows(section)))
        rollup.extensions = self.extensions
        return rollup

    def apply_limits(self, limits: CardinalityLimits = DEFAULT_LIMITS) -> None:
        """Merge names over the limits into "other". Packing does it, so stored rollups are bounded.

        The choice depends on names alone: the first in natural order stay. A name that is over the
        limit in one rollup is over it in every rollup that contains this one, too. Therefore
        merging stays associative.
        """
        for section in SECTIONS:
            rows = self.rows(section)
            setattr(self, section.name, limit_rows(section, rows, limits))
        limited = limit_families(
            vars(self), limits.open_names, limits.open_series, limits.open_bins
        )
        vars(self).update(limited.sections)
        for entry, values in limited.dropped.items():
            self.ledger[entry] = self.ledger.get(entry, 0) + values
        self.rename(names_over(*self.names, limits))

    def keep_latest_events(self, count_max: int) -> None:
        """Count all but the latest events of each section of events as MORE_EVENTS."""
        self.events = latest_events(self.events, count_max)
        self.lifecycle = latest_events(self.lifecycle, count_max)

    @property
    def names(self) -> tuple[set[str], set[str]]:
        """The sources and process types, without those of metrics with limits of their own."""
        return names_in({section.name: self.rows(section) for section in SECTIONS})

    def rename(self, names: Mapping[str, Mapping[str, str]]) -> None:
        """Merge sources and process types into others: new names by old ones, by key column."""
        move_rows({section.name: self.rows(section) for section in SECTIONS}, names)

    def _mark_active(self, source: str, at_ms: int) -> None:
        bit = 1 << (at_ms // 60_000 % 60)
        self.active_minutes[source] = self.active_minutes.get(source, 0) | bit

    def observe_request(self, request: Request, at_ms: int) -> None:
        """Add one request, by far the most frequent sample. `at_ms` is in Unix milliseconds."""
        source, status, code, connect_ms, service_ms, response_bytes = request
        key = (source, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        process_type, dyno = labels_of(source)
        if code:
            self._count_error(source, code)
        if response_bytes:
            total = self.response_bytes.get(process_type, 0)
            self.response_bytes[process_type] = total + response_bytes
        if status != SWITCHING_PROTOCOLS:
            is_failed = status >= FIRST_FAILED or not status  # statuses.is_failed without a call
            if service_ms is not None:
                kind = SERVICE_FAILED if is_failed else SERVICE_OK
                self._observe_time(source, process_type, kind, service_ms)
            if connect_ms is not None:
                kind = CONNECT_FAILED if is_failed else CONNECT_OK
                self._observe_time(source, process_type, kind, connect_ms)
        if dyno:
            self._mark_active(source, at_ms)

    def _observe_time(
        self, source: str, process_type: str, kind: TimingKind, value_ms: int
    ) -> None:
        totals = self.tallies.get((source, kind))
        if totals is None:
            totals = self.tallies[source, kind] = TimingTotals()
            self.sketches.setdefault((process_type, kind), {})
        totals.count += 1
        totals.total += value_ms
        if value_ms > totals.largest:
            totals.largest = value_ms
        bins = self.sketches[process_type, kind]
        index = BIN_OF[value_ms] if value_ms < TABLE_SIZE else bin_of(value_ms)
        bins[index] = bins.get(index, 0) + 1

    def _observe_measurements(self, metrics: Measurements | RuntimeMetrics, at_ms: int) -> None:
        source, values = metrics
        for name, value in values:
            section, column = MEASURED[name]
            section.merge_row(self.rows(section), (source, column), measured(name, value, at_ms))
        if labels_of(source)[1]:
            self._mark_active(source, at_ms)

    def _observe_addon(self, samples: AddonSamples, at_ms: int) -> None:
        for name, quantity in samples.values:
            key = (samples.addon, name, quantity.unit, samples.attachment)
            _merge_number(self, "addon_samples", key, NumberSummary, quantity, at_ms)

    def _observe_marks(self, marks: CustomMarks, at_ms: int) -> None:
        """Add an app's own counts, samples and measures. They do not show that a dyno is up."""
        process_type = labels_of(marks.source)[0]
        self._count_dropped("custom", marks.unread)
        for kind, name, quantity in marks.marks:
            if kind == "measure":
                key = (process_type, name, quantity.unit, marks.origin)
                _merge_number(self, "custom_measures", key, MeasureSummary, quantity, at_ms)
                bins = self.custom_sketches.setdefault(key, {})
                index = number_sketch.bin_of(quantity.number)
                bins[index] = bins.get(index, 0) + 1
            else:
                key = (marks.source, name, quantity.unit, marks.origin)
                summary = NumberSum if kind == "count" else NumberSummary
                _merge_number(self, f"custom_{kind}s", key, summary, quantity, at_ms)

    def _observe_language(self, metrics: LanguageMetrics, at_ms: int) -> None:
        self._count_dropped("language", metrics.unread)
        for kind, name, quantity in metrics.marks:
            key = (metrics.source, name, quantity.unit, "")
            summary = NumberSum if kind == "count" else NumberSummary
            _merge_number(self, f"language_{kind}s", key, summary, quantity, at_ms)

    def _count_dropped(self, family: str, values: int) -> None:
        if values:
            entry = DROPPED + family
            self.ledger[entry] = self.ledger.get(entry, 0) + values

    def _observe_error(self, error: HerokuError, at_ms: int) -> None:
        self._count_error(error.source, error.code)
        if error.code in KILLING_ERRORS:
            self._count_event(Event("stop", error.source, error.code), at_ms)
        if labels_of(error.source)[1]:
            self._mark_active(error.source, at_ms)

    def _observe_state(self, change: StateChange, at_ms: int) -> None:
        if labels_of(change.source)[1]:
            self._mark_active(change.source, at_ms)
        if change.after == "crashed":
            self._count_event(Event("crash", change.source, ""), at_ms)
        elif change.after in LIFECYCLE_EVENTS:
            self._count_event(Event(change.after, change.source, ""), at_ms)
        elif change.after == "starting" and change.before not in NOT_YET_RUN:
            self.restarts[change.source] = self.restarts.get(change.source, 0) + 1
            self._count_event(Event("restart", change.source, f"was {change.before}"), at_ms)

    def _observe_exit(self, process_exit: ProcessExit, at_ms: int) -> None:
        key = (process_exit.source, process_exit.status)
        self.exits[key] = self.exits.get(key, 0) + 1
        if process_exit.status not in (0, TERMINATED):
            event = Event("exit", process_exit.source, str(process_exit.status))
            self._count_event(event, at_ms)

    def _count_event(self, event: Event, at_ms: int) -> None:
        key = EventKey(at_ms, *event)
        rows = self.lifecycle if event.kind in LIFECYCLE_EVENTS else self.events
        rows[key] = rows.get(key, 0) + 1
        if is_created_release(event):
            SECTION["released"].merge_row(self.released, (), LatestText(at_ms, event.detail))

    def _count_error(self, source: str, code: str) -> None:
        self.errors[source, code] = self.errors.get((source, code), 0) + 1


def is_created_release(event: Event) -> bool:
    """Whether a release was created, rather than begun or failed."""
    return event.kind == "release" and " " not in event.detail


_OBSERVE: dict[type, Callable[[Rollup, Any, int], None]] = {
    Request: Rollup.observe_request,
    RuntimeMetrics: Rollup._observe_measurements,
    Measurements: Rollup._observe_measurements,
    AddonSamples: Rollup._observe_addon,
    CustomMarks: Rollup._observe_marks,
    LanguageMetrics: Rollup._observe_language,
    HerokuError: Rollup._observe_error,
    StateChange: Rollup._observe_state,
    ProcessExit: Rollup._observe_exit,
    Event: Rollup._count_event,
}


def summary_of(
    summary: type[NumberSum], quantity: Quantity, at_ms: int
) -> NumberSum | NumberSummary:
    """One number as a value of a section."""
    number = quantity.millionths
    whole, millionths = divmod(number, MILLION)
    if issubclass(summary, NumberSummary):
        return summary(1, whole, millionths, number, number, at_ms, number)
    return summary(1, whole, millionths)


def _merge_number(
    rollup: Rollup,
    section: str,
    key: OpenKey,
    summary: type[NumberSum],
    quantity: Quantity,
    at_ms: int,
) -> None:
    rows = rollup.rows(SECTION[section])
    SECTION[section].merge_row(rows, key, summary_of(summary, quantity, at_ms))


# The section of each metric that a Measurements sample may hold, and its second key column.
MEASURED = {
    name: (SECTION[metric.sections[0]], CORE_GAUGES.get(name, name))
    for name, metric in METRICS.items()
    if metric.sections in (("gauges",), ("named_gauges",), ("named_counts",))
}


def measured(name: str, value: int, at_ms: int) -> int | GaugeSummary:
    """The value of a row in the section of this metric: a count, or a summary of one reading."""
    if METRICS[name].kind == "counter":
        return value
    return GaugeSummary(1, value, value, value, at_ms, value)


# --- the total, and limits ----------------------------------------------------------------------


def rows_in_total(section: Section, rows: dict[Any, Any]) -> dict[Any, Any]:
    """Return the rows that the total keeps of a section: none, or all without their dynos."""
    return section.rename(rows, {"source": _strip_dyno}) if section.in_total else {}


def _strip_dyno(source: str) -> str:
    process_type = labels_of(source)[0]
    return f"{process_type}." if process_type else ""


def limit_rows(section: Section, rows: dict[Any, Any], limits: CardinalityLimits) -> dict[Any, Any]:
    """Return the rows of a section within the limits on its own columns and on its rows."""
    if section.limit_rows is not None:
        count_max = getattr(limits, section.name)
        return section.limit_rows(rows, count_max) if len(rows) > count_max else rows
    for key in section.keys:
        if not key.limit or len(rows) <= getattr(limits, key.limit):
            continue
        values = section.column(rows, key.name)
        if len(values) > getattr(limits, key.limit):
            rename = _LIMIT[key.name](values, getattr(limits, key.limit))
            rows = section.rename(rows, {key.name: rename})
    rows_max = section.rows_per_dyno * limits.dynos
    return _limit_dynos(section, rows, rows_max) if 0 < rows_max < len(rows) else rows


def _limit_dynos(section: Section, rows: dict[Any, Any], rows_max: int) -> dict[Any, Any]:
    """Keep the first rows of dynos, in natural order; merge the others into "web.other"."""
    columns_by_source: dict[str, list[Any]] = {}
    for source, column in rows:
        if not _is_other(source):
            columns_by_source.setdefault(source, []).append(column)
    first: set[tuple[str, Any]] = set()
    for source in sorted(columns_by_source, key=_natural_key):
        columns = sorted(columns_by_source[source])[: rows_max - len(first)]
        first.update((source, column) for column in columns)
        if len(first) == rows_max:
            break
    limited_rows: dict[Any, Any] = {}
    for key, value in rows.items():
        source, column = key
        is_kept = key in first or _is_other(source)
        new_key = key if is_kept else section.key_of((_other_dyno(source), column))
        section.merge_row(limited_rows, new_key, value)
    return limited_rows


def _is_other(source: str) -> bool:
    """Whether a source stands for dynos over the limit: "other", or "web.other"."""
    return source.rpartition(".")[2] == OTHER


def _other_dyno(source: str) -> str:
    return f"{labels_of(source)[0]}.{OTHER}"


def _limit_names(names: set[str], count_max: int) -> Callable[[str], str]:
    first_names = _first_names(names, count_max)
    return lambda name: name if name in first_names else OTHER


def _limit_statuses(statuses: set[int], count_max: int) -> Callable[[int], int]:
    first = {*sorted(status for status in statuses if status >= CLASS_SIZE)[:count_max]}
    return lambda status: limit_status(status, first)


_LIMIT: dict[str, Callable[[Any, int], Callable[[Any], Any]]] = {
    "code": _limit_names,
    "status": _limit_statuses,
}


def names_in(rows_by_section: Mapping[str, Mapping[Any, Any]]) -> tuple[set[str], set[str]]:
    """The sources and the process types that these sections name, by the names of the sections."""
    sources: set[str] = set()
    types: set[str] = set()
    for name, rows in rows_by_section.items():
        section = SECTION[name]
        if not section.family:  # those have limits of their own
            sources |= section.column(rows, "source")
            types |= section.column(rows, "process_type")
    return sources, types


def names_over(
    sources: set[str], types: set[str], limits: CardinalityLimits
) -> dict[str, dict[str, str]]:
    """The new names of the sources and process types over the limits, by key column.

    `types` need not contain those of the sources.
    """
    types = types.union(labels_of(source)[0] for source in sources)
    # Names such as "web.other" are no dynos: they stay, and do not count.
    dynos = {source for source in sources if not _is_other(source)}
    if len(types - {OTHER}) <= limits.process_types and len(dynos) <= limits.dynos:
        return {}
    types_over = types - _first_names(types, limits.process_types)
    # Only the dynos of types within the limit compete: so the choice is the same, whether or not
    # those of the other types were merged into "other" before.
    first_dynos = _first_dynos(
        (source for source in dynos if labels_of(source)[0] not in types_over), limits.dynos
    )
    names = {}
    for source in sources - first_dynos - {OTHER}:
        process_type = labels_of(source)[0]
        name = OTHER if process_type in types_over else _other_dyno(source)
        if name != source:
            names[source] = name
    return {"source": names, "process_type": dict.fromkeys(types_over, OTHER)}


def names_outside(
    sources: set[str], types: set[str], known_names: Container[str]
) -> dict[str, dict[str, str]]:
    """The new names of the sources and process types that are not known, by key column."""
    names = {}
    for source in sources:
        if source not in known_names and not _is_other(source):
            is_type_known = labels_of(source)[0] in known_names
            names[source] = _other_dyno(source) if is_type_known else OTHER
    types_outside = (name for name in types if name not in known_names and name != OTHER)
    return {"source": names, "process_type": dict.fromkeys(types_outside, OTHER)}


def move_rows(
    rows_by_section: Mapping[str, dict[Any, Any]], names: Mapping[str, Mapping[str, str]]
) -> None:
    """Merge the rows with these names into those of their new names, in place."""
    for section_name, rows in rows_by_section.items():
        section = SECTION[section_name]
        for key_name, new_names in () if section.family else names.items():
            keys = section.find_rows(rows, key_name, new_names)
            if keys:
                over = {key: rows.pop(key) for key in keys}
                section.merge(rows, section.rename(over, {key_name: new_names.__getitem__}))


def _first_names(names: Iterable[str], count_max: int) -> set[str]:
    """Return the first names in alphabetical order, and "other", which counts as none."""
    return {OTHER, *sorted(name for name in names if name != OTHER)[:count_max]}


def _first_dynos(sources: Iterable[str], count_max: int) -> set[str]:
    """Return the first sources by process type and number. "other.1" and the like sort first."""
    return {*sorted(sources, key=_natural_key)[:count_max]}


def _natural_key(source: str) -> tuple[bool, str, int, str]:
    process_type, dyno = labels_of(source)
    number = dyno.rpartition(".")[2]
    return (process_type != OTHER, process_type, int(number) if number.isdigit() else -1, source)
