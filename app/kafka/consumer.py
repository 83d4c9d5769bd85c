"""Consumes records from Kafka and appends them to the store, in the order of each partition.

Offsets are committed after the store has the records. Exactly-once counting does not depend on the
commits. The store keeps the last position of each app, so records that are read again (after a
crash or a rebalance) change nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.ingest.received_batch import OnStored, ReceivedBatch, unpack_received
from app.kafka.client_settings import KafkaSettings
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.producer import RecordProducer, TopicRecord
from app.kafka.rewritten_log import first_after_epoch
from app.kafka.secrets_topic import error_text
from app.kafka.topics import TopicAdmin
from app.rollup.codec import NewerVersion, PackError
from app.rollup.rollup import CardinalityLimits
from app.storage.interface.batches import LogOffset
from app.storage.interface.errors import StoreUnavailable

log = logging.getLogger(__name__)

RECORDS_MAX = 512  # of one call of consume
POLL_S = 0.2
APPEND_TIMEOUT_S = 10.0
RETRY_S = 0.2
WATERMARKS_TIMEOUT_S = 2.0
_T = TypeVar("_T")


class _Position(NamedTuple):
    """Where a partition continues. `epoch`: of the leader that wrote the record before."""

    offset: int
    epoch: int | None


class BatchConsumer:
    """One consumer of the group; docs and metrics call it a reader."""

    def __init__(
        self,
        kafka: KafkaSettings,
        writer: OffsetBatchWriter,
        *,
        limits: CardinalityLimits,
        on_stored: OnStored,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            on_stored: called with the batches that the store has.
            clock: returns Unix time in seconds.
        """
        self._kafka = kafka
        self._writer = writer
        self._limits = limits
        self._topics = TopicAdmin(kafka)
        self._topic_id = ""
        self._on_stored = on_stored
        self._clock = clock
        self._threads = ThreadPoolExecutor(1, "kafka")  # one thread: calls to the client block
        self._consumer = Consumer(kafka.consumer_properties())
        self._unreadable_producer: RecordProducer | None = None
        # Partitions that wait for a newer Dynometer, with the reason.
        self._blocked_partitions: dict[int, str] = {}
        self._own_partitions: set[int] = set()
        self._positions: dict[int, _Position] = {}  # after the last record, by partition
        self.records_read = 0
        self.records_unreadable = 0
        self.records_lost = 0
        self.rebalances = 0
        self.polled_s = clock()
        self._last_error = ""

    @property
    def error(self) -> str:
        """Why it cannot continue with all or some of its partitions; "" if it can."""
        return self._last_error or "; ".join(self._blocked_partitions.values())

    async def run(self) -> None:
        """Consume until cancelled."""
        self._consumer.subscribe(
            [self._kafka.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        try:
            while True:
                messages = await self._in_thread(
                    lambda: self._consumer.consume(RECORDS_MAX, POLL_S)
                )
                self.polled_s = self._clock()
                await self._process(messages)
        finally:
            await asyncio.shield(self._in_thread(self._consumer.close))
            self._threads.shutdown()
            if self._unreadable_producer is not None:
                await asyncio.shield(self._unreadable_producer.close())

    async def lag(self) -> dict[int, int]:
        """The number of records not read yet, by assigned partition."""
        return await self._in_thread(self._lag)

    async def _process(self, messages: Sequence[Message]) -> None:
        records: list[tuple[LogOffset, ReceivedBatch]] = []
        positions: dict[int, _Position] = {}
        rewound_partitions: set[int] = set()
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    self._record_error(f"cannot read batches from Kafka ({error.str()})")
                continue
            partition, offset = _position(message)
            if partition in self._blocked_partitions or partition in rewound_partitions:
                continue
            if not await self._follow(message):
                rewound_partitions.add(partition)
                continue
            try:
                batch = unpack_received(message.value() or b"", self._limits)
            except NewerVersion as newer:
                self._block_partition(partition, offset, newer)
                continue
            except PackError as damage:
                await self._set_unreadable_aside(message, damage)
            else:
                records.append((self._log_offset(message), batch))
            positions[partition] = self._positions[partition]
        await self._store(records)
        self.records_read += len(records)
        if positions:
            await self._in_thread(lambda: self._commit(positions))

    def _log_offset(self, message: Message) -> LogOffset:
        partition, offset = _position(message)
        source = f"{self._topic_id or self._kafka.topic}:{partition}"
        return LogOffset(source, offset, message.leader_epoch())

    async def _follow(self, message: Message) -> bool:
        """Notice records that are missing before this one, and a topic that was created again.

        A log continues at an earlier offset if its leader lost records, or if it is another topic.

        Returns:
            False if records before this one were written anew: it reads on from the first of them.
        """
        partition, offset = _position(message)
        epoch = message.leader_epoch()
        last = self._positions.get(partition)
        if last is None or offset < last.offset:
            await self._find_topic_id()
        if last is None:
            last = await self._in_thread(lambda: self._committed_position(partition))
        if last is not None and offset >= last.offset:
            if epoch is not None and last.epoch is not None and epoch > last.epoch:
                first = await self._find_first(partition, last.epoch, offset)
                if first < last.offset:
                    await self._rewind(partition, first, last)
                    return False
            self._count_lost(partition, last.offset, offset)
        self._positions[partition] = _Position(offset + 1, epoch)
        return True

    async def _find_first(self, partition: int, epoch: int, offset: int) -> int:
        """The first record written after an epoch. Retries until the brokers tell."""
        while True:
            try:
                return await asyncio.to_thread(
                    first_after_epoch, self._kafka, partition, epoch, offset
                )
            except KafkaException as error:
                self._record_error(
                    f"cannot read what a new leader of partition {partition} wrote "
                    f"({error_text(error)})"
                )
                await self._wait_in_group()

    async def _rewind(self, partition: int, first: int, last: _Position) -> None:
        log.warning(
            "A new leader of %s, partition %d, lacks records that were read, and wrote others at "
            "offsets %d to %d. Reading on from %d; nothing counts twice.",
            *(self._kafka.topic, partition, first, last.offset - 1, first),
        )
        self._positions[partition] = last._replace(offset=first)
        position = TopicPartition(self._kafka.topic, partition, first)
        with suppress(KafkaException):  # it was revoked; its next consumer finds the same
            await self._in_thread(lambda: self._consumer.seek(position))

    def _count_lost(self, partition: int, expected: int, offset: int) -> None:
        if offset == expected:
            return
        self.records_lost += offset - expected
        log.error(
            "%d records of %s were deleted before they were read (partition %d, offsets %d to "
            "%d). Raise the topic's retention.ms, or start more readers.",
            *(offset - expected, self._kafka.topic, partition, expected, offset - 1),
        )

    async def _find_topic_id(self) -> None:
        """Find out which topic it reads. Without knowing, a record might count twice."""
        while True:
            try:
                topic_id = await asyncio.to_thread(self._topics.topic_id, self._kafka.topic)
            except StoreUnavailable as error:
                self._record_error(str(error))
                await self._wait_in_group()
            else:
                self._topic_id = topic_id
                return

    def _committed_position(self, partition: int) -> _Position | None:
        """Where the group continues with a partition; None if it does not know."""
        position = TopicPartition(self._kafka.topic, partition)
        try:
            (committed,) = self._consumer.committed([position], WATERMARKS_TIMEOUT_S)
        except KafkaException:  # no answer: then records that are missing here stay unnoticed
            return None
        if committed.offset < 0:
            return None
        return _Position(int(committed.offset), committed.leader_epoch)

    async def _store(self, records: Sequence[tuple[LogOffset, ReceivedBatch]]) -> None:
        """Retry until the store has all records, except those of revoked partitions."""
        while records:
            deadline = asyncio.get_running_loop().time() + APPEND_TIMEOUT_S
            try:
                await self._writer.append_records(records, deadline=deadline)
                await self._on_stored([(batch.app, batch.activity) for _, batch in records])
            except StoreUnavailable as error:
                self._record_error(str(error))
                await self._wait_in_group()
                records = [record for record in records if self._is_assigned(record[0])]
            else:
                self._last_error = ""
                return

    async def _wait_in_group(self) -> None:
        """Wait before a retry. It polls, since Kafka removes members that do not."""
        await self._in_thread(self._poll_paused)
        self.polled_s = self._clock()
        await asyncio.sleep(RETRY_S)

    def _poll_paused(self) -> None:
        assignment = self._consumer.assignment()
        self._consumer.pause(assignment)
        # A partition assigned during this call is not paused, so a record may arrive: put it back.
        for message in self._consumer.consume(1, POLL_S):
            if message.error() is None:
                partition, offset = _position(message)
                self._consumer.seek(TopicPartition(self._kafka.topic, partition, offset))
        self._consumer.resume(
            [
                topic_partition
                for topic_partition in self._consumer.assignment()
                if topic_partition.partition not in self._blocked_partitions
            ]
        )

    def _block_partition(self, partition: int, offset: int, newer: NewerVersion) -> None:
        """Pause a partition at a record that only a newer version of Dynometer can read."""
        self._blocked_partitions[partition] = (
            f"partition {partition} waits at offset {offset}: {newer}"
        )
        log.error("%s", self._blocked_partitions[partition])
        position = TopicPartition(self._kafka.topic, partition, offset)
        with suppress(KafkaException):  # it was revoked; its next consumer finds the same record
            self._consumer.pause([position])
            self._consumer.seek(position)

    async def _set_unreadable_aside(self, message: Message, damage: PackError) -> None:
        """Copy a damaged record with its position to the topic of unreadable records."""
        self.records_unreadable += 1
        partition, offset = _position(message)
        log.error(
            "the record at %s, partition %d, offset %d cannot be read (%s). It is copied to %s",
            self._kafka.topic,
            partition,
            offset,
            damage,
            self._kafka.unreadable_topic,
        )
        if self._unreadable_producer is None:
            self._unreadable_producer = RecordProducer(self._kafka.producer_properties())
        position = [("partition", b"%d" % partition), ("offset", b"%d" % offset)]
        headers = [*position, ("error", str(damage).encode())]
        record = TopicRecord(message.key() or b"", message.value(), headers)
        for error in await self._unreadable_producer.send(self._kafka.unreadable_topic, [record]):
            if error is not None:
                log.error("the record was not copied (%s) and remains only there", error.str())

    def _commit(self, positions: dict[int, _Position]) -> None:
        offsets = [
            TopicPartition(
                *(self._kafka.topic, partition, offset), leader_epoch=-1 if epoch is None else epoch
            )
            for partition, (offset, epoch) in positions.items()
            if partition in self._own_partitions
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _lag(self) -> dict[int, int]:
        lag_by_partition = {}
        try:
            for position in self._consumer.position(self._consumer.assignment()):
                low, high = self._consumer.get_watermark_offsets(position, WATERMARKS_TIMEOUT_S)
                offset = position.offset if position.offset >= 0 else low
                lag_by_partition[position.partition] = max(0, high - offset)
        except KafkaException as error:
            self._record_error(f"cannot read end offsets from Kafka ({error_text(error)})")
        return lag_by_partition

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.rebalances += 1
        # The client keeps a partition paused that was paused when it was revoked.
        consumer.resume(list(partitions))
        for partition in [topic_partition.partition for topic_partition in partitions]:
            self._own_partitions.add(partition)
            # A record read before it was revoked may have left one. Another reader went on since.
            self._positions.pop(partition, None)

    def _on_revoke(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.rebalances += 1
        revoked_partitions = {topic_partition.partition for topic_partition in partitions}
        self._own_partitions -= revoked_partitions
        for partition in revoked_partitions:
            self._blocked_partitions.pop(partition, None)
            self._positions.pop(partition, None)

    def _is_assigned(self, offset: LogOffset) -> bool:
        return int(offset.source.rpartition(":")[2]) in self._own_partitions

    def _record_error(self, problem: str) -> None:
        if problem != self._last_error:
            log.error("%s", problem)
        self._last_error = problem

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _position(message: Message) -> tuple[int, int]:
    """The partition and offset of a record."""
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise KafkaException(KafkaError(KafkaError._BAD_MSG))
    return partition, offset
