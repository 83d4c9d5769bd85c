"""A store that fills up: a warning in time, and old minutes are dropped before all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from app.folding.memory_pressure import PROTECTED_S, MemoryPressureGuard
from app.rollup.codec import pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, SLACK_S, resolutions
from app.rollup.rollup import Rollup
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.processes import RedisProcess
from tests.support.service import NOW_S, Clock, client_of
from tests.support.store_calls import fold

DAY_S = 86_400
MEBIBYTE = 2**20
NOW = int(NOW_S)
TTL_MS = 10 * DAY_S * 1000


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


def day_of_slots(resolution: str, seconds: int) -> list[Slot]:
    end = NOW // HOUR_S * HOUR_S
    return [Slot(resolution, start) for start in range(end - DAY_S, end, seconds)]


async def store_rollups(store: Store, app: str, slots: list[Slot], size: int) -> None:
    await store.record_sightings([SeenApp(app, NOW - DAY_S, NOW, NOW)], ttl_ms=TTL_MS)
    rollup = Rollup()
    rollup.ledger["x" * size] = 1
    data = pack(rollup)
    writes = [SlotWrite(slot, new_element(b"C", data), TTL_MS) for slot in slots]
    await fold(store, app, [], writes)


def fill_to(server: RedisProcess, ratio: float) -> None:
    used_bytes = server.client.info()["used_memory"]
    server.client.config_set("maxmemory", int(used_bytes / ratio))


async def test_no_notice_below_80_percent_or_without_a_limit(
    server: RedisProcess, store: Store
) -> None:
    guard = MemoryPressureGuard(store, resolutions(DAY_S, DAY_S, DAY_S), Clock())
    await guard.check()
    assert guard.notice() == ""
    fill_to(server, 0.7)
    await guard.check()
    assert guard.notice() == ""


async def test_above_80_percent_a_notice_appears_and_nothing_is_dropped(
    server: RedisProcess, store: Store
) -> None:
    slots = day_of_slots("1m", MINUTE_S)
    await store_rollups(store, "shop", slots, 500)
    fill_to(server, 0.84)
    stored_resolutions = resolutions(DAY_S, DAY_S, DAY_S)
    guard = MemoryPressureGuard(store, stored_resolutions, Clock())
    await guard.check()
    assert "The store is 8" in guard.notice()
    assert "Raise its maxmemory" in guard.notice()
    assert len((await store.read("shop", slots)).slots) == len(slots)
    assert stored_resolutions[0].retention_s == DAY_S


async def test_above_90_percent_the_oldest_minutes_are_dropped_and_coarser_intervals_stay(
    server: RedisProcess, store: Store
) -> None:
    minutes, tens = day_of_slots("1m", MINUTE_S), day_of_slots("10m", 10 * MINUTE_S)
    for app in ("blog", "shop"):
        await store_rollups(store, app, [*minutes, *tens], 1_500)
    fill_to(server, 0.95)
    stored_resolutions = resolutions(DAY_S, DAY_S, DAY_S)
    clock = Clock()
    first = MemoryPressureGuard(store, stored_resolutions, clock)
    await first.check()

    for app in ("blog", "shop"):
        contents = (await store.read(app, [*minutes, *tens])).slots
        assert [slot for slot in contents if slot.resolution == "10m"] == tens
        starts = [slot.start for slot in contents if slot.resolution == "1m"]
        assert starts == [slot.start for slot in minutes[-len(starts) :]]
        assert 0 < len(starts) < len(minutes)
        assert stored_resolutions[0].retention_s == NOW - starts[0] - SLACK_S
    assert "was dropped to free memory" in first.notice()

    second_worker = resolutions(DAY_S, DAY_S, DAY_S)
    await MemoryPressureGuard(store, second_worker, Clock()).check()
    assert second_worker == stored_resolutions

    server.client.config_set("maxmemory", 0)
    clock.now_s += 2 * DAY_S
    await first.check()
    assert stored_resolutions[0].retention_s == DAY_S
    assert first.notice() == ""


async def test_the_last_three_hours_are_never_dropped(server: RedisProcess, store: Store) -> None:
    minutes = day_of_slots("1m", MINUTE_S)
    await store_rollups(store, "shop", minutes, 100)
    server.client.set("others", bytes(20 * MEBIBYTE))
    fill_to(server, 0.99)
    await MemoryPressureGuard(store, resolutions(DAY_S, DAY_S, DAY_S), Clock()).check()
    contents = (await store.read("shop", minutes)).slots
    assert min(contents).start <= NOW - PROTECTED_S


async def test_pages_metrics_and_answers_report_it(server: RedisProcess, store: Store) -> None:
    minutes, tens = day_of_slots("1m", MINUTE_S), day_of_slots("10m", 10 * MINUTE_S)
    await store_rollups(store, "shop", [*minutes, *tens], 1_500)
    fill_to(server, 0.95)
    async with client_of(store, Clock()) as client:
        await until_dropped(client)
        assert "was dropped to free memory" in (await client.get("/")).text
        metrics = (await client.get("/metrics")).text
        values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[:1] != "#")
        used_bytes = float(values["dynometer_store_used_bytes"])
        assert 0.5 < used_bytes / float(values["dynometer_store_max_bytes"]) < 0.95
        query = "/api/v1/apps/shop/query?metric=requests&start=now-23h&end=now-22h&step=1m"
        answer = (await client.get(query)).json()
        assert answer["step_s"] == 600
        assert "finer data has expired" in answer["warnings"][0]


async def until_dropped(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while "was dropped" not in (await client.get("/")).text:
            await asyncio.sleep(0.05)
