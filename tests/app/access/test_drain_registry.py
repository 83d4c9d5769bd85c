"""Verification of drain secrets, also while the store is unavailable."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.ingest.aggregator import ActivityTimes
from app.ingest.app_sightings import AppSightings
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.arrivals import make_batch
from tests.support.registry import put_drain, remove_drain
from tests.support.service import Clock


class CountingStore(MemoryStore):
    """A store that can be made unavailable, and counts reads of the drain records."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.is_unavailable = False
        self.reads = 0

    async def drains(self) -> dict[str, str]:
        self.reads += 1
        if self.is_unavailable:
            raise StoreUnavailable("Redis is unavailable")
        return await super().drains()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> CountingStore:
    store = CountingStore(clock)
    await put_drain(store, "shop", record("secret"))
    return store


def record(*secrets: str, until_s: int = 0) -> str:
    return encode(
        DrainRecord(
            [
                Secret(hash_secret(secret), generation, until_s=until_s if generation == 1 else 0)
                for generation, secret in enumerate(secrets, 1)
            ]
        )
    )


async def test_a_secret_is_verified_with_its_generation(clock: Clock, store: CountingStore) -> None:
    await put_drain(store, "shop", record("old", "new"))
    drains = DrainRegistry(store, clock)
    results = [await drains.verify("shop", secret) for secret in ("old", "new", "", "other")]
    assert results == [1, 2, 0, 0]
    assert await drains.verify("blog", "old") == 0


async def test_an_old_secret_ends_at_its_time(clock: Clock, store: CountingStore) -> None:
    await put_drain(store, "shop", record("old", "new", until_s=int(clock.now_s) + 60))
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "old") == 1
    clock.now_s += 60
    assert await drains.verify("shop", "old") == 0
    assert await drains.verify("shop", "new") == 2


async def test_a_new_drain_may_send_within_a_second(clock: Clock, store: CountingStore) -> None:
    drains = DrainRegistry(store, clock)
    assert not await drains.verify("blog", "secret")
    await put_drain(store, "blog", record("secret"))
    clock.now_s += 1.1
    assert await drains.verify("blog", "secret")


async def test_a_removed_drain_may_not_send_after_five_seconds(
    clock: Clock, store: CountingStore
) -> None:
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "secret")
    await remove_drain(store, "shop")
    clock.now_s += 5
    assert not await drains.verify("shop", "secret")


async def test_guesses_do_not_burden_the_store(clock: Clock, store: CountingStore) -> None:
    reads_before = store.reads
    drains = DrainRegistry(store, clock)
    for number in range(100):
        await drains.verify("shop", f"guess {number}")
    assert store.reads == reads_before + 1


async def test_during_an_outage_the_last_copy_is_used(clock: Clock, store: CountingStore) -> None:
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "secret")
    store.is_unavailable = True
    for _ in range(10):
        clock.now_s += 600
        assert await drains.verify("shop", "secret")


async def test_a_worker_without_requests_knows_the_secrets_in_an_outage(
    clock: Clock, store: CountingStore
) -> None:
    drains = DrainRegistry(store, clock)
    await drains.refresh()
    await put_drain(store, "blog", record("added since"))
    clock.now_s += 5
    await drains.refresh()
    store.is_unavailable = True
    clock.now_s += 600
    assert await drains.verify("blog", "added since")


async def test_no_drain_is_rejected_during_an_outage(clock: Clock, store: CountingStore) -> None:
    drains = DrainRegistry(store, clock)
    await drains.verify("shop", "secret")
    store.is_unavailable = True
    clock.now_s += 600
    for app in ("shop", "added-meanwhile"):
        with pytest.raises(StoreUnavailable):
            await drains.verify(app, "perhaps new")
    store.is_unavailable = False
    clock.now_s += 2
    assert not await drains.verify("shop", "perhaps new")


async def test_a_worker_that_starts_in_an_outage_reads_the_copy_on_disk(
    clock: Clock, store: CountingStore, tmp_path: Path
) -> None:
    copy = tmp_path / "data" / "drains.json"
    await put_drain(store, "blog", record("hunter2"))
    first = DrainRegistry(store, clock, copy)
    await first.verify("shop", "secret")
    await first.close()
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert b"hunter2" not in copy.read_bytes()
    store.is_unavailable = True
    second = DrainRegistry(store, clock, copy)
    assert await second.verify("shop", "secret")
    with pytest.raises(StoreUnavailable):
        await second.verify("shop", "wrong")


async def test_a_damaged_copy_is_ignored(
    clock: Clock, store: CountingStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "drains.json"
    copy.write_text('{"shop": ')
    store.is_unavailable = True
    with pytest.raises(StoreUnavailable):
        await DrainRegistry(store, clock, copy).verify("shop", "secret")
    assert "Cannot read the copy" in caplog.text


class SightingStore(MemoryStore):
    """A store that can be made unavailable, and counts writes of sightings."""

    is_unavailable = False
    calls = 0

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.is_unavailable:
            raise StoreUnavailable("Redis is unavailable")
        await super().record_sightings(apps, ttl_ms=ttl_ms)


async def test_of_many_concurrent_posts_one_records_the_sighting(clock: Clock) -> None:
    store = SightingStore(clock)
    sightings = AppSightings(store, ttl_s=3600)
    await asyncio.gather(*(sightings.record([("shop", make_batch().activity)]) for _ in range(100)))
    assert store.calls == 1
    assert [sighting.app for sighting in await store.seen_apps()] == ["shop"]


async def test_sightings_of_several_batches_are_merged(clock: Clock) -> None:
    store = MemoryStore(clock)
    await AppSightings(store, ttl_s=3600).record(
        [
            ("shop", ActivityTimes(50, 60, 55)),
            ("shop", ActivityTimes(40, 45, 0)),
            ("shop", ActivityTimes(70, 80, 0)),
        ]
    )
    assert await store.seen_apps() == [SeenApp("shop", 40, 80, 55)]


async def test_a_sighting_that_could_not_be_stored_is_recorded_again(clock: Clock) -> None:
    store = SightingStore(clock)
    sightings = AppSightings(store, ttl_s=3600)
    store.is_unavailable = True
    await sightings.record([("shop", make_batch().activity)])
    store.is_unavailable = False
    await sightings.record([("shop", make_batch().activity)])
    assert [sighting.app for sighting in await store.seen_apps()] == ["shop"]
