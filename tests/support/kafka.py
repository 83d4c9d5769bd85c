"""Topics on librdkafka's mock cluster, for tests that need nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

START_WITHIN_S = 20.0


def new_topic() -> str:
    """A unique topic name."""
    return f"dynometer-{uuid.uuid4().hex[:12]}"


@contextmanager
def running_mock(brokers: int = 3) -> Iterator[str]:
    """Yield the bootstrap servers of librdkafka's mock cluster, which creates topics on use."""
    producer = Producer({"test.mock.num.brokers": brokers, "bootstrap.servers": "mock"})
    addresses = producer.list_topics(timeout=START_WITHIN_S).brokers.values()
    yield ",".join(f"{address.host}:{address.port}" for address in addresses)
