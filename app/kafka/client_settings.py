"""The log between drain and store: which cluster, which topics, and how we talk to them.

A record is one POST, as app.ingest.received_batch packs it, under the name of its app:
so an app's records are in
one partition, in the order that they were taken in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.config import Settings

DELIVERED_WITHIN_MS = 3_000  # a POST is held for 4 s, and Logplex waits 5
RECORD_BYTES_MAX = 4 * 2**20
# As the topics are made unless they are to be otherwise:
PARTITIONS = 12
REPLICATION = 3
RETENTION_S = 7 * 86_400

# What each of these costs and brings: docs/kafka.md.
_PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 2,
    "batch.size": 1_000_000,
    "message.max.bytes": RECORD_BYTES_MAX,
    "delivery.timeout.ms": DELIVERED_WITHIN_MS,
    "request.timeout.ms": 2_000,
    "socket.timeout.ms": 2_500,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
}
_CONSUMER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6_000,
    "max.poll.interval.ms": 30_000,  # we poll while we wait, too
    "fetch.message.max.bytes": RECORD_BYTES_MAX,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,
}


class KafkaSettings(NamedTuple):
    """`bootstrap`: HOST:PORT,…; `options`: properties of librdkafka that come on top."""

    bootstrap: str
    topic: str
    group: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> KafkaSettings:
        """The one of these settings."""
        return cls(
            settings.kafka, settings.kafka_topic, settings.kafka_group, settings.kafka_options
        )

    @property
    def registry(self) -> str:
        """The topic of who may send; compacted."""
        return f"{self.topic}.drains"

    @property
    def unreadable(self) -> str:
        """The topic of records that cannot be read."""
        return f"{self.topic}.unreadable"

    def common(self) -> dict[str, Any]:
        """Properties of every client."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "dynometer",
            "log_level": 2,  # it would write a line twenty times a second; we say what it means
            "reconnect.backoff.max.ms": 1_000,
            **self.options,
        }

    def producer(self) -> dict[str, Any]:
        """Properties of a producer."""
        return {**_PRODUCER, **self.common()}

    def consumer(self) -> dict[str, Any]:
        """Properties of a consumer of the group."""
        return {**_CONSUMER, **self.common(), "group.id": self.group}
