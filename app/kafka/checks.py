"""What the doctor looks at where a log stands before the store."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.config import Settings
from app.kafka.client_settings import REPLICATION, RETENTION_S, KafkaSettings
from app.kafka.secrets_topic import read_secrets, reason
from app.kafka.topics import Topics, wanted
from app.storage.interface import StoreUnavailable

WITHIN_S = 5.0
# After max.compaction.lag.ms and a segment, and as much again: so long the cleaner may take.
REPLACED_S = 2 * (86_400 + 3_600)
LAG = 10_000  # records of a partition
# What depends on how large the operator's cluster is, and is theirs to choose.
_THEIRS = ("min.insync.replicas", "retention.ms")


def findings(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether all is well, and a sentence, for each thing looked at. Blocks."""
    where = KafkaSettings.of(settings)
    topics = Topics(where)
    try:
        there = topics.partitions()
        partitions = there.get(where.topic, 0)
        expected = [
            each._replace(settings={k: v for k, v in each.settings.items() if k not in _THEIRS})
            for each in wanted(where, partitions, REPLICATION, RETENTION_S)
        ]
        drift = list(topics.drift(expected))
        for sentence in drift:
            yield False, sentence
        if not drift:
            yield True, f"topics are as they should be; {where.topic}: {partitions} partitions"
        if where.topic in there:
            yield _lag(where, partitions)
        if where.registry in there:
            yield _cleaned(where)
    except StoreUnavailable as error:
        yield False, str(error)
    except KafkaException as error:
        yield False, f"the Kafka brokers do not answer ({reason(error)}): check that they run"


def _lag(where: KafkaSettings, partitions: int) -> tuple[bool, str]:
    consumer = Consumer(where.consumer())
    try:
        asked = [TopicPartition(where.topic, each) for each in range(partitions)]
        behind = {}
        for each in consumer.committed(asked, timeout=WITHIN_S):
            low, high = consumer.get_watermark_offsets(each, timeout=WITHIN_S)
            behind[each.partition] = high - max(each.offset, low)
    finally:
        consumer.close()
    late = {partition: records for partition, records in behind.items() if records > LAG}
    told = ", ".join(f"partition {each}: {records:,}" for each, records in late.items())
    if late:
        return False, (
            f"readers of the group {where.group} are behind ({told}): start more "
            "('dynometer fold --from-kafka'), as many as there are partitions at the most"
        )
    return True, f"{sum(behind.values()):,} records wait for the group {where.group}"


def _cleaned(where: KafkaSettings) -> tuple[bool, str]:
    registry = read_secrets(where)
    age_s = time.time() - registry.replaced_s if registry.replaced_s else 0
    if age_s > REPLACED_S:
        return False, (
            f"{where.registry} still holds what was replaced {age_s / 86_400:.0f} days ago: the "
            "brokers' log cleaner seems to have died; look for it in their logs"
        )
    return True, f"{where.registry} holds {len(registry.records)} drains, and is cleaned"
