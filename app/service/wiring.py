"""What a process is made of that takes log lines, whichever way they come: the store, the way into
it, and the work beside it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, Protocol

from prometheus_client.registry import Collector

from app.access.drain_registry import Drains
from app.access.enrolment import Enrolment
from app.access.rejected_logins import Refusals
from app.alerting.alert_worker import Alerter
from app.config import Settings, pages_url
from app.folding.fold_worker import Folder
from app.folding.memory_pressure import Room
from app.folding.merge import MARGIN_S
from app.ingest import shard_writers
from app.ingest.aggregator import Horizon
from app.ingest.app_sightings import Sightings
from app.ingest.batch_writer import Appender, Appends
from app.ingest.coalesced_batch import Bundle
from app.ingest.drain_loop import OwnDrain
from app.ingest.group_commit import Commits, Committer
from app.ingest.pipeline import ID_MARGIN_S, Buffering
from app.ingest.received_batch import Stored
from app.ingest.spool import Spool
from app.ingest.spool_replay import CatchUp
from app.receivers.syslog_listener import SyslogListener
from app.rollup.resolutions import Resolution, resolutions
from app.service.kafka_extra import load
from app.service.periodic_tasks import Chores
from app.storage.interface import Sharded, Store, StoreUnavailable
from app.support.aio import end_tasks

log = logging.getLogger(__name__)

FINISH_WITHIN_S = 5  # of the 10 s that a shutdown may take


class Beside(Protocol):
    """What else runs in a process, where settings ask for it."""

    async def run(self) -> None:
        """Until cancelled."""
        ...

    def sentences(self) -> list[str]:
        """What the operator should do about it."""
        ...

    def collector(self, beats: Mapping[str, Mapping[str, str]]) -> Collector:
        """Its metrics; `beats`: the signs of life in the store."""
        ...


Ways = Callable[
    [Store, Callable[[], Appender], Callable[[Appends, Stored], Committer], Stored],
    tuple[Appends, Commits, Stored],
]
"""Makes the ways into a store, from what makes an Appender and what makes a Committer of one."""


class Core(NamedTuple):
    """The parts, put together."""

    store: Store
    tiers: Sequence[Resolution]
    horizon: Horizon
    folder: Folder
    buffering: Buffering
    refusals: Refusals
    drains: Drains
    enrolment: Enrolment
    room: Room
    own_drain: OwnDrain
    chores: Chores
    alerter: Alerter
    beside: Sequence[Beside]


def core(settings: Settings, store: Store, clock: Callable[[], float]) -> Core:
    """Over a store, on a clock (Unix time in seconds)."""
    tiers = resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)
    kept_s = tiers[-1].retention_s + MARGIN_S
    folder = Folder(
        store,
        tiers,
        name=str(os.getpid()),
        clock=clock,
        interval_s=settings.fold_interval_s,
        batches=settings.fold_batches,
        caps=settings.caps,
    )
    sightings = Sightings(store, ttl_s=kept_s)
    refusals = Refusals(store, clock, name=str(os.getpid()))
    drains = Drains(store, clock, settings.drains_copy)
    enrolment = Enrolment(store, clock, settings.public_url)
    room = Room(store, tiers, clock)
    own_drain = OwnDrain(store, clock, settings.public_url)
    horizon = Horizon(settings.horizon_past_s, settings.horizon_future_s)
    ways = _one_way
    beside: list[Beside] = []
    if settings.kafka:
        log_side = load("app.kafka.plugin").LogSide(settings, store, drains, clock)
        ways, beside = log_side.ways, [log_side]
    elif isinstance(store, Sharded):
        ways = shard_writers.ways
    buffering = _buffering(settings, store, clock, horizon, sightings, folder.stored, kept_s, ways)
    return Core(
        store=store,
        tiers=tiers,
        horizon=horizon,
        folder=folder,
        buffering=buffering,
        refusals=refusals,
        drains=drains,
        enrolment=enrolment,
        room=room,
        own_drain=own_drain,
        chores=Chores(
            often=(drains.refresh, refusals.publish),
            seldom=(enrolment.retire, room.look, own_drain.refresh),
        ),
        alerter=Alerter(
            store,
            tiers[0],
            clock=clock,
            url=pages_url(settings),
            name=str(os.getpid()),
            spool_since_s=buffering.waiting_since_s,
            directory=settings.data_dir,
        ),
        beside=beside,
    )


def _buffering(
    settings: Settings,
    store: Store,
    clock: Callable[[], float],
    horizon: Horizon,
    sightings: Sightings,
    on_stored: Callable[[Mapping[str, int]], None],
    kept_s: int,
    ways: Ways,
) -> Buffering:
    """The way of an arrival into the store, with the spool beside it."""
    spool = None
    caps = settings.caps
    if settings.spool_bytes_max:
        spool = Spool(settings.spool_dir, bytes_max=settings.spool_bytes_max, clock=clock)

    def appender() -> Appender:
        return Appender(
            store,
            id_ttl_s=settings.spool_age_max_s + ID_MARGIN_S,
            inbox_ttl_s=kept_s,
            verified_s=settings.spool_age_max_s,
            clock=clock,
            on_stored=on_stored,
        )

    def committer(appender: Appends, tell: Stored) -> Committer:
        return Committer(
            appender,
            spool,
            wait_s=settings.commit_wait_s,
            bundle_of=partial(Bundle, horizon=horizon, caps=caps),
            clock=clock,
            on_stored=tell,
        )

    appends, commits, tell = ways(store, appender, committer, sightings.note)
    if spool is None:
        return Buffering(appends, commits, None, None)
    catch_up = CatchUp(spool, appends, on_stored=tell, caps=caps)
    return Buffering(appends, commits, spool, catch_up)


def _one_way(
    store: Store,
    appender: Callable[[], Appender],
    committer: Callable[[Appends, Stored], Committer],
    tell: Stored,
) -> tuple[Appends, Commits, Stored]:
    """What takes arrivals, what takes POSTs, and what is told of what was stored."""
    only = appender()
    return only, committer(only, tell), tell


@asynccontextmanager
async def working(parts: Core) -> AsyncIterator[None]:
    """Folding and chores run; at the end what is in hand is finished, as far as time allows."""
    await _report_problems(parts.store)
    tasks = [
        asyncio.create_task(parts.folder.run(), name="fold"),
        asyncio.create_task(parts.chores.run(), name="chores"),
        asyncio.create_task(parts.alerter.run(), name="alerts"),
    ]
    tasks += [asyncio.create_task(each.run(), name="beside") for each in parts.beside]
    if parts.buffering.catch_up is not None:
        tasks.append(asyncio.create_task(parts.buffering.catch_up.run(), name="catch up"))
    try:
        yield
    finally:
        await parts.buffering.committer.drained()
        await end_tasks(tasks)
        finishing = asyncio.create_task(parts.folder.finish(), name="finish")
        await asyncio.wait([finishing], timeout=FINISH_WITHIN_S)
        await end_tasks([finishing])  # what is left, the next start folds
        await parts.drains.close()
        if parts.buffering.spool is not None:
            parts.buffering.spool.close()
        await parts.store.close()


async def _report_problems(store: Store) -> None:
    try:
        problems = await store.check()
    except StoreUnavailable as error:
        problems = [str(error)]
    for sentence in problems:
        log.error("store: %s", sentence)


def syslog_listener(parts: Core, settings: Settings, clock: Callable[[], float]) -> SyslogListener:
    """What listens for syslog, over these parts."""
    return SyslogListener(
        settings,
        committer=parts.buffering.committer,
        drains=parts.drains,
        refusals=parts.refusals,
        horizon=parts.horizon,
        clock=clock,
    )
