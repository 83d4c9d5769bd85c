"""Reading the log: records go into the store in the order that they have, and what the store has is
committed for the group.

Nothing hangs on the commits: what is read again, after a crash or while partitions go from one
reader to another, is known to the store by its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.ingest.received_batch import OnStored, ReceivedBatch, unpack_received
from app.kafka.client_settings import KafkaSettings
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.producer import RecordProducer, TopicRecord
from app.kafka.secrets_topic import reason
from app.rollup.codec import NewerVersion, PackError
from app.rollup.rollup import CardinalityLimits
from app.storage.interface import LogOffset, StoreUnavailable

log = logging.getLogger(__name__)

RECORDS_MAX = 512  # at a time
POLL_S = 0.2
ATTEMPT_WITHIN_S = 10.0
AGAIN_S = 0.2
WATERMARKS_WITHIN_S = 2.0
_T = TypeVar("_T")


class BatchConsumer:
    """One reader of the group."""

    def __init__(
        self,
        where: KafkaSettings,
        appender: OffsetBatchWriter,
        *,
        limits: CardinalityLimits,
        topic_id: str,
        on_stored: OnStored,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            topic_id: tells a topic from one that was deleted and made anew under its name.
            on_stored: told what the store has taken.
            clock: Unix time in seconds.
        """
        self._where = where
        self._appender = appender
        self._limits = limits
        self._source = f"{topic_id or where.topic}:"
        self._on_stored = on_stored
        self._clock = clock
        self._threads = ThreadPoolExecutor(1, "kafka")  # the client is used by one at a time
        self._consumer = Consumer(where.consumer())
        self._aside: RecordProducer | None = None
        self._held: dict[int, str] = {}  # partitions that a newer Dynometer must read, and why
        self._mine: set[int] = set()
        self.read = 0
        self.unreadable = 0
        self.rebalances = 0
        self.polled_s = clock()
        self._refusal = ""

    @property
    def error(self) -> str:
        """Why it cannot go on, or not with some partitions; "" when it can."""
        return self._refusal or "; ".join(self._held.values())

    async def run(self) -> None:
        """Read until cancelled."""
        self._consumer.subscribe(
            [self._where.topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )
        try:
            while True:
                messages = await self._in_thread(
                    lambda: self._consumer.consume(RECORDS_MAX, POLL_S)
                )
                self.polled_s = self._clock()
                await self._take(messages)
        finally:
            await asyncio.shield(self._in_thread(self._consumer.close))
            self._threads.shutdown()
            if self._aside is not None:
                await asyncio.shield(self._aside.close())

    async def lag(self) -> dict[int, int]:
        """Records that wait, by partition of ours."""
        return await self._in_thread(self._lag)

    async def _take(self, messages: Sequence[Message]) -> None:
        read: list[tuple[LogOffset, ReceivedBatch]] = []
        passed: dict[int, int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    self._failed(f"the Kafka brokers do not give batches ({error.str()})")
                continue
            partition, offset = _where(message)
            if partition in self._held:
                continue
            try:
                arrival = unpack_received(message.value() or b"", self._limits)
            except NewerVersion as newer:
                self._hold(partition, offset, newer)
                continue
            except PackError as damage:
                await self._set_aside(message, damage)
            else:
                read.append((LogOffset(f"{self._source}{partition}", offset), arrival))
            passed[partition] = offset + 1
        await self._store(read)
        self.read += len(read)
        if passed:
            await self._in_thread(lambda: self._commit(passed))

    async def _store(self, read: Sequence[tuple[LogOffset, ReceivedBatch]]) -> None:
        """Returns when the store has all of it that is still ours."""
        while read:
            deadline = asyncio.get_running_loop().time() + ATTEMPT_WITHIN_S
            try:
                await self._appender.append_read(read, deadline=deadline)
                await self._on_stored([(arrival.app, arrival.activity) for _, arrival in read])
            except StoreUnavailable as refusal:
                self._failed(str(refusal))
                await self._stay_in_the_group()
                read = [each for each in read if self._is_ours(each[0])]
            else:
                self._refusal = ""
                return

    async def _stay_in_the_group(self) -> None:
        """Poll, and take nothing."""
        await self._in_thread(self._poll_paused)
        self.polled_s = self._clock()
        await asyncio.sleep(AGAIN_S)

    def _poll_paused(self) -> None:
        held = self._consumer.assignment()
        self._consumer.pause(held)
        for message in self._consumer.consume(1, POLL_S):  # one that was assigned just now
            if message.error() is None:
                partition, offset = _where(message)
                self._consumer.seek(TopicPartition(self._where.topic, partition, offset))
        self._consumer.resume(
            [each for each in self._consumer.assignment() if each.partition not in self._held]
        )

    def _hold(self, partition: int, offset: int, newer: NewerVersion) -> None:
        """The partition waits, from here, for whoever can read it."""
        self._held[partition] = f"partition {partition} waits at offset {offset}: {newer}"
        log.error("%s", self._held[partition])
        where = TopicPartition(self._where.topic, partition, offset)
        with suppress(KafkaException):  # it is no longer ours: whoever has it finds the same
            self._consumer.pause([where])
            self._consumer.seek(where)

    async def _set_aside(self, message: Message, damage: PackError) -> None:
        """Keep a record that cannot be read, with its place, and go on."""
        self.unreadable += 1
        partition, offset = _where(message)
        log.error(
            "the record at %s, partition %d, offset %d cannot be read (%s); it is kept in %s",
            self._where.topic,
            partition,
            offset,
            damage,
            self._where.unreadable,
        )
        if self._aside is None:
            self._aside = RecordProducer(self._where.producer())
        place = [("partition", b"%d" % partition), ("offset", b"%d" % offset)]
        headers = [*place, ("error", str(damage).encode())]
        record = TopicRecord(message.key() or b"", message.value(), headers)
        for error in await self._aside.send(self._where.unreadable, [record]):
            if error is not None:
                log.error("it could not be kept (%s): it stays where it is", error.str())

    def _commit(self, passed: dict[int, int]) -> None:
        offsets = [
            TopicPartition(self._where.topic, partition, offset)
            for partition, offset in passed.items()
            if partition in self._mine
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _lag(self) -> dict[int, int]:
        found = {}
        try:
            for each in self._consumer.position(self._consumer.assignment()):
                low, high = self._consumer.get_watermark_offsets(each, WATERMARKS_WITHIN_S)
                at = each.offset if each.offset >= 0 else low
                found[each.partition] = max(0, high - at)
        except KafkaException as error:
            self._failed(f"the Kafka brokers do not say how far they are ({reason(error)})")
        return found

    def _assigned(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.rebalances += 1
        self._mine |= {each.partition for each in partitions}

    def _revoked(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.rebalances += 1
        gone = {each.partition for each in partitions}
        self._mine -= gone
        for partition in gone:
            self._held.pop(partition, None)

    def _is_ours(self, place: LogOffset) -> bool:
        return int(place.source.rpartition(":")[2]) in self._mine

    def _failed(self, sentence: str) -> None:
        if sentence != self._refusal:
            log.error("%s", sentence)
        self._refusal = sentence

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _where(message: Message) -> tuple[int, int]:
    """Partition and offset of a record."""
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise KafkaException(KafkaError(KafkaError._BAD_MSG))
    return partition, offset
