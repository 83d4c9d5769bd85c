"""Group commit: one call in flight, each POST with its own outcome, none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from app.commit import Committer, batch_id, new_batch
from app.store.memory import MemoryStore
from app.store.port import Appended, Batch, Outcome, StoreUnavailable
from app.store.redis import RedisStore
from tests.support.servers import RunningServer
from tests.support.service import Clock


class SlowStore(MemoryStore):
    """A memory store whose appends wait until they are let go, and which notes their groups."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.gate = asyncio.Event()
        self.groups: list[int] = []

    async def append(
        self, groups: Mapping[str, Sequence[Batch]], *, id_ttl_ms: int, inbox_ttl_ms: int
    ) -> dict[str, Appended]:
        self.groups.append(sum(map(len, groups.values())))
        await self.gate.wait()
        return await super().append(groups, id_ttl_ms=id_ttl_ms, inbox_ttl_ms=inbox_ttl_ms)


def committer(store: MemoryStore | RedisStore, *, wait_s: float = 5) -> Committer:
    return Committer(
        store, id_ttl_s=60, inbox_ttl_s=60, wait_s=wait_s, on_stored=lambda app, length: None
    )


async def test_what_arrives_during_a_call_goes_into_the_next_together() -> None:
    store = SlowStore()
    commits = committer(store)
    first = asyncio.create_task(commits.commit("shop", new_batch(b"1", b"")))
    while not store.groups:
        await asyncio.sleep(0)
    others = [
        asyncio.create_task(commits.commit(app, new_batch(b"%d" % n, b"")))
        for n in range(2, 12)
        for app in ("shop", "blog")
    ]
    await asyncio.sleep(0)
    store.gate.set()
    outcomes = await asyncio.gather(first, *others)
    assert store.groups == [1, 20]
    assert set(outcomes) == {Outcome.STORED}


async def test_each_batch_gets_its_own_outcome() -> None:
    commits = committer(MemoryStore(Clock()))
    outcomes = await asyncio.gather(
        *(commits.commit("shop", new_batch(frame_id, b"")) for frame_id in (b"1", b"2", b"1"))
    )
    assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE]


async def test_a_store_that_never_answers_is_given_up_in_time() -> None:
    commits = committer(SlowStore(), wait_s=0.05)
    with pytest.raises(StoreUnavailable, match="in time"):
        await commits.commit("shop", new_batch(b"1", b""))
    await asyncio.wait_for(commits.drained(), 5)


async def test_a_refusal_is_waited_out_and_counts_once(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory", 1)
    commits = committer(redis_store)
    waiting = asyncio.create_task(commits.commit("shop", new_batch(b"1", b"")))
    while not commits.last_error:
        await asyncio.sleep(0.001)
    server.client.config_set("maxmemory", 0)
    assert await waiting is Outcome.STORED
    assert not commits.last_error
    assert await redis_store.inbox_lengths(["shop"]) == {"shop": 1}


def test_no_text_of_a_client_becomes_an_id() -> None:
    assert batch_id(b"") == b""
    assert len(batch_id(b"{x}:inbox" * 100)) == 16
    assert batch_id(b"1") != batch_id(b"2")
