"""Topics, drain secrets, damaged records and the doctor."""

from __future__ import annotations

import argparse
import asyncio
import time

import pytest
from confluent_kafka import Consumer, Producer

from app.cli import kafka as kafka_command
from app.config import Settings
from app.ingest.aggregator import NO_ACTIVITY, AggregatedBody
from app.ingest.received_batch import ReceivedBatch, pack_received
from app.kafka import checks
from app.kafka.batch_producer import KafkaBatchSink
from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.kafka.secrets_topic import SecretsPublisher, read_secrets
from app.kafka.topics import TopicAdmin, topic_specs
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.kafka.reading import DAY_S, WITHIN_S, batch, producing, reading, settings_of, until
from tests.support.kafka import ApacheKafka, new_topic
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)


async def test_appended_batches_are_read_and_stored(kafka: KafkaSettings) -> None:
    store = MemoryStore(time.time)
    async with producing(kafka) as producer, reading(kafka, store) as consumer:
        sink = KafkaBatchSink(kafka, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 10
        await sink.append([batch("shop"), batch("blog")], deadline=deadline)
        await until(lambda: consumer.records_read == 2)
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 1, "blog": 1}


async def test_an_unreadable_record_is_copied_aside_and_the_rest_is_read(
    kafka: KafkaSettings,
) -> None:
    store = MemoryStore(time.time)
    raw = Producer(kafka.producer_properties())
    for value in (b"nonsense", pack_received(batch())):
        raw.produce(kafka.topic, value, b"shop", partition=1)
    assert raw.flush(10) == 0
    async with reading(kafka, store) as reader:
        await until(lambda: reader.records_read == 1 and reader.records_unreadable == 1)

    consumer = Consumer({**kafka.consumer_properties(), "group.id": new_topic()})
    consumer.subscribe([kafka.unreadable_topic])
    copy = await asyncio.to_thread(consumer.poll, WITHIN_S)
    assert copy is not None
    assert copy.value() == b"nonsense"
    headers = dict(copy.headers() or [])
    assert (headers["partition"], headers["offset"]) == (b"1", b"0")
    consumer.close()


async def test_a_record_of_a_newer_version_blocks_only_its_partition(
    kafka: KafkaSettings,
) -> None:
    store = MemoryStore(time.time)
    raw = Producer(kafka.producer_properties())
    current = pack_received(batch())
    newer = current[:1] + b"\x02" + current[2:]  # the version is the first field
    raw.produce(kafka.topic, newer, b"shop", partition=1)
    raw.produce(kafka.topic, current, b"shop", partition=1)
    raw.produce(kafka.topic, pack_received(batch("blog")), b"blog", partition=2)
    assert raw.flush(10) == 0
    async with reading(kafka, store) as reader:
        await until(lambda: reader.records_read == 1 and "waits" in reader.error)
        assert "partition 1 waits at offset 0" in reader.error
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 0, "blog": 1}
    assert reader.records_unreadable == 0


async def test_a_batch_too_large_for_a_record_is_counted_and_affects_no_other(
    kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(time.time)
    large = batch("large")
    large.body.body_ledger["x" * RECORD_BYTES_MAX] = 1
    async with producing(kafka) as producer, reading(kafka, store) as reader:
        sink = KafkaBatchSink(kafka, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 10
        await sink.append([large, batch("shop")], deadline=deadline)
        assert sink.batches_too_large == 1
        await until(lambda: reader.records_read == 2)
    assert "more than a record may have" in caplog.text
    assert await store.inbox_lengths(["large", "shop"]) == {"large": 1, "shop": 1}


async def test_the_error_of_unreachable_brokers_says_what_to_do(kafka: KafkaSettings) -> None:
    unreachable = kafka._replace(bootstrap="127.0.0.1:1")
    async with producing(unreachable) as producer:
        sink = KafkaBatchSink(unreachable, producer, time.time)
        deadline = asyncio.get_running_loop().time() + 0.5
        with pytest.raises(StoreUnavailable, match="Check that the brokers run"):
            await sink.append([batch()], deadline=deadline)
        assert sink.store_unavailable


async def test_drain_secrets_are_published_replaced_and_removed(kafka: KafkaSettings) -> None:
    async with producing(kafka) as producer:
        publisher = SecretsPublisher(kafka, producer, {})
        await publisher.publish({"shop": "one", "blog": "two"})
        await publisher.publish({"shop": "three"})
    snapshot = await asyncio.to_thread(read_secrets, kafka)
    assert snapshot.records == {"shop": "three"}
    assert [record.key for record in snapshot.record_times] == [b"shop", b"blog", b"shop", b"blog"]


async def test_topics_are_created_once_and_differences_are_shown(kafka: KafkaSettings) -> None:
    topics = TopicAdmin(kafka)
    specs = topic_specs(kafka, 4, 3, DAY_S)
    assert [line.endswith("already exists") for line in topics.create(specs, 3)] == [True] * 3
    assert list(topics.differences(specs)) == []

    longer_retention = topic_specs(kafka, 4, 3, 2 * DAY_S)
    assert any(
        "retention.ms is 86400000" in sentence for sentence in topics.differences(longer_retention)
    )
    missing_topics = topic_specs(kafka._replace(topic="elsewhere"), 4, 1, DAY_S)
    assert "Run 'dynometer kafka init'" in next(iter(topics.differences(missing_topics)))


def test_unreachable_brokers_fail_with_an_error_that_names_the_setting() -> None:
    unreachable = KafkaSettings("127.0.0.1:1", "dynometer", "group", {})
    with pytest.raises(StoreUnavailable, match="DYNOMETER_KAFKA"):
        list(TopicAdmin(unreachable).create(topic_specs(unreachable, 4, 1, DAY_S), 1))
    with pytest.raises(StoreUnavailable, match="DYNOMETER_KAFKA"):
        TopicAdmin(unreachable).topic_id("dynometer")


async def test_the_doctor_shows_the_lag_and_missing_topics(
    kafka: KafkaSettings,
) -> None:
    findings: list[tuple[bool, str]] = []

    def has_lag() -> bool:  # new brokers make their topic of offsets first, which may take longer
        findings[:] = checks.findings(settings_of(kafka))
        return any("records wait" in text for _, text in findings)

    await asyncio.to_thread(wait_until, has_lag, WITHIN_S)
    assert all(ok for ok, _ in findings), findings

    no_topics = kafka._replace(topic=new_topic())
    findings = await asyncio.to_thread(lambda: list(checks.findings(settings_of(no_topics))))
    assert any(not ok and "kafka init" in text for ok, text in findings)


def test_a_batch_without_samples_is_packed() -> None:
    body = AggregatedBody(0, {}, {}, {"received": 1}, NO_ACTIVITY)
    assert pack_received(ReceivedBatch("shop", b"", body), entry="")


def test_the_command_creates_the_topics_and_reports_other_settings(
    cluster: ApacheKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = new_topic()
    settings = Settings.from_environ(
        {"DYNOMETER_KAFKA": cluster.bootstrap, "DYNOMETER_KAFKA_TOPIC": topic}
    )
    parser = argparse.ArgumentParser()
    kafka_command.add_arguments(parser)
    assert kafka_command.run(parser.parse_args(["init", "--replication", "1"]), settings) == 0
    assert topic in capsys.readouterr().out
    arguments = parser.parse_args(["init", "--replication", "1", "--retention", "1d"])
    assert kafka_command.run(arguments, settings) == 1
    assert "WARN" in capsys.readouterr().out
