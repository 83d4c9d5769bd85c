"""Batches that waited on disk count once, whichever worker replays them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.ingest.aggregator import ActivityTimes
from app.ingest.received_batch import pack_received
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore
from app.support.aio import cancel_and_wait
from tests.app.ingest.test_batch_writer import inbox_rollup
from tests.support.arrivals import make_batch, make_writer
from tests.support.servers import RunningServer
from tests.support.service import Clock


class Sightings:
    def __init__(self) -> None:
        self.apps: list[str] = []

    async def record(self, stored: Sequence[tuple[str, ActivityTimes]]) -> None:
        self.apps += [app for app, _ in stored]


def spool(directory: Path) -> Spool:
    return Spool(directory, bytes_max=2**24, clock=Clock())


def replayer_of(spool: Spool, store: Store, sightings: Sightings | None = None) -> SpoolReplayer:
    return SpoolReplayer(
        spool,
        make_writer(store),
        on_stored=(sightings or Sightings()).record,
        removed_apps=store.removed_apps,
    )


async def test_all_waiting_batches_are_counted_as_spooled(store: Store, tmp_path: Path) -> None:
    source, sightings = spool(tmp_path), Sightings()
    batches = [make_batch(frame_id=b"%d" % n, app=f"app-{n % 3}") for n in range(600)]
    source.add([pack_received(batch) for batch in batches])
    await replayer_of(source, store, sightings).replay()
    for n in range(3):
        assert (await inbox_rollup(store, f"app-{n}")).ledger == {
            "received": 200,
            "counted": 200,
            "spooled": 200,
        }
    assert len(sightings.apps) == 600
    assert source.status() == (0, 0)
    source.close()


async def test_batches_of_a_removed_app_are_dropped_but_not_later_ones(
    store: Store, tmp_path: Path
) -> None:
    source, sightings = spool(tmp_path), Sightings()
    first = make_batch(frame_id=b"1")
    removed_s = first.body.arrived_s + 1
    later = make_batch(frame_id=b"2", arrived_s=removed_s)
    source.add([pack_received(batch) for batch in (first, later)])
    await store.remove_app("shop", [], now_s=removed_s, ttl_ms=10**9)

    await replayer_of(source, store, sightings).replay()

    assert (await inbox_rollup(store)).ledger["received"] == 1
    assert sightings.apps == ["shop"]
    assert source.status() == (0, 0)
    source.close()


async def test_a_batch_that_two_workers_spooled_counts_once(tmp_path: Path) -> None:
    store = MemoryStore(Clock())
    workers = [spool(tmp_path), spool(tmp_path)]
    for worker in workers:
        worker.add([pack_received(make_batch(frame_id=b"1"))])
    for worker in workers:
        await replayer_of(worker, store).replay()
        worker.close()
    rollup = await inbox_rollup(store)
    assert (rollup.messages, rollup.ledger["duplicate"]) == (1, 1)


async def test_a_batch_that_was_stored_before_its_reply_was_lost_counts_once(
    tmp_path: Path,
) -> None:
    store, source = MemoryStore(Clock()), spool(tmp_path)
    batch = make_batch(frame_id=b"1")
    await make_writer(store).append([batch], deadline=asyncio.get_running_loop().time() + 9)
    source.add([pack_received(batch)])
    await replayer_of(source, store).replay()
    assert (await inbox_rollup(store)).ledger == {"received": 1, "counted": 1}
    source.close()


async def test_batches_stay_in_the_spool_until_the_store_accepts_them(
    redis_store: RedisStore, server: RunningServer, tmp_path: Path
) -> None:
    source = spool(tmp_path)
    source.add([pack_received(make_batch(frame_id=b"%d" % n)) for n in range(300)])
    server.client.config_set("maxmemory", 1)
    replayer = replayer_of(source, redis_store)
    with pytest.raises(StoreUnavailable):
        await replayer.replay()
    assert source.status().bytes
    server.client.config_set("maxmemory", 0)
    await replayer.replay()
    assert (await inbox_rollup(redis_store)).messages == 300
    source.close()


async def test_batches_spooled_meanwhile_are_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ingest.spool_replay.ADOPT_INTERVAL_S", 3600)
    store, source = MemoryStore(Clock()), spool(tmp_path)
    running = asyncio.create_task(replayer_of(source, store).run())
    await asyncio.sleep(0)
    for n in range(3):
        source.add([pack_received(make_batch(frame_id=b"%d" % n))])
        assert source.in_use
        async with asyncio.timeout(20):
            while source.in_use:
                await asyncio.sleep(0.01)
        assert (await inbox_rollup(store)).messages == n + 1
    await cancel_and_wait([running])
    source.close()


async def test_files_that_another_worker_leaves_meanwhile_are_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ingest.spool_replay.ADOPT_INTERVAL_S", 0.1)
    store, heir, dead = MemoryStore(Clock()), spool(tmp_path), spool(tmp_path)
    running = asyncio.create_task(replayer_of(heir, store).run())
    await asyncio.sleep(0)
    dead.add([pack_received(make_batch())])
    dead.close()
    async with asyncio.timeout(20):
        while os.listdir(tmp_path):
            await asyncio.sleep(0.01)
    assert (await inbox_rollup(store)).messages == 1
    await cancel_and_wait([running])
    heir.close()


async def test_a_damaged_record_is_skipped_and_counted(tmp_path: Path) -> None:
    store, source = MemoryStore(Clock()), spool(tmp_path)
    source.add([b"no batch", pack_received(make_batch())])
    replayer = replayer_of(source, store)
    await replayer.replay()
    assert replayer.damaged_records == 1
    assert (await inbox_rollup(store)).messages == 1
    source.close()


async def test_a_record_of_a_newer_version_stays_in_the_spool(tmp_path: Path) -> None:
    store, source = MemoryStore(Clock()), spool(tmp_path)
    newer = pack_received(make_batch())
    assert newer[1] == 1
    source.add([newer[:1] + b"\x02" + newer[2:]])
    replayer = replayer_of(source, store)
    await replayer.replay()
    assert replayer.damaged_records == 0
    assert source.status().bytes
    source.close()


async def test_the_file_of_another_process_is_replayed_and_removed(tmp_path: Path) -> None:
    dead = spool(tmp_path)
    dead.add([pack_received(make_batch())])
    dead.close()
    store, heir = MemoryStore(Clock()), spool(tmp_path)
    await replayer_of(heir, store).replay()
    assert (await inbox_rollup(store)).messages == 1
    assert os.listdir(tmp_path) == []
    heir.close()


class SlowDisk(ThreadPoolExecutor):
    """Threads of which the call with this number lasts until `release` is set."""

    def __init__(self, slow_call: int) -> None:
        super().__init__(max_workers=1)
        self.reached, self.release = threading.Event(), threading.Event()
        self._calls_left = slow_call

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._calls_left -= 1
        if self._calls_left:
            return super().submit(call, *args, **kwargs)
        return super().submit(self._call_late, call, *args, **kwargs)

    def _call_late(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        assert self.release.wait(20)
        return call(*args, **kwargs)


@pytest.mark.parametrize("slow_call", [1, 2, 3, 4])
async def test_a_worker_that_stops_while_the_disk_is_slow_leaves_no_file_locked(
    slow_call: int, tmp_path: Path
) -> None:
    left = spool(tmp_path)
    left.add([pack_received(make_batch())])
    left.close()
    disk, source, store = SlowDisk(slow_call), spool(tmp_path), MemoryStore(Clock())
    asyncio.get_running_loop().set_default_executor(disk)
    replaying = asyncio.create_task(replayer_of(source, store).replay())
    async with asyncio.timeout(20):
        while not disk.reached.is_set():
            await asyncio.sleep(0.001)

    async def stop() -> None:
        await cancel_and_wait([replaying])
        source.close()

    stopping = asyncio.create_task(stop())
    await asyncio.wait([stopping], timeout=0.05)
    disk.release.set()
    await stopping
    disk.shutdown()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    successor = spool(tmp_path)
    await replayer_of(successor, store).replay()
    assert successor.status() == (0, 0)
    assert (await inbox_rollup(store)).ledger["counted"] == 1
