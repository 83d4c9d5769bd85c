"""A copy of the drain secrets in a compacted topic, where the newest record of an app counts.

It serves workers that start while the store is unavailable, on a machine without a local copy.
Every worker publishes the changes that it sees. Duplicates are harmless.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from app.kafka.client_settings import KafkaSettings
from app.kafka.producer import RecordProducer, TopicRecord

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 10.0
_MS = 1_000


class KeyedTime(NamedTuple):
    """The key of a record and its time (Unix seconds)."""

    key: bytes
    at_s: float


class SecretsSnapshot(NamedTuple):
    """The contents of the topic: the newest record of each app, and the times of all records."""

    records: Mapping[str, str]
    record_times: Sequence[KeyedTime]


def read_secrets(kafka: KafkaSettings) -> SecretsSnapshot:
    """Read the whole topic, which is small. Blocks.

    Raises:
        KafkaException: the brokers did not answer in time.
    """
    consumer = Consumer({**kafka.consumer_properties(), "group.id": f"{kafka.group}.registry"})
    try:
        return _read(consumer, kafka.secrets_topic)
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str) -> SecretsSnapshot:
    metadata = consumer.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic]
    end_offsets = {}
    for partition in metadata.partitions:
        start = TopicPartition(topic, partition, OFFSET_BEGINNING)
        low, high = consumer.get_watermark_offsets(start, timeout=READ_TIMEOUT_S)
        if high > low:
            end_offsets[partition] = high
    consumer.assign(
        [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in end_offsets]
    )
    newest: dict[bytes, bytes | None] = {}
    record_times: list[KeyedTime] = []
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    while end_offsets and time.monotonic() < deadline_s:
        for message in consumer.consume(500, 0.5):
            if message.error() is None:
                key = message.key() or b""
                record_times.append(KeyedTime(key, message.timestamp()[1] / _MS))
                newest[key] = message.value()
        remaining = [TopicPartition(topic, partition) for partition in end_offsets]
        for position in consumer.position(remaining):
            if position.offset >= end_offsets[position.partition]:
                del end_offsets[position.partition]
    if end_offsets:
        raise KafkaException(f"{topic} could not be read within {READ_TIMEOUT_S:g} s")
    records = {app.decode(): value.decode() for app, value in newest.items() if value}
    return SecretsSnapshot(records, record_times)


def error_text(error: KafkaException) -> str:
    """The text of a client's error, without its codes."""
    first = error.args[0]
    return first.str() if isinstance(first, KafkaError) else str(first)


class SecretsPublisher:
    """Keeps the topic equal to the secrets that this worker knows."""

    def __init__(
        self, kafka: KafkaSettings, producer: RecordProducer, records: Mapping[str, str]
    ) -> None:
        self._topic = kafka.secrets_topic
        self._producer = producer
        self._records = dict(records)

    async def publish(self, records: Mapping[str, str]) -> None:
        """Write the differences from the records published last, or read at the start."""
        updates = [
            TopicRecord(app.encode(), record.encode())
            for app, record in records.items()
            if self._records.get(app) != record
        ]
        removals = [TopicRecord(app.encode(), None) for app in self._records if app not in records]
        errors = await self._producer.send(self._topic, [*updates, *removals])
        failures = [error for error in errors if error is not None]
        if failures:
            log.warning("drain secrets could not be published to Kafka (%s)", failures[0].str())
        else:
            self._records = dict(records)
