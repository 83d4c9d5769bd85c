"""A Redis behind sentinels, and batches that must be on replicas. The contract is in
test_contract.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app.storage import connect as engine
from app.storage.interface import Outcome, StoreUnavailable
from app.storage.redis.keys import inbox_key
from tests.support.batches import again, append, append_when_taken, batch
from tests.support.cluster import Watched, running_sentinels


@pytest.fixture
def fragile() -> Iterator[Watched]:
    """To be broken."""
    with running_sentinels() as watched:
        yield watched


async def test_the_new_primary_is_found_after_a_failure(fragile: Watched) -> None:
    store = engine.connect(fragile.url)
    first = batch()
    await append(store, "shop", first)
    assert await store.warnings() == []
    fragile.primary.kill()

    taken = await append_when_taken(store, "shop", again(first))
    assert taken.outcomes == [Outcome.DUPLICATE]
    assert fragile.replica.client.llen(inbox_key("shop")) == 1
    await store.close()


async def test_a_batch_that_no_replica_has_is_not_stored_however_often_it_is_tried(
    fragile: Watched,
) -> None:
    store = engine.connect(fragile.url, replicas=1)
    assert (await append(store, "shop", batch())).outcomes == [Outcome.STORED]
    fragile.replica.freeze()
    waiting = batch()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(store, "shop", waiting)
    other = engine.connect(fragile.url, replicas=1)  # over a connection that wrote nothing yet
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(other, "shop", waiting)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await append(other, "shop", again(waiting))

    fragile.replica.thaw()
    assert (await append(other, "shop", waiting)).outcomes == [Outcome.OWN_RETRY]
    assert fragile.replica.client.llen(inbox_key("shop")) == 2
    await other.close()
    await store.close()


async def test_whoever_finds_all_connections_in_use_waits_for_one(watched: Watched) -> None:
    store = engine.connect(watched.url, connections_max=2)
    told = await asyncio.gather(*(store.check() for _ in range(20)))
    assert told == [[]] * 20
    await store.close()


async def test_too_few_replicas_are_told(fragile: Watched) -> None:
    store = engine.connect(fragile.url, replicas=2)
    assert "DYNOMETER_REDIS_REPLICAS" in " ".join(await store.warnings())
    await store.close()
