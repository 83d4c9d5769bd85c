"""The process `dynometer fold --from-kafka`: appends what Kafka holds to the store, and folds."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from contextlib import suppress

from app.config import Settings
from app.ingest.app_sightings import AppSightings
from app.kafka.client_settings import KafkaSettings
from app.kafka.consumer import BatchConsumer
from app.kafka.metrics import CONSUMER_HEARTBEAT, heartbeat_fields
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.topics import TopicAdmin
from app.service.wiring import build_batch_writer, build_fold_worker, inbox_ttl_s
from app.storage.connect import connect, refuse_unsupported_data
from app.storage.interface import Store, StoreUnavailable
from app.support.aio import cancel_and_wait

HEARTBEAT_S = 1.0
HEARTBEAT_TTL_MS = 300_000
FINISH_WITHIN_S = 5.0


async def read_and_fold(url: str, settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    store = connect(url, replicas=settings.redis_replicas)
    await refuse_unsupported_data(store)
    name = f"{os.uname().nodename}-{os.getpid()}"
    fold_worker = build_fold_worker(settings, store, time.time, name=f"fold-{name}")
    writer = build_batch_writer(OffsetBatchWriter, settings, store, time.time, fold_worker.stored)
    kafka = KafkaSettings.from_settings(settings)
    reader = BatchConsumer(
        kafka,
        writer,
        limits=settings.limits,
        topic_id=await asyncio.to_thread(TopicAdmin(kafka).topic_id, kafka.topic),
        on_stored=AppSightings(store, ttl_s=inbox_ttl_s(settings)).record,
        clock=time.time,
    )
    try:
        await _run_until_signal(
            reader.run(), fold_worker.run(), _send_heartbeats(store, reader, writer, name)
        )
        with suppress(TimeoutError, StoreUnavailable):  # the next one folds it
            await asyncio.wait_for(fold_worker.finish(), timeout=FINISH_WITHIN_S)
    finally:
        await store.close()


async def _run_until_signal(*works: Awaitable[None]) -> None:
    """Runs these until SIGTERM or SIGINT, or until one of them fails."""
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
        await cancel_and_wait([*tasks, waiting])


async def _send_heartbeats(
    store: Store, reader: BatchConsumer, writer: OffsetBatchWriter, name: str
) -> None:
    while True:
        counts = {
            "read": reader.records_read,
            "replayed": writer.records_replayed,
            "unreadable": reader.records_unreadable,
            "rebalances": reader.rebalances,
        }
        fields = heartbeat_fields(counts, reader.polled_s, reader.error, await reader.lag())
        with suppress(StoreUnavailable):  # the reader says so
            await store.heartbeat(f"{CONSUMER_HEARTBEAT}{name}", fields, ttl_ms=HEARTBEAT_TTL_MS)
        await asyncio.sleep(HEARTBEAT_S)
