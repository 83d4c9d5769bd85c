"""Brokers, and a log of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from app.kafka.client_settings import KafkaSettings
from app.kafka.topics import Topics, wanted
from tests.support.kafka import BOOTSTRAP, new_topic, running_brokers, running_mock

PARTITIONS = 4


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """Of brokers that a test may not break."""
    with running_brokers() as bootstrap:
        yield bootstrap


@pytest.fixture
def where(bootstrap: str) -> KafkaSettings:
    """A log with its topics."""
    where = KafkaSettings(bootstrap, new_topic(), new_topic(), {})
    list(Topics(where).make(wanted(where, PARTITIONS, 1, 86_400), 1))
    return where


@pytest.fixture
def mocked() -> Iterator[KafkaSettings]:
    """A log on a mock cluster of its own, whose groups can be trusted when members die."""
    with running_mock() as bootstrap:
        where = KafkaSettings(bootstrap, new_topic(), new_topic(), {})
        if BOOTSTRAP in os.environ:
            list(Topics(where).make(wanted(where, PARTITIONS, 1, 86_400), 1))
            yield where
            return
        admin = AdminClient(where.common())
        for topic in (where.topic, where.registry, where.unreadable):
            admin.list_topics(topic, timeout=10)
        yield where
