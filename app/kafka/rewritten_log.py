"""Finds records that a new leader wrote at offsets that had been read before.

After an unclean election the new leader lacks records, and gives their offsets away again. The
client asks where the epoch of the last leader ended (KIP-320), but not always before it fetches
again: seen with brokers of 3.9.2. So a reader may go on at its old offset, beyond records that it
never saw. Each record has the epoch of the leader that wrote it (KIP-101), which never falls along
a log.
"""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from app.kafka.client_settings import KafkaSettings

READ_TIMEOUT_S = 5.0


def first_after_epoch(kafka: KafkaSettings, partition: int, epoch: int, offset: int) -> int:
    """The lowest offset of a partition whose record was written after an epoch.

    Args:
        kafka: names the topic.
        partition: a number.
        epoch: of the last record that was read.
        offset: of a record that was written later.

    Returns:
        An offset up to `offset`: that one, if no record before it was written after the epoch.

    Raises:
        KafkaException: the brokers do not answer.
    """
    consumer = Consumer(kafka.consumer_properties())  # only reads: it commits and joins nothing
    try:
        position = TopicPartition(kafka.topic, partition)
        low, _ = consumer.get_watermark_offsets(position, READ_TIMEOUT_S)
        high, middle = offset, offset - 1  # mostly the record before is of the epoch
        while low < high:
            record = _read(consumer, kafka.topic, partition, middle)
            if _epoch_of(record) > epoch:
                high = middle
            else:
                low = middle + 1
            middle = (low + high) // 2
        return high
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str, partition: int, offset: int) -> Message:
    """The record at an offset, or the next one if it was deleted."""
    consumer.assign([TopicPartition(topic, partition, offset)])
    for message in consumer.consume(1, READ_TIMEOUT_S):
        if message.error() is None:
            return message
        raise KafkaException(message.error())
    raise KafkaException(f"no answer from {topic}, partition {partition}, offset {offset}")


def _epoch_of(message: Message) -> int:
    epoch = message.leader_epoch()
    return -1 if epoch is None else epoch
