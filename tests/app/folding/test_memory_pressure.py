"""A store that fills up: it is said in time, and single minutes go before anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from app.folding.memory_pressure import MINUTES_LEFT_S, MemoryPressureGuard
from app.rollup.codec import pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, SLACK_S, resolutions
from app.rollup.rollup import Rollup
from app.storage.interface import SeenApp, Slot, SlotWrite, Store, new_element
from app.storage.redis.store import connect
from tests.support.processes import RedisProcess
from tests.support.service import NOW_S, Clock, client_of

DAY_S = 86_400
MEBIBYTE = 2**20
NOW = int(NOW_S)
KEPT_MS = 10 * DAY_S * 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path / "redis")
    server.start()
    yield server
    server.client.close()
    server.kill()


@pytest.fixture
async def store(server: RedisProcess) -> AsyncIterator[Store]:
    store = connect(f"redis://127.0.0.1:{server.port}/0")
    yield store
    await store.close()


def slots(resolution: str, seconds: int) -> list[Slot]:
    end = NOW // HOUR_S * HOUR_S
    return [Slot(resolution, start) for start in range(end - DAY_S, end, seconds)]


async def keep(store: Store, app: str, kept: list[Slot], size: int) -> None:
    await store.record_sightings([SeenApp(app, NOW - DAY_S, NOW, NOW)], ttl_ms=KEPT_MS)
    rollup = Rollup()
    rollup.ledger["x" * size] = 1
    packed = pack(rollup)
    writes = [SlotWrite(slot, new_element(b"C", packed), KEPT_MS) for slot in kept]
    await store.fold(app, [], writes)


def fill_to(server: RedisProcess, share: float) -> None:
    used = server.client.info()["used_memory"]
    server.client.config_set("maxmemory", int(used / share))


async def test_a_store_with_room_or_without_a_limit_is_not_mentioned(
    server: RedisProcess, store: Store
) -> None:
    room = MemoryPressureGuard(store, resolutions(DAY_S, DAY_S, DAY_S), Clock())
    await room.check()
    assert room.notice() == ""
    fill_to(server, 0.7)
    await room.check()
    assert room.notice() == ""


async def test_from_80_percent_on_it_is_said_and_nothing_is_dropped(
    server: RedisProcess, store: Store
) -> None:
    kept = slots("1m", MINUTE_S)
    await keep(store, "shop", kept, 500)
    fill_to(server, 0.84)
    tiers = resolutions(DAY_S, DAY_S, DAY_S)
    room = MemoryPressureGuard(store, tiers, Clock())
    await room.check()
    assert "The store is 8" in room.notice()
    assert "Raise its maxmemory" in room.notice()
    assert len((await store.read("shop", kept)).slots) == len(kept)
    assert tiers[0].retention_s == DAY_S


async def test_from_90_percent_on_the_oldest_minutes_go_and_coarser_intervals_stay(
    server: RedisProcess, store: Store
) -> None:
    minutes, tens = slots("1m", MINUTE_S), slots("10m", 10 * MINUTE_S)
    for app in ("blog", "shop"):
        await keep(store, app, [*minutes, *tens], 1_500)
    fill_to(server, 0.95)
    tiers = resolutions(DAY_S, DAY_S, DAY_S)
    clock = Clock()
    first = MemoryPressureGuard(store, tiers, clock)
    await first.check()

    for app in ("blog", "shop"):
        left = (await store.read(app, [*minutes, *tens])).slots
        assert [slot for slot in left if slot.resolution == "10m"] == tens
        starts = [slot.start for slot in left if slot.resolution == "1m"]
        assert starts == [slot.start for slot in minutes[-len(starts) :]]
        assert 0 < len(starts) < len(minutes)
        assert tiers[0].retention_s == NOW - starts[0] - SLACK_S
    assert "were dropped to make room" in first.notice()

    others = resolutions(DAY_S, DAY_S, DAY_S)
    await MemoryPressureGuard(store, others, Clock()).check()
    assert others == tiers

    server.client.config_set("maxmemory", 0)
    clock.now_s += 2 * DAY_S
    await first.check()
    assert tiers[0].retention_s == DAY_S
    assert first.notice() == ""


async def test_the_last_three_hours_are_never_dropped(server: RedisProcess, store: Store) -> None:
    minutes = slots("1m", MINUTE_S)
    await keep(store, "shop", minutes, 100)
    server.client.set("others", bytes(20 * MEBIBYTE))
    fill_to(server, 0.99)
    await MemoryPressureGuard(store, resolutions(DAY_S, DAY_S, DAY_S), Clock()).check()
    left = (await store.read("shop", minutes)).slots
    assert min(left).start <= NOW - MINUTES_LEFT_S


async def test_pages_metrics_and_answers_say_so(server: RedisProcess, store: Store) -> None:
    minutes, tens = slots("1m", MINUTE_S), slots("10m", 10 * MINUTE_S)
    await keep(store, "shop", [*minutes, *tens], 1_500)
    fill_to(server, 0.95)
    async with client_of(store, Clock()) as client:
        await until_dropped(client)
        assert "were dropped to make room" in (await client.get("/")).text
        metrics = (await client.get("/metrics")).text
        values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[:1] != "#")
        used = float(values["dynometer_store_used_bytes"])
        assert 0.5 < used / float(values["dynometer_store_max_bytes"]) < 0.95
        query = "/api/v1/apps/shop/query?metric=requests&start=now-23h&end=now-22h&step=1m"
        answer = (await client.get(query)).json()
        assert answer["step_s"] == 600
        assert "finer data has expired" in answer["warnings"][0]


async def until_dropped(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while "were dropped" not in (await client.get("/")).text:
            await asyncio.sleep(0.05)
