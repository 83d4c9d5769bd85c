"""Builds the metrics of each app for Prometheus.

Counters are an app's total plus its inbox, read in one atomic step. They are therefore current to
the last stored line, agree between workers, survive restarts and never go backwards. Gauges are
each dyno's latest values; a dyno without a line for RECENT_S disappears.

Sample lines are formatted here rather than by prometheus_client, since a scrape of many apps has
tens of thousands of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from app.judgement.verdict import STATES, State, Verdict
from app.monitoring.open_families import (
    SAMPLE_SECTIONS,
    OpenState,
    addon_lines,
    build_open_families,
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
_ROUTER_TYPE = labels_of(ROUTER_SOURCE)[0]
_STATUSES_AT_0 = ("200", "404", "500", "503")
_ROUTER_CODES = [code for code in CODES if code.startswith("H")]
_DYNO_CODES = [code for code in CODES if code.startswith("R")]
_STREAM_CODES = [code for code in CODES if code.startswith("L")]

# The numbers of the gauges that a named gauge stands in for.
_FALLBACK_FOR: dict[int | str, frozenset[int]] = {
    metric.fallback: metric.selection or frozenset()
    for metric in METRICS.values()
    if metric.fallback
}
_GAUGE_SECTIONS = frozenset({"active_minutes", "gauges", "named_gauges", *SAMPLE_SECTIONS})
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
    """The gauges of an app.

    Attributes:
        last: (source, number or name of a gauge) -> value in the gauge's stored unit.
        samples: the rows of each of SAMPLE_SECTIONS.
    """

    last: dict[tuple[str, int | str], int]
    active_dynos: frozenset[str]
    samples: dict[str, dict[Any, Any]]


class AppState(NamedTuple):
    """One app's data for the exposition: its total, and gauges of the last RECENT_S.

    `state`: as it was judged last; None if that is too long ago.
    """

    sighting: SeenApp
    total: Rollup
    recent: LatestGauges
    inbox_length: int
    state: State | None = None


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
    gauges = await _latest_gauges(recent, limits)
    return AppState(sighting, to_python(sums), gauges, len(contents.inbox))


async def _latest_gauges(recent: list[bytes], limits: CardinalityLimits) -> LatestGauges:
    """The latest gauges of an app, from one pass over its recent rollups."""
    rollups = await run_in_steps(condense(recent, limits))
    table = await scan_packed_yielding(
        "",
        [(0, data) for data in rollups],  # all in one interval: their times do not matter
        [],
        _GAUGE_SECTIONS,
    )
    return LatestGauges(
        _with_fallbacks(table.last_values()),
        frozenset(table.last_active_s()),
        {name: table.merged_rollup.rows(SECTION[name]) for name in SAMPLE_SECTIONS},
    )


def _with_fallbacks(last: dict[tuple[str, int | str], int]) -> dict[tuple[str, int | str], int]:
    """Add the values of gauges that a dyno lacks, from their fallbacks."""
    fallbacks: dict[tuple[str, int | str], int] = {
        (source, number): value
        for (source, name), value in last.items()
        for number in _FALLBACK_FOR.get(name, ())
    }
    return {**fallbacks, **last}


def build_families(states: Sequence[AppState]) -> Iterator[MetricFamily]:
    """Build the metric families of the apps: those of schema.METRICS, then the app's own."""
    gauges_by_app = [_group_gauges(state) for state in states]
    open_states = [
        OpenState(state.sighting.app, state.total, state.recent.samples) for state in states
    ]
    for metric in METRICS.values():
        if not metric.series:
            continue
        if metric.kind == "counter":
            rows = partial(_counter_rows, metric)
            yield _build_family(metric.series, "counter", metric.help, states, rows)
        elif metric.sections[0] == "custom_measures":
            lines = [line for state in open_states for line in queue_time_lines(metric, state)]
            yield MetricFamily(metric.series, "histogram", metric.help, lines)
        elif metric.kind == "distribution":
            lines = [line for state in states for line in _histogram_lines(metric, state)]
            help_text = f"{metric.help}. Without WebSockets"
            yield MetricFamily(metric.series, "histogram", help_text, lines)
        elif metric.sections == ("addon_samples",):
            lines = list(addon_lines(metric, open_states))
            yield MetricFamily(metric.series, "gauge", metric.help, lines)
        elif metric.sections == ("active_minutes",):
            yield _build_family(metric.series, "gauge", _DYNOS_HELP, states, _dyno_rows)
        else:
            yield MetricFamily(
                metric.series, "gauge", metric.help, list(_gauge_lines(metric, gauges_by_app))
            )
    yield from build_open_families(open_states)
    yield _build_family(
        "heroku_release_timestamp_seconds", "gauge", _RELEASE_HELP, states, _release_rows
    )
    yield _build_family(
        "heroku_app_last_seen_timestamp_seconds", "gauge", _LAST_SEEN_HELP, states, _last_seen_rows
    )
    yield _build_family("heroku_app_state", "gauge", _STATE_HELP, states, _judged_rows)
    yield _build_family(
        "dynometer_message_results", "counter", _RESULTS_HELP, states, _message_result_rows
    )
    for entry, help_text in _MESSAGES.items():
        rows = partial(_message_rows, entry)
        yield _build_family(f"dynometer_messages_{entry}", "counter", help_text, states, rows)
    yield _build_family("dynometer_values_dropped", "counter", _DROPPED_HELP, states, _dropped_rows)
    yield _build_family(
        "dynometer_messages", "counter", _DEPRECATED_MESSAGES_HELP, states, _deprecated_message_rows
    )
    yield _build_family("dynometer_inbox_batches", "gauge", _INBOX_HELP, states, _inbox_rows)


