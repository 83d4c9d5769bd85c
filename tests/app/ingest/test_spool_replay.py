"""What waited on disk while the store was away is counted once, whoever brings it in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.ingest.aggregator import ActivityTimes
from app.ingest.received_batch import pack_received
from app.ingest.spool import Spool
from app.ingest.spool_replay import SpoolReplayer
from app.storage.interface import Store, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore
from app.support.aio import cancel_and_wait
from tests.app.ingest.test_batch_writer import everything
from tests.support.arrivals import appender, arrival
from tests.support.servers import RunningServer
from tests.support.service import Clock


class Sights:
    def __init__(self) -> None:
        self.apps: list[str] = []

    async def note(self, stored: Sequence[tuple[str, ActivityTimes]]) -> None:
        self.apps += [app for app, _ in stored]


def spool(directory: Path) -> Spool:
    return Spool(directory, bytes_max=2**24, clock=Clock())


def catch_up(spool: Spool, store: Store, sights: Sights | None = None) -> SpoolReplayer:
    return SpoolReplayer(spool, appender(store), on_stored=(sights or Sights()).note)


async def test_everything_that_waited_is_counted_and_booked_as_spooled(
    store: Store, tmp_path: Path
) -> None:
    waiting, sights = spool(tmp_path), Sights()
    sent = [arrival(frame_id=b"%d" % n, app=f"app-{n % 3}") for n in range(600)]
    waiting.add([pack_received(each) for each in sent])
    await catch_up(waiting, store, sights).replay()
    for n in range(3):
        assert (await everything(store, f"app-{n}")).ledger == {
            "received": 200,
            "counted": 200,
            "spooled": 200,
        }
    assert len(sights.apps) == 600
    assert waiting.status() == (0, 0)
    waiting.close()


async def test_a_batch_that_two_workers_took_to_disk_counts_once(tmp_path: Path) -> None:
    store = MemoryStore(Clock())
    workers = [spool(tmp_path), spool(tmp_path)]
    for worker in workers:
        worker.add([pack_received(arrival(frame_id=b"1"))])
    for worker in workers:
        await catch_up(worker, store).replay()
        worker.close()
    found = await everything(store)
    assert (found.messages, found.ledger["duplicate"]) == (1, 1)


async def test_a_batch_that_was_stored_before_its_reply_was_lost_counts_once(
    tmp_path: Path,
) -> None:
    store, waiting = MemoryStore(Clock()), spool(tmp_path)
    sent = arrival(frame_id=b"1")
    await appender(store).append([sent], deadline=asyncio.get_running_loop().time() + 9)
    waiting.add([pack_received(sent)])
    await catch_up(waiting, store).replay()
    assert (await everything(store)).ledger == {"received": 1, "counted": 1}
    waiting.close()


async def test_what_a_refusing_store_does_not_take_stays_until_it_does(
    redis_store: RedisStore, server: RunningServer, tmp_path: Path
) -> None:
    waiting = spool(tmp_path)
    waiting.add([pack_received(arrival(frame_id=b"%d" % n)) for n in range(300)])
    server.client.config_set("maxmemory", 1)
    catching = catch_up(waiting, redis_store)
    with pytest.raises(StoreUnavailable):
        await catching.replay()
    assert waiting.status().bytes
    server.client.config_set("maxmemory", 0)
    await catching.replay()
    assert (await everything(redis_store)).messages == 300
    waiting.close()


async def test_what_comes_to_the_disk_while_it_runs_is_brought_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ingest.spool_replay.LOOK_INTERVAL_S", 3600)
    store, waiting = MemoryStore(Clock()), spool(tmp_path)
    running = asyncio.create_task(catch_up(waiting, store).run())
    await asyncio.sleep(0)
    for n in range(3):
        waiting.add([pack_received(arrival(frame_id=b"%d" % n))])
        assert waiting.in_use
        async with asyncio.timeout(20):
            while waiting.in_use:
                await asyncio.sleep(0.01)
        assert (await everything(store)).messages == n + 1
    await cancel_and_wait([running])
    waiting.close()


async def test_what_another_leaves_while_it_runs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ingest.spool_replay.LOOK_INTERVAL_S", 0.1)
    store, heir, left = MemoryStore(Clock()), spool(tmp_path), spool(tmp_path)
    running = asyncio.create_task(catch_up(heir, store).run())
    await asyncio.sleep(0)
    left.add([pack_received(arrival())])
    left.close()
    async with asyncio.timeout(20):
        while os.listdir(tmp_path):
            await asyncio.sleep(0.01)
    assert (await everything(store)).messages == 1
    await cancel_and_wait([running])
    heir.close()


async def test_a_damaged_record_is_passed_over_and_counted(tmp_path: Path) -> None:
    store, waiting = MemoryStore(Clock()), spool(tmp_path)
    waiting.add([b"no arrival", pack_received(arrival())])
    catching = catch_up(waiting, store)
    await catching.replay()
    assert catching.damaged == 1
    assert (await everything(store)).messages == 1
    waiting.close()


async def test_a_record_of_a_newer_version_stays_for_whoever_can_read_it(tmp_path: Path) -> None:
    store, waiting = MemoryStore(Clock()), spool(tmp_path)
    newer = pack_received(arrival())
    assert newer[1] == 1
    waiting.add([newer[:1] + b"\x02" + newer[2:]])
    catching = catch_up(waiting, store)
    await catching.replay()
    assert catching.damaged == 0
    assert waiting.status().bytes
    waiting.close()


async def test_what_another_process_left_is_brought_in_and_its_file_goes(tmp_path: Path) -> None:
    left = spool(tmp_path)
    left.add([pack_received(arrival())])
    left.close()
    store, heir = MemoryStore(Clock()), spool(tmp_path)
    await catch_up(heir, store).replay()
    assert (await everything(store)).messages == 1
    assert os.listdir(tmp_path) == []
    heir.close()
