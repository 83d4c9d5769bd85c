"""The Prometheus exposition: every app's metrics, and the service's own.

Counters are an app's total plus what is in its inbox, read in one atomic step: so they are current
to the last stored line, agree between workers, survive restarts and never go backwards. Gauges are
what each dyno said last; a dyno unheard of for RECENT_S is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.batch import unpack_batch
from app.buffering import Buffering
from app.codes import CODES
from app.fold import TOTAL
from app.packing import absorb
from app.resolution import align
from app.rollup import CONNECT_FAILED, CONNECT_OK, SERVICE_FAILED, SERVICE_OK, Rollup
from app.sketch import PROMETHEUS_BOUNDS_MS, count_within
from app.status import status_label
from app.store.port import FOLDING, HEADER_BYTES, Reader, SeenApp, Slot, StoreUnavailable
from app.tally import Reading
from parsers.sample import GAUGES, ROUTER_SOURCE, labels_of

RECENT_S = 300
_RECENT_SECTIONS = frozenset({"gauges", "minutes"})
MINUTE_S = 60
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
_TIMES = (
    ("service", "Time the dyno took to answer", SERVICE_OK, SERVICE_FAILED),
    ("connect", "Time the router took to connect to the dyno", CONNECT_OK, CONNECT_FAILED),
)
_ROUTER_CODES = [code for code in CODES if code.startswith("H")]
_DYNO_CODES = [code for code in CODES if code.startswith("R")]
_STREAM_CODES = [code for code in CODES if code.startswith("L")]


class AppState(NamedTuple):
    """What is exported of one app: everything ever counted, and the last RECENT_S."""

    seen: SeenApp
    total: Rollup
    recent: Rollup
    inbox_length: int


async def app_state(store: Reader, seen: SeenApp, now_s: float) -> AppState:
    """Read one app, at one instant."""
    first = align(int(now_s) - RECENT_S, MINUTE_S)
    minutes = [Slot("1m", start) for start in range(first, int(now_s) + RECENT_S, MINUTE_S)]
    contents = await store.read(seen.app, [TOTAL, *minutes])
    total, recent = Rollup(), Rollup()
    for slot, elements in contents.slots.items():
        for element in elements:
            if slot == TOTAL:
                absorb(total, element[HEADER_BYTES:])
            else:
                absorb(recent, element[HEADER_BYTES:], _RECENT_SECTIONS)
    for element in contents.inbox:
        for minute, packed in unpack_batch(element[HEADER_BYTES:]):
            rollup = Rollup()
            absorb(rollup, packed)
            total.merge(rollup.projection())
            if minute >= first:
                recent.merge(rollup)
    return AppState(seen, total, recent, len(contents.inbox))


class _Apps(Collector):
    """The apps' metrics as prometheus_client collects them."""

    def __init__(self, states: Sequence[AppState]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        yield self._requests()
        for name, help_text, ok, failed in _TIMES:
            yield self._histogram(name, help_text, {ok: "ok", failed: "failed"})
        yield self._response_bytes()
        yield self._errors()
        yield from self._starts_and_ends()
        yield from self._gauges()
        yield self._dynos()
        yield self._last_seen()
        yield self._messages()
        yield self._inbox()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "heroku_router_requests",
            "Requests that ended, by HTTP status ('' when the router logged none)",
            labels=("app", "process_type", "status"),
        )
        for state in self._states:
            for (source, status), count in sorted(state.total.requests.items()):
                labels = (state.seen.app, labels_of(source)[0], status_label(status))
                family.add_metric(labels, count)
        return family

    def _histogram(self, name: str, help_text: str, outcomes: dict[int, str]) -> Metric:
        family = HistogramMetricFamily(
            f"heroku_router_{name}_time_seconds",
            f"{help_text}, WebSockets left out",
            labels=("app", "process_type", "outcome"),
        )
        for state in self._states:
            totals_ms = _totals_ms(state.total)
            for (process_type, which), bins in sorted(state.total.sketches.items()):
                if which in outcomes:
                    within = [
                        (str(bound / _MS_PER_S), count_within(bins, bound))
                        for bound in PROMETHEUS_BOUNDS_MS
                    ]
                    family.add_metric(
                        (state.seen.app, process_type, outcomes[which]),
                        [*within, ("+Inf", sum(bins.values()))],
                        totals_ms.get((process_type, which), 0) / _MS_PER_S,
                    )
        return family

    def _response_bytes(self) -> Metric:
        family = CounterMetricFamily(
            "heroku_router_response_bytes",
            "Bytes of response bodies",
            labels=("app", "process_type"),
        )
        for state in self._states:
            for process_type, count in sorted(state.total.response_bytes.items()):
                family.add_metric((state.seen.app, process_type), count)
        return family

    def _errors(self) -> Metric:
        family = CounterMetricFamily(
            "heroku_errors",
            "Lines with a Heroku error code: H of the router, R of a dyno, L of the log stream",
            labels=("app", "process_type", "code"),
        )
        for state in self._states:
            counts = dict.fromkeys(_possible_errors(state), 0)
            for (source, code), count in state.total.errors.items():
                key = (labels_of(source)[0], code)
                counts[key] = counts.get(key, 0) + count
            for (process_type, code), count in sorted(counts.items()):
                family.add_metric((state.seen.app, process_type, code), count)
        return family

    def _starts_and_ends(self) -> Iterator[Metric]:
        labels = ("app", "process_type")
        restarts = CounterMetricFamily(
            "heroku_dyno_restarts", "Dynos that had run and started again", labels=labels
        )
        exits = CounterMetricFamily(
            "heroku_dyno_exits", "Processes that ended", labels=(*labels, "exit_status")
        )
        released = GaugeMetricFamily(
            "heroku_release_timestamp_seconds", "Time of the latest release", labels=("app",)
        )
        for state in self._states:
            app, total = state.seen.app, state.total
            for source, count in sorted(total.restarts.items()):
                restarts.add_metric((app, labels_of(source)[0]), count)
            for (source, status), count in sorted(total.exits.items()):
                exits.add_metric((app, labels_of(source)[0], str(status)), count)
            if total.released[0]:
                released.add_metric((app,), total.released[0] / _MS_PER_S)
        yield from (restarts, exits, released)

    def _gauges(self) -> Iterator[Metric]:
        for index, gauge in enumerate(GAUGES):
            if gauge.name not in _EXPORTED_GAUGES:
                continue
            family = GaugeMetricFamily(
                _EXPORTED_GAUGES[gauge.name], gauge.help, labels=("app", "process_type", "dyno")
            )
            for state in self._states:
                for source, reading in _readings(state.recent, index):
                    value = reading.last * gauge.numerator / gauge.denominator
                    family.add_metric((state.seen.app, *labels_of(source)), value)
            yield family

    def _dynos(self) -> Metric:
        family = GaugeMetricFamily(
            "heroku_dynos",
            f"Distinct dynos heard from in the last {RECENT_S // MINUTE_S} minutes",
            labels=("app", "process_type"),
        )
        for state in self._states:
            counts: dict[str, int] = {}
            for source in state.recent.minutes:
                process_type = labels_of(source)[0]
                counts[process_type] = counts.get(process_type, 0) + 1
            for process_type, count in sorted(counts.items()):
                family.add_metric((state.seen.app, process_type), count)
        return family

    def _last_seen(self) -> Metric:
        family = GaugeMetricFamily(
            "heroku_app_last_seen_timestamp_seconds",
            "Time of the latest log line of the app",
            labels=("app",),
        )
        for state in self._states:
            family.add_metric((state.seen.app,), state.seen.last_seen_s)
        return family

    def _messages(self) -> Metric:
        family = CounterMetricFamily(
            "dynometer_messages",
            "Log messages by what became of them (the ledger)",
            labels=("app", "result"),
        )
        for state in self._states:
            for result, count in sorted(state.total.ledger.items()):
                family.add_metric((state.seen.app, result), count)
        return family

    def _inbox(self) -> Metric:
        family = GaugeMetricFamily(
            "dynometer_inbox_batches", "Batches stored and not yet folded", labels=("app",)
        )
        for state in self._states:
            family.add_metric((state.seen.app,), state.inbox_length)
        return family


