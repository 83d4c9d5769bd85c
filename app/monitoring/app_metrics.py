"""Builds the metrics of each app for Prometheus.

Counters are an app's total plus its inbox, read in one atomic step. They are therefore current to
the last stored line, agree between workers, survive restarts and never go backwards. Gauges are
each dyno's latest values; a dyno without a line for RECENT_S disappears.

Sample lines are formatted here rather than by prometheus_client, since a scrape of many apps has
tens of thousands of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from app.judgement.verdict import STATES, State, Verdict
from app.monitoring.open_families import (
    ADDON_FAMILY,
    OPEN_FAMILIES,
    SAMPLE_SECTIONS,
    AddonLines,
    OpenLines,
    OpenState,
    addon_lines,
    queue_time_lines,
)
from app.monitoring.text_format import MetricFamily, escape_label
from app.query.engine import scan_packed_yielding
from app.rollup.accelerated import to_python
from app.rollup.batch_codec import unpack_batch
from app.rollup.bounded_merge import condense, merge_in_steps
from app.rollup.open_limits import DROPPED
from app.rollup.resolutions import MINUTE_S, align
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.schema import METRICS, SECTION, Metric
from app.rollup.sketch import PROMETHEUS_BOUNDS_MS, counts_within_bounds
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import HEADER_BYTES, TOTAL, Slot
from app.storage.interface.rollups import Contents, RollupReader
from app.support.aio import run_in_steps
from app.verdicts.verdict_reader import STALE_S
from parsers.error_codes import CODES
from parsers.samples import ROUTER_SOURCE, labels_of

RECENT_S = 300
NO_VERDICTS: Mapping[str, Verdict] = MappingProxyType({})
_MS_PER_S = 1000
_BOUNDS_S = (*(str(bound / _MS_PER_S) for bound in PROMETHEUS_BOUNDS_MS), "+Inf")
_BOUNDS = tuple(f',le="{bound}"}} ' for bound in _BOUNDS_S)
_ROWS_CACHED = 4_096
_ROUTER_TYPE = labels_of(ROUTER_SOURCE)[0]
_STATUSES_AT_0 = ("200", "404", "500", "503")
_ROUTER_CODES = [code for code in CODES if code.startswith("H")]
_DYNO_CODES = [code for code in CODES if code.startswith("R")]
_STREAM_CODES = [code for code in CODES if code.startswith("L")]
_REQUESTS_AT_0 = [(_ROUTER_TYPE, status) for status in _STATUSES_AT_0]

# The numbers of the gauges that a named gauge stands in for.
_FALLBACK_FOR: dict[int | str, frozenset[int]] = {
    metric.fallback: metric.selection or frozenset()
    for metric in METRICS.values()
    if metric.fallback
}
_GAUGE_SECTIONS = frozenset(
    {"active_minutes", "addon_samples", "gauges", "named_gauges", *SAMPLE_SECTIONS}
)
_DYNOS_HELP = f"Distinct dynos that logged in the last {RECENT_S // MINUTE_S} minutes"
_RELEASE_HELP = "Time of the latest release"
_LAST_SEEN_HELP = "Time of the app's latest log line"
# The ledger. A series has either whole entries or parts of one, so that its sum has a meaning.
_RESULTS_HELP = "Received log messages by result; the results add up to the messages received"
_RESULTS_AT_0 = ("counted", "ignored", "too_new", "too_old")
_UNPARSED = "unparsed:"
_MESSAGES = {  # entry of the ledger -> help of the series dynometer_messages_ENTRY
    "received": "Log messages found in the bodies of batches",
    "promised": "Log messages that senders announced for their batches (Logplex-Msg-Count)",
    "duplicate": "Log messages in batches that came a second time; not received again",
    "other_drain": "Log messages of a second drain of the app; not counted",
    "lost_upstream": "Log messages lost before they arrived, by L10, L12, L13 and log-shuttle",
    "spooled": "Received log messages that waited on disk while the store was unavailable",
    "unverified": "Received log messages that waited too long to detect duplicates",
}
_DEPRECATED_MESSAGES_HELP = (
    "Deprecated, removed in the next version: the whole ledger in one series, with received and "
    "its parts. Use dynometer_message_results_total and dynometer_messages_received_total"
)
_DROPPED_HELP = "Values of custom, language and add-on metrics that were unreadable or over a limit"
_STATE_HELP = "1 for the state in which the app was judged to be, 0 for the others"
_INBOX_HELP = "Batches stored and not yet folded"


class LatestGauges(NamedTuple):
    """The gauges and dynos of an app.

    Attributes:
        last: (source, number or name of a gauge) -> value in the gauge's stored unit.
        labels: of the sources that have a value.
        active_dynos: the sources that logged.
        samples: the rows of each of SAMPLE_SECTIONS.
        addons: the lines of add-ons' samples.
    """

    last: dict[tuple[str, int | str], int]
    labels: dict[str, str]
    active_dynos: frozenset[str]
    samples: dict[str, dict[Any, Any]]
    addons: AddonLines


class AppState(NamedTuple):
    """One app's data for the exposition: its total, and gauges of the last RECENT_S.

    `state`: as it was judged last; None if that is too long ago.
    """

    sighting: SeenApp
    total: Rollup
    recent: LatestGauges
    inbox_length: int
    state: State | None = None

    @property
    def open_state(self) -> OpenState:
        """The part with open metrics and samples of add-ons."""
        return OpenState(self.sighting.app, self.total, self.recent.samples)


async def read_app_states(
    store: RollupReader,
    sightings: Sequence[SeenApp],
    now_s: float,
    verdicts: Mapping[str, Verdict] = NO_VERDICTS,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> list[AppState]:
    """Read these apps, each in one atomic step.

    Args:
        store: holds their rollups.
        sightings: the apps.
        now_s: Unix seconds.
        verdicts: by app.
        limits: the limits on names of an app.

    Raises:
        StoreUnavailable, NewerVersion
    """
    first = align(int(now_s) - RECENT_S, MINUTE_S)
    minutes = range(first, int(now_s) + RECENT_S, MINUTE_S)
    slots = [TOTAL, *(Slot("1m", start) for start in minutes)]
    contents_by_app = await store.read_many([(sighting.app, slots) for sighting in sightings])
    states = []
    for sighting, contents in zip(sightings, contents_by_app, strict=True):
        state = await _build_state(sighting, contents, first, limits)
        states.append(state._replace(state=_state_of(sighting, verdicts, now_s)))
    return states


def _state_of(sighting: SeenApp, verdicts: Mapping[str, Verdict], now_s: float) -> State | None:
    verdict = verdicts.get(sighting.app)
    return verdict.state if verdict and now_s - verdict.judged_s <= STALE_S else None


async def _build_state(
    sighting: SeenApp, contents: Contents, first: int, limits: CardinalityLimits
) -> AppState:
    total: list[bytes] = []
    recent: list[bytes] = []
    inbox: list[bytes] = []
    for slot, elements in contents.slots.items():
        packed_rollups = [element[HEADER_BYTES:] for element in elements]
        if slot == TOTAL:
            total = packed_rollups
        else:
            recent += packed_rollups
    for element in contents.inbox:
        for minute, data in unpack_batch(element[HEADER_BYTES:]):
            inbox.append(data)
            if minute >= first:
                recent.append(data)
    sums = await run_in_steps(merge_in_steps(total, limits))
    if inbox:
        new = await run_in_steps(merge_in_steps(inbox, limits))
        sums.merge(new.without_dynos())
    if sums.entry_count > min(limits):
        sums.apply_limits(limits)
    gauges = await _latest_gauges(sighting.app, recent, limits)
    return AppState(sighting, to_python(sums), gauges, len(contents.inbox))


async def _latest_gauges(app: str, recent: list[bytes], limits: CardinalityLimits) -> LatestGauges:
    """The latest gauges of an app, from one pass over its recent rollups."""
    rollups = await run_in_steps(condense(recent, limits))
    table = await scan_packed_yielding(
        "",
        [(0, data) for data in rollups],  # all in one interval: their times do not matter
        [],
        _GAUGE_SECTIONS,
    )
    last = _with_fallbacks(table.last_values())
    merged = table.merged_rollup
    samples = {name: merged.rows(SECTION[name]) for name in SAMPLE_SECTIONS}
    return LatestGauges(
        last,
        _describe_sources({source for source, _ in last}),
        frozenset(table.last_active_s()),
        samples,
        addon_lines(app, merged.addon_samples),
    )


def _with_fallbacks(last: dict[tuple[str, int | str], int]) -> dict[tuple[str, int | str], int]:
    """Add the values of gauges that a dyno lacks, from their fallbacks."""
    fallbacks: dict[tuple[str, int | str], int] = {
        (source, number): value
        for (source, name), value in last.items()
        if name in _FALLBACK_FOR
        for number in _FALLBACK_FOR[name]
    }
    return {**fallbacks, **last}


# --- families -----------------------------------------------------------------------------------

Lines = Callable[["AppState"], list[str]]
Rows = Iterator[tuple[str, float]]  # (labels after app, value)


def render_app(state: AppState) -> list[str]:
    """The sample lines of an app as text, for each of FAMILIES; "" for a family without any."""
    return [
        "\n".join([*family_lines, ""]) if (family_lines := lines(state)) else ""
        for _, lines in FAMILIES
    ]


def _list_families() -> Iterator[tuple[MetricFamily, Lines]]:
    """Those of schema.METRICS, then the app's own."""
    for metric in METRICS.values():
        if not metric.series:
            continue
        if metric.kind == "counter":
            yield MetricFamily(metric.series, "counter", metric.help), _counter_lines(metric)
        elif metric.sections[0] == "custom_measures":
            lines = _open_lines(partial(queue_time_lines, metric))
            yield MetricFamily(metric.series, "histogram", metric.help), lines
        elif metric.kind == "distribution":
            help_text = f"{metric.help}. Without WebSockets"
            lines = partial(_histogram_lines, metric)
            yield MetricFamily(metric.series, "histogram", help_text), lines
        elif metric.sections == ("addon_samples",):
            yield MetricFamily(metric.series, "gauge", metric.help), _addon_lines(metric.series)
        elif metric.sections == ("active_minutes",):
            yield _family(metric.series, "gauge", _DYNOS_HELP, _dyno_rows)
        else:
            yield MetricFamily(metric.series, "gauge", metric.help), partial(_gauge_lines, metric)
    for family, open_lines in OPEN_FAMILIES:
        yield family, _open_lines(open_lines)
    yield ADDON_FAMILY, _addon_lines(ADDON_FAMILY.name)
    yield _family("heroku_release_timestamp_seconds", "gauge", _RELEASE_HELP, _release_rows)
    yield _family(
        "heroku_app_last_seen_timestamp_seconds", "gauge", _LAST_SEEN_HELP, _last_seen_rows
    )
    yield _family("heroku_app_state", "gauge", _STATE_HELP, _judged_rows)
    yield _family("dynometer_message_results", "counter", _RESULTS_HELP, _message_result_rows)
    for entry, help_text in _MESSAGES.items():
        rows = partial(_message_rows, entry)
        yield _family(f"dynometer_messages_{entry}", "counter", help_text, rows)
    yield _family("dynometer_values_dropped", "counter", _DROPPED_HELP, _dropped_rows)
    yield _family(
        "dynometer_messages", "counter", _DEPRECATED_MESSAGES_HELP, _deprecated_message_rows
    )
    yield _family("dynometer_inbox_batches", "gauge", _INBOX_HELP, _inbox_rows)


