"""Who may send, also while the registry cannot be asked."""

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
from app.storage.interface import SeenApp, StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.arrivals import make_batch
from tests.support.registry import put_drain, remove_drain
from tests.support.service import Clock


class Registry(MemoryStore):
    """A store that can be away, and counts how often it is asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.asked = 0

    async def drains(self) -> dict[str, str]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().drains()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> Registry:
    store = Registry(clock)
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


async def test_a_secret_is_known_by_its_generation(clock: Clock, store: Registry) -> None:
    await put_drain(store, "shop", record("old", "new"))
    drains = DrainRegistry(store, clock)
    found = [await drains.verify("shop", secret) for secret in ("old", "new", "", "other")]
    assert found == [1, 2, 0, 0]
    assert await drains.verify("blog", "old") == 0


async def test_an_old_secret_ends_at_its_time(clock: Clock, store: Registry) -> None:
    await put_drain(store, "shop", record("old", "new", until_s=int(clock.now_s) + 60))
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "old") == 1
    clock.now_s += 60
    assert await drains.verify("shop", "old") == 0
    assert await drains.verify("shop", "new") == 2


async def test_a_new_drain_may_send_within_a_second(clock: Clock, store: Registry) -> None:
    drains = DrainRegistry(store, clock)
    assert not await drains.verify("blog", "secret")
    await put_drain(store, "blog", record("secret"))
    clock.now_s += 1.1
    assert await drains.verify("blog", "secret")


async def test_a_removed_drain_may_not_send_after_five_seconds(
    clock: Clock, store: Registry
) -> None:
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "secret")
    await remove_drain(store, "shop")
    clock.now_s += 5
    assert not await drains.verify("shop", "secret")


async def test_strangers_do_not_make_the_store_work(clock: Clock, store: Registry) -> None:
    asked = store.asked
    drains = DrainRegistry(store, clock)
    for number in range(100):
        await drains.verify("shop", f"guess {number}")
    assert store.asked == asked + 1


async def test_while_the_store_is_away_the_last_copy_goes_on(clock: Clock, store: Registry) -> None:
    drains = DrainRegistry(store, clock)
    assert await drains.verify("shop", "secret")
    store.away = True
    for _ in range(10):
        clock.now_s += 600
        assert await drains.verify("shop", "secret")


async def test_a_worker_that_nobody_asked_knows_the_secrets_when_the_store_goes_away(
    clock: Clock, store: Registry
) -> None:
    drains = DrainRegistry(store, clock)
    await drains.refresh()
    await put_drain(store, "blog", record("added since"))
    clock.now_s += 5
    await drains.refresh()
    store.away = True
    clock.now_s += 600
    assert await drains.verify("blog", "added since")


async def test_nobody_is_turned_away_while_the_store_is_away(clock: Clock, store: Registry) -> None:
    drains = DrainRegistry(store, clock)
    await drains.verify("shop", "secret")
    store.away = True
    clock.now_s += 600
    for app in ("shop", "added-meanwhile"):
        with pytest.raises(StoreUnavailable):
            await drains.verify(app, "perhaps new")
    store.away = False
    clock.now_s += 2
    assert not await drains.verify("shop", "perhaps new")


async def test_a_worker_that_starts_while_the_store_is_away_finds_a_copy_on_disk(
    clock: Clock, store: Registry, tmp_path: Path
) -> None:
    copy = tmp_path / "data" / "drains.json"
    await put_drain(store, "blog", record("hunter2"))
    first = DrainRegistry(store, clock, copy)
    await first.verify("shop", "secret")
    await first.close()
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert b"hunter2" not in copy.read_bytes()
    store.away = True
    late = DrainRegistry(store, clock, copy)
    assert await late.verify("shop", "secret")
    with pytest.raises(StoreUnavailable):
        await late.verify("shop", "wrong")


async def test_a_damaged_copy_is_as_good_as_none(
    clock: Clock, store: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "drains.json"
    copy.write_text('{"shop": ')
    store.away = True
    with pytest.raises(StoreUnavailable):
        await DrainRegistry(store, clock, copy).verify("shop", "secret")
    assert "cannot be read" in caplog.text


class Seeing(MemoryStore):
    """A store that can refuse, and knows how often it was told."""

    away = False
    told = 0

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        self.told += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("the store is away")
        await super().record_sightings(apps, ttl_ms=ttl_ms)


async def test_of_many_posts_at_once_one_tells_that_the_app_was_seen(clock: Clock) -> None:
    store = Seeing(clock)
    sightings = AppSightings(store, ttl_s=3600)
    await asyncio.gather(*(sightings.record([("shop", make_batch().activity)]) for _ in range(100)))
    assert store.told == 1
    assert [seen.app for seen in await store.seen_apps()] == ["shop"]


async def test_what_several_batches_of_a_new_app_say_is_told_as_one(clock: Clock) -> None:
    store = MemoryStore(clock)
    await AppSightings(store, ttl_s=3600).record(
        [
            ("shop", ActivityTimes(50, 60, 55)),
            ("shop", ActivityTimes(40, 45, 0)),
            ("shop", ActivityTimes(70, 80, 0)),
        ]
    )
    assert await store.seen_apps() == [SeenApp("shop", 40, 80, 55)]


async def test_what_the_store_did_not_hear_is_told_again(clock: Clock) -> None:
    store = Seeing(clock)
    sightings = AppSightings(store, ttl_s=3600)
    store.away = True
    await sightings.record([("shop", make_batch().activity)])
    store.away = False
    await sightings.record([("shop", make_batch().activity)])
    assert [seen.app for seen in await store.seen_apps()] == ["shop"]
