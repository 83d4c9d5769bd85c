"""Brokers, and topics of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from app.kafka.client_settings import KafkaSettings
from app.kafka.topics import TopicAdmin, topic_specs
from tests.support.kafka import BOOTSTRAP, new_topic, running_brokers, running_mock

PARTITIONS = 4


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """The address of shared brokers, which a test must not break."""
    with running_brokers() as bootstrap:
        yield bootstrap


@pytest.fixture
def kafka(bootstrap: str) -> KafkaSettings:
    """Settings with new topics on the shared brokers."""
    kafka = KafkaSettings(bootstrap, new_topic(), new_topic(), {})
    list(TopicAdmin(kafka).create(topic_specs(kafka, PARTITIONS, 1, 86_400), 1))
    return kafka


@pytest.fixture
def mock_kafka() -> Iterator[KafkaSettings]:
    """Settings with topics on a mock cluster, which detects dead group members reliably."""
    with running_mock() as bootstrap:
        kafka = KafkaSettings(bootstrap, new_topic(), new_topic(), {})
        if BOOTSTRAP in os.environ:
            list(TopicAdmin(kafka).create(topic_specs(kafka, PARTITIONS, 1, 86_400), 1))
            yield kafka
            return
        admin = AdminClient(kafka.client_properties())
        for topic in (kafka.topic, kafka.secrets_topic, kafka.unreadable_topic):
            admin.list_topics(topic, timeout=10)
        yield kafka
