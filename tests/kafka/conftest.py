"""Brokers of Apache Kafka, and topics of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.kafka.client_settings import KafkaSettings
from tests.kafka.world import World
from tests.support.kafka import ApacheKafka, new_topic, running_cluster


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ApacheKafka]:
    """Three brokers for all tests; use `cluster`."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: ApacheKafka) -> Iterator[ApacheKafka]:
    """Three running brokers, which a test may kill."""
    yield shared_cluster
    shared_cluster.start()


@pytest.fixture
def kafka(cluster: ApacheKafka) -> KafkaSettings:
    """Settings with new topics on the brokers."""
    kafka = KafkaSettings(cluster.bootstrap, new_topic(), new_topic(), {})
    cluster.create_topics(kafka, 3)
    return kafka


@pytest.fixture
def world(kafka: KafkaSettings, tmp_path: Path) -> Iterator[World]:
    """A service on the brokers."""
    with ExitStack() as stack:
        yield World(tmp_path, kafka, stack)
