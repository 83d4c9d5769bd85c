"""`dynometer fold --from-kafka`: read the log into the store, and fold."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from contextlib import suppress

from app.config import Settings
from app.folding.fold_worker import Folder
from app.folding.merge import MARGIN_S
from app.ingest.app_sightings import Sightings
from app.ingest.pipeline import ID_MARGIN_S
from app.kafka.client_settings import Log
from app.kafka.consumer import LogReader
from app.kafka.metrics import READER, said
from app.kafka.offset_writer import PlacedAppender
from app.kafka.topics import Topics
from app.rollup.resolutions import resolutions
from app.storage.connect import connect
from app.storage.interface import Store, StoreUnavailable
from app.support.aio import end_tasks

BEAT_S = 1.0
BEAT_TTL_MS = 300_000
FINISH_WITHIN_S = 5.0


async def read_and_fold(url: str, settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    store = connect(url, replicas=settings.redis_replicas)
    name = f"{os.uname().nodename}-{os.getpid()}"
    tiers = resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)
    kept_s = tiers[-1].retention_s + MARGIN_S
    folder = Folder(
        store,
        tiers,
        name=f"fold-{name}",
        clock=time.time,
        interval_s=settings.fold_interval_s,
        batches=settings.fold_batches,
        caps=settings.caps,
    )
    appender = PlacedAppender(
        store,
        id_ttl_s=settings.spool_age_max_s + ID_MARGIN_S,
        inbox_ttl_s=kept_s,
        verified_s=settings.spool_age_max_s,
        clock=time.time,
        on_stored=folder.stored,
    )
    where = Log.of(settings)
    reader = LogReader(
        where,
        appender,
        caps=settings.caps,
        topic_id=await asyncio.to_thread(Topics(where).id_of, where.topic),
        on_stored=Sightings(store, ttl_s=kept_s).note,
        clock=time.time,
    )
    try:
        await _until_told(reader.run(), folder.run(), _beat(store, reader, appender, name))
        with suppress(TimeoutError, StoreUnavailable):  # the next one folds it
            await asyncio.wait_for(folder.finish(), timeout=FINISH_WITHIN_S)
    finally:
        await store.close()


async def _until_told(*works: Awaitable[None]) -> None:
    """Run these until SIGTERM or SIGINT, or until one of them fails."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    tasks = [asyncio.ensure_future(work) for work in works]
    waiting = asyncio.create_task(ended.wait())
    try:
        done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end_tasks([*tasks, waiting])


async def _beat(store: Store, reader: LogReader, appender: PlacedAppender, name: str) -> None:
    while True:
        counts = {
            "read": reader.read,
            "replayed": appender.replayed,
            "unreadable": reader.unreadable,
            "rebalances": reader.rebalances,
        }
        fields = said(counts, reader.polled_s, reader.error, await reader.lag())
        with suppress(StoreUnavailable):  # the reader says so
            await store.beat(f"{READER}{name}", fields, ttl_ms=BEAT_TTL_MS)
        await asyncio.sleep(BEAT_S)
