"""Settings of the Kafka clients, and the names of the topics.

A record is one POST, packed by app.ingest.received_batch, with the app as its key. So the records
of an app are in one partition, in the order of their arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.config import Settings

DELIVERY_TIMEOUT_MS = 3_000  # a POST is held for 4 s, and Logplex waits 5
RECORD_BYTES_MAX = 4 * 2**20
# Defaults of `dynometer kafka init`:
PARTITIONS = 12
REPLICATION = 3
RETENTION_S = 7 * 86_400

# docs/kafka.md has the reasons, and measurements of their costs.
_PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 2,
    "batch.size": 1_000_000,
    "message.max.bytes": RECORD_BYTES_MAX,
    "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
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
    "max.poll.interval.ms": 30_000,  # a consumer that waits for Redis keeps polling
    "fetch.message.max.bytes": RECORD_BYTES_MAX,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,
}


class KafkaSettings(NamedTuple):
    """`bootstrap`: HOST:PORT,…; `options`: properties of librdkafka that override ours."""

    bootstrap: str
    topic: str
    group: str
    options: Mapping[str, str]

    @classmethod
    def from_settings(cls, settings: Settings) -> KafkaSettings:
        """The Kafka part of the service's settings."""
        return cls(
            settings.kafka, settings.kafka_topic, settings.kafka_group, settings.kafka_options
        )

    @property
    def secrets_topic(self) -> str:
        """The compacted topic of the drain secrets."""
        return f"{self.topic}.drains"

    @property
    def unreadable_topic(self) -> str:
        """The topic of damaged records."""
        return f"{self.topic}.unreadable"

    def client_properties(self) -> dict[str, Any]:
        """Properties of every client."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "dynometer",
            "log_level": 2,  # it would log twenty lines a second in an outage, which we log once
            "reconnect.backoff.max.ms": 1_000,
            **self.options,
        }

    def producer_properties(self) -> dict[str, Any]:
        """Properties of a producer."""
        return {**_PRODUCER, **self.client_properties()}

    def consumer_properties(self) -> dict[str, Any]:
        """Properties of a consumer of the group."""
        return {**_CONSUMER, **self.client_properties(), "group.id": self.group}
