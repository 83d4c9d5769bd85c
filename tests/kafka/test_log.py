"""Topics, who may send, and records that cannot be read: on a broker that has all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Consumer, Producer

from app.config import Settings
from app.ingest.aggregator import NO_ACTIVITY, ActivityTimes, AggregatedBody
from app.ingest.received_batch import ReceivedBatch, pack_received
from app.kafka import checks as doctor
from app.kafka.batch_producer import KafkaBatchSink
from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.kafka.consumer import BatchConsumer
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.producer import RecordProducer
from app.kafka.secrets_topic import SecretsPublisher, read_secrets
from app.kafka.topics import Topics, wanted
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface import StoreUnavailable
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait
from tests.support.kafka import new_topic

WITHIN_S = 20.0
DAY_S = 86_400


def arrival(app: str = "shop", *, name: str = "received", received: int = 3) -> ReceivedBatch:
    now_s = int(time.time())
    parts = AggregatedBody(
        now_s, {}, {}, {name: received, "ignored": received}, ActivityTimes(now_s, now_s, 0)
    )
    return ReceivedBatch(app, b"i" * 16, parts)


def appender_to(store: MemoryStore) -> OffsetBatchWriter:
    return OffsetBatchWriter(
        store,
        id_ttl_s=DAY_S,
        inbox_ttl_s=DAY_S,
        verified_s=DAY_S,
        clock=time.time,
        on_stored=lambda lengths: None,
    )


async def nobody(stored: object) -> None:
    """Is told."""


@asynccontextmanager
async def reading(where: KafkaSettings, store: MemoryStore) -> AsyncIterator[BatchConsumer]:
    reader = BatchConsumer(
        where,
        appender_to(store),
        limits=DEFAULT_LIMITS,
        topic_id="",
        on_stored=nobody,
        clock=time.time,
    )
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        await cancel_and_wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def producing(where: KafkaSettings) -> AsyncIterator[RecordProducer]:
    producer = RecordProducer(where.producer())
    try:
        yield producer
    finally:
        await producer.close()


def settings_of(where: KafkaSettings) -> Settings:
    return Settings.from_environ(
        {"DYNOMETER_KAFKA": where.bootstrap, "DYNOMETER_KAFKA_TOPIC": where.topic}
        | {"DYNOMETER_KAFKA_GROUP": where.group}
    )


async def test_what_is_appended_is_read_and_stored(where: KafkaSettings) -> None:
    store = MemoryStore(time.time)
    async with producing(where) as producer, reading(where, store) as reader:
        appends = KafkaBatchSink(where, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 10
        await appends.append([arrival("shop"), arrival("blog")], deadline=deadline)
        await until(lambda: reader.read == 2)
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 1, "blog": 1}


async def test_a_record_that_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    where: KafkaSettings,
) -> None:
    store = MemoryStore(time.time)
    raw = Producer(where.producer())
    for value in (b"nonsense", pack_received(arrival())):
        raw.produce(where.topic, value, b"shop", partition=1)
    assert raw.flush(10) == 0
    async with reading(where, store) as reader:
        await until(lambda: reader.read == 1 and reader.unreadable == 1)

    consumer = Consumer({**where.consumer(), "group.id": new_topic()})
    consumer.subscribe([where.unreadable])
    kept = await asyncio.to_thread(consumer.poll, WITHIN_S)
    assert kept is not None
    assert kept.value() == b"nonsense"
    headers = dict(kept.headers() or [])
    assert (headers["partition"], headers["offset"]) == (b"1", b"0")
    consumer.close()


async def test_a_record_of_a_newer_version_holds_its_partition_and_no_other(
    where: KafkaSettings,
) -> None:
    store = MemoryStore(time.time)
    raw = Producer(where.producer())
    usual = pack_received(arrival())
    newer = usual[:1] + b"\x02" + usual[2:]  # the version is what stands first
    raw.produce(where.topic, newer, b"shop", partition=1)
    raw.produce(where.topic, usual, b"shop", partition=1)
    raw.produce(where.topic, pack_received(arrival("blog")), b"blog", partition=2)
    assert raw.flush(10) == 0
    async with reading(where, store) as reader:
        await until(lambda: reader.read == 1 and "waits" in reader.error)
        assert "partition 1 waits at offset 0" in reader.error
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 0, "blog": 1}
    assert reader.unreadable == 0


async def test_a_batch_too_large_for_a_record_is_booked_and_costs_no_other(
    where: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(time.time)
    large = arrival("large")
    large.body.body_ledger["x" * RECORD_BYTES_MAX] = 1
    async with producing(where) as producer, reading(where, store) as reader:
        appends = KafkaBatchSink(where, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 10
        await appends.append([large, arrival("shop")], deadline=deadline)
        assert appends.too_large == 1
        await until(lambda: reader.read == 2)
    assert "more than a record may have" in caplog.text
    assert await store.inbox_lengths(["large", "shop"]) == {"large": 1, "shop": 1}


async def test_brokers_that_are_away_are_told_and_what_to_do(where: KafkaSettings) -> None:
    away = where._replace(bootstrap="127.0.0.1:1")
    async with producing(away) as producer:
        appends = KafkaBatchSink(away, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 0.5
        with pytest.raises(StoreUnavailable, match="check that they run"):
            await appends.append([arrival()], deadline=deadline)
        assert appends.store_unavailable


async def test_who_may_send_is_kept_replaced_and_removed(where: KafkaSettings) -> None:
    async with producing(where) as producer:
        publisher = SecretsPublisher(where, producer, {})
        await publisher.publish({"shop": "one", "blog": "two"})
        await publisher.publish({"shop": "three"})
    found = await asyncio.to_thread(read_secrets, where)
    assert found.records == {"shop": "three"}
    assert found.replaced_s > 0


async def test_topics_are_made_once_and_drift_is_shown(where: KafkaSettings) -> None:
    topics = Topics(where)
    asked = wanted(where, 4, 1, DAY_S)
    assert [line.endswith("is there already") for line in topics.make(asked, 1)] == [True] * 3
    assert list(topics.drift(asked)) == []

    other = wanted(where, 4, 1, 2 * DAY_S)
    assert any("retention.ms is 86400000" in sentence for sentence in topics.drift(other))
    gone = wanted(where._replace(topic="elsewhere"), 4, 1, DAY_S)
    assert "run 'dynometer kafka init'" in next(iter(topics.drift(gone)))


def test_brokers_that_are_away_are_told_and_do_not_stop_a_reader() -> None:
    away = KafkaSettings("127.0.0.1:1", "dynometer", "group", {})
    with pytest.raises(StoreUnavailable, match="DYNOMETER_KAFKA"):
        list(Topics(away).make(wanted(away, 4, 1, DAY_S), 1))
    assert Topics(away).id_of("dynometer") == ""


async def test_the_doctor_tells_what_waits_and_what_is_missing(
    where: KafkaSettings, bootstrap: str
) -> None:
    found = await asyncio.to_thread(lambda: list(doctor.findings(settings_of(where))))
    assert all(ok for ok, _ in found), found
    assert any("records wait" in text for _, text in found)

    nothing = KafkaSettings(bootstrap, new_topic(), "group", {})
    found = await asyncio.to_thread(lambda: list(doctor.findings(settings_of(nothing))))
    assert any(not ok and "kafka init" in text for ok, text in found)


async def test_a_log_cleaner_that_died_is_told(where: KafkaSettings) -> None:
    raw = Producer(where.producer())
    for record in (b"one", b"two"):
        days_ago_ms = int((time.time() - 5 * DAY_S) * 1000)
        raw.produce(where.registry, record, b"shop", timestamp=days_ago_ms)
    assert raw.flush(10) == 0
    found = await asyncio.to_thread(lambda: list(doctor.findings(settings_of(where))))
    assert any(not ok and "what was replaced 5 days ago" in text for ok, text in found), found


def test_books_of_nothing_seen_are_packed() -> None:
    parts = AggregatedBody(0, {}, {}, {"received": 1}, NO_ACTIVITY)
    assert pack_received(ReceivedBatch("shop", b"", parts), entry="")
