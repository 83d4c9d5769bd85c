"""Builds the metrics of each app for Prometheus.

Counters are an app's total plus its inbox, read in one atomic step. They are therefore current to
the last stored line, agree between workers, survive restarts and never go backwards. Gauges are
each dyno's latest values; a dyno without a line for RECENT_S disappears.

Sample lines are formatted here rather than by prometheus_client, since a scrape of many apps has
tens of thousands of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from app.monitoring.text_format import MetricFamily, escape_label
from app.query.engine import PackedRollup, scan_packed
from app.rollup.accelerated import merge_rollups, to_python
from app.rollup.batch_codec import unpack_batch
from app.rollup.resolutions import MINUTE_S, align
from app.rollup.rollup import CONNECT_FAILED, CONNECT_OK, SERVICE_FAILED, SERVICE_OK, Rollup
from app.rollup.sketch import PROMETHEUS_BOUNDS_MS, counts_within_bounds
from app.rollup.statuses import status_label
from app.storage.interface import HEADER_BYTES, TOTAL, Contents, Reader, SeenApp, Slot
from parsers.error_codes import CODES
from parsers.metrics import GAUGES
from parsers.samples import ROUTER_SOURCE, labels_of

RECENT_S = 300
_MS_PER_S = 1000
_EXPORTED_GAUGES = {
    "memory_total_bytes": "heroku_dyno_memory_total_bytes",
    "memory_rss_bytes": "heroku_dyno_memory_rss_bytes",
    "memory_cache_bytes": "heroku_dyno_memory_cache_bytes",
    "memory_swap_bytes": "heroku_dyno_memory_swap_bytes",
    "memory_quota_bytes": "heroku_dyno_memory_quota_bytes",
    "load_avg_1m": "heroku_dyno_load_avg_1m",
    "load_avg_5m": "heroku_dyno_load_avg_5m",
    "load_avg_15m": "heroku_dyno_load_avg_15m",
}
_HISTOGRAMS = (
    ("service", "Time the dyno took to answer", {SERVICE_OK: "ok", SERVICE_FAILED: "failed"}),
    (
        "connect",
        "Time the router took to connect to the dyno",
        {CONNECT_OK: "ok", CONNECT_FAILED: "failed"},
    ),
)
_BOUNDS_S = (*(str(bound / _MS_PER_S) for bound in PROMETHEUS_BOUNDS_MS), "+Inf")
_ROUTER_TYPE = labels_of(ROUTER_SOURCE)[0]
_STATUSES_AT_0 = ("200", "404", "500", "503")
_ROUTER_CODES = [code for code in CODES if code.startswith("H")]
_DYNO_CODES = [code for code in CODES if code.startswith("R")]
_STREAM_CODES = [code for code in CODES if code.startswith("L")]


_REQUESTS_HELP = "Completed requests, by HTTP status ('' if the router logged none)"
_RESPONSE_BYTES_HELP = "Bytes of response bodies"
_ERRORS_HELP = (
    "Log lines with an error code: H from the router, R from a dyno, L from the log stream"
)
_RESTARTS_HELP = "Restarts of dynos"
_EXITS_HELP = "Processes that ended, by exit status"
_RELEASE_HELP = "Time of the latest release"
_DYNOS_HELP = f"Distinct dynos that logged in the last {RECENT_S // MINUTE_S} minutes"
_LAST_SEEN_HELP = "Time of the app's latest log line"
_MESSAGES_HELP = "Log messages by result (the ledger)"
_INBOX_HELP = "Batches stored and not yet folded"


class LatestGauges(NamedTuple):
    """`last`: (source, gauge index) -> value in the gauge's stored unit."""

    last: dict[tuple[str, int], int]
    active_dynos: frozenset[str]


class AppState(NamedTuple):
    """One app's data for the exposition: its total, and gauges of the last RECENT_S."""

    sighting: SeenApp
    total: Rollup
    recent: LatestGauges
    inbox_length: int


