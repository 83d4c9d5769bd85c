"""What pages say at their top while the log is not read."""

from __future__ import annotations

from app.access.drain_registry import DrainRegistry
from app.config import Settings
from app.kafka.client_settings import KafkaSettings
from app.kafka.metrics import READER, said
from app.kafka.plugin import BEHIND, SILENT_S, KafkaPlugin
from app.storage.memory import MemoryStore
from tests.support.service import Clock

COUNTS = {"read": 1, "replayed": 0, "unreadable": 0, "rebalances": 1}


async def sentences(
    where: KafkaSettings, *, error: str = "", lag: int = 0, silent_s: float = 0
) -> list[str]:
    """Of a service that has run for a while, when a reader said this so long ago."""
    clock = Clock()
    store = MemoryStore(clock)
    settings = Settings.from_environ({"DYNOMETER_KAFKA": where.bootstrap})
    side = KafkaPlugin(settings, store, DrainRegistry(store, clock), clock)
    clock.now_s += SILENT_S + 1
    beat = said(COUNTS, clock() - silent_s, error, {0: lag})
    await store.heartbeat(f"{READER}one", beat, ttl_ms=10**6)
    await side._look()
    found = side.notices()
    await side._producer.close()
    return found


async def test_while_readers_keep_up_there_is_nothing_to_say(where: KafkaSettings) -> None:
    assert await sentences(where) == []


async def test_readers_that_are_silent_behind_or_stuck_are_told(where: KafkaSettings) -> None:
    [silent] = await sentences(where, silent_s=SILENT_S)
    assert "Nobody reads the log" in silent
    [behind] = await sentences(where, lag=BEHIND + 1)
    assert "10,001 batches in Kafka are not yet counted" in behind
    assert await sentences(where, error="partition 1 waits") == ["partition 1 waits"]
