"""The process `dynometer fold --from-kafka`: copies batches from Kafka to the store, and folds."""

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
from app.service.wiring import build_batch_writer, build_fold_worker, inbox_ttl_s
from app.storage.connect import connect, refuse_unsupported_data
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.status import StatusStore
from app.support.aio import cancel_and_wait

HEARTBEAT_S = 1.0
HEARTBEAT_TTL_MS = 300_000
FINISH_TIMEOUT_S = 5.0


async def read_and_fold(url: str, settings: Settings) -> None:
    """Consume and fold until SIGTERM or SIGINT."""
    store = connect(url, replicas=settings.redis_replicas)
    try:
        await refuse_unsupported_data(store)
        name = f"{os.uname().nodename}-{os.getpid()}"
        fold_worker = build_fold_worker(settings, store, time.time, name=f"fold-{name}")
        writer = build_batch_writer(
            OffsetBatchWriter, settings, store, time.time, fold_worker.schedule
        )
        kafka = KafkaSettings.from_settings(settings)
        consumer = BatchConsumer(
            kafka,
            writer,
            limits=settings.limits,
            on_stored=AppSightings(store, ttl_s=inbox_ttl_s(settings)).record,
            clock=time.time,
        )
        await _run_until_signal(
            consumer.run(), fold_worker.run(), _send_heartbeats(store, consumer, writer, name)
        )
        with suppress(TimeoutError, StoreUnavailable):  # another fold worker continues
            await asyncio.wait_for(fold_worker.fold_pending(), timeout=FINISH_TIMEOUT_S)
    finally:
        await store.close()


async def _run_until_signal(*coroutines: Awaitable[None]) -> None:
    """Run the coroutines until SIGTERM or SIGINT, or until one of them ends or fails."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    stop_task = asyncio.create_task(stop.wait())
    try:
        finished_tasks, _ = await asyncio.wait(
            [*tasks, stop_task], return_when=asyncio.FIRST_COMPLETED
        )
        for task in finished_tasks:
            task.result()
    finally:
        await cancel_and_wait([*tasks, stop_task])


async def _send_heartbeats(
    store: StatusStore, consumer: BatchConsumer, writer: OffsetBatchWriter, name: str
) -> None:
    while True:
        counts = {
            "read": consumer.records_read,
            "replayed": writer.records_replayed,
            "unreadable": consumer.records_unreadable,
            "lost": consumer.records_lost,
            "rebalances": consumer.rebalances,
        }
        fields = heartbeat_fields(counts, consumer.polled_s, consumer.error, await consumer.lag())
        with suppress(StoreUnavailable):  # the consumer logs it
            await store.write_status(f"{CONSUMER_HEARTBEAT}{name}", fields, ttl_ms=HEARTBEAT_TTL_MS)
        await asyncio.sleep(HEARTBEAT_S)