async def read_app_states(
    store: Reader, sightings: Sequence[SeenApp], now_s: float
) -> list[AppState]:
    """Read these apps, each in one atomic step.

    Raises:
        StoreUnavailable, NewerVersion
    """
    first = align(int(now_s) - RECENT_S, MINUTE_S)
    minutes = range(first, int(now_s) + RECENT_S, MINUTE_S)
    slots = [TOTAL, *(Slot("1m", start) for start in minutes)]
    contents_by_app = await store.read_many([(sighting.app, slots) for sighting in sightings])
    return [
        _build_state(sighting, contents, first)
        for sighting, contents in zip(sightings, contents_by_app, strict=True)
    ]


def _build_state(sighting: SeenApp, contents: Contents, first: int) -> AppState:
    total: list[bytes] = []
    recent: list[PackedRollup] = []
    inbox: list[bytes] = []
    for slot, elements in contents.slots.items():
        packed_rollups = [element[HEADER_BYTES:] for element in elements]
        if slot == TOTAL:
            total = packed_rollups
        else:
            recent += ((slot.start, data) for data in packed_rollups)
    for element in contents.inbox:
        for minute, data in unpack_batch(element[HEADER_BYTES:]):
            inbox.append(data)
            if minute >= first:
                recent.append((minute, data))
    sums = merge_rollups(total)
    if inbox:
        sums.merge(merge_rollups(inbox).without_dynos())
    return AppState(sighting, to_python(sums), _latest_gauges(recent), len(contents.inbox))


def _latest_gauges(packed_rollups: Sequence[PackedRollup]) -> LatestGauges:
    """The latest gauges of an app, from one pass over its recent rollups."""
    table = scan_packed("", packed_rollups, [], frozenset({"active_minutes", "gauges"}))
    return LatestGauges(table.last_values(), frozenset(table.last_active_s()))


def build_families(states: Sequence[AppState]) -> Iterator[MetricFamily]:
    """Build the metric families of the apps."""
    yield _build_family("heroku_router_requests", "counter", _REQUESTS_HELP, states, _request_rows)
    for name, help_text, outcomes in _HISTOGRAMS:
        yield MetricFamily(
            f"heroku_router_{name}_time_seconds",
            "histogram",
            f"{help_text}, without WebSockets",
            [line for state in states for line in _histogram_lines(state, name, outcomes)],
        )
    yield _build_family(
        "heroku_router_response_bytes",
        "counter",
        _RESPONSE_BYTES_HELP,
        states,
        _response_bytes_rows,
    )
    yield _build_family("heroku_errors", "counter", _ERRORS_HELP, states, _error_rows)
    yield _build_family("heroku_dyno_restarts", "counter", _RESTARTS_HELP, states, _restart_rows)
    yield _build_family("heroku_dyno_exits", "counter", _EXITS_HELP, states, _exit_rows)
    yield _build_family(
        "heroku_release_timestamp_seconds", "gauge", _RELEASE_HELP, states, _release_rows
    )
    gauges_by_app = [_group_gauges(state) for state in states]
    for index, gauge in enumerate(GAUGES):
        if metric_name := _EXPORTED_GAUGES.get(gauge.name):
            lines = [
                f"{metric_name}{{{labels}}} {last * gauge.numerator / gauge.denominator}"
                for app_gauges in gauges_by_app
                for labels, last in app_gauges[index]
            ]
            yield MetricFamily(metric_name, "gauge", gauge.help, lines)
    yield _build_family("heroku_dynos", "gauge", _DYNOS_HELP, states, _dyno_rows)
    yield _build_family(
        "heroku_app_last_seen_timestamp_seconds", "gauge", _LAST_SEEN_HELP, states, _last_seen_rows
    )
    yield _build_family("dynometer_messages", "counter", _MESSAGES_HELP, states, _message_rows)
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


def _request_rows(state: AppState) -> Rows:
    counts = {(_ROUTER_TYPE, status): 0 for status in _STATUSES_AT_0}
    for (source, status), count in state.total.requests.items():
        key = (labels_of(source)[0], status_label(status))
        counts[key] = counts.get(key, 0) + count
    for (process_type, label), count in sorted(counts.items()):
        yield f',process_type="{process_type}",status="{label}"', count


