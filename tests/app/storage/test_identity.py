"""A store has one identity for all who use it, for as long as it keeps its data."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from app.storage.interface.access import AccessTables
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Store
from app.storage.redis.store import RedisStore, connect
from tests.support.batches import append, batch
from tests.support.servers import RunningServer

CLOCK_TOLERANCE_S = 60  # between this process and the server


async def test_the_identity_is_written_once_however_many_ask_for_it_first(store: Store) -> None:
    identities = set(await asyncio.gather(*(store.identity() for _ in range(20))))

    assert len(identities) == 1
    (identity,) = identities
    assert re.fullmatch(r"[0-9a-f]{32}", identity.id)
    assert abs(identity.epoch_s - time.time()) < CLOCK_TOLERANCE_S


async def test_workers_with_connections_of_their_own_see_the_same_identity(
    server: RunningServer,
) -> None:
    workers = [connect(server.url) for _ in range(4)]

    identities = set(await asyncio.gather(*(worker.identity() for worker in workers)))

    assert len(identities) == 1
    for worker in workers:
        await worker.close()


async def test_a_store_with_data_of_an_earlier_version_gets_an_identity(
    redis_store: RedisStore, server: RunningServer
) -> None:
    await append(redis_store, "shop", batch())
    assert not server.client.exists("dm:identity")

    assert await redis_store.identity() == await redis_store.identity()


async def test_an_emptied_store_has_another_identity(
    redis_store: RedisStore, server: RunningServer
) -> None:
    before = await redis_store.identity()
    server.client.flushall()

    assert (await redis_store.identity()).id != before.id


async def test_a_full_store_still_tells_its_identity_but_writes_no_first_one(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="Raise its maxmemory"):
        await redis_store.identity()

    server.client.config_set("maxmemory", 0)
    identity = await redis_store.identity()
    server.client.config_set("maxmemory", 1)
    assert await redis_store.identity() == identity


async def test_drains_are_never_read_with_the_identity_of_another_store(
    redis_store: RedisStore, server: RunningServer
) -> None:
    for _ in range(100):
        before = (await redis_store.identity()).id
        await redis_store.compare_and_set_drain("shop", "", "record")
        flush = asyncio.create_task(asyncio.to_thread(server.client.flushall))
        answers = await asyncio.gather(*(read_after(redis_store, turns) for turns in range(20)))
        await flush
        for tables in answers:
            assert (tables.identity.id == before) == bool(tables.drains)


async def read_after(store: RedisStore, turns: int) -> AccessTables:
    """Read after this many turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await store.access_tables()
