"""Removing an app removes it from the archive, too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.access.app_removal import AppRemoval
from app.access.drain_secrets import hash_secret
from app.archive.archived_apps import ArchivedApps
from app.archive.database import Database
from app.archive.errors import ArchiveUnavailable
from app.rollup.resolutions import DAY_S, HOUR_S, resolutions
from app.storage.memory import MemoryStore
from tests.support.archive import archive_all, archiver_of, busy_rollup, put_hour, see_apps
from tests.support.registry import put_drain
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23


@pytest.fixture
def clock() -> Clock:
    return Clock(MIDNIGHT + HOUR_S)


@pytest.fixture
async def store(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock)
    await see_apps(store, ["blog", "shop"], clock())
    for app in ("blog", "shop"):
        await put_hour(store, app, MIDNIGHT - HOUR_S, busy_rollup(MIDNIGHT - HOUR_S, seed=1))
    return store


@pytest.fixture
async def database(archive_url: str, store: MemoryStore, clock: Clock) -> AsyncIterator[Database]:
    database = Database(archive_url)
    await archive_all(archiver_of(store, database, clock))
    yield database
    await database.close()


def removal(store: MemoryStore, database: Database, clock: Clock) -> AppRemoval:
    tiers = resolutions(DAY_S, 15 * DAY_S, 90 * DAY_S)
    archive = ArchivedApps(database)
    return AppRemoval(store, tiers, clock, 3_600, staleness_s=0, archive=archive)


async def test_an_app_leaves_the_archive_and_does_not_come_back(
    store: MemoryStore, database: Database, clock: Clock
) -> None:
    await removal(store, database, clock).remove("shop")
    assert await ArchivedApps(database).names() == {"blog"}
    clock.now_s += 2 * HOUR_S
    await archive_all(archiver_of(store, database, clock))
    async for _ in archiver_of(store, database, clock).backfill():
        pass
    assert await ArchivedApps(database).names() == {"blog"}


async def test_an_app_that_only_the_archive_holds_is_known(
    database: Database, clock: Clock
) -> None:
    empty_store = MemoryStore(clock)
    apps = removal(empty_store, database, clock)
    assert await apps.unknown_apps(["shop", "none"]) == ["none"]
    await apps.remove("shop")
    assert await apps.unknown_apps(["shop"]) == ["shop"]


async def test_nothing_is_removed_while_the_archive_is_unavailable(
    store: MemoryStore, clock: Clock
) -> None:
    await put_drain(store, "shop", hash_secret("secret"))
    unavailable = Database("postgresql://x@/x?host=/nowhere")
    with pytest.raises(ArchiveUnavailable):
        await removal(store, unavailable, clock).remove("shop")
    assert list(await store.drains()) == ["shop"]
    assert [seen_app.app for seen_app in await store.seen_apps()] == ["blog", "shop"]
