"""Kafka in the service: batches go to the brokers instead of the store, a copy of the drain secrets
is published there, and the readers are monitored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from app.kafka.compaction import CompactionWatch
from app.kafka.metrics import KafkaCollector, consumer_heartbeats, count_of
from app.kafka.producer import RecordProducer
from app.kafka.secrets_topic import SecretsPublisher, error_text, read_secrets
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.status import StatusReader

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
SILENT_S = 30  # a reader that did not poll for this long is considered dead
LAG_RECORDS_MAX = 10_000


class KafkaPlugin:
    """The service's background plugin for Kafka (app.service.wiring.BackgroundPlugin)."""

    def __init__(
        self,
        settings: Settings,
        store: StatusReader,
        drains: DrainRegistry,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._drains = drains
        self._clock = clock
        self._start_s = clock()
        self._kafka = KafkaSettings.from_settings(settings)
        self._producer = RecordProducer(self._kafka.producer_properties())
        self._sink = KafkaBatchSink(self._kafka, self._producer, clock)
        self._compaction = CompactionWatch(self._kafka, self._producer, clock)
        self._heartbeats: Mapping[str, Mapping[str, str]] = {}
        self._is_store_down = False

    def build_write_path(
        self,
        new_writer: Callable[[], BatchWriter],
        new_committer: Callable[[BatchSink, OnStored], GroupCommitter],
        on_stored: OnStored,
    ) -> WritePath:
        """The write path into Kafka. `on_stored` is unused: the consumer calls its own."""
        return WritePath(self._sink, new_committer(self._sink, _ignore_stored), _ignore_stored)

    async def run(self) -> None:
        """Publish changed drain secrets and read the readers' heartbeats, until cancelled."""
        try:
            publisher = SecretsPublisher(self._kafka, self._producer, await self._read_published())
            while True:
                await self._read_heartbeats()
                if not self._is_store_down:
                    await publisher.publish(self._drains.records)
                await self._compaction.check()
                await asyncio.sleep(INTERVAL_S)
        finally:
            await asyncio.shield(self._producer.close())

    async def _read_published(self) -> Mapping[str, str]:
        try:
            records = (await asyncio.to_thread(read_secrets, self._kafka)).records
        except KafkaException as error:
            log.warning("drain secrets could not be read from Kafka (%s)", error_text(error))
            return {}
        self._drains.preload(records)
        return records

    async def _read_heartbeats(self) -> None:
        try:
            heartbeats = await self._store.statuses()
        except StoreUnavailable:
            self._is_store_down = True
            return
        self._is_store_down = False
        self._heartbeats = consumer_heartbeats(heartbeats)

    def notices(self) -> list[str]:
        """Sentences about readers that are missing, stuck or behind."""
        now_s = self._clock()
        state = self._compaction.state
        cleaner = [state.warning(self._kafka.secrets_topic)] if state.is_overdue else []
        if self._is_store_down or now_s - self._start_s < SILENT_S:
            return cleaner
        heartbeats = self._heartbeats.values()
        if not any(now_s - float(fields["polled_s"]) < SILENT_S for fields in heartbeats):
            return [
                *cleaner,
                "No reader is running: new lines stay in Kafka and are not counted. "
                "Start 'dynometer fold --from-kafka'.",
            ]
        errors = cleaner + sorted({fields["error"] for fields in heartbeats if fields["error"]})
        if lost := sum(count_of(fields, "lost") for fields in heartbeats):
            errors.append(
                f"{lost:,} batches were deleted from Kafka before they were read, and are not "
                "counted. Raise retention.ms of the topic, or start more readers."
            )
        lag = sum(int(fields["lag"]) for fields in heartbeats)
        if lag > LAG_RECORDS_MAX:
            errors.append(
                f"Figures are out of date: {lag:,} batches in Kafka are not yet counted. "
                "Start more readers ('dynometer fold --from-kafka')."
            )
        return errors

    def health(self) -> Mapping[str, Any]:
        """Nothing: the brokers do not decide whether a POST is accepted."""
        return {}

    def collector(self, heartbeats: Mapping[str, Mapping[str, str]]) -> Collector:
        """The metrics of Kafka, given all heartbeats in the store."""
        return KafkaCollector(
            self._sink,
            self._producer,
            consumer_heartbeats(heartbeats),
            self._compaction.state.age_s,
        )


async def _ignore_stored(batches: Sequence[tuple[str, ActivityTimes]]) -> None:
    """No-op callback: the Kafka consumer reports what was stored."""
