"""Group commit: one call in flight, each POST with its own answer, none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.ingest.coalesced_batch import POSTS_MAX, CoalescedBatch, DrainKey, DrainPost
from app.ingest.group_commit import GroupCommitter
from app.ingest.received_batch import batch_id, unpack_received
from app.ingest.spool import Spool
from app.storage import interface as port
from app.storage.interface import NO_PRECONDITIONS, StatePrecondition, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore
from tests.app.ingest.test_batch_writer import everything
from tests.support import arrivals
from tests.support.arrivals import appender, arrival
from tests.support.lines import router
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock

Settled = asyncio.Future[bool | BaseException]


class SlowStore(MemoryStore):
    """A memory store whose appends wait until they are let go, and which notes their groups."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.gate = asyncio.Event()
        self.groups: list[int] = []

    async def append_coalesced(
        self,
        bundles: Mapping[str, port.CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        self.groups.append(sum(len(bundle.ids) for bundle in bundles.values()))
        await self.gate.wait()
        return await super().append_coalesced(
            bundles, id_ttl_ms=id_ttl_ms, inbox_ttl_ms=inbox_ttl_ms, preconditions=preconditions
        )


class AwayStore(MemoryStore):
    """A memory store that can be away."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.away = True
        self.asked = 0

    async def append_coalesced(
        self,
        bundles: Mapping[str, port.CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().append_coalesced(
            bundles, id_ttl_ms=id_ttl_ms, inbox_ttl_ms=inbox_ttl_ms, preconditions=preconditions
        )


def committer(
    store: MemoryStore | RedisStore, spool: Spool | None = None, *, wait_s: float = 5
) -> GroupCommitter:
    return arrivals.committer(appender(store), spool, wait_s=wait_s)


def submitted(commits: GroupCommitter, app: str = "shop", frame_id: bytes = b"") -> Settled:
    """A POST on its way, and what becomes of it."""
    settled: Settled = asyncio.get_running_loop().create_future()
    sender = DrainKey(app, "d.1", 1)
    assert commits.submit(sender, arrivals.post(frame_id=frame_id), settled.set_result)
    return settled


async def test_what_arrives_during_a_call_goes_into_the_next_added_up() -> None:
    store = SlowStore()
    commits = committer(store)
    first = submitted(commits)
    while not store.groups:
        await asyncio.sleep(0)
    others = [submitted(commits, app) for _ in range(10) for app in ("shop", "blog")]
    store.gate.set()
    assert await asyncio.gather(first, *others) == [True] * 21
    assert store.groups == [1, 20]
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 2, "blog": 1}


async def test_whether_a_drain_sends_one_or_several_at_once_each_group_is_one_element() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    for posts in (1, 3, 2, 1, 1, 2):
        assert all(await asyncio.gather(*(submitted(commits) for _ in range(posts))))
    assert await store.inbox_lengths(["shop"]) == {"shop": 6}
    assert (await everything(store)).ledger == {"received": 10, "counted": 10}


async def test_a_post_is_packed_at_once_unless_its_drain_has_just_sent_several_or_the_store_is_away(
    tmp_path: Path,
) -> None:
    made: list[CoalescedBatch] = []

    def bundle_of(sender: DrainKey, first: DrainPost, arrived_s: float) -> CoalescedBatch:
        made.append(arrivals.bundle(first))
        return made[-1]

    store, spool = AwayStore(), Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = arrivals.committer(appender(store), spool, bundle_of=bundle_of)
    packed_at_once = []
    for away, posts in ((False, 1), (False, 2), (False, 1), (False, 1), (True, 1), (True, 1)):
        store.away = away
        sent = [submitted(commits)]
        packed_at_once.append(made[-1]._sealed is not None)
        sent += [submitted(commits) for _ in range(posts - 1)]
        assert await asyncio.gather(*sent) == [not away] * posts
    assert packed_at_once == [True, True, False, True, True, False]
    spool.close()


async def test_a_bundle_that_is_full_is_followed_by_another() -> None:
    store = SlowStore()
    commits = committer(store)
    store.gate.set()
    sent = [submitted(commits) for _ in range(POSTS_MAX + 1)]
    assert await asyncio.gather(*sent) == [True] * (POSTS_MAX + 1)
    assert store.groups == [POSTS_MAX, 1]
    assert (await everything(store)).messages == POSTS_MAX + 1


async def test_a_post_that_comes_twice_at_once_counts_once() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    sent = [submitted(commits, frame_id=frame_id) for frame_id in (b"1", b"2", b"1", b"3")]
    assert await asyncio.gather(*sent) == [True] * 4
    ledger = (await everything(store)).ledger
    assert ledger == {"received": 3, "counted": 3, "duplicate": 1}


async def test_posts_that_were_added_up_are_safe_on_disk_one_by_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = committer(AwayStore(), spool)
    for group in range(2):  # the second is known to go to disk
        sent = [submitted(commits, frame_id=b"%d %d" % (group, n)) for n in range(3)]
        assert await asyncio.gather(*sent) == [False] * 3
    [file] = spool.files()
    kept = [unpack_received(record) for record in file.read(9, 2**20).records]
    assert len({each.id for each in kept}) == len({each.token for each in kept}) == 6
    assert [each.body.received for each in kept] == [1] * 6
    spool.close()


async def test_a_batch_that_came_before_is_answered_and_not_counted_again() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    posts = (arrival(frame_id=frame_id) for frame_id in (b"1", b"2", b"1"))
    assert await asyncio.gather(*(commits.commit(post) for post in posts)) == [True] * 3
    assert await store.inbox_lengths(["shop"]) == {"shop": 3}  # the third is a note in the ledger


async def test_a_store_that_never_answers_is_given_up_in_time() -> None:
    commits = committer(SlowStore(), wait_s=0.05)
    with pytest.raises(StoreUnavailable, match="in time"):
        await commits.commit(arrival())
    await asyncio.wait_for(commits.wait_idle(), 5)


async def test_a_refusal_is_waited_out_and_counts_once(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory", 1)
    append = appender(redis_store)
    waiting = asyncio.create_task(arrivals.committer(append).commit(arrival()))
    while not append.last_error:
        await asyncio.sleep(0.001)
    assert append.store_unavailable
    server.client.config_set("maxmemory", 0)
    assert await waiting
    assert not append.store_unavailable
    assert not append.last_error
    assert await redis_store.inbox_lengths(["shop"]) == {"shop": 1}


async def test_while_the_store_is_away_batches_are_safe_on_disk(tmp_path: Path) -> None:
    store = AwayStore()
    spool = Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = committer(store, spool)
    sent = [arrival(frame_id=b"%d" % n) for n in range(3)]
    assert [await commits.commit(each) for each in sent] == [False] * 3
    [file] = spool.files()
    kept = [unpack_received(record) for record in file.read(9, 2**20).records]
    assert [(each.id, each.token) for each in kept] == [(each.id, each.token) for each in sent]
    assert store.asked == 1  # the others did not wait for it to fail again
    spool.close()


async def test_when_the_spool_is_full_a_batch_waits_for_the_store(tmp_path: Path) -> None:
    store = AwayStore()
    commits = committer(store, Spool(tmp_path, bytes_max=100, clock=Clock()))
    waiting = asyncio.create_task(commits.commit(arrival()))
    while store.asked < 2:
        await asyncio.sleep(0.001)
    assert "DYNOMETER_SPOOL_MAX_BYTES" in commits.rejection_reason
    store.away = False
    assert await waiting
    assert not commits.rejection_reason


async def test_when_the_spool_is_full_and_the_store_stays_away_the_batch_is_refused(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path, bytes_max=100, clock=Clock())
    commits = committer(AwayStore(), spool, wait_s=0.1)
    with pytest.raises(StoreUnavailable, match="away"):
        await commits.commit(arrival())
    assert not spool.status().bytes


def test_no_text_of_a_client_becomes_an_id() -> None:
    assert len(batch_id(b"{x}:inbox" * 100)) == len(batch_id(b"")) == 16
    assert batch_id(b"1") == batch_id(b"1") != batch_id(b"2")
    assert batch_id(b"") != batch_id(b"")


async def test_what_finds_no_room_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ingest.group_commit.PENDING_BYTES_MAX", 1_000)
    store = SlowStore()
    commits = committer(store)
    first = submitted(commits)
    while not store.groups:
        await asyncio.sleep(0)
    second = submitted(commits)
    large = arrivals.post(*[router(NOW_S)] * 10)
    assert not commits.submit(DrainKey("shop", "d.1", 1), large, lambda result: None)
    waiting = asyncio.create_task(commits.commit(arrival(*[router(NOW_S)] * 10)))
    await asyncio.sleep(0)
    assert not waiting.done()
    store.gate.set()
    assert [await first, await second, await waiting] == [True] * 3
    assert commits.submit(DrainKey("shop", "d.1", 1), large, lambda result: None)
    await commits.wait_idle()
