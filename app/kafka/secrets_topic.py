"""Who may send, kept in the log as well: for a worker that starts while the store is away, on a
machine that never saw it.

A compacted topic: the newest record of an app counts. Any worker publishes what it sees change;
that several do says the same twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
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

READ_WITHIN_S = 10.0
_MS = 1_000


class SecretsSnapshot(NamedTuple):
    """What a topic of drains holds: the record of each app, and since when the oldest record lies
    there that was replaced since, Unix seconds, 0 for none.
    """

    records: Mapping[str, str]
    replaced_s: int


def read_secrets(where: KafkaSettings) -> SecretsSnapshot:
    """Read the whole topic; it is small. Blocks.

    Raises:
        KafkaException: the brokers do not answer in time.
    """
    consumer = Consumer({**where.consumer(), "group.id": f"{where.group}.registry"})
    try:
        return _read(consumer, where.registry)
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str) -> SecretsSnapshot:
    known = consumer.list_topics(topic, timeout=READ_WITHIN_S).topics[topic]
    left = {}
    for partition in known.partitions:
        where = TopicPartition(topic, partition, OFFSET_BEGINNING)
        low, high = consumer.get_watermark_offsets(where, timeout=READ_WITHIN_S)
        if high > low:
            left[partition] = high
    consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in left])
    newest: dict[str, tuple[bytes | None, int]] = {}
    replaced_s = 0
    until_s = time.monotonic() + READ_WITHIN_S
    while left and time.monotonic() < until_s:
        for message in consumer.consume(500, 0.5):
            if message.error() is None:
                app, at_s = (message.key() or b"").decode(), message.timestamp()[1] // _MS
                if app in newest:
                    before_s = newest[app][1]
                    replaced_s = min(replaced_s or before_s, before_s)
                newest[app] = message.value(), at_s
        for each in consumer.position([TopicPartition(topic, partition) for partition in left]):
            if each.offset >= left[each.partition]:
                del left[each.partition]
    if left:
        raise KafkaException(f"{topic} could not be read within {READ_WITHIN_S:g} s")
    records = {app: value.decode() for app, (value, _) in newest.items() if value}
    return SecretsSnapshot(records, replaced_s)


def reason(error: KafkaException) -> str:
    """What a client's error says, without its numbers."""
    first = error.args[0]
    return first.str() if isinstance(first, KafkaError) else str(first)


class SecretsPublisher:
    """Writes what changed."""

    def __init__(
        self, where: KafkaSettings, producer: RecordProducer, published: Mapping[str, str]
    ) -> None:
        self._topic = where.registry
        self._producer = producer
        self._published = dict(published)

    async def publish(self, records: Mapping[str, str]) -> None:
        """Make the topic hold these."""
        changed = [
            TopicRecord(app.encode(), record.encode())
            for app, record in records.items()
            if self._published.get(app) != record
        ]
        gone = [TopicRecord(app.encode(), None) for app in self._published if app not in records]
        errors = await self._producer.send(self._topic, [*changed, *gone])
        refused = [error for error in errors if error is not None]
        if refused:
            log.warning("the drains could not be published (%s)", refused[0].str())
        else:
            self._published = dict(records)
