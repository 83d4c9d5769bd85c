"""Verification of drain secrets, also while the store is unavailable."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from app.access.access_copy import AccessCopy
from app.access.access_file import FILE, LEGACY_FILE
from app.access.cached_copy import MAX_STALENESS_S
from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.ingest.aggregator import ActivityTimes
from app.ingest.app_sightings import AppSightings
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.arrivals import make_batch
from tests.support.registry import access_copy, drain_registry, put_drain, remove_drain
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
        records = await super().drains()
        await asyncio.sleep(0)  # as the answer of a server does
        return records


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
    drains = drain_registry(store, clock)
    results = [await drains.verify("shop", secret) for secret in ("old", "new", "", "other")]
    assert results == [1, 2, 0, 0]
    assert await drains.verify("blog", "old") == 0


async def test_an_old_secret_ends_at_its_time(clock: Clock, store: CountingStore) -> None:
    await put_drain(store, "shop", record("old", "new", until_s=int(clock.now_s) + 60))
    drains = drain_registry(store, clock)
    assert await drains.verify("shop", "old") == 1
    clock.now_s += 60
    assert await drains.verify("shop", "old") == 0
    assert await drains.verify("shop", "new") == 2


async def test_a_new_drain_may_send_at_once(clock: Clock, store: CountingStore) -> None:
    drains = drain_registry(store, clock)
    assert not await drains.verify("blog", "secret")
    await put_drain(store, "blog", record("secret"))
    assert await drains.verify("blog", "secret")


async def test_a_drain_that_is_added_during_a_read_is_not_rejected(
    clock: Clock, store: CountingStore
) -> None:
    drains = drain_registry(store, clock)
    guesses = [asyncio.create_task(drains.verify("blog", "secret"))]
    reads = store.reads
    while store.reads == reads:
        await asyncio.sleep(0)
    await put_drain(store, "blog", record("secret"))
    guesses.append(asyncio.create_task(drains.verify("blog", "secret")))
    assert (await asyncio.gather(*guesses))[1] == 1


async def test_a_clock_that_is_set_back_keeps_no_secret_alive(
    clock: Clock, store: CountingStore
) -> None:
    monotonic = Clock(1_000)
    access = AccessCopy(store, clock, monotonic=monotonic)
    drains = DrainRegistry(store, access, clock)
    assert await drains.verify("shop", "secret")
    await remove_drain(store, "shop")
    await put_drain(store, "blog", record("new"))
    clock.now_s -= 600
    assert await drains.verify("blog", "new")
    monotonic.now_s += MAX_STALENESS_S
    assert not await drains.verify("shop", "secret")


async def test_a_removed_drain_may_not_send_after_five_seconds(
    clock: Clock, store: CountingStore
) -> None:
    drains = drain_registry(store, clock)
    assert await drains.verify("shop", "secret")
    await remove_drain(store, "shop")
    clock.now_s += 5
    assert not await drains.verify("shop", "secret")


async def test_guesses_do_not_burden_the_store(clock: Clock, store: CountingStore) -> None:
    drains = drain_registry(store, clock)
    await drains.verify("shop", "secret")
    reads_before = store.reads
    guesses = (drains.verify("shop", f"guess {number}") for number in range(100))
    assert not any(await asyncio.gather(*guesses))
    assert store.reads == reads_before + 1


async def test_during_an_outage_the_last_copy_is_used(clock: Clock, store: CountingStore) -> None:
    drains = drain_registry(store, clock)
    assert await drains.verify("shop", "secret")
    store.is_unavailable = True
    for _ in range(10):
        clock.now_s += 600
        assert await drains.verify("shop", "secret")


async def test_a_worker_without_requests_knows_the_secrets_in_an_outage(
    clock: Clock, store: CountingStore
) -> None:
    access = access_copy(store, clock)
    await access.refresh()
    await put_drain(store, "blog", record("added since"))
    clock.now_s += 5
    await access.refresh()
    store.is_unavailable = True
    clock.now_s += 600
    assert await DrainRegistry(store, access, clock).verify("blog", "added since")


async def test_no_drain_is_rejected_during_an_outage(clock: Clock, store: CountingStore) -> None:
    drains = drain_registry(store, clock)
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
    directory = tmp_path / "data"
    await put_drain(store, "blog", record("hunter2"))
    access = access_copy(store, clock, directory)
    await access.refresh()
    await access.close()
    for copy in directory.iterdir():
        assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
        assert b"hunter2" not in copy.read_bytes()
    store.is_unavailable = True
    second = drain_registry(store, clock, directory)
    assert await second.verify("shop", "secret")
    with pytest.raises(StoreUnavailable):
        await second.verify("shop", "wrong")


async def test_a_worker_reads_the_copy_of_an_earlier_version(
    clock: Clock, store: CountingStore, tmp_path: Path
) -> None:
    (tmp_path / LEGACY_FILE).write_bytes(msgspec.json.encode({"shop": record("secret")}))
    store.is_unavailable = True
    assert await drain_registry(store, clock, tmp_path).verify("shop", "secret")


async def test_an_earlier_version_finds_the_copy_of_a_worker(
    clock: Clock, store: CountingStore, tmp_path: Path
) -> None:
    access = access_copy(store, clock, tmp_path)
    await access.refresh()
    await access.close()
    records = msgspec.json.decode((tmp_path / LEGACY_FILE).read_bytes(), type=dict[str, str])
    assert records == {"shop": record("secret")}


async def test_a_damaged_copy_is_ignored(
    clock: Clock, store: CountingStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text('{"drains": ')
    store.is_unavailable = True
    with pytest.raises(StoreUnavailable):
        await drain_registry(store, clock, tmp_path).verify("shop", "secret")
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
