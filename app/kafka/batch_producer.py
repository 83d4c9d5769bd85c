"""Writes batches to Kafka instead of the store: a POST is safe once the brokers have it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from app.ingest.aggregator import AggregatedBody
from app.ingest.received_batch import PendingWrite, ReceivedBatch, pack_received
from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.kafka.producer import RecordProducer, TopicRecord
from app.storage.interface.errors import StoreUnavailable

log = logging.getLogger(__name__)

_OVERHEAD_BYTES = 1_024  # of a record, besides its value
_ADVICE = {
    KafkaError._MSG_TIMED_OUT: "Check that the brokers run, and DYNOMETER_KAFKA.",
    KafkaError._ALL_BROKERS_DOWN: "Check that the brokers run, and DYNOMETER_KAFKA.",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "Run 'dynometer kafka init'.",
    KafkaError._UNKNOWN_TOPIC: "Run 'dynometer kafka init'.",
    KafkaError.NOT_ENOUGH_REPLICAS: "Too few brokers are in sync. Start them.",
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "Too few brokers are in sync. Start them.",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "The user in DYNOMETER_KAFKA_OPTIONS may not write. Grant it access to the topic."
    ),
    KafkaError._AUTHENTICATION: "Check user and password in DYNOMETER_KAFKA_OPTIONS.",
    KafkaError._QUEUE_FULL: "The brokers are too slow for this load. Check their load.",
}


class KafkaBatchSink:
    """A batch sink that writes to Kafka.

    Each POST is a record of its own, so that a repeated POST can be detected by its id.
    """

    needs_single_batches = True

    def __init__(
        self, kafka: KafkaSettings, producer: RecordProducer, clock: Callable[[], float]
    ) -> None:
        self._topic = kafka.topic
        self._single_record_properties = {**kafka.producer_properties(), "batch.num.messages": 1}
        self._producer = producer
        self._clock = clock
        self.unavailable_since_s = 0.0
        self.last_error = ""
        self.batches_produced = 0
        self.batches_too_large = 0

    @property
    def store_unavailable(self) -> bool:
        """Whether the last write to Kafka failed."""
        return self.unavailable_since_s > 0

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """Return when the brokers have acknowledged all batches.

        Raises:
            StoreUnavailable: the brokers may have some of them.
        """
        batches = [batch for write in writes for batch in await write.split()]
        try:
            async with asyncio.timeout_at(deadline):
                errors = await self._send(batches)
        except TimeoutError:
            self._fail("Kafka did not answer in time. Check that the brokers run.")
        for error in errors:
            if error is not None:
                advice = _ADVICE.get(error.code(), "Check the brokers' logs.")
                self._fail(f"Kafka rejected a batch ({error.str()}). {advice}")
        if self.store_unavailable:
            outage_s = self._clock() - self.unavailable_since_s
            log.info("Kafka is available again after %.0f s", outage_s)
        self.batches_produced += len(batches)
        self.last_error = ""
        self.unavailable_since_s = 0.0

    def _fail(self, problem: str) -> None:
        self.last_error = problem
        if not self.store_unavailable:
            self.unavailable_since_s = self._clock()
            log.warning("%s", problem)
        raise StoreUnavailable(problem)

    async def _send(self, batches: Sequence[ReceivedBatch]) -> Sequence[KafkaError | None]:
        """Produce a record of each batch; returns the errors."""
        records = [self._record(batch) for batch in batches]
        errors = await self._producer.send(self._topic, records)
        rejected = [index for index, error in enumerate(errors) if _is_too_large(error)]
        if rejected:
            # The brokers rejected all records of a request because of its size, or of one of them.
            producer = RecordProducer(self._single_record_properties)
            try:
                for index in rejected:
                    errors[index] = await self._send_alone(producer, batches[index], records[index])
            finally:
                await producer.close()
        return errors

    async def _send_alone(
        self, producer: RecordProducer, batch: ReceivedBatch, record: TopicRecord
    ) -> KafkaError | None:
        (error,) = await producer.send(self._topic, [record])
        if not _is_too_large(error):
            return error
        record_bytes = len(record.value or b"")
        self._report_too_large(batch, record_bytes, f"max.message.bytes of {self._topic}")
        (error,) = await producer.send(self._topic, [_ledger_record(batch)])
        return error

    def _record(self, batch: ReceivedBatch) -> TopicRecord:
        key = batch.app.encode()
        payload = pack_received(batch, entry="")
        if len(payload) <= RECORD_BYTES_MAX - _OVERHEAD_BYTES:
            return TopicRecord(key, payload)
        self._report_too_large(batch, len(payload), f"{RECORD_BYTES_MAX} bytes")
        return _ledger_record(batch)

    def _report_too_large(self, batch: ReceivedBatch, record_bytes: int, limit: str) -> None:
        self.batches_too_large += 1
        log.error(
            "%s: a batch of %d messages has %d bytes, more than a record may have (%s). Its "
            "messages count as unparsed:too_large. Check the topic with 'dynometer doctor', lower "
            "DYNOMETER_DYNOS_MAX, or send smaller POSTs.",
            batch.app,
            batch.body.received,
            record_bytes,
            limit,
        )


def _is_too_large(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _ledger_record(batch: ReceivedBatch) -> TopicRecord:
    """A batch without its samples: only the number of its messages remains."""
    body = batch.body
    ledger = {"received": body.received, "unparsed:too_large": body.received}
    if promised := body.body_ledger.get("promised"):
        ledger["promised"] = promised
    counts = AggregatedBody(body.arrived_s, {}, {}, ledger, body.activity, body.limits)
    emptied = ReceivedBatch(batch.app, batch.id, counts, batch.drain, batch.generation, batch.token)
    return TopicRecord(batch.app.encode(), pack_received(emptied, entry=""))
