"""Records on their way to the brokers. The client works in threads of its own; a thread of ours
collects what it has to say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

POLL_S = 0.1
CLOSE_WITHIN_S = 1.0


class TopicRecord(NamedTuple):
    """`value` is None for a record that says that there is none any more."""

    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class RecordProducer:
    """Produces, and says what became of it."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = properties
        self._producer = Producer(properties)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka", daemon=True)
        self._thread.start()
        self.refused = 0

    async def send(self, topic: str, records: Sequence[TopicRecord]) -> list[KafkaError | None]:
        """What became of each record: None when the brokers have acknowledged it."""
        if not records:
            return []
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        results: list[KafkaError | None] = [None] * len(records)
        left = _Countdown(len(records), loop, done)
        for i, record in enumerate(records):

            def delivered(error: KafkaError | None, _: Message, i: int = i) -> None:
                results[i] = error
                left.one_less()

            try:
                self._producer.produce(
                    topic,
                    record.value,
                    record.key,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
            except KafkaException as error:
                delivered(error.args[0], None, i)  # type: ignore[arg-type]
            except BufferError:
                delivered(KafkaError(KafkaError._QUEUE_FULL), None, i)  # type: ignore[arg-type]
        await done
        self.refused += sum(1 for error in results if error is not None)
        if any(error is not None and error.fatal() for error in results):
            self._producer = Producer(self._properties)
        return results

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(POLL_S)

    async def close(self) -> None:
        """Give what is under way a moment, and let go."""
        await asyncio.to_thread(self._producer.flush, CLOSE_WITHIN_S)
        self._ended.set()
        await asyncio.to_thread(self._thread.join)


class _Countdown:
    """Ends a future after so many calls, from any thread."""

    def __init__(
        self, count: int, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]
    ) -> None:
        self._left = count
        self._loop = loop
        self._done = done
        self._lock = threading.Lock()

    def one_less(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