def _totals_ms(total: Rollup) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for (source, which), tally in total.tallies.items():
        key = (labels_of(source)[0], which)
        sums[key] = sums.get(key, 0) + tally.total
    return sums


def _possible_errors(state: AppState) -> Iterator[tuple[str, str]]:
    """Codes that can occur are there at 0, so that an alert sees the first one as an increase."""
    sources = {*state.recent.minutes, *(source for source, _ in state.total.requests)}
    process_types = {labels_of(source)[0] for source in sources}
    for process_type in process_types:
        yield from ((process_type, code) for code in _DYNO_CODES)
    router_type = labels_of(ROUTER_SOURCE)[0]
    yield from ((router_type, code) for code in _ROUTER_CODES)
    yield from (("", code) for code in _STREAM_CODES)


def _readings(recent: Rollup, gauge: int) -> list[tuple[str, Reading]]:
    return sorted(
        ((source, reading) for (source, index), reading in recent.gauges.items() if index == gauge),
        key=lambda pair: pair[0],
    )


class _Workers(Collector):
    """The pulse of background work."""

    def __init__(self, beats: dict[str, dict[str, str]]) -> None:
        self._beats = {
            name.removeprefix(FOLDING): beat
            for name, beat in sorted(beats.items())
            if name.startswith(FOLDING)
        }

    def collect(self) -> Iterable[Metric]:
        success = GaugeMetricFamily(
            "dynometer_fold_last_success_timestamp_seconds",
            "When a worker last folded an inbox, or started",
            labels=("worker",),
        )
        counters = {
            "folded_batches": CounterMetricFamily(
                "dynometer_folded_batches", "Batches folded since start", labels=("worker",)
            ),
            "failures": CounterMetricFamily(
                "dynometer_fold_failures", "Folds that failed since start", labels=("worker",)
            ),
            "unreadable": CounterMetricFamily(
                "dynometer_unreadable_batches",
                "Damaged batches set aside since start",
                labels=("worker",),
            ),
        }
        for worker, beat in self._beats.items():
            success.add_metric((worker,), float(beat["last_success_s"]))
            for name, counter in counters.items():
                counter.add_metric((worker,), float(beat[name]))
        yield success
        yield from counters.values()


