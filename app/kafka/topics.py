"""The topics and their settings: created by `dynometer kafka init`, checked by the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.storage.interface.errors import StoreUnavailable

TIMEOUT_S = 10.0
COMPACTION_LAG_S = 86_400
SEGMENT_S = 3_600  # of the compacted topic
ID_TIMEOUT_S = 3.0
REPEATS = 3
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # the id that brokers without topic ids report


class TopicSpec(NamedTuple):
    """A topic with its required settings."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def topic_specs(
    kafka: KafkaSettings, partitions: int, replication: int, retention_s: int
) -> list[TopicSpec]:
    """The three topics that Dynometer needs."""
    common = {
        # A broker that misses records would give their offsets away again.
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": str(2 if replication > 2 else 1),
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "compression.type": "producer",
    }
    deletion = {"cleanup.policy": "delete", "retention.ms": str(retention_s * 1000)}
    # Replaced records must be removed within a day or so, so that a log cleaner that has died is
    # noticed (app.kafka.compaction).
    compaction = {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": str(COMPACTION_LAG_S * 1000),
        "segment.ms": str(SEGMENT_S * 1000),
        "min.cleanable.dirty.ratio": "0.1",
    }
    return [
        TopicSpec(kafka.topic, partitions, {**common, **deletion}),
        TopicSpec(kafka.secrets_topic, 1, {**common, **compaction}),
        TopicSpec(kafka.unreadable_topic, 1, {**common, **deletion}),
    ]


class TopicAdmin:
    """Creates and checks topics. All methods block, and raise StoreUnavailable on failure."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._admin = AdminClient(kafka.client_properties())

    def create(self, topics: list[TopicSpec], replication: int) -> Iterator[str]:
        """Create the topics that do not exist; yields a sentence for each topic."""
        for topic in topics:
            new_topic = NewTopic(
                topic.name, topic.partitions, replication, config=dict(topic.settings)
            )
            try:
                _result(self._admin.create_topics, [new_topic], timeout_s=TIMEOUT_S)
            except KafkaException as error:
                if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise _unavailable(f"cannot create the topic {topic.name}", error) from error
                yield f"{topic.name} already exists"
            else:
                yield f"{topic.name} created with {topic.partitions} partitions"

    def differences(self, topics: list[TopicSpec]) -> Iterator[str]:
        """Yield a sentence for each missing topic and each wrong setting, with the fix."""
        partition_counts = self.partition_counts()
        for topic in topics:
            if topic.name not in partition_counts:
                yield f"the topic {topic.name} does not exist. Run 'dynometer kafka init'"
                continue
            settings = self.settings(topic.name)
            for name, value in topic.settings.items():
                if settings.get(name, value) != value:
                    yield (
                        f"{topic.name}: {name} is {settings[name]} but should be {value}. Run "
                        f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={value}"
                    )

    def partition_counts(self) -> dict[str, int]:
        """The number of partitions of every topic."""
        try:
            topics = self._admin.list_topics(timeout=TIMEOUT_S).topics
        except KafkaException as error:
            raise _unavailable("Kafka is unavailable", error) from error
        return {name: len(metadata.partitions) for name, metadata in topics.items()}

    def topic_id(self, topic: str) -> str:
        """The id that distinguishes a topic from a deleted one of the same name; "" if the brokers
        have no topic ids.

        Raises:
            StoreUnavailable: the brokers do not answer, or there is no such topic.
        """
        try:
            # Finds a broker that runs: the client would ask the one that it asked before.
            self._admin.list_topics(topic, timeout=ID_TIMEOUT_S)
            topics = TopicCollection([topic])
            description = _result(self._admin.describe_topics, topics, timeout_s=ID_TIMEOUT_S)
        except KafkaException as error:
            raise _unavailable(f"cannot find the topic {topic}", error) from error
        topic_id = str(description.topic_id)
        return "" if topic_id == _NO_ID else topic_id

    def settings(self, topic: str) -> dict[str, str]:
        """All settings of a topic, defaults included."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            entries = _result(self._admin.describe_configs, [resource], timeout_s=TIMEOUT_S)
            return {name: str(entry.value) for name, entry in entries.items()}
        except KafkaException as error:
            raise _unavailable(f"cannot read the settings of {topic}", error) from error


def _result(request: Callable[..., Mapping[Any, Future[Any]]], what: Any, timeout_s: float) -> Any:
    """The result of a request about one topic.

    The client fails requests on a connection that it drops, as it does when it learns the brokers'
    own addresses. So such a request is repeated.
    """
    for _ in range(REPEATS):
        (future,) = request(what, request_timeout=timeout_s).values()
        try:
            return future.result(timeout_s + 1)
        except TimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
        except KafkaException as error:
            failure = error
            if _code(error) != KafkaError._DESTROY_BROKER:
                break
    raise failure


def _code(error: KafkaException) -> int:
    return int(error.args[0].code())


def _unavailable(problem: str, error: KafkaException) -> StoreUnavailable:
    return StoreUnavailable(
        f"{problem} ({error.args[0].str()}). Check the brokers, DYNOMETER_KAFKA and "
        "DYNOMETER_KAFKA_OPTIONS."
    )
