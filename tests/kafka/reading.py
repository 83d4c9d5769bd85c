"""A producer and a reader in this process, with a store in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.config import Settings
from app.ingest.aggregator import ActivityTimes, AggregatedBody
from app.ingest.received_batch import ReceivedBatch
from app.kafka.client_settings import KafkaSettings
from app.kafka.consumer import BatchConsumer
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.producer import RecordProducer
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait

WITHIN_S = 20.0
DAY_S = 86_400


def batch(app: str = "shop", *, batch_id: bytes = b"") -> ReceivedBatch:
    """A batch of 3 messages. Without an id, its position alone tells that it is read again."""
    now_s = int(time.time())
    body = AggregatedBody(
        now_s,
        {},
        {},
        {"received": 3, "ignored": 3},
        ActivityTimes(now_s, now_s, 0),
    )
    return ReceivedBatch(app, batch_id, body)


def writer_to(store: MemoryStore) -> OffsetBatchWriter:
    return OffsetBatchWriter(
        store,
        id_ttl_s=DAY_S,
        inbox_ttl_s=DAY_S,
        verified_s=DAY_S,
        clock=time.time,
        on_appended=lambda lengths: None,
    )


async def ignore_stored(batches: object) -> None:
    """No-op callback."""


@asynccontextmanager
async def reading(kafka: KafkaSettings, store: MemoryStore) -> AsyncIterator[BatchConsumer]:
    consumer = BatchConsumer(
        kafka,
        writer_to(store),
        limits=DEFAULT_LIMITS,
        on_stored=ignore_stored,
        clock=time.time,
    )
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        await cancel_and_wait([task])


async def until(condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def producing(kafka: KafkaSettings) -> AsyncIterator[RecordProducer]:
    producer = RecordProducer(kafka.producer_properties())
    try:
        yield producer
    finally:
        await producer.close()


def settings_of(kafka: KafkaSettings) -> Settings:
    return Settings.from_environ(
        {"DYNOMETER_KAFKA": kafka.bootstrap, "DYNOMETER_KAFKA_TOPIC": kafka.topic}
        | {"DYNOMETER_KAFKA_GROUP": kafka.group}
    )
