"""What the service does where a log stands before the store: POSTs go to the brokers, who may send
is kept there too, and whether anybody reads the log is looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaException
from prometheus_client.registry import Collector

from app.access.drain_registry import Drains
from app.config import Settings
from app.ingest.aggregator import Seen
from app.ingest.batch_writer import Appender, Appends
from app.ingest.group_commit import Commits, Committer
from app.ingest.received_batch import Stored
from app.kafka.batch_producer import LogAppends
from app.kafka.client_settings import Log
from app.kafka.metrics import LogCollector, readers
from app.kafka.producer import LogProducer
from app.kafka.secrets_topic import Publisher, read_registry, reason
from app.storage.interface import Store, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 2.0
SILENT_S = 30
BEHIND = 10_000  # records


class LogSide:
    """See core.Beside."""

    def __init__(
        self, settings: Settings, store: Store, drains: Drains, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._drains = drains
        self._clock = clock
        self._began_s = clock()
        self._where = Log.of(settings)
        self._producer = LogProducer(self._where.producer())
        self._appends = LogAppends(self._where, self._producer, clock)
        self._beats: Mapping[str, Mapping[str, str]] = {}
        self._store_away = False

    def ways(
        self,
        store: Store,
        appender: Callable[[], Appender],
        committer: Callable[[Appends, Stored], Committer],
        tell: Stored,
    ) -> tuple[Appends, Commits, Stored]:
        """See core.Ways: into the log. Whoever reads it tells what was stored."""
        return self._appends, committer(self._appends, _nobody), _nobody

    async def run(self) -> None:
        """See core.Beside."""
        try:
            publisher = Publisher(self._where, self._producer, await self._known())
            while True:
                await self._look()
                if not self._store_away:
                    await publisher.publish(self._drains.held)
                await asyncio.sleep(LOOK_S)
        finally:
            await asyncio.shield(self._producer.close())

    async def _known(self) -> Mapping[str, str]:
        try:
            records = (await asyncio.to_thread(read_registry, self._where)).records
        except KafkaException as error:
            log.warning("who may send could not be read from Kafka: %s", reason(error))
            return {}
        self._drains.assume(records)
        return records

    async def _look(self) -> None:
        try:
            beats = await self._store.beats()
        except StoreUnavailable:
            self._store_away = True
            return
        self._store_away = False
        self._beats = readers(beats)

    def sentences(self) -> list[str]:
        """See core.Beside."""
        now_s = self._clock()
        if self._store_away or now_s - self._began_s < SILENT_S:
            return []
        beats = self._beats.values()
        if not any(now_s - float(beat["polled_s"]) < SILENT_S for beat in beats):
            return [
                "Nobody reads the log: what arrives is kept in Kafka and not counted. "
                "Start 'dynometer fold --from-kafka'."
            ]
        errors = sorted({beat["error"] for beat in beats if beat["error"]})
        behind = sum(int(beat["lag"]) for beat in beats)
        if behind > BEHIND:
            errors.append(
                f"Figures are behind: {behind:,} batches in Kafka are not yet counted. "
                "Start more readers ('dynometer fold --from-kafka')."
            )
        return errors

    def collector(self, beats: Mapping[str, Mapping[str, str]]) -> Collector:
        """See core.Beside."""
        return LogCollector(self._appends, self._producer, readers(beats))


async def _nobody(stored: Sequence[tuple[str, Seen]]) -> None:
    """Is told."""
