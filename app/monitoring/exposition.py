"""The Prometheus exposition: every app's metrics, and the service's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from app.folding.memory_pressure import MemoryPressureGuard
from app.ingest.pipeline import IngestPipeline
from app.monitoring.app_metrics import app_states, families
from app.monitoring.text_format import OPENMETRICS, head, written
from app.storage.interface import FOLD_HEARTBEAT_PREFIX, Reader, SeenApp, StoreUnavailable

APPS_AT_ONCE = 20  # are read and written before other requests are served
BLOCK_BYTES = 256 * 1024  # are written before other requests are served


class _Workers(Collector):
    """The pulse of background work."""

    def __init__(self, heartbeats: dict[str, dict[str, str]]) -> None:
        self._heartbeats = {
            name.removeprefix(FOLD_HEARTBEAT_PREFIX): beat
            for name, beat in sorted(heartbeats.items())
            if name.startswith(FOLD_HEARTBEAT_PREFIX)
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
        for worker, beat in self._heartbeats.items():
            success.add_metric((worker,), float(beat["last_success_s"]))
            for name, counter in counters.items():
                counter.add_metric((worker,), float(beat[name]))
        yield success
        yield from counters.values()


class MetricsSource(Protocol):
    """What else is measured."""

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """Its metrics; `beats`: the signs of life in the store."""
        ...


class ServiceMetrics(NamedTuple):
    """What this process knows of itself; `worker` is its name."""

    pipeline: IngestPipeline
    memory_guard: MemoryPressureGuard
    worker: str
    plugins: Sequence[MetricsSource] = ()


class _Buffer(Collector):
    """The store, and the disk in front of it."""

    def __init__(self, own: ServiceMetrics, *, store_up: bool, apps_away: int = 0) -> None:
        self._apps_away = apps_away
        self._described = own.pipeline.describe()
        self._damaged = own.pipeline.replayer.damaged if own.pipeline.replayer else 0
        self._worker = own.worker
        self._store = own.memory_guard.facts
        self._store_up = store_up

    def collect(self) -> Iterable[Metric]:
        for name, help_text, value in (
            ("dynometer_store_up", "1 while all of the store answers", int(self._store_up)),
            (
                "dynometer_apps_away",
                "Apps left out, since the server of the cluster that has them does not answer",
                self._apps_away,
            ),
            (
                "dynometer_store_used_bytes",
                "Memory that the store uses, as of the last minute",
                self._store.bytes_used,
            ),
            (
                "dynometer_store_max_bytes",
                "Its maxmemory; 0 for no limit",
                self._store.bytes_max,
            ),
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


async def texts_of(
    store: Reader, apps: Sequence[SeenApp], now_s: float, content_type: str
) -> list[bytes]:
    """The apps' metrics, piece by piece. Other requests are served in between.

    Raises:
        StoreUnavailable, NewerVersion
    """
    heads = [head(family, content_type).encode() for family in families([])]
    texts: list[list[bytes]] = [[] for _ in heads]
    for first in range(0, len(apps), APPS_AT_ONCE):
        states = await app_states(store, apps[first : first + APPS_AT_ONCE], now_s)
        for of_family, family in zip(texts, families(states), strict=True):
            if family.lines:
                of_family.append(written(family).encode())
        await asyncio.sleep(0)
    return [
        text
        for of_family, begin in zip(texts, heads, strict=True)
        if of_family
        for text in (begin, *of_family)
    ]


async def expose(
    store: Reader,
    wanted: Callable[[list[str]], list[str]],
    own: ServiceMetrics,
    now_s: float,
    content_type: str,
) -> list[bytes]:
    """The exposition of the apps that are `wanted` of all those known, and of the service, in one
    of the formats of text_format, piece by piece. While the store is away, of the service
    alone: stale counters are never shown. So are apps left out that cannot be read.
    """
    registry = CollectorRegistry(auto_describe=False)
    texts: list[bytes] = []
    try:
        seen = {each.app: each for each in await store.seen_apps()}
        asked = wanted(list(seen))
        shown = [seen[app] for app in await store.reachable_apps(asked)]
        texts = await texts_of(store, shown, now_s, content_type)
        heartbeats = await store.heartbeats()
    except StoreUnavailable:
        texts = []
        registry.register(_Buffer(own, store_up=False))
    else:
        registry.register(_Workers(heartbeats))
        for each in own.plugins:
            registry.register(each.collector(heartbeats))
        apps_away = len(asked) - len(shown)
        store_up = not apps_away and not own.pipeline.sink.store_unavailable
        registry.register(_Buffer(own, store_up=store_up, apps_away=apps_away))
    generate = generate_openmetrics if content_type == OPENMETRICS else generate_latest
    return [*texts, generate(registry)]


async def in_turns(texts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """All of it, in blocks of some size; other requests are served in between."""
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
