"""Notices about Kafka at the top of the pages."""

from __future__ import annotations

import pytest

from app.config import Settings
from app.kafka.client_settings import KafkaSettings
from app.kafka.metrics import CONSUMER_HEARTBEAT, heartbeat_fields
from app.kafka.plugin import LAG_RECORDS_MAX, SILENT_S, KafkaPlugin
from app.storage.memory import MemoryStore
from tests.support.registry import drain_registry
from tests.support.service import Clock

pytestmark = pytest.mark.timeout(300)

COUNTS = {"read": 1, "replayed": 0, "unreadable": 0, "lost": 0, "rebalances": 1}


async def notices_of(
    kafka: KafkaSettings, *, error: str = "", lag: int = 0, silent_s: float = 0, lost: int = 0
) -> list[str]:
    """The notices of a running service, given the heartbeat of one consumer, `silent_s` old."""
    clock = Clock()
    store = MemoryStore(clock)
    settings = Settings.from_environ({"DYNOMETER_KAFKA": kafka.bootstrap})
    plugin = KafkaPlugin(settings, store, drain_registry(store, clock), clock)
    clock.now_s += SILENT_S + 1
    fields = heartbeat_fields({**COUNTS, "lost": lost}, clock() - silent_s, error, {0: lag})
    await store.write_status(f"{CONSUMER_HEARTBEAT}one", fields, ttl_ms=10**6)
    await plugin._read_heartbeats()
    notices = plugin.notices()
    await plugin._producer.close()
    return notices


async def test_no_notice_while_consumers_keep_up(kafka: KafkaSettings) -> None:
    assert await notices_of(kafka) == []


async def test_notices_about_consumers_that_are_silent_behind_or_stuck(
    kafka: KafkaSettings,
) -> None:
    [silent] = await notices_of(kafka, silent_s=SILENT_S)
    assert "No reader is running" in silent
    [behind] = await notices_of(kafka, lag=LAG_RECORDS_MAX + 1)
    assert "10,001 batches in Kafka are not yet counted" in behind
    assert await notices_of(kafka, error="partition 1 waits") == ["partition 1 waits"]


async def test_a_notice_tells_how_many_records_were_never_read(kafka: KafkaSettings) -> None:
    [lost] = await notices_of(kafka, lost=1_200)
    assert "1,200 batches were deleted from Kafka before they were read" in lost
