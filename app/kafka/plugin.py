"""What the service does where a log stands before the store: POSTs go to the brokers, who may send
is kept there too, and whether anybody reads the log is looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaException
from prometheus_client.registry import Collector

from app.access.drain_registry import DrainRegistry
from app.config import Settings
from app.ingest.aggregator import ActivityTimes
from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.group_commit import GroupCommitter
from app.ingest.pipeline import WritePath
from app.ingest.received_batch import OnStored
from app.kafka.batch_producer import KafkaBatchSink
from app.kafka.client_settings import KafkaSettings
from app.kafka.metrics import KafkaCollector, readers
from app.kafka.producer import RecordProducer
from app.kafka.secrets_topic import SecretsPublisher, read_secrets, reason
from app.storage.interface import Store, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 2.0
SILENT_S = 30
BEHIND = 10_000  # records


class KafkaPlugin:
    """Publishes the drain secrets to Kafka and watches the consumers."""

    def __init__(
        self, settings: Settings, store: Store, drains: DrainRegistry, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._drains = drains
        self._clock = clock
        self._began_s = clock()
        self._where = KafkaSettings.of(settings)
        self._producer = RecordProducer(self._where.producer())
        self._sink = KafkaBatchSink(self._where, self._producer, clock)
        self._heartbeats: Mapping[str, Mapping[str, str]] = {}
        self._store_away = False

    def build_write_path(
        self,
        new_writer: Callable[[], BatchWriter],
        new_committer: Callable[[BatchSink, OnStored], GroupCommitter],
        on_stored: OnStored,
    ) -> WritePath:
        """The path into Kafka. The consumer reports what was stored, so nothing is called here."""
        return WritePath(self._sink, new_committer(self._sink, _ignore_stored), _ignore_stored)

    async def run(self) -> None:
        """Publishes the drain secrets to Kafka and watches the consumers."""
        try:
            publisher = SecretsPublisher(self._where, self._producer, await self._known())
            while True:
                await self._look()
                if not self._store_away:
                    await publisher.publish(self._drains.records)
                await asyncio.sleep(LOOK_S)
        finally:
            await asyncio.shield(self._producer.close())

    async def _known(self) -> Mapping[str, str]:
        try:
            records = (await asyncio.to_thread(read_secrets, self._where)).records
        except KafkaException as error:
            log.warning("who may send could not be read from Kafka: %s", reason(error))
            return {}
        self._drains.preload(records)
        return records

    async def _look(self) -> None:
        try:
            heartbeats = await self._store.heartbeats()
        except StoreUnavailable:
            self._store_away = True
            return
        self._store_away = False
        self._heartbeats = readers(heartbeats)

    def notices(self) -> list[str]:
        """Publishes the drain secrets to Kafka and watches the consumers."""
        now_s = self._clock()
        if self._store_away or now_s - self._began_s < SILENT_S:
            return []
        heartbeats = self._heartbeats.values()
        if not any(now_s - float(beat["polled_s"]) < SILENT_S for beat in heartbeats):
            return [
                "Nobody reads the log: what arrives is kept in Kafka and not counted. "
                "Start 'dynometer fold --from-kafka'."
            ]
        errors = sorted({beat["error"] for beat in heartbeats if beat["error"]})
        behind = sum(int(beat["lag"]) for beat in heartbeats)
        if behind > BEHIND:
            errors.append(
                f"Figures are behind: {behind:,} batches in Kafka are not yet counted. "
                "Start more readers ('dynometer fold --from-kafka')."
            )
        return errors

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """Publishes the drain secrets to Kafka and watches the consumers."""
        return KafkaCollector(self._sink, self._producer, readers(heartbeats))


async def _ignore_stored(stored: Sequence[tuple[str, ActivityTimes]]) -> None:
    """No-op callback: the Kafka consumer reports what was stored."""
