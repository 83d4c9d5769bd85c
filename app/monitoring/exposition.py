"""Renders the Prometheus exposition: the metrics of every app, and of the service itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from app.access.access_copy import AccessCopy
from app.folding.fold_worker import FOLD_HEARTBEAT_PREFIX
from app.folding.memory_pressure import MemoryPressureGuard
from app.ingest.pipeline import IngestPipeline
from app.monitoring.app_metrics import FAMILIES, read_app_states, render_app
from app.monitoring.text_format import OPENMETRICS, render_header
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.alerts import AlertReader
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.rollups import RollupReader
from app.storage.interface.store import Reader
from app.support.rejections import Rejections
from app.verdicts.verdict_reader import stored_verdicts

# A large exposition yields to other requests after this many apps read, or bytes sent.
APPS_PER_TURN = 20
BLOCK_BYTES = 256 * 1024


class _FoldWorkerCollector(Collector):
    """Metrics of the fold workers, from their heartbeats in the store."""

    def __init__(self, heartbeats: dict[str, dict[str, str]]) -> None:
        self._heartbeats = {
            name.removeprefix(FOLD_HEARTBEAT_PREFIX): heartbeat
            for name, heartbeat in sorted(heartbeats.items())
            if name.startswith(FOLD_HEARTBEAT_PREFIX)
        }

    def collect(self) -> Iterable[Metric]:
        success = GaugeMetricFamily(
            "dynometer_fold_last_success_timestamp_seconds",
            "Time of the worker's last successful fold, or of its start",
            labels=("worker",),
        )
        counters = {
            "folded_batches": CounterMetricFamily(
                "dynometer_folded_batches",
                "Batches folded since the worker started",
                labels=("worker",),
            ),
            "failures": CounterMetricFamily(
                "dynometer_fold_failures",
                "Failed folds since the worker started",
                labels=("worker",),
            ),
            "unreadable": CounterMetricFamily(
                "dynometer_unreadable_batches",
                "Damaged batches set aside since the worker started",
                labels=("worker",),
            ),
        }
        for worker, heartbeat in self._heartbeats.items():
            success.add_metric((worker,), float(heartbeat["last_success_s"]))
            for name, counter in counters.items():
                counter.add_metric((worker,), float(heartbeat[name]))
        yield success
        yield from counters.values()


class MetricsSource(Protocol):
    """A plugin with metrics of its own."""

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """A collector of its metrics. `heartbeats`: those in the store, by task."""
        ...


class ServiceMetrics(NamedTuple):
    """The parts of this process that have metrics.

    worker  its name
    limits  on the names of an app
    """

    pipeline: IngestPipeline
    access: AccessCopy
    memory_guard: MemoryPressureGuard
    worker: str
    rejections: Rejections
    plugins: Sequence[MetricsSource] = ()
    limits: CardinalityLimits = DEFAULT_LIMITS


class _StoreCollector(Collector):
    """Metrics of the store and of the disk spool in front of it."""

    def __init__(
        self, service: ServiceMetrics, *, store_up: bool, apps_unavailable: int = 0
    ) -> None:
        self._apps_unavailable = apps_unavailable
        self._spool_state = service.pipeline.describe()
        self._damaged_records = (
            service.pipeline.replayer.damaged_records if service.pipeline.replayer else 0
        )
        self._worker = service.worker
        self._rejections = service.rejections
        self._store = service.memory_guard.server_info
        self._store_up = store_up
        self._has_lost_data = bool(service.access.notice())

    def collect(self) -> Iterable[Metric]:
        for name, help_text, value in (
            (
                "dynometer_store_up",
                "1 while the whole store answers, otherwise 0",
                int(self._store_up),
            ),
            (
                "dynometer_store_lost_data",
                "1 after the store lost its data, until 'dynometer restore', otherwise 0",
                int(self._has_lost_data),
            ),
            (
                "dynometer_apps_away",
                "Apps left out because their server in the cluster does not answer",
                self._apps_unavailable,
            ),
            (
                "dynometer_store_used_bytes",
                "Memory used by the store, updated once a minute",
                self._store.bytes_used,
            ),
            (
                "dynometer_store_max_bytes",
                "Maximum memory of the store (maxmemory); 0 for no limit",
                self._store.bytes_max,
            ),
            (
                "dynometer_spool_bytes",
                "Spooled bytes on disk that wait for the store",
                self._spool_state["bytes"],
            ),
            (
                "dynometer_spool_max_bytes",
                "Maximum size of the disk spool",
                self._spool_state["bytes_max"],
            ),
            (
                "dynometer_spool_since_timestamp_seconds",
                "Time when the oldest spooled data was written; 0 while the spool is empty",
                self._spool_state["since"],
            ),
        ):
            yield GaugeMetricFamily(name, help_text, value)
        counter = CounterMetricFamily(
            "dynometer_spool_damaged_records",
            "Spooled records lost because they could not be read, since the worker started",
            labels=("worker",),
        )
        counter.add_metric((self._worker,), self._damaged_records)
        yield counter
        rejected = CounterMetricFamily(
            "dynometer_rejected",
            "Connections and requests rejected to protect others, since the worker started",
            labels=("worker", "reason"),
        )
        for reason, count in self._rejections.counts.items():
            rejected.add_metric((self._worker, reason), count)
        yield rejected


class AppMetricsStore(RollupReader, AlertReader, Protocol):
    """What the metrics of apps are read from: their rollups, and what was judged of them."""


async def render_apps(
    store: AppMetricsStore,
    sightings: Sequence[SeenApp],
    now_s: float,
    content_type: str,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> list[bytes]:
    """Render the apps' metrics in pieces, yielding to other requests.

    Raises:
        StoreUnavailable, NewerVersion
    """
    texts: list[list[bytes]] = [[] for _ in FAMILIES]
    verdicts = await stored_verdicts(store) if sightings else {}
    for first in range(0, len(sightings), APPS_PER_TURN):
        part = sightings[first : first + APPS_PER_TURN]
        states = await read_app_states(store, part, now_s, verdicts, limits)
        app_texts = [render_app(state) for state in states]
        for family_texts, parts in zip(texts, zip(*app_texts, strict=True), strict=True):
            if text := "".join(parts):
                family_texts.append(text.encode())
        await asyncio.sleep(0)
    headers = [render_header(family, content_type).encode() for family, _ in FAMILIES]
    return [
        text
        for family_texts, header in zip(texts, headers, strict=True)
        if family_texts
        for text in (header, *family_texts)
    ]


async def expose(
    store: Reader,
    select_apps: Callable[[list[str]], list[str]],
    service: ServiceMetrics,
    now_s: float,
    content_type: str,
) -> list[bytes]:
    """Render the exposition of the selected apps and of the service, in pieces.

    If the store is unavailable, only the service's own metrics are rendered, because stale counters
    must never be shown. For the same reason unreachable apps of a cluster are left out.

    `select_apps`: chooses from the names of all apps. `content_type`: TEXT or OPENMETRICS.
    """
    registry = CollectorRegistry(auto_describe=False)
    texts: list[bytes] = []
    try:
        sightings = {sighting.app: sighting for sighting in await store.seen_apps()}
        apps = select_apps(list(sightings))
        reachable = [sightings[app] for app in await store.reachable_apps(apps)]
        texts = await render_apps(store, reachable, now_s, content_type, service.limits)
        heartbeats = await store.statuses()
    except StoreUnavailable:
        texts = []
        registry.register(_StoreCollector(service, store_up=False))
    else:
        registry.register(_FoldWorkerCollector(heartbeats))
        for plugin in service.plugins:
            registry.register(plugin.collector(heartbeats))
        apps_unavailable = len(apps) - len(reachable)
        store_up = not apps_unavailable and not service.pipeline.sink.store_unavailable
        registry.register(
            _StoreCollector(service, store_up=store_up, apps_unavailable=apps_unavailable)
        )
    generate = generate_openmetrics if content_type == OPENMETRICS else generate_latest
    return [*texts, generate(registry)]


async def in_blocks(texts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Join texts into blocks of about BLOCK_BYTES, yielding to other requests in between."""
    block: list[bytes] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
            await asyncio.sleep(0)
    yield b"".join(block)
