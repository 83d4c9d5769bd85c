"""The drain where a log stands before the store: a POST is safe once the brokers have it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from app.ingest.aggregator import AggregatedBody
from app.ingest.received_batch import PendingWrite, ReceivedBatch, pack_received
from app.kafka.client_settings import RECORD_BYTES_MAX, KafkaSettings
from app.kafka.producer import RecordProducer, TopicRecord
from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

_OVERHEAD_BYTES = 1_024  # of a record around what is packed
_ADVICE = {
    KafkaError._MSG_TIMED_OUT: "check that they run, and DYNOMETER_KAFKA",
    KafkaError._ALL_BROKERS_DOWN: "check that they run, and DYNOMETER_KAFKA",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "run 'dynometer kafka init'",
    KafkaError._UNKNOWN_TOPIC: "run 'dynometer kafka init'",
    KafkaError.NOT_ENOUGH_REPLICAS: "too few brokers are in sync: start them",
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "too few brokers are in sync: start them",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this user may not write: see DYNOMETER_KAFKA_OPTIONS",
    KafkaError._AUTHENTICATION: "check user and password in DYNOMETER_KAFKA_OPTIONS",
    KafkaError.MSG_SIZE_TOO_LARGE: "run 'dynometer kafka init': max.message.bytes is too small",
    KafkaError._QUEUE_FULL: "they are too slow for what comes",
}


class KafkaBatchSink:
    """See appender.Appends. Each POST is a record of its own, so that it can be told from its
    repetition.
    """

    needs_single_batches = True

    def __init__(
        self, where: KafkaSettings, producer: RecordProducer, clock: Callable[[], float]
    ) -> None:
        self._topic = where.topic
        self._producer = producer
        self._clock = clock
        self.away_since_s = 0.0
        self.last_error = ""
        self.produced = 0
        self.too_large = 0

    @property
    def store_unavailable(self) -> bool:
        """See appender.Appends."""
        return self.away_since_s > 0

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """Returns when the brokers have all of it.

        Raises:
            StoreUnavailable: they may have some of it.
        """
        records = [self._record(arrival) for each in writes for arrival in await each.split()]
        try:
            async with asyncio.timeout_at(deadline):
                errors = await self._producer.send(self._topic, records)
        except TimeoutError:
            self._refused("the Kafka brokers did not answer in time: check that they run")
        for error in errors:
            if error is not None:
                advice = _ADVICE.get(error.code(), "see their logs")
                self._refused(f"the Kafka brokers do not take batches ({error.str()}): {advice}")
        if self.store_unavailable:
            log.info("Kafka is back after %.0f s", self._clock() - self.away_since_s)
        self.produced += len(records)
        self.last_error = ""
        self.away_since_s = 0.0

    def _refused(self, sentence: str) -> None:
        self.last_error = sentence
        if not self.store_unavailable:
            self.away_since_s = self._clock()
            log.warning("%s", sentence)
        raise StoreUnavailable(sentence)

    def _record(self, arrival: ReceivedBatch) -> TopicRecord:
        key = arrival.app.encode()
        packed = pack_received(arrival, entry="")
        if len(packed) <= RECORD_BYTES_MAX - _OVERHEAD_BYTES:
            return TopicRecord(key, packed)
        self.too_large += 1
        log.error(
            "%s: a batch of %d messages comes to %d bytes, more than a record may have (%d): its "
            "messages are booked as unparsed:too_large. Lower DYNOMETER_DYNOS_MAX, or send less "
            "at a time",
            arrival.app,
            arrival.body.received,
            len(packed),
            RECORD_BYTES_MAX,
        )
        return TopicRecord(key, pack_received(_books_of(arrival), entry=""))


def _books_of(arrival: ReceivedBatch) -> ReceivedBatch:
    """Only how many messages there were."""
    parts = arrival.body
    received = parts.received
    loose = {"received": received, "unparsed:too_large": received}
    if promised := parts.body_ledger.get("promised"):
        loose["promised"] = promised
    books = AggregatedBody(parts.arrived_s, {}, {}, loose, parts.activity, parts.limits)
    return ReceivedBatch(
        arrival.app, arrival.id, books, arrival.drain, arrival.generation, arrival.token
    )
