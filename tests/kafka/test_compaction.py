"""The log cleaner of the brokers: how it is seen to work, and to have stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    ResourceType,
)

from app.kafka import checks
from app.kafka.client_settings import KafkaSettings
from app.kafka.secrets_topic import read_secrets
from tests.kafka.reading import settings_of
from tests.kafka.world import World
from tests.support.kafka import ApacheKafka, alter
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(300)

WITHIN_S = 60.0
LIMIT_S = 6.0  # twice the lag and the segment of FAST
FAST = {"max.compaction.lag.ms": "2000", "segment.ms": "1000"}
AGE = "dynometer_log_compaction_age_seconds"


def age_s(world: World) -> float:
    """The age of the oldest record that the cleaner could have removed, from /metrics."""
    (line,) = [line for line in world.metrics().splitlines() if line.startswith(f"{AGE} ")]
    return float(line.split()[1])


def records_removed(kafka: KafkaSettings) -> int:
    """How many records of the topic of drain secrets the cleaner has removed."""
    consumer = Consumer(kafka.consumer_properties())
    position = TopicPartition(kafka.secrets_topic, 0, OFFSET_BEGINNING)
    _, high = consumer.get_watermark_offsets(position, timeout=5)
    consumer.close()
    return int(high) - len(read_secrets(kafka).record_times)


def alter_brokers(cluster: ApacheKafka, kafka: KafkaSettings, settings: dict[str, str]) -> None:
    for node in cluster.nodes:
        alter(kafka, ResourceType.BROKER, str(node.number), settings)


def test_the_age_stays_low_while_the_cleaner_works_and_tells_when_it_stopped(
    kafka: KafkaSettings, cluster: ApacheKafka, world: World
) -> None:
    alter(kafka, ResourceType.TOPIC, kafka.secrets_topic, FAST)
    world.service.stop()
    world.service.start()  # so that it reads the settings
    wait_until(lambda: records_removed(kafka) >= 5, WITHIN_S)
    assert age_s(world) < LIMIT_S
    assert "is compacted" in cleaner_finding(kafka)

    # One byte a second: the cleaner runs, and gets nowhere.
    alter_brokers(cluster, kafka, {"log.cleaner.io.max.bytes.per.second": "1.0"})
    wait_until(lambda: age_s(world) > LIMIT_S, WITHIN_S)
    assert "The log cleaner of the Kafka brokers has stopped" in cleaner_finding(kafka)
    wait_until(lambda: "The log cleaner of the Kafka brokers has stopped" in world.page(), WITHIN_S)

    alter_brokers(cluster, kafka, {"log.cleaner.io.max.bytes.per.second": "1e9"})
    cluster.restart_all()  # as the sentence says
    wait_until(lambda: age_s(world) < LIMIT_S, WITHIN_S)
    assert "is compacted" in cleaner_finding(kafka)


def test_brokers_without_a_cleaner_are_reported_and_a_quiet_topic_is_not(
    kafka: KafkaSettings, cluster: ApacheKafka
) -> None:
    alter(kafka, ResourceType.TOPIC, kafka.secrets_topic, FAST)
    write = writer_of(kafka)
    write(b"one")
    write(b"two")
    time_of_last_s = time.time()
    wait_until(lambda: time.time() > time_of_last_s + LIMIT_S + 1)
    assert "is compacted" in cleaner_finding(kafka)

    cluster.restart_all(log_cleaner_enable="false")
    try:
        write(b"three")  # closes the segment of the others
        wait_until(lambda: "has stopped" in cleaner_finding(kafka), WITHIN_S)
    finally:
        cluster.restart_all(log_cleaner_enable="true")
    wait_until(lambda: "is compacted" in cleaner_finding(kafka), WITHIN_S)


def writer_of(kafka: KafkaSettings) -> Callable[[bytes], None]:
    producer = Producer(kafka.producer_properties() | {"delivery.timeout.ms": 30_000})

    def write(value: bytes) -> None:
        producer.produce(kafka.secrets_topic, value, b"shop")
        assert producer.flush(30) == 0

    return write


def cleaner_finding(kafka: KafkaSettings) -> str:
    """The doctor's sentence about the cleaner, once the brokers have answered all its questions.

    New brokers make their topic of offsets when the first group asks for it. That can take longer
    than the doctor waits.
    """
    texts: list[str] = []

    def has_text() -> bool:
        findings = list(checks.findings(settings_of(kafka)))
        texts[:] = [text for _, text in findings if "cleaner" in text or "compacted" in text]
        return bool(texts)

    wait_until(has_text, WITHIN_S)
    return texts[0]
