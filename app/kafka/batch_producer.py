"""The drain where a log stands before the store: a POST is safe once the brokers have it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from app.ingest.aggregator import Parts
from app.ingest.received_batch import Arrival, Brought, pack_arrival
from app.kafka.client_settings import RECORD_BYTES_MAX, Log
from app.kafka.producer import LogProducer, Record
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


class LogAppends:
    """See appender.Appends. Each POST is a record of its own, so that it can be told from its
    repetition.
    """

    apart = True

    def __init__(self, where: Log, producer: LogProducer, clock: Callable[[], float]) -> None:
        self._topic = where.topic
        self._producer = producer
        self._clock = clock
        self.away_since_s = 0.0
        self.last_error = ""
        self.produced = 0
        self.too_large = 0

    @property
    def away(self) -> bool:
        """See appender.Appends."""
        return self.away_since_s > 0

    async def append(self, waiting: Sequence[Brought], *, deadline: float) -> None:
        """Returns when the brokers have all of it.

        Raises:
            StoreUnavailable: they may have some of it.
        """
        records = [self._record(arrival) for each in waiting for arrival in await each.apart()]
        try:
            async with asyncio.timeout_at(deadline):
                errors = await self._producer.send(self._topic, records)
        except TimeoutError:
            self._refused("the Kafka brokers did not answer in time: check that they run")
        for error in errors:
            if error is not None:
                advice = _ADVICE.get(error.code(), "see their logs")
                self._refused(f"the Kafka brokers do not take batches ({error.str()}): {advice}")
        if self.away:
            log.info("Kafka is back after %.0f s", self._clock() - self.away_since_s)
        self.produced += len(records)
        self.last_error = ""
        self.away_since_s = 0.0

    def _refused(self, sentence: str) -> None:
        self.last_error = sentence
        if not self.away:
            self.away_since_s = self._clock()
            log.warning("%s", sentence)
        raise StoreUnavailable(sentence)

    def _record(self, arrival: Arrival) -> Record:
        key = arrival.app.encode()
        packed = pack_arrival(arrival, waited="")
        if len(packed) <= RECORD_BYTES_MAX - _OVERHEAD_BYTES:
            return Record(key, packed)
        self.too_large += 1
        log.error(
            "%s: a batch of %d messages comes to %d bytes, more than a record may have (%d): its "
            "messages are booked as unparsed:too_large. Lower DYNOMETER_DYNOS_MAX, or send less "
            "at a time",
            arrival.app,
            arrival.parts.received,
            len(packed),
            RECORD_BYTES_MAX,
        )
        return Record(key, pack_arrival(_books_of(arrival), waited=""))


def _books_of(arrival: Arrival) -> Arrival:
    """Only how many messages there were."""
    parts = arrival.parts
    received = parts.received
    loose = {"received": received, "unparsed:too_large": received}
    if promised := parts.loose.get("promised"):
        loose["promised"] = promised
    books = Parts(parts.arrived_s, {}, {}, loose, parts.seen, parts.caps)
    return Arrival(arrival.app, arrival.id, books, arrival.drain, arrival.generation, arrival.token)