def _histogram_lines(state: AppState, name: str, outcomes: dict[int, str]) -> Iterator[str]:
    family = f"heroku_router_{name}_time_seconds"
    totals_ms = _totals_ms(state.total)
    for (process_type, kind), bins in sorted(state.total.sketches.items()):
        if kind not in outcomes:
            continue
        labels = (
            f'app="{state.sighting.app}",process_type="{process_type}",outcome="{outcomes[kind]}"'
        )
        counts = counts_within_bounds(bins)
        for bound, count in zip(_BOUNDS_S, counts, strict=True):
            yield f'{family}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{family}_count{{{labels}}} {counts[-1]}"
        total_s = totals_ms.get((process_type, kind), 0) / _MS_PER_S
        yield f"{family}_sum{{{labels}}} {total_s}"


def _totals_ms(total: Rollup) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for (source, kind), totals in total.tallies.items():
        key = (labels_of(source)[0], kind)
        sums[key] = sums.get(key, 0) + totals.total
    return sums


def _response_bytes_rows(state: AppState) -> Rows:
    for process_type, count in sorted(state.total.response_bytes.items()):
        yield f',process_type="{process_type}"', count


def _error_rows(state: AppState) -> Rows:
    counts = dict.fromkeys(_possible_codes(state), 0)
    for (source, code), count in state.total.errors.items():
        key = (labels_of(source)[0], code)
        counts[key] = counts.get(key, 0) + count
    for (process_type, code), count in sorted(counts.items()):
        yield f',process_type="{process_type}",code="{escape_label(code)}"', count


def _possible_codes(state: AppState) -> Iterator[tuple[str, str]]:
    """(process type, code) pairs that can occur.

    They are exported at 0, so that an alert sees the first line as an increase.
    """
    sources = {*state.recent.active_dynos, *(source for source, _ in state.total.requests)}
    process_types = {labels_of(source)[0] for source in sources}
    for process_type in process_types:
        yield from ((process_type, code) for code in _DYNO_CODES)
    yield from ((_ROUTER_TYPE, code) for code in _ROUTER_CODES)
    yield from (("", code) for code in _STREAM_CODES)


def _restart_rows(state: AppState) -> Rows:
    counts: Counter[str] = Counter()
    for source, count in state.total.restarts.items():
        counts[labels_of(source)[0]] += count
    for process_type, count in sorted(counts.items()):
        yield f',process_type="{process_type}"', count


def _exit_rows(state: AppState) -> Rows:
    counts: Counter[tuple[str, int]] = Counter()
    for (source, status), count in state.total.exits.items():
        counts[labels_of(source)[0], status] += count
    for (process_type, status), count in sorted(counts.items()):
        yield f',process_type="{process_type}",exit_status="{status}"', count


def _release_rows(state: AppState) -> Rows:
    if state.total.released[0]:
        yield "", state.total.released[0] / _MS_PER_S


def _group_gauges(state: AppState) -> list[list[tuple[str, int]]]:
    """(labels, value) of each dyno, for each of GAUGES.

    All gauges of a dyno follow each other, so its labels are formatted only once.
    """
    gauges: list[list[tuple[str, int]]] = [[] for _ in GAUGES]
    previous, labels = None, ""
    for (source, gauge), last in sorted(state.recent.last.items()):
        if source != previous:
            process_type, dyno = labels_of(source)
            previous = source
            labels = f'app="{state.sighting.app}",process_type="{process_type}",dyno="{dyno}"'
        gauges[gauge].append((labels, last))
    return gauges


def _dyno_rows(state: AppState) -> Rows:
    counts = Counter(labels_of(source)[0] for source in state.recent.active_dynos)
    for process_type, count in sorted(counts.items()):
        yield f',process_type="{process_type}"', count


def _last_seen_rows(state: AppState) -> Rows:
    yield "", state.sighting.last_seen_s


def _message_rows(state: AppState) -> Rows:
    for result, count in sorted(state.total.ledger.items()):
        yield f',result="{result}"', count


def _inbox_rows(state: AppState) -> Rows:
    yield "", state.inbox_length
