"""Group commit: one call in flight, an answer for each POST, and no POST waits forever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.ingest.aggregator import NO_ACTIVITY, AggregatedBody
from app.ingest.coalesced_batch import POSTS_MAX, CoalescedBatch
from app.ingest.drain_post import SMALL_BYTES, DrainPost
from app.ingest.group_commit import GroupCommitter, commit
from app.ingest.received_batch import batch_id, unpack_received
from app.ingest.spool import Spool
from app.storage.interface.batches import NO_PRECONDITIONS, CoalescedElement, StatePrecondition
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore
from tests.app.ingest.test_batch_writer import inbox_rollup
from tests.support import arrivals
from tests.support.arrivals import ACCEPTANCE, make_post, make_writer
from tests.support.garbage import without_collector
from tests.support.lines import router
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock

Result = asyncio.Future[bool | BaseException]


class GatedStore(MemoryStore):
    """A memory store with a gate for appends, which records the sizes of groups."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.gate = asyncio.Event()
        self.groups: list[int] = []

    async def append_coalesced(
        self,
        elements: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        self.groups.append(sum(len(bundle.ids) for bundle in elements.values()))
        await self.gate.wait()
        return await super().append_coalesced(
            elements, id_ttl_ms=id_ttl_ms, inbox_ttl_ms=inbox_ttl_ms, preconditions=preconditions
        )


class DownStore(MemoryStore):
    """A memory store that can be down."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.is_down = True
        self.calls = 0

    async def append_coalesced(
        self,
        elements: Mapping[str, CoalescedElement],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] = NO_PRECONDITIONS,
    ) -> dict[str, int]:
        self.calls += 1
        if self.is_down:
            raise StoreUnavailable("the store is down")
        return await super().append_coalesced(
            elements, id_ttl_ms=id_ttl_ms, inbox_ttl_ms=inbox_ttl_ms, preconditions=preconditions
        )


def committer(
    store: MemoryStore | RedisStore, spool: Spool | None = None, *, wait_s: float = 5
) -> GroupCommitter:
    return arrivals.make_committer(make_writer(store), spool, wait_s=wait_s)


def submit(commits: GroupCommitter, app: str = "shop", frame_id: bytes = b"") -> Result:
    """Submit a POST; returns the future of its result."""
    result: Result = asyncio.get_running_loop().create_future()
    commits.submit(make_post(app=app, frame_id=frame_id), result.set_result)
    return result


async def test_posts_that_arrive_during_a_call_are_coalesced_into_the_next() -> None:
    store = GatedStore()
    commits = committer(store)
    first = submit(commits)
    while not store.groups:
        await asyncio.sleep(0)
    results = [submit(commits, app) for _ in range(10) for app in ("shop", "blog")]
    store.gate.set()
    assert await asyncio.gather(first, *results) == [True] * 21
    assert store.groups == [1, 20]
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 2, "blog": 1}


async def test_each_group_of_a_drain_is_one_element_however_many_posts_it_has() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    for posts in (1, 3, 2, 1, 1, 2):
        assert all(await asyncio.gather(*(submit(commits) for _ in range(posts))))
    assert await store.inbox_lengths(["shop"]) == {"shop": 6}
    assert (await inbox_rollup(store)).ledger == {"received": 10, "counted": 10}


async def test_a_post_is_packed_immediately_unless_its_drain_is_busy_or_the_store_down(
    tmp_path: Path,
) -> None:
    store, spool = DownStore(), Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = committer(store, spool)
    packed_immediately = []
    for is_down, posts in ((False, 1), (False, 2), (False, 1), (False, 1), (True, 1), (True, 1)):
        store.is_down = is_down
        results = [submit(commits)]
        batch = commits._queue[-1].write
        assert isinstance(batch, CoalescedBatch)
        packed_immediately.append(batch.payload is not None)
        results += [submit(commits) for _ in range(posts - 1)]
        assert await asyncio.gather(*results) == [not is_down] * posts
    assert packed_immediately == [True, True, False, True, True, False]
    spool.close()


async def test_a_full_batch_is_followed_by_another() -> None:
    store = GatedStore()
    commits = committer(store)
    store.gate.set()
    results = [submit(commits) for _ in range(POSTS_MAX + 1)]
    assert await asyncio.gather(*results) == [True] * (POSTS_MAX + 1)
    assert store.groups == [POSTS_MAX, 1]
    assert (await inbox_rollup(store)).messages == POSTS_MAX + 1


async def test_a_post_that_arrives_twice_in_a_group_counts_once() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    results = [submit(commits, frame_id=frame_id) for frame_id in (b"1", b"2", b"1", b"3")]
    assert await asyncio.gather(*results) == [True] * 4
    ledger = (await inbox_rollup(store)).ledger
    assert ledger == {"received": 3, "counted": 3, "duplicate": 1}


async def test_coalesced_posts_are_spooled_separately(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = committer(DownStore(), spool)
    for group in range(2):  # the second one is not tried at the store
        results = [submit(commits, frame_id=b"%d %d" % (group, n)) for n in range(3)]
        assert await asyncio.gather(*results) == [False] * 3
    [file] = spool.files()
    batches = [unpack_received(record) for record in file.read(9, 2**20).records]
    assert len({batch.id for batch in batches}) == len({batch.token for batch in batches}) == 6
    assert [batch.body.received for batch in batches] == [1] * 6
    spool.close()


async def test_a_duplicate_is_answered_and_not_counted_again() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    posts = (make_post(frame_id=frame_id) for frame_id in (b"1", b"2", b"1"))
    assert await asyncio.gather(*(commit(commits, post) for post in posts)) == [True] * 3
    ledger = (await inbox_rollup(store)).ledger
    assert ledger == {"received": 2, "counted": 2, "duplicate": 1}


async def test_a_store_that_never_answers_times_out() -> None:
    commits = committer(GatedStore(), wait_s=0.05)
    with pytest.raises(StoreUnavailable, match="in time"):
        await commit(commits, make_post())
    await asyncio.wait_for(commits.wait_idle(), 5)


async def test_a_post_outlasts_an_error_of_the_store_and_counts_once(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory", 1)
    writer = make_writer(redis_store)
    commit_task = asyncio.create_task(commit(arrivals.make_committer(writer), make_post()))
    while not writer.last_error:
        await asyncio.sleep(0.001)
    assert writer.store_unavailable
    server.client.config_set("maxmemory", 0)
    assert await commit_task
    assert not writer.store_unavailable
    assert not writer.last_error
    assert await redis_store.inbox_lengths(["shop"]) == {"shop": 1}


async def test_while_the_store_is_down_batches_are_spooled(tmp_path: Path) -> None:
    store = DownStore()
    spool = Spool(tmp_path, bytes_max=2**20, clock=Clock())
    commits = committer(store, spool)
    batches = [make_post(frame_id=b"%d" % n) for n in range(3)]
    assert [await commit(commits, batch) for batch in batches] == [False] * 3
    [file] = spool.files()
    records = [unpack_received(record) for record in file.read(9, 2**20).records]
    assert [(r.id, r.token) for r in records] == [(batch.id, batch.token) for batch in batches]
    assert store.calls == 1  # the others did not wait for another failure
    spool.close()


async def test_when_the_spool_is_full_a_batch_waits_for_the_store(tmp_path: Path) -> None:
    store = DownStore()
    commits = committer(store, Spool(tmp_path, bytes_max=100, clock=Clock()))
    commit_task = asyncio.create_task(commit(commits, make_post()))
    while store.calls < 2:
        await asyncio.sleep(0.001)
    assert "DYNOMETER_SPOOL_MAX_BYTES" in commits.rejection_reason
    store.is_down = False
    assert await commit_task
    assert not commits.rejection_reason


async def test_when_the_spool_is_full_and_the_store_stays_down_the_batch_is_rejected(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path, bytes_max=100, clock=Clock())
    commits = committer(DownStore(), spool, wait_s=0.1)
    with pytest.raises(StoreUnavailable, match="down"):
        await commit(commits, make_post())
    assert not spool.status().bytes


def test_no_text_of_a_client_becomes_part_of_an_id() -> None:
    assert len(batch_id(b"{x}:inbox" * 100)) == len(batch_id(b"")) == 16
    assert batch_id(b"1") == batch_id(b"1") != batch_id(b"2")
    assert batch_id(b"") != batch_id(b"")


async def test_a_post_without_queue_capacity_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ingest.group_commit.PENDING_BYTES_MAX", 1_000)
    store = GatedStore()
    commits = committer(store)
    first = submit(commits)
    while not store.groups:
        await asyncio.sleep(0)
    second = submit(commits)
    large_task = asyncio.create_task(commit(commits, make_post(*[router(NOW_S)] * 10)))
    await asyncio.sleep(0)
    assert not large_task.done()
    assert store.groups == [1]
    store.gate.set()
    assert [await first, await second, await large_task] == [True] * 3
    await commits.wait_idle()
    assert (await inbox_rollup(store)).messages == 12


async def test_a_post_without_queue_capacity_is_rejected_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.ingest.group_commit.PENDING_BYTES_MAX", 1)
    store = GatedStore()
    commits = committer(store, wait_s=0.1)
    waiting = [submit(commits) for _ in range(3)]
    results = await asyncio.gather(*waiting)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    await commits.wait_idle()


async def test_what_a_failed_post_held_needs_no_search_for_cycles() -> None:
    commits = committer(MemoryStore(Clock()))
    size = 2**20

    async def fail() -> bool:
        defect: Any = ""
        post = make_post()
        content = (bytes(bytearray(size)), defect)
        try:
            await commit(commits, DrainPost(post.key, post.id, post.token, content))
        except (AttributeError, TypeError):  # compiled, interpreted
            return True
        return False

    with without_collector() as held_bytes:
        assert await fail()
        await commits.wait_idle()
        assert held_bytes() < size / 2


async def test_a_large_body_lets_other_posts_overtake_it_and_counts_every_line() -> None:
    store = GatedStore()
    commits = committer(store)
    lines = 40_000  # several steps
    large_task = asyncio.create_task(commit(commits, make_post(*[router(NOW_S)] * lines)))
    await asyncio.sleep(0)
    small = submit(commits, "blog")
    while not store.groups:
        await asyncio.sleep(0)
    assert not large_task.done()
    store.gate.set()
    assert [await small, await large_task] == [True] * 2
    assert store.groups == [1, 1]
    ledger = (await inbox_rollup(store)).ledger
    assert ledger == {"received": lines, "counted": lines}


async def test_the_time_that_a_large_body_takes_to_aggregate_is_no_wait_for_the_store() -> None:
    class YieldingStore(MemoryStore):
        async def append_coalesced(self, *args: Any, **options: Any) -> dict[str, int]:
            await asyncio.sleep(0)  # as any store on a network does
            return await super().append_coalesced(*args, **options)

    writer = make_writer(YieldingStore(Clock()))
    # Aggregating so many lines takes longer than this wait on any machine.
    commits = arrivals.make_committer(writer, wait_s=0.004)
    assert await commit(commits, make_post(router(NOW_S) * 80_000))
    assert not writer.store_unavailable


async def test_posts_with_another_acceptance_window_are_not_coalesced() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    old = router(NOW_S - 2 * 86_400)
    results: list[Result] = []
    for acceptance in (ACCEPTANCE, ACCEPTANCE.for_replay()) * 2:
        results.append(asyncio.get_running_loop().create_future())
        commits.submit(make_post(old, acceptance=acceptance), results[-1].set_result)
    assert await asyncio.gather(*results) == [True] * 4
    ledger = (await inbox_rollup(store)).ledger
    assert ledger == {"received": 4, "counted": 2, "too_old": 2}


async def test_lines_that_are_split_or_counted_already_take_the_same_way() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    frame = router(NOW_S).partition(b" ")[2]
    ready = AggregatedBody(int(NOW_S), {}, {}, {"note": 1}, NO_ACTIVITY)
    for content in ([frame] * 2, [frame] * (SMALL_BYTES // len(frame) + 1), ready):
        post = msgspec.structs.replace(make_post(), content=content)
        assert await commit(commits, post)
    messages = 2 + SMALL_BYTES // len(frame) + 1
    ledger = (await inbox_rollup(store)).ledger
    assert ledger == {"received": messages, "counted": messages, "note": 1}


async def test_a_defect_in_one_post_fails_that_post_alone() -> None:
    store = MemoryStore(Clock())
    commits = committer(store)
    good = submit(commits)
    bad: Result = asyncio.get_running_loop().create_future()
    commits.submit(msgspec.structs.replace(make_post(), start=""), bad.set_result)
    assert isinstance(await bad, TypeError)
    assert [await good, await submit(commits)] == [True] * 2
    assert (await inbox_rollup(store)).messages == 2
