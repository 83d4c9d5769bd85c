"""The switch of custom metrics reaches every worker, and outlives its store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.access.access_copy import AccessCopy
from app.access.access_file import read_copy
from app.access.access_notes import loss_in
from app.access.custom_switch import custom_apps, switch_custom
from app.access.restoration import restore
from app.storage.memory import MemoryStore
from tests.app.access.test_access_copy import FragileStore, Worker, record
from tests.support.registry import put_drain
from tests.support.service import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> FragileStore:
    store = FragileStore(clock)
    await put_drain(store, "shop", record("secret"))
    return store


async def test_a_worker_follows_within_seconds(store: FragileStore, clock: Clock) -> None:
    access = AccessCopy(store, clock, monotonic=clock)
    await access.fresh()
    for is_on in (True, False, True):
        await switch_custom(store, "shop", is_on=is_on)
        clock.now_s += 5
        await access.fresh()
        assert access.reads_marks("shop") == is_on
        assert not access.reads_marks("blog")
    await access.close()


async def test_switching_twice_is_the_same_as_once(store: FragileStore) -> None:
    for _ in range(2):
        await switch_custom(store, "shop", is_on=True)
    assert custom_apps((await store.access_tables()).notes) == {"shop"}
    for _ in range(2):
        await switch_custom(store, "shop", is_on=False)
    assert (await store.access_tables()).notes == {}


async def test_workers_that_switch_at_the_same_time_lose_no_change(clock: Clock) -> None:
    store = MemoryStore(clock)
    apps = [f"app-{number}" for number in range(20)]
    await asyncio.gather(*(switch_custom(store, app, is_on=True) for app in apps))
    assert custom_apps((await store.access_tables()).notes) == {*apps}


async def test_a_worker_that_starts_without_the_store_knows_the_switch(
    store: FragileStore, clock: Clock, tmp_path: Path
) -> None:
    await switch_custom(store, "shop", is_on=True)
    await Worker(store, clock, tmp_path).refresh()
    assert AccessCopy(MemoryStore(clock), clock, tmp_path).reads_marks("shop")


async def test_after_a_loss_the_switch_stays_on_and_is_restored(
    store: FragileStore, clock: Clock, tmp_path: Path
) -> None:
    worker = Worker(store, clock, tmp_path)
    await switch_custom(store, "shop", is_on=True)
    await worker.refresh()
    store.lose_data()
    await worker.refresh()
    assert worker.access.reads_marks("shop")

    async def write_back() -> None:
        while (loss := loss_in((await store.access_tables()).notes)) and loss.state == "lost":
            await asyncio.sleep(0)
        await worker.refresh()

    await asyncio.gather(restore(store, read_copy(tmp_path / "none"), wait_s=1), write_back())
    assert custom_apps((await store.access_tables()).notes) == {"shop"}
    await worker.refresh()
    assert worker.access.reads_marks("shop")
