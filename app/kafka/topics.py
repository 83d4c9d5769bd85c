"""The topics, with the settings that we count on: made by `dynometer kafka init`, looked at by the
doctor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs to export
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.storage.interface import StoreUnavailable

WITHIN_S = 10.0
ID_WITHIN_S = 3.0  # brokers that do not know the question may be silent
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # of a broker that gives topics none


class Topic(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def wanted(log: KafkaSettings, partitions: int, replication: int, retention_s: int) -> list[Topic]:
    """The topics of a log."""
    common = {
        "min.insync.replicas": str(2 if replication > 2 else 1),
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "compression.type": "producer",
    }
    deleted = {"cleanup.policy": "delete", "retention.ms": str(retention_s * 1000)}
    # What was replaced must go within a day or so, however quiet the topic is: a cleaner that died
    # can be seen.
    compacted = {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": str(86_400_000),
        "segment.ms": str(3_600_000),
        "min.cleanable.dirty.ratio": "0.1",
    }
    return [
        Topic(log.topic, partitions, {**common, **deleted}),
        Topic(log.registry, 1, {**common, **compacted}),
        Topic(log.unreadable, 1, {**common, **deleted}),
    ]


class Topics:
    """Asks the brokers about topics. All methods raise StoreUnavailable, and block."""

    def __init__(self, log: KafkaSettings) -> None:
        self._admin = AdminClient(log.common())

    def make(self, topics: list[Topic], replication: int) -> Iterator[str]:
        """Make those that are not there; a sentence for each."""
        new = [
            NewTopic(each.name, each.partitions, replication, config=dict(each.settings))
            for each in topics
        ]
        made = self._admin.create_topics(new, request_timeout=WITHIN_S)
        for topic in topics:
            try:
                _result(made[topic.name])
            except KafkaException as error:
                if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise _unavailable(f"cannot make the topic {topic.name}", error) from error
                yield f"{topic.name} is there already"
            else:
                yield f"{topic.name}: made, {topic.partitions} partitions"

    def drift(self, topics: list[Topic]) -> Iterator[str]:
        """In what they are not as they should be, in sentences that say what to do."""
        there = self.partitions()
        for topic in topics:
            if topic.name not in there:
                yield f"the topic {topic.name} is not there: run 'dynometer kafka init'"
                continue
            settings = self._settings_of(topic.name)
            for name, value in topic.settings.items():
                if settings.get(name, value) != value:
                    yield (
                        f"{topic.name}: {name} is {settings[name]} and should be {value}: "
                        f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={value}"
                    )

    def partitions(self) -> dict[str, int]:
        """How many each topic has."""
        try:
            known = self._admin.list_topics(timeout=WITHIN_S).topics
        except KafkaException as error:
            raise _unavailable("the Kafka brokers do not answer", error) from error
        return {name: len(each.partitions) for name, each in known.items()}

    def id_of(self, topic: str) -> str:
        """What tells a topic from one that was deleted and made anew; "" where brokers have no such
        thing.
        """
        try:
            described = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=ID_WITHIN_S
            )
            found = str(_result(described[topic]).topic_id)
        except KafkaException:
            return ""
        return "" if found == _NO_ID else found

    def _settings_of(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        described = self._admin.describe_configs([resource], request_timeout=WITHIN_S)
        try:
            return {name: str(each.value) for name, each in _result(described[resource]).items()}
        except KafkaException as error:
            raise _unavailable(f"the settings of {topic} cannot be read", error) from error


def _result(future: Future[Any]) -> Any:
    try:
        return future.result(WITHIN_S + 1)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None


def _code(error: KafkaException) -> int:
    return int(error.args[0].code())


def _unavailable(what: str, error: KafkaException) -> StoreUnavailable:
    return StoreUnavailable(
        f"{what} ({error.args[0].str()}): check that they run, DYNOMETER_KAFKA and "
        "DYNOMETER_KAFKA_OPTIONS"
    )