Rows = Iterator[tuple[str, float]]  # (labels after app, value)


def _build_family(
    name: str,
    kind: Literal["counter", "gauge"],
    help_text: str,
    states: Sequence[AppState],
    rows: Callable[[AppState], Rows],
) -> MetricFamily:
    sample = f"{name}_total" if kind == "counter" else name
    lines = [
        f'{sample}{{app="{state.sighting.app}"{labels}}} {value}'
        for state in states
        for labels, value in rows(state)
    ]
    return MetricFamily(name, kind, help_text, lines)


def _counter_rows(metric: Metric, state: AppState) -> Rows:
    """The sums of a counter's rows, by process type and by what else the section distinguishes."""
    section = SECTION[metric.sections[0]]
    names = [key.series_label for key in section.keys if key.series_label]
    counts: dict[tuple[str, ...], int] = dict.fromkeys(_labels_at_0(metric, state), 0)
    for key, count in state.total.rows(section).items():
        if metric.selection is None or key[1] in metric.selection:
            labels = section.labels(key)
            values = tuple([labels[name] for name in names])
            counts[values] = counts.get(values, 0) + count
    for values, count in sorted(counts.items()):
        pairs = zip(names, values, strict=True)
        yield "".join(f',{name}="{escape_label(value)}"' for name, value in pairs), count


def _labels_at_0(metric: Metric, state: AppState) -> Iterator[tuple[str, str]]:
    """Label values that are exported at 0, so that an alert sees the first line as an increase."""
    if metric.name == "requests":
        yield from ((_ROUTER_TYPE, status) for status in _STATUSES_AT_0)
    elif metric.name == "heroku_errors":
        sources = {*state.recent.active_dynos, *(source for source, _ in state.total.requests)}
        for process_type in {labels_of(source)[0] for source in sources}:
            yield from ((process_type, code) for code in _DYNO_CODES)
        yield from ((_ROUTER_TYPE, code) for code in _ROUTER_CODES)
        yield from (("", code) for code in _STREAM_CODES)


def _histogram_lines(metric: Metric, state: AppState) -> Iterator[str]:
    totals_ms = _totals_ms(state.total)
    section = SECTION["sketches"]
    for key, bins in sorted(state.total.sketches.items()):
        if key[1] not in (metric.selection or ()):
            continue
        process_type, outcome = key[0], section.labels(key)["outcome"]
        labels = f'app="{state.sighting.app}",process_type="{process_type}",outcome="{outcome}"'
        counts = counts_within_bounds(bins)
        for bound, count in zip(_BOUNDS_S, counts, strict=True):
            yield f'{metric.series}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{metric.series}_count{{{labels}}} {counts[-1]}"
        yield f"{metric.series}_sum{{{labels}}} {totals_ms.get(key, 0) / _MS_PER_S}"


def _totals_ms(total: Rollup) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for (source, kind), totals in total.tallies.items():
        key = (labels_of(source)[0], kind)
        sums[key] = sums.get(key, 0) + totals.total
    return sums


def _release_rows(state: AppState) -> Rows:
    at_ms, _ = state.total.last_release
    if at_ms:
        yield "", at_ms / _MS_PER_S


# The last values of an app's gauges by their number or name, with the labels of their dyno.
GaugeValues = dict[int | str, list[tuple[str, int]]]


def _group_gauges(state: AppState) -> GaugeValues:
    """Group an app's last values. The labels of a dyno, whose gauges follow, are built once."""
    values: GaugeValues = {}
    previous, labels = None, ""
    for (source, gauge), last in state.recent.last.items():
        if source != previous:
            process_type, dyno = labels_of(source)
            previous = source
            labels = f'app="{state.sighting.app}",process_type="{process_type}",dyno="{dyno}"'
        values.setdefault(gauge, []).append((labels, last))
    return values


def _gauge_lines(metric: Metric, gauges_by_app: Sequence[GaugeValues]) -> Iterator[str]:
    numerator, denominator = metric.scale
    for gauge in metric.selection or ():
        for app_gauges in gauges_by_app:
            for labels, last in sorted(app_gauges.get(gauge, ())):
                yield f"{metric.series}{{{labels}}} {last * numerator / denominator}"


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
