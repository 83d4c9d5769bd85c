"""Produces records from asyncio.

librdkafka sends in threads of its own. A thread of ours polls it for delivery reports.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

POLL_S = 0.1
CLOSE_TIMEOUT_S = 1.0


class TopicRecord(NamedTuple):
    """A record. A `value` of None (a tombstone) removes the key from a compacted topic."""

    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class RecordProducer:
    """Produces records and returns the delivery report of each."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = properties
        self._producer = Producer(properties)
        self._failed_producers: deque[Producer] = deque()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka", daemon=True)
        self._thread.start()
        self.records_rejected = 0

    async def send(self, topic: str, records: Sequence[TopicRecord]) -> list[KafkaError | None]:
        """Produce records. The result has None for each acknowledged record, else its error."""
        if not records:
            return []
        producer, loop = self._producer, asyncio.get_running_loop()
        completion: asyncio.Future[None] = loop.create_future()
        results: list[KafkaError | None] = [None] * len(records)
        countdown = _Countdown(len(records), loop, completion)
        for index, record in enumerate(records):

            def on_delivery(error: KafkaError | None, _: Message, index: int = index) -> None:
                results[index] = error
                countdown.count_down()

            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    headers=list(record.headers),
                    on_delivery=on_delivery,
                )
            except KafkaException as error:
                on_delivery(error.args[0], None, index)  # type: ignore[arg-type]
            except BufferError:
                on_delivery(KafkaError(KafkaError._QUEUE_FULL), None, index)  # type: ignore[arg-type]
        await completion
        self.records_rejected += sum(1 for error in results if error is not None)
        if any(error is not None and error.fatal() for error in results):
            self._replace(producer)
        return results

    def _replace(self, failed: Producer) -> None:
        """Replace a producer after a fatal error, for it accepts no more records.

        Once only, although records of several calls fail. Their reports are still awaited.
        """
        if self._producer is failed:
            self._failed_producers.append(failed)
            self._producer = Producer(self._properties)

    def _poll(self) -> None:
        while not self._is_closing.is_set():
            self._producer.poll(POLL_S)
            for _ in range(len(self._failed_producers)):
                producer = self._failed_producers.popleft()
                producer.poll(0)
                if len(producer):  # reports are missing
                    self._failed_producers.append(producer)

    async def close(self) -> None:
        """Wait briefly for records in flight, then stop the thread."""
        await asyncio.to_thread(self._producer.flush, CLOSE_TIMEOUT_S)
        self._is_closing.set()
        await asyncio.to_thread(self._thread.join)


class _Countdown:
    """Completes a future after `count` calls from any thread."""

    def __init__(
        self, count: int, loop: asyncio.AbstractEventLoop, completion: asyncio.Future[None]
    ) -> None:
        self._remaining = count
        self._loop = loop
        self._completion = completion
        self._lock = threading.Lock()

    def count_down(self) -> None:
        with self._lock:
            self._remaining -= 1
            is_last = self._remaining == 0
        if is_last:
            self._loop.call_soon_threadsafe(self._complete)

    def _complete(self) -> None:
        if not self._completion.done():
            self._completion.set_result(None)
