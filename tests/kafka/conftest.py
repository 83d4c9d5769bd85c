"""Brokers, and topics of its own for each test.

The brokers are librdkafka's mock. `make test-kafka` sets KAFKA_VERSION, and runs the same tests on
Apache Kafka.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from app.kafka.client_settings import KafkaSettings
from app.kafka.topics import TopicAdmin, topic_specs
from tests.support.apache_kafka import VERSION, ApacheKafka, running_cluster
from tests.support.kafka import new_topic, running_mock

PARTITIONS = 4
REPLICATION = 3


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ApacheKafka]:
    """Three brokers for all tests; use `cluster`."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: ApacheKafka) -> Iterator[ApacheKafka]:
    """Three running brokers of Apache Kafka, which a test may kill."""
    yield shared_cluster
    shared_cluster.start()


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaSettings]:
    """Settings with new topics on the brokers."""
    if VERSION in os.environ:
        cluster: ApacheKafka = request.getfixturevalue("cluster")
        kafka = KafkaSettings(cluster.bootstrap, new_topic(), new_topic(), {})
        specs = topic_specs(kafka, PARTITIONS, REPLICATION, 86_400)
        list(TopicAdmin(kafka).create(specs, REPLICATION))
        yield kafka
        return
    with running_mock() as bootstrap:
        kafka = KafkaSettings(bootstrap, new_topic(), new_topic(), {})
        admin = AdminClient(kafka.client_properties())
        for topic in (kafka.topic, kafka.secrets_topic, kafka.unreadable_topic):
            admin.list_topics(topic, timeout=10)
        yield kafka
