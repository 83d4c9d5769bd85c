"""Brokers and readers that fail under load. Each line counts exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import ResourceType  # type: ignore[attr-defined]  # not in its __all__

from app.kafka.client_settings import KafkaSettings
from app.kafka.producer import RecordProducer, TopicRecord
from tests.kafka.reading import until
from tests.kafka.world import APPS, World
from tests.support.kafka import ApacheKafka, alter
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)

WITHIN_S = 90.0
SENDERS = 3


@contextmanager
def load(world: World) -> Iterator[Counter[int]]:
    """POST from several senders until the block ends; yields the statuses of the answers."""
    statuses: Counter[int] = Counter()
    is_over = threading.Event()

    def send(number: int) -> None:
        turn = 0
        while not is_over.is_set():
            turn += 1
            frame = f"sender-{number}-{turn}"
            status = 0
            while status != 200:  # as Logplex repeats it
                with suppress(httpx2.TransportError):
                    status = world.post(APPS[turn % len(APPS)], frame=frame)
                statuses[status] += 1
            time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def wait_until_in_sync(cluster: ApacheKafka, topic: str) -> None:
    wait_until(lambda: all(len(nodes) == 3 for nodes in cluster.in_sync(topic)), WITHIN_S)


def test_lines_count_once_while_each_broker_is_killed_in_turn(
    cluster: ApacheKafka, world: World
) -> None:
    world.start_consumer()
    world.start_consumer()
    with load(world) as statuses:
        for node in cluster.nodes:
            wait_until(lambda: statuses[200] > 0)
            before = statuses[200]
            node.kill()
            wait_until(lambda before=before: statuses[200] > before + 50, WITHIN_S)  # type: ignore[misc]
            cluster.start()
            wait_until_in_sync(cluster, world.kafka.topic)
    world.settle()
    assert set(statuses) == {200}


def test_lines_count_once_while_all_brokers_are_down(cluster: ApacheKafka, world: World) -> None:
    world.start_consumer()
    with load(world) as statuses:
        wait_until(lambda: statuses[200] > 20, WITHIN_S)
        cluster.kill()
        before = statuses[200]
        wait_until(lambda: statuses[200] > before + 50, WITHIN_S)  # the spool takes them
        cluster.start()
        wait_until(lambda: world.spool_bytes == 0, WITHIN_S)
    world.settle()
    assert set(statuses) == {200}


def test_lines_count_once_while_partitions_move_to_other_leaders(
    cluster: ApacheKafka, world: World
) -> None:
    """A leader that is stopped in order hands its partitions over, and gets them back later."""
    world.start_consumer()
    with load(world) as statuses:
        for node in cluster.nodes:
            before = statuses[200]
            node.stop()
            wait_until(lambda before=before: statuses[200] > before + 30, WITHIN_S)  # type: ignore[misc]
            cluster.start()
            wait_until_in_sync(cluster, world.kafka.topic)
    world.settle()
    assert set(statuses) == {200}


def test_lines_count_once_when_a_reader_is_frozen_and_fenced(world: World) -> None:
    """Its partitions go to the other one. When it wakes up it may store nothing twice."""
    frozen, other = world.start_consumer(), world.start_consumer()
    with load(world) as statuses:
        for reader in (frozen, other, frozen):
            wait_until(lambda: statuses[200] > 20, WITHIN_S)
            os.kill(reader.pid, signal.SIGSTOP)
            sent = dict(world.lines_sent)
            wait_until(
                lambda sent=sent: all(  # type: ignore[misc]
                    count >= sent[app] for app, count in world.counted().items()
                ),
                WITHIN_S,
            )
            os.kill(reader.pid, signal.SIGCONT)
            wait_until(lambda: world.consumers_polling == 2, WITHIN_S)
    world.settle()


async def test_a_producer_writes_each_record_once_while_leaders_are_killed(
    kafka: KafkaSettings, cluster: ApacheKafka
) -> None:
    """Idempotence, without the ids that the store would recognize a repetition by."""
    properties = {**kafka.producer_properties(), "delivery.timeout.ms": 60_000}
    producer = RecordProducer({**properties, "message.timeout.ms": 60_000})
    records_acknowledged = 0
    is_over = asyncio.Event()

    async def send() -> None:
        nonlocal records_acknowledged
        while not is_over.is_set():
            first = records_acknowledged
            records = [TopicRecord(b"shop", b"%d" % (first + index)) for index in range(200)]
            assert await producer.send(kafka.topic, records) == [None] * len(records)
            records_acknowledged += len(records)

    sending = asyncio.create_task(send())
    for _ in range(2):
        await until(lambda: records_acknowledged > 400, WITHIN_S)
        before = records_acknowledged
        victim = cluster.node(cluster.leader(kafka.topic, partition_of_shop(kafka)))
        await asyncio.to_thread(victim.kill)
        await until(lambda before=before: records_acknowledged > before + 1_000, WITHIN_S)  # type: ignore[misc]
        await asyncio.to_thread(cluster.start)
        await asyncio.to_thread(wait_until_in_sync, cluster, kafka.topic)
    is_over.set()
    await sending
    await producer.close()
    values = await asyncio.to_thread(read_values, kafka)
    assert values == [b"%d" % number for number in range(records_acknowledged)]


def read_values(kafka: KafkaSettings) -> list[bytes]:
    """The records of the topic, which are all in one partition."""
    consumer = Consumer({**kafka.consumer_properties(), "enable.partition.eof": True})
    consumer.assign([TopicPartition(kafka.topic, partition_of_shop(kafka), 0)])
    values: list[bytes] = []
    while True:
        for message in consumer.consume(1_000, 1.0):
            if (error := message.error()) is None:
                values.append(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                consumer.close()
                return values


def partition_of_shop(kafka: KafkaSettings) -> int:
    """The partition with records."""
    consumer = Consumer(kafka.consumer_properties())
    highs = {
        number: consumer.get_watermark_offsets(TopicPartition(kafka.topic, number), timeout=10)[1]
        for number in range(4)
    }
    consumer.close()
    return max(highs, key=lambda number: highs[number])


def test_a_batch_that_the_brokers_find_too_large_holds_up_no_other(world: World) -> None:
    """The topic takes smaller records than `kafka init` set up."""
    kafka = world.kafka
    world.start_consumer()
    alter(kafka, ResourceType.TOPIC, kafka.topic, {"max.message.bytes": "1000"})
    assert world.post(APPS[0], lines=500, dynos=500, count=False) == 200
    for app in APPS:
        assert world.post(app) == 200
    world.settle()
    wait_until(lambda: world.ledger(APPS[0])["received"] == 510, WITHIN_S)
    assert world.ledger(APPS[0])["unparsed"] == {"too_large": 500}
    assert "max.message.bytes" in world.service.log.read_text()
    assert world.spool_bytes == 0
