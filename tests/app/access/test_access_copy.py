"""A store that lost its data: known drains go on, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.access.access_copy import Access, AccessCopy
from app.access.access_file import read_copy
from app.access.access_notes import loss_in, loss_notice
from app.access.drain_admin import DrainAdmin, DrainAdminError
from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.access.read_tokens import ReadTokens, new_token, pack_token
from app.access.restoration import discard, restore
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.registry import put_drain, remove_drain
from tests.support.service import Clock

TOKEN, TOKEN_ID, TOKEN_RECORD = new_token("for a test", ["*"], 0)


class FragileStore(MemoryStore):
    """A store that can lose its data."""

    def lose_data(self) -> None:
        self.__init__(self._clock)  # type: ignore[misc]


class Worker:
    """A worker with its copy; `address`: of the store."""

    def __init__(
        self, store: FragileStore, clock: Clock, directory: Path | None, address: str = "redis"
    ) -> None:
        self.access = AccessCopy(store, clock, directory, address=address, monotonic=clock)
        self.drains = DrainRegistry(store, self.access, clock)
        self.tokens = ReadTokens(self.access, clock)

    async def refresh(self) -> Access:
        access = await self.access.latest()
        await self.access.close()
        return access


def record(secret: str, generation: int = 1) -> str:
    return encode(DrainRecord([Secret(hash_secret(secret), generation)], [hash_secret("d.link")]))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> FragileStore:
    store = FragileStore(clock)
    await put_drain(store, "shop", record("secret"))
    await store.put_token(TOKEN_ID, pack_token(TOKEN_RECORD))
    return store


@pytest.fixture
async def worker(store: FragileStore, clock: Clock, tmp_path: Path) -> Worker:
    worker = Worker(store, clock, tmp_path)
    await worker.refresh()
    return worker


async def test_after_a_loss_the_copy_is_accepted_and_nothing_rejected(
    store: FragileStore, worker: Worker
) -> None:
    store.lose_data()
    access = await worker.refresh()
    assert access.loss is not None
    assert (access.loss.drains, access.loss.tokens) == (1, 1)
    assert await worker.drains.verify("shop", "secret") == 1
    assert await worker.drains.app_of("d.link") == "shop"
    assert await worker.tokens.permissions_of(TOKEN)
    for app, secret in (("shop", "wrong"), ("added-on-another-machine", "secret")):
        with pytest.raises(StoreUnavailable, match="lost its data"):
            await worker.drains.verify(app, secret)
    with pytest.raises(StoreUnavailable):
        await worker.drains.app_of("d.other")
    with pytest.raises(StoreUnavailable):
        await worker.tokens.permissions_of(new_token("", ["*"], 0)[0])


async def test_after_a_loss_the_copy_on_disk_stays(
    store: FragileStore, clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    store.lose_data()
    for _ in range(3):
        await worker.refresh()
    assert read_copy(tmp_path).drains == {"shop": record("secret")}
    assert (await Worker(store, clock, tmp_path).drains.verify("shop", "secret")) == 1


async def test_a_copy_that_is_deleted_on_disk_is_written_again(
    worker: Worker, tmp_path: Path
) -> None:
    copy = read_copy(tmp_path)
    shutil.rmtree(tmp_path)
    await worker.access.refresh()
    assert read_copy(tmp_path) == copy


async def test_a_worker_that_starts_after_the_loss_recognizes_it(
    store: FragileStore, clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    store.lose_data()
    await store.identity()  # a worker without a copy was first
    later = Worker(store, clock, tmp_path)
    assert await later.drains.verify("shop", "secret") == 1
    assert later.access.notice()


async def test_a_worker_takes_over_what_another_one_of_its_machine_knew(
    store: FragileStore, clock: Clock, tmp_path: Path
) -> None:
    shop = (await store.drains())["shop"]
    await remove_drain(store, "shop")
    idle = Worker(store, clock, tmp_path)
    await idle.refresh()
    await put_drain(store, "shop", shop)
    await Worker(store, clock, tmp_path).refresh()
    store.lose_data()
    await idle.refresh()
    assert await idle.drains.verify("shop", "secret") == 1
    assert read_copy(tmp_path).drains == {"shop": shop}


async def test_a_worker_without_a_copy_learns_of_the_loss(
    store: FragileStore, clock: Clock, worker: Worker
) -> None:
    store.lose_data()
    await worker.refresh()
    other = Worker(store, clock, None)
    with pytest.raises(StoreUnavailable, match="lost its data"):
        await other.drains.verify("shop", "secret")
    assert "lost its data" in await loss_notice(store)


async def test_removing_the_last_drain_is_no_loss(
    store: FragileStore, clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    await remove_drain(store, "shop")
    await store.remove_token(TOKEN_ID)
    await worker.refresh()
    for one in (worker, Worker(store, clock, tmp_path)):
        assert not await one.drains.verify("shop", "secret")
        assert not one.access.notice()
    assert read_copy(tmp_path).drains == {}


async def test_a_new_identity_without_missing_records_is_no_loss(
    store: FragileStore, worker: Worker
) -> None:
    tables = await store.access_tables()
    store.lose_data()
    await put_drain(store, "shop", tables.drains["shop"])
    await store.put_token(TOKEN_ID, tables.tokens[TOKEN_ID])
    assert (await worker.refresh()).loss is None
    await remove_drain(store, "shop")
    await worker.refresh()
    assert not await worker.drains.verify("shop", "secret")


async def test_a_store_that_comes_back_with_its_data_ends_the_loss(
    store: FragileStore, worker: Worker
) -> None:
    data = dict(vars(store))
    store.lose_data()
    assert (await worker.refresh()).loss is not None
    vars(store).update(data)
    assert (await worker.refresh()).loss is None
    assert not await worker.drains.verify("shop", "wrong")


async def test_drains_of_another_store_replace_the_copy(
    clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    other_store = FragileStore(clock)
    await put_drain(other_store, "blog", record("other"))
    moved = Worker(other_store, clock, tmp_path, "another redis")
    assert await moved.drains.verify("blog", "other")
    assert not await moved.drains.verify("shop", "secret")
    assert not await loss_notice(other_store)


async def test_an_empty_store_at_another_address_is_treated_as_a_loss(
    clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    moved = Worker(FragileStore(clock), clock, tmp_path, "another redis")
    assert await moved.drains.verify("shop", "secret")
    assert moved.access.notice()


async def test_drains_that_come_back_after_a_loss_do_not_replace_the_copy(
    clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    other_store = FragileStore(clock)
    moved = Worker(other_store, clock, tmp_path, "another redis")
    await moved.refresh()
    await put_drain(other_store, "blog", record("derived"))  # as a derived secret does
    for one in (moved, Worker(other_store, clock, tmp_path, "another redis")):
        await one.refresh()
        assert await one.drains.verify("shop", "secret")
        assert await one.drains.verify("blog", "derived")
    assert read_copy(tmp_path).drains == {"shop": record("secret")}


@pytest.mark.parametrize("copy_is_here", [True, False])
async def test_a_restoration_writes_back_what_the_store_lacks(
    store: FragileStore, clock: Clock, worker: Worker, tmp_path: Path, copy_is_here: bool
) -> None:
    other = Worker(store, clock, None)  # on a machine whose copy has another drain
    await put_drain(store, "blog", record("other"))
    await other.refresh()
    store.lose_data()
    for one in (worker, other):
        await one.refresh()

    async def restoring_workers() -> None:
        while (loss := loss_in((await store.access_tables()).notes)) and loss.state == "lost":
            await asyncio.sleep(0)
        for one in (worker, other):
            await one.refresh()

    copy = read_copy(tmp_path if copy_is_here else tmp_path / "elsewhere")
    restored, _ = await asyncio.gather(restore(store, copy, wait_s=1), restoring_workers())
    assert restored == (2, 1)
    assert set((await store.drains()).values()) == {record("secret"), record("other")}
    access = await worker.refresh()
    assert access.loss is None
    assert await worker.tokens.permissions_of(TOKEN)
    assert not await worker.drains.verify("shop", "wrong")
    assert read_copy(tmp_path).drains == await store.drains()


async def test_a_restoration_replaces_no_newer_record(store: FragileStore, worker: Worker) -> None:
    store.lose_data()
    await put_drain(store, "shop", record("newer", 2))
    await worker.refresh()
    await restore(store, read_copy(Path("nowhere")), wait_s=0)
    assert await store.drains() == {"shop": record("newer", 2)}


async def test_without_a_loss_there_is_nothing_to_restore(
    store: FragileStore, worker: Worker, tmp_path: Path
) -> None:
    await remove_drain(store, "shop")
    assert await restore(store, read_copy(tmp_path), wait_s=0) is None
    assert await discard(store) is None
    assert await store.drains() == {}


async def test_a_copy_that_is_given_up_is_accepted_no_longer(
    store: FragileStore, clock: Clock, worker: Worker, tmp_path: Path
) -> None:
    store.lose_data()
    await worker.refresh()
    assert await discard(store)
    late = Worker(store, clock, tmp_path)  # it was stopped meanwhile, and has the old copy
    for one in (worker, late):
        await one.refresh()
        assert not await one.drains.verify("shop", "secret")
        assert not one.access.notice()
    assert read_copy(tmp_path).drains == {}


async def test_after_a_loss_access_is_not_changed_before_it_is_restored(
    store: FragileStore, clock: Clock, worker: Worker
) -> None:
    store.lose_data()
    await worker.refresh()
    admin = DrainAdmin(store, clock, "https://metrics.example.com")
    for change in (admin.add("shop"), admin.remove("shop"), admin.link("shop", "d.new")):
        with pytest.raises(DrainAdminError, match="lost its data"):
            await change
    assert await store.drains() == {}
