"""What a reader does when the log changes under it: each record counts once, losses are shown."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    NewTopic,
    ResourceType,
)

from app.ingest.received_batch import pack_received
from app.kafka import checks
from app.kafka.client_settings import KafkaSettings
from app.kafka.consumer import BatchConsumer
from app.kafka.topics import TopicAdmin, topic_specs
from app.storage.memory import MemoryStore
from tests.kafka.reading import DAY_S, batch, reading, settings_of, until
from tests.support.kafka import ApacheKafka, alter, new_topic
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)

APP = "shop"


def produce(kafka: KafkaSettings, count: int, *, partition: int = 0, **properties: str) -> None:
    """Write batches of an app, which count 3 messages each, to one partition."""
    producer = Producer({**kafka.producer_properties(), "delivery.timeout.ms": 30_000} | properties)
    errors: list[object] = []
    for _ in range(count):
        producer.produce(
            kafka.topic,
            pack_received(batch(APP)),
            APP.encode(),
            partition=partition,
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert errors == []


async def stored(store: MemoryStore) -> int:
    """How many batches the store has."""
    return (await store.inbox_lengths([APP]))[APP]


def delete_and_create(kafka: KafkaSettings) -> None:
    """Delete the topic and create it again under its name."""
    admin = AdminClient(kafka.client_properties())
    admin.delete_topics([kafka.topic])[kafka.topic].result()
    wait_until(lambda: kafka.topic not in admin.list_topics(timeout=5).topics)
    list(TopicAdmin(kafka).create(topic_specs(kafka, 4, 3, DAY_S), 3))


async def test_a_topic_created_again_under_a_reader_is_read_from_its_beginning(
    kafka: KafkaSettings, cluster: ApacheKafka
) -> None:
    store = MemoryStore(time.time)
    produce(kafka, 40)
    async with reading(kafka, store) as reader:
        await until(lambda: reader.records_read == 40)
        await asyncio.to_thread(delete_and_create, kafka)
        await asyncio.to_thread(cluster.wait_for_topics, kafka.topic)
        await asyncio.to_thread(produce, kafka, 25)
        await until(lambda: reader.records_read == 65)
    assert await stored(store) == 65
    assert reader.records_lost == 0


async def test_records_deleted_before_they_were_read_are_counted_and_reported(
    kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(time.time)
    produce(kafka, 10)
    async with reading(kafka, store) as reader:
        await until(lambda: reader.records_read == 10)
    await asyncio.to_thread(produce, kafka, 30)
    delete_records_before(kafka, 35)

    findings = await asyncio.to_thread(lambda: list(checks.findings(settings_of(kafka))))
    assert any(not ok and text.startswith("25 records were deleted") for ok, text in findings)
    async with reading(kafka, store) as reader:
        await until(lambda: reader.records_read == 5)
        assert reader.records_lost == 25
    assert "25 records" in caplog.text
    assert "offsets 10 to 34" in caplog.text


def delete_records_before(kafka: KafkaSettings, offset: int) -> None:
    """Do what retention does, at once."""
    admin = AdminClient(kafka.client_properties())
    position = TopicPartition(kafka.topic, 0, offset)
    admin.delete_records([position])[position].result()


async def test_retention_that_overtakes_a_stopped_reader_is_reported(
    kafka: KafkaSettings, cluster: ApacheKafka
) -> None:
    """The brokers' own retention deletes closed segments that a stopped reader has not read."""
    short = kafka._replace(topic=new_topic())
    admin = AdminClient(kafka.client_properties())
    settings = {"retention.ms": "-1", "segment.ms": "500", "min.insync.replicas": "2"}
    admin.create_topics([NewTopic(short.topic, 1, 3, config=settings)])[short.topic].result()
    cluster.wait_for_topics(short.topic)
    store = MemoryStore(time.time)
    produce(short, 20)
    async with reading(short, store) as first:
        await until(lambda: first.records_read == 20)
    produce(short, 50)
    alter(kafka, ResourceType.TOPIC, short.topic, {"retention.ms": "1000"})
    wait_until(lambda: low_offset(short) > 20, 30)
    alter(kafka, ResourceType.TOPIC, short.topic, {"retention.ms": "-1"})
    produce(short, 7)
    async with reading(short, store) as second:
        await until(lambda: second.records_read + second.records_lost == 57)
    assert second.records_lost > 0
    assert await stored(store) == 20 + second.records_read


def low_offset(kafka: KafkaSettings) -> int:
    consumer = Consumer(kafka.consumer_properties())
    low, _ = consumer.get_watermark_offsets(TopicPartition(kafka.topic, 0), timeout=5)
    consumer.close()
    return low


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
async def test_offsets_given_away_again_after_an_unclean_election_count_as_new_records(
    cluster: ApacheKafka, *, is_running: bool
) -> None:
    """A leader that missed records takes over. The records that it lost were read before."""
    kafka = KafkaSettings(cluster.bootstrap, new_topic(), new_topic(), {})
    settings = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    admin = AdminClient(kafka.client_properties())
    topic = NewTopic(kafka.topic, 1, replica_assignment=[[1, 2]], config=settings)
    admin.create_topics([topic])[kafka.topic].result()
    wait_until(lambda: cluster.in_sync(kafka.topic) == [{1, 2}], 30)
    store = MemoryStore(time.time)
    async with AsyncExitStack() as readers:
        reader = await readers.enter_async_context(reading(kafka, store))
        await asyncio.to_thread(produce, kafka, 10)
        await until(lambda: reader.records_read == 10)
        cluster.node(2).kill()
        await until(lambda: cluster.in_sync(kafka.topic) == [{1}])
        await asyncio.to_thread(produce, kafka, 15)  # only node 1 has them, and loses them
        await until(lambda: reader.records_read == 25)
        if not is_running:
            await readers.aclose()
        cluster.node(1).kill()
        cluster.node(2).start(cluster.version)
        await until(lambda: cluster.leader(kafka.topic) == 2, 60)
        cluster.start()
        await asyncio.to_thread(produce, kafka, 20)
        if not is_running:
            reader = await readers.enter_async_context(reading(kafka, store))
        await until_stored(store, 45, reader)
    assert await stored(store) == 45  # 10 that both had, 15 that were read in time, 20 new ones
    assert reader.records_lost == 0


async def until_stored(store: MemoryStore, count: int, reader: BatchConsumer) -> None:
    async with asyncio.timeout(60):
        while await stored(store) < count:
            assert reader.error == ""
            await asyncio.sleep(0.1)