def _open_lines(open_lines: OpenLines) -> Lines:
    return lambda state: [*open_lines(state.open_state)]


def _addon_lines(series: str) -> Lines:
    return lambda state: state.recent.addons.get(series, [])


def _family(
    name: str, kind: Literal["counter", "gauge"], help_text: str, rows: Callable[[AppState], Rows]
) -> tuple[MetricFamily, Lines]:
    sample = f"{name}_total" if kind == "counter" else name

    def lines(state: AppState) -> list[str]:
        head = f'{sample}{{app="{state.sighting.app}"'
        return [f"{head}{labels}}} {value}" for labels, value in rows(state)]

    return MetricFamily(name, kind, help_text), lines


def _counter_lines(metric: Metric) -> Lines:
    """The sums of a counter's rows, by process type and by what else the section distinguishes."""
    section = SECTION[metric.sections[0]]
    names = [key.series_label for key in section.keys if key.series_label]

    # The same rows come in all apps and at each scrape.
    @lru_cache(maxsize=_ROWS_CACHED)
    def values_of(key: Any) -> tuple[str, ...] | None:
        """The values of a row's labels; None if it belongs to another metric."""
        if metric.selection is not None and key[1] not in metric.selection:
            return None
        labels = section.labels(key)
        return tuple([labels[name] for name in names])

    @lru_cache(maxsize=_ROWS_CACHED)
    def describe(values: tuple[str, ...]) -> str:
        pairs = zip(names, values, strict=True)
        return "".join(f',{name}="{escape_label(value)}"' for name, value in pairs)

    def lines(state: AppState) -> list[str]:
        at_0 = _labels_at_0(metric, state)
        counts: dict[tuple[str, ...], int] = dict.fromkeys(at_0, 0)
        for key, count in state.total.rows(section).items():
            values = values_of(key)
            if values is not None:
                counts[values] = counts.get(values, 0) + count
        head = f'{metric.series}_total{{app="{state.sighting.app}"'
        # Those at 0 are sorted, and most apps have no others.
        rows = counts.items() if len(counts) == len(at_0) else sorted(counts.items())
        return [f"{head}{describe(values)}}} {count}" for values, count in rows]

    return lines


