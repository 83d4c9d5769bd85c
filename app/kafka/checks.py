"""The doctor's checks of Kafka."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.config import Settings
from app.kafka.client_settings import REPLICATION, RETENTION_S, KafkaSettings
from app.kafka.compaction import read_compaction
from app.kafka.secrets_topic import error_text, read_secrets
from app.kafka.topics import TopicAdmin, topic_specs
from app.storage.interface.errors import StoreUnavailable

TIMEOUT_S = 5.0
LAG_RECORDS_MAX = 10_000  # of one partition
# These depend on the size of the cluster, so the operator may choose them.
_OPERATOR_CHOICES = ("min.insync.replicas", "retention.ms")


def findings(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Yield (is_ok, sentence) for each check. Blocks."""
    kafka = KafkaSettings.from_settings(settings)
    topics = TopicAdmin(kafka)
    try:
        partition_counts = topics.partition_counts()
        partitions = partition_counts.get(kafka.topic, 0)
        specs = [
            spec._replace(
                settings={k: v for k, v in spec.settings.items() if k not in _OPERATOR_CHOICES}
            )
            for spec in topic_specs(kafka, partitions, REPLICATION, RETENTION_S)
        ]
        problems = list(topics.differences(specs))
        for sentence in problems:
            yield False, sentence
        if not problems:
            yield True, f"the topics are set up correctly; {kafka.topic}: {partitions} partitions"
        if kafka.topic in partition_counts:
            yield _check_lag(kafka, partitions)
        if kafka.secrets_topic in partition_counts:
            yield _check_log_cleaner(kafka)
    except StoreUnavailable as error:
        yield False, str(error)
    except KafkaException as error:
        yield False, f"Kafka is unavailable ({error_text(error)}). Check that the brokers run."


def _check_lag(kafka: KafkaSettings, partitions: int) -> tuple[bool, str]:
    consumer = Consumer(kafka.consumer_properties())
    try:
        topic_partitions = [TopicPartition(kafka.topic, number) for number in range(partitions)]
        lag_by_partition, lost = {}, 0
        for committed_offset in consumer.committed(topic_partitions, timeout=TIMEOUT_S):
            low, high = consumer.get_watermark_offsets(committed_offset, timeout=TIMEOUT_S)
            lag = high - max(committed_offset.offset, low)
            if committed_offset.offset >= 0:
                lost += max(0, low - committed_offset.offset)
            lag_by_partition[committed_offset.partition] = lag
    finally:
        consumer.close()
    if lost:
        return False, (
            f"{lost:,} records were deleted before group {kafka.group} had read them. Raise "
            f"retention.ms of {kafka.topic}, or start more readers."
        )
    lagging = {
        partition: records
        for partition, records in lag_by_partition.items()
        if records > LAG_RECORDS_MAX
    }
    details = ", ".join(f"partition {number}: {records:,}" for number, records in lagging.items())
    if lagging:
        return False, (
            f"the readers of group {kafka.group} lag behind ({details} records). Start more with "
            "'dynometer fold --from-kafka', at most one for each partition."
        )
    return True, f"{sum(lag_by_partition.values()):,} records wait for group {kafka.group}"


def _check_log_cleaner(kafka: KafkaSettings) -> tuple[bool, str]:
    state = read_compaction(kafka)
    if state.is_overdue:
        return False, state.warning(kafka.secrets_topic)
    drains = len(read_secrets(kafka).records)
    return True, f"{kafka.secrets_topic} holds {drains} drains and is compacted"
