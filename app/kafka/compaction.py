"""Watches whether the brokers' log cleaner works, which the brokers themselves do not report.

A cleaner that died lets compacted topics grow, the brokers' own topic of offsets among them. The
topic of the drain secrets shows it: the cleaner removes a replaced record once it and the record
that replaced it are in closed segments. A segment is closed by the first record that is
`segment.ms` younger than its oldest one. So a topic that gets no records keeps replaced ones,
although the cleaner works. A canary record, which replaces the one before, closes segments at that
interval.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from confluent_kafka import KafkaException

from app.kafka.client_settings import KafkaSettings
from app.kafka.producer import RecordProducer, TopicRecord
from app.kafka.secrets_topic import KeyedTime, error_text, read_secrets
from app.kafka.topics import SEGMENT_S, TopicAdmin
from app.storage.interface.errors import StoreUnavailable
from app.support.quantities import duration_in_words

log = logging.getLogger(__name__)

CANARY = TopicRecord(b"", None)  # no app has this name, and readers skip a record without value
_MS = 1_000


class CompactionState(NamedTuple):
    """How the cleaner does.

    Attributes:
        age_s: how long the oldest record that it could have removed has waited; 0 for none.
        limit_s: how long such a record may wait, from the topic's settings.
        segment_s: how long a segment is written to.
    """

    age_s: float = 0
    limit_s: float = inf
    segment_s: float = SEGMENT_S

    @property
    def is_overdue(self) -> bool:
        return self.age_s > self.limit_s

    def warning(self, topic: str) -> str:
        """The sentence for an operator whose cleaner is overdue."""
        return (
            f"The log cleaner of the Kafka brokers has stopped: {topic} holds records that it "
            f"could have removed {duration_in_words(self.age_s)} ago. Compacted topics grow until "
            "it runs again. Check the brokers' logs for LogCleaner, and restart the broker that "
            f"leads {topic}."
        )


def read_compaction(kafka: KafkaSettings) -> CompactionState:
    """Read the state of the topic of drain secrets. Blocks.

    Raises:
        KafkaException: the brokers did not answer in time.
        StoreUnavailable: the same, or there is no such topic.
    """
    settings = TopicAdmin(kafka).settings(kafka.secrets_topic)
    segment_s, lag_s = _segment_and_lag_s(settings)
    closed_s = oldest_closed_s(read_secrets(kafka).record_times, segment_s)
    age_s = max(0, time.time() - closed_s) if closed_s else 0
    return CompactionState(age_s, 2 * (lag_s + segment_s), segment_s)


def oldest_closed_s(record_times: Sequence[KeyedTime], segment_s: float) -> float:
    """When the first record was closed in together with the record that replaced it; 0 for none.

    Args:
        record_times: of all records of the topic, in their order.
    """
    newest: dict[bytes, float] = {}
    replaced_s = 0.0  # when the first record was replaced
    for record in record_times:
        if replaced_s and record.at_s > replaced_s + segment_s:
            return record.at_s
        if record.key in newest:
            replaced_s = replaced_s or record.at_s
        newest[record.key] = record.at_s
    return 0.0


def _segment_and_lag_s(settings: Mapping[str, str]) -> tuple[float, float]:
    lag_s = int(settings["max.compaction.lag.ms"]) / _MS
    return min(int(settings["segment.ms"]) / _MS, lag_s), lag_s


class CompactionWatch:
    """Sends canaries and keeps the last state."""

    def __init__(
        self, kafka: KafkaSettings, producer: RecordProducer, clock: Callable[[], float]
    ) -> None:
        self._kafka = kafka
        self._producer = producer
        self._clock = clock
        self._next_s = 0.0
        self.state = CompactionState()

    async def check(self) -> None:
        """Send a canary and read the state, if a segment has passed since the last time."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        await self._producer.send(self._kafka.secrets_topic, [CANARY])
        try:
            self.state = await asyncio.to_thread(read_compaction, self._kafka)
        except KafkaException as error:
            log.warning("cannot check the log cleaner (%s)", error_text(error))
        except StoreUnavailable as error:
            log.warning("cannot check the log cleaner (%s)", error)
        self._next_s = now_s + min(self.state.segment_s, SEGMENT_S)
