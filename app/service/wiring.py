"""Builds and runs the parts of every process that receives or folds log lines.

Read it top to bottom: the service, then its write path, then running it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from prometheus_client.registry import Collector

from app.access.access_copy import AccessCopy
from app.access.app_removal import AppArchive, AppRemoval, AppRemovalStore
from app.access.drain_admin import DrainAdmin
from app.access.drain_registry import DrainRegistry
from app.access.rejected_logins import RejectedLogins
from app.alerting.alert_worker import AlertWorker
from app.alerting.earlier_hours import EarlierHours
from app.config import Settings, pages_url
from app.folding.fold_worker import SWEEP_INTERVAL_S, FoldWorker, FoldWorkerStore
from app.folding.memory_pressure import MemoryPressureGuard
from app.folding.merge import MARGIN_S
from app.ingest import shard_writers
from app.ingest.aggregator import AcceptanceWindow
from app.ingest.app_sightings import AppSightings
from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.drain_loop import DrainLoopDetector
from app.ingest.group_commit import GroupCommitter
from app.ingest.pipeline import ID_MARGIN_S, IngestPipeline, WritePath, WritePathBuilder
from app.ingest.received_batch import OnStored
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer
from app.monitoring.clock_watch import ClockWatch
from app.monitoring.store_warnings import StoreWarnings
from app.receivers.syslog_guard import SyslogLimits, limits_of_process
from app.receivers.syslog_listener import SyslogListener
from app.rollup.resolutions import Resolution
from app.service.archive_extra import (
    History,
    build_archive_plugin,
    build_history,
    hours_kept_s,
    open_archive,
)
from app.service.kafka_extra import load_kafka
from app.service.periodic_tasks import PeriodicTasks
from app.service.ranges import build_acceptance, build_tiers
from app.storage.interface.batches import BatchStore
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.server import ShardedStore
from app.storage.interface.store import Store
from app.support.aio import cancel_and_wait
from app.support.rejections import Rejections

log = logging.getLogger(__name__)

Writer = TypeVar("Writer", bound=BatchWriter)

FINISH_TIMEOUT_S = 5  # of the 10 s that a shutdown may take


class BackgroundPlugin(Protocol):
    """An optional subsystem (Kafka, the archive) that runs alongside the core tasks."""

    async def run(self) -> None:
        """Run until cancelled."""
        ...

    def notices(self) -> list[str]:
        """Sentences about problems that the operator should act on."""
        ...

    def health(self) -> Mapping[str, Any]:
        """Its parts in /readyz, by name."""
        ...

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """Its metrics, given the heartbeats of all processes in the store."""
        ...


class Service(NamedTuple):
    """The parts of a process that receives log lines, over HTTP or syslog."""

    store: Store
    tiers: list[Resolution]  # shared: MemoryPressureGuard replaces the first entry
    history: History  # what queries and pages read
    acceptance: AcceptanceWindow
    fold_worker: FoldWorker
    pipeline: IngestPipeline
    rejected_logins: RejectedLogins
    access: AccessCopy
    clock_watch: ClockWatch
    store_warnings: StoreWarnings
    drains: DrainRegistry
    drain_admin: DrainAdmin
    memory_guard: MemoryPressureGuard
    loop_detector: DrainLoopDetector
    periodic_tasks: PeriodicTasks
    alert_worker: AlertWorker
    plugins: Sequence[BackgroundPlugin]
    rejections: Rejections  # what limits protected others from


def build_service(
    settings: Settings,
    store: Store,
    clock: Callable[[], float],
    rejections: Rejections | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Service:
    """Build the parts over a store.

    Args:
        settings: of this process.
        store: shared by all processes.
        clock: returns Unix time in seconds.
        rejections: counts what is refused; None for a new one.
        monotonic: returns seconds, which never go backwards.
    """
    tiers = build_tiers(settings)
    fold_worker = build_fold_worker(
        settings, store, clock, name=str(os.getpid()), tiers=tiers, monotonic=monotonic
    )
    access = AccessCopy(
        store, clock, settings.data_dir, address=settings.store_address, monotonic=monotonic
    )
    drains = DrainRegistry(store, access, clock, settings.secret_key)
    build_write_path, plugins = _write_path_of(settings, store, drains, clock)
    pipeline = _build_pipeline(
        settings, store, clock, on_appended=fold_worker.schedule, build_write_path=build_write_path
    )
    clock_watch = ClockWatch(store, clock, name=str(os.getpid()), monotonic=monotonic)
    store_warnings = StoreWarnings(store)
    rejected_logins = RejectedLogins(store, clock, name=str(os.getpid()))
    drain_admin = DrainAdmin(store, clock, settings.public_url, settings.secret_key)
    memory_guard = MemoryPressureGuard(store, tiers, clock)
    loop_detector = DrainLoopDetector(store, clock, settings.public_url)
    archive = open_archive(settings) if settings.archive_url else None
    history = build_history(settings, store, tiers, archive, clock)
    alert_worker = _build_alert_worker(settings, store, tiers, history, clock, pipeline)
    if archive is not None:
        is_leader = alert_worker.holds_lease
        plugin = build_archive_plugin(settings, store, archive, tiers[-1], clock, is_leader)
        plugins = [*plugins, plugin]
    return Service(
        store=store,
        tiers=tiers,
        history=history,
        acceptance=build_acceptance(settings),
        fold_worker=fold_worker,
        pipeline=pipeline,
        rejected_logins=rejected_logins,
        access=access,
        clock_watch=clock_watch,
        store_warnings=store_warnings,
        drains=drains,
        drain_admin=drain_admin,
        memory_guard=memory_guard,
        loop_detector=loop_detector,
        periodic_tasks=PeriodicTasks(
            frequent=(access.refresh, rejected_logins.publish, clock_watch.check),
            occasional=(
                drain_admin.retire_secrets,
                memory_guard.check,
                loop_detector.refresh,
                store_warnings.check,
            ),
        ),
        alert_worker=alert_worker,
        plugins=plugins,
        rejections=rejections or Rejections(),
    )


def _build_alert_worker(
    settings: Settings,
    store: Store,
    tiers: Sequence[Resolution],
    history: History,
    clock: Callable[[], float],
    pipeline: IngestPipeline,
) -> AlertWorker:
    return AlertWorker(
        store,
        tiers,
        build_earlier_hours(settings, history),
        clock=clock,
        url=pages_url(settings),
        name=str(os.getpid()),
        spool_since_s=pipeline.waiting_since_s,
        directory=settings.data_dir,
        review_apps=settings.review_apps,
        limits=settings.limits,
    )


def build_earlier_hours(settings: Settings, history: History) -> EarlierHours:
    """Build the reader of the hours that alert rules compare with."""
    return EarlierHours(history.prompt_rollups, hours_kept_s(settings))


def build_fold_worker(
    settings: Settings,
    store: FoldWorkerStore,
    clock: Callable[[], float],
    *,
    name: str,
    tiers: list[Resolution] | None = None,
    sweep_interval_s: float = SWEEP_INTERVAL_S,
    monotonic: Callable[[], float] = time.monotonic,
) -> FoldWorker:
    """Builds a fold worker.

    Args:
        name: identifies its heartbeat.
        tiers: the list that MemoryPressureGuard changes; None for a list of its own.
        sweep_interval_s: how often it checks all inboxes.
        monotonic: returns seconds, which never go backwards.
    """
    return FoldWorker(
        store,
        build_tiers(settings) if tiers is None else tiers,
        name=name,
        clock=clock,
        interval_s=settings.fold_interval_s,
        batches=settings.fold_batches,
        limits=settings.limits,
        sweep_interval_s=sweep_interval_s,
        monotonic=monotonic,
        notes_changes=bool(settings.archive_url),
    )


def build_app_removal(
    settings: Settings,
    store: AppRemovalStore,
    clock: Callable[[], float],
    archive: AppArchive | None,
) -> AppRemoval:
    """Build the removal of apps, which is remembered for as long as batches may wait on a disk.

    `archive`: from which apps are removed, too; None if none is configured.
    """
    memory_s = settings.spool_age_max_s + ID_MARGIN_S
    return AppRemoval(store, build_tiers(settings), clock, memory_s, archive=archive)


def inbox_ttl_s(settings: Settings) -> int:
    """How long an inbox outlives its last append, so that nothing expires unfolded."""
    return build_tiers(settings)[-1].retention_s + MARGIN_S


# --- the write path -----------------------------------------------------------------------------


def _write_path_of(
    settings: Settings, store: Store, drains: DrainRegistry, clock: Callable[[], float]
) -> tuple[WritePathBuilder, Sequence[BackgroundPlugin]]:
    if settings.kafka:
        plugin = load_kafka("app.kafka.plugin").KafkaPlugin(settings, store, drains, clock)
        return plugin.build_write_path, [plugin]
    if isinstance(store, ShardedStore):
        return partial(shard_writers.build_write_path, store), []
    return _build_single_write_path, []


def _build_single_write_path(
    new_writer: Callable[[], BatchWriter],
    new_committer: Callable[[BatchSink, OnStored], GroupCommitter],
    on_stored: OnStored,
) -> WritePath:
    writer = new_writer()
    return WritePath(writer, new_committer(writer, on_stored), on_stored)


def _build_pipeline(
    settings: Settings,
    store: Store,
    clock: Callable[[], float],
    *,
    on_appended: Callable[[Mapping[str, int]], None],
    build_write_path: WritePathBuilder,
) -> IngestPipeline:
    """Build the path of a batch into the store, with the spool for outages."""
    spool = None
    if settings.spool_bytes_max:
        spool = Spool(settings.spool_dir, bytes_max=settings.spool_bytes_max, clock=clock)

    def new_committer(sink: BatchSink, on_stored: OnStored) -> GroupCommitter:
        return GroupCommitter(
            sink,
            spool,
            wait_s=settings.commit_wait_s,
            limits=settings.limits,
            clock=clock,
            on_stored=on_stored,
        )

    path = build_write_path(
        lambda: build_batch_writer(BatchWriter, settings, store, clock, on_appended),
        new_committer,
        AppSightings(store, ttl_s=inbox_ttl_s(settings)).record,
    )
    replayer = None
    if spool is not None:
        replayer = SpoolReplayer(
            spool,
            path.sink,
            on_stored=path.on_stored,
            removed_apps=store.removed_apps,
            limits=settings.limits,
        )
    return IngestPipeline(path.sink, path.committer, spool, replayer)


def build_batch_writer(
    writer_type: type[Writer],
    settings: Settings,
    store: BatchStore,
    clock: Callable[[], float],
    on_appended: Callable[[Mapping[str, int]], None],
) -> Writer:
    """Build a writer of this type. `on_appended` is called with the new inbox lengths of apps."""
    return writer_type(
        store,
        id_ttl_s=settings.spool_age_max_s + ID_MARGIN_S,
        inbox_ttl_s=inbox_ttl_s(settings),
        verified_s=settings.spool_age_max_s,
        clock=clock,
        on_appended=on_appended,
    )


def build_syslog_listener(
    service: Service, settings: Settings, limits: SyslogLimits | None = None
) -> SyslogListener:
    """Build the syslog drain of a service. `limits`: None for those of this process."""
    return SyslogListener(
        settings,
        committer=service.pipeline.committer,
        drains=service.drains,
        rejected_logins=service.rejected_logins,
        acceptance=service.acceptance,
        reads_marks=service.access.reads_marks,
        rejections=service.rejections,
        limits=limits or limits_of_process(),
    )


# --- running ------------------------------------------------------------------------------------


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run the background tasks of a service.

    At the end, pending batches are committed and then folded for up to FINISH_TIMEOUT_S. The next
    start folds the rest.
    """
    await _check_store(service.store)
    tasks = [
        asyncio.create_task(service.fold_worker.run(), name="fold"),
        asyncio.create_task(service.periodic_tasks.run(), name="periodic tasks"),
        asyncio.create_task(service.alert_worker.run(), name="alerts"),
    ]
    tasks += [asyncio.create_task(plugin.run(), name="plugin") for plugin in service.plugins]
    if service.pipeline.replayer is not None:
        tasks.append(asyncio.create_task(service.pipeline.replayer.run(), name="spool replay"))
    try:
        yield
    finally:
        await service.pipeline.committer.wait_idle()
        await cancel_and_wait(tasks)
        finishing = asyncio.create_task(service.fold_worker.fold_pending(), name="finish")
        await asyncio.wait([finishing], timeout=FINISH_TIMEOUT_S)
        await cancel_and_wait([finishing])
        await service.access.close()
        if service.pipeline.spool is not None:
            service.pipeline.spool.close()
        await service.store.close()


async def _check_store(store: Store) -> None:
    """Log why the store must not be used. A store that is used for the first time gets its id."""
    try:
        problems = await store.problems()
        await store.identity()
    except StoreUnavailable as error:
        problems = [str(error)]
    for sentence in problems:
        log.error("store: %s", sentence)