class _Buffer(Collector):
    """The store, and the disk in front of it."""

    def __init__(self, buffering: Buffering, worker: str, store_up: bool) -> None:
        self._described = buffering.describe()
        self._damaged = buffering.catch_up.damaged if buffering.catch_up else 0
        self._worker = worker
        self._store_up = store_up

    def collect(self) -> Iterable[Metric]:
        for name, help_text, value in (
            ("dynometer_store_up", "1 while the store answers", int(self._store_up)),
            (
                "dynometer_spool_bytes",
                "Bytes on disk that wait for the store",
                self._described["bytes"],
            ),
            (
                "dynometer_spool_max_bytes",
                "Room on disk for what comes while the store is away",
                self._described["bytes_max"],
            ),
            (
                "dynometer_spool_since_timestamp_seconds",
                "When the oldest of it was written; 0 while nothing waits",
                self._described["since"],
            ),
        ):
            yield GaugeMetricFamily(name, help_text, value)
        damaged = CounterMetricFamily(
            "dynometer_spool_damaged_records",
            "Records on disk that could not be read since start, and are lost",
            labels=("worker",),
        )
        damaged.add_metric((self._worker,), self._damaged)
        yield damaged


async def expose(
    store: Reader,
    wanted: Callable[[list[str]], list[str]],
    buffering: Buffering,
    worker: str,
    now_s: float,
) -> bytes:
    """The exposition of the apps that are `wanted` of all those known, and of the service, in
    Prometheus' text format 0.0.4. While the store is away, of the service alone: stale counters are
    never shown.
    """
    registry = CollectorRegistry(auto_describe=False)
    try:
        seen = {each.app: each for each in await store.seen_apps()}
        states = [await app_state(store, seen[app], now_s) for app in wanted(list(seen))]
        beats = await store.beats()
    except StoreUnavailable:
        registry.register(_Buffer(buffering, worker, store_up=False))
    else:
        registry.register(_Apps(states))
        registry.register(_Workers(beats))
        registry.register(_Buffer(buffering, worker, store_up=not buffering.appender.away))
    return generate_latest(registry)