def _labels_at_0(metric: Metric, state: AppState) -> Sequence[tuple[str, str]]:
    """Label values that are exported at 0, so that an alert sees the first line as an increase."""
    if metric.name == "requests":
        return _REQUESTS_AT_0
    if metric.name == "heroku_errors":
        sources = {*state.recent.active_dynos, *(source for source, _ in state.total.requests)}
        return _errors_at_0(frozenset([labels_of(source)[0] for source in sources]))
    return ()


@lru_cache(maxsize=_ROWS_CACHED)
def _errors_at_0(process_types: frozenset[str]) -> Sequence[tuple[str, str]]:
    return sorted(
        [
            *((process_type, code) for process_type in process_types for code in _DYNO_CODES),
            *((_ROUTER_TYPE, code) for code in _ROUTER_CODES),
            *(("", code) for code in _STREAM_CODES),
        ]
    )


def _histogram_lines(metric: Metric, state: AppState) -> list[str]:
    kinds = metric.selection or frozenset()
    totals_ms = _totals_ms(state.total, kinds)
    section = SECTION["sketches"]
    lines = []
    for key, bins in sorted(state.total.sketches.items()):
        if key[1] not in kinds:
            continue
        process_type, outcome = key[0], section.labels(key)["outcome"]
        labels = f'app="{state.sighting.app}",process_type="{process_type}",outcome="{outcome}"'
        head = f"{metric.series}_bucket{{{labels}"
        counts = counts_within_bounds(bins)
        lines += [f"{head}{bound}{count}" for bound, count in zip(_BOUNDS, counts, strict=True)]
        lines.append(f"{metric.series}_count{{{labels}}} {counts[-1]}")
        lines.append(f"{metric.series}_sum{{{labels}}} {totals_ms.get(key, 0) / _MS_PER_S}")
    return lines


def _totals_ms(total: Rollup, kinds: frozenset[Any]) -> dict[tuple[str, int], int]:
    """The sums of these kinds of times, by process type and kind."""
    sums: dict[tuple[str, int], int] = {}
    for (source, kind), totals in total.tallies.items():
        if kind in kinds:
            key = (labels_of(source)[0], kind)
            sums[key] = sums.get(key, 0) + totals.total
    return sums


def _gauge_lines(metric: Metric, state: AppState) -> list[str]:
    numerator, denominator = metric.scale
    last = state.recent.last
    return [
        f'{metric.series}{{app="{state.sighting.app}"{labels}}} {value * numerator / denominator}'
        for gauge in metric.selection or ()
        for source, labels in state.recent.labels.items()
        if (value := last.get((source, gauge))) is not None
    ]


def _describe_sources(sources: Iterable[str]) -> dict[str, str]:
    """The labels of each of these sources, in their order."""
    labels = {source: _source_labels(source) for source in sources}
    return dict(sorted(labels.items(), key=itemgetter(1)))


@lru_cache(maxsize=_ROWS_CACHED)
def _source_labels(source: str) -> str:
    process_type, dyno = labels_of(source)
    return f',process_type="{process_type}",dyno="{dyno}"'


def _release_rows(state: AppState) -> Rows:
    at_ms, _ = state.total.last_release
    if at_ms:
        yield "", at_ms / _MS_PER_S


def _dyno_rows(state: AppState) -> Rows:
    counts = Counter(labels_of(source)[0] for source in state.recent.active_dynos)
    for process_type, count in sorted(counts.items()):
        yield f',process_type="{process_type}"', count


def _last_seen_rows(state: AppState) -> Rows:
    if state.sighting.origin.is_drain:  # rules about silence use it, and a replayed file has an end
        yield "", state.sighting.last_seen_s


def _judged_rows(state: AppState) -> Rows:
    if state.state is not None:
        for name in STATES:
            yield f',state="{name}"', int(name == state.state)


def _message_result_rows(state: AppState) -> Rows:
    counts = dict.fromkeys(_RESULTS_AT_0, 0) | state.total.ledger
    for entry, count in sorted(counts.items()):
        if entry.startswith(_UNPARSED):
            yield f',result="unparsed",reason="{entry.removeprefix(_UNPARSED)}"', count
        elif entry in _RESULTS_AT_0:
            yield f',result="{entry}"', count


def _dropped_rows(state: AppState) -> Rows:
    for entry, count in sorted(state.total.ledger.items()):
        if entry.startswith(DROPPED):
            yield f',family="{entry.removeprefix(DROPPED)}"', count


def _message_rows(entry: str, state: AppState) -> Rows:
    yield "", state.total.ledger.get(entry, 0)


def _deprecated_message_rows(state: AppState) -> Rows:
    for entry, count in sorted(state.total.ledger.items()):
        if not entry.startswith(DROPPED):
            yield f',result="{entry}"', count


def _inbox_rows(state: AppState) -> Rows:
    yield "", state.inbox_length


FAMILIES = tuple(_list_families())
