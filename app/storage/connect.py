"""Opens the store that an address names."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.storage.interface import Sharded, Store, StoreUnavailable
from app.storage.redis import cluster, sentinel
from app.storage.redis import store as redis_store
from app.storage.redis.single import CONNECTIONS_MAX

CHECKED_WITHIN_S = 2.0
_CONNECT = {
    "redis+cluster": cluster.connect,
    "rediss+cluster": cluster.connect,
    "redis+sentinel": sentinel.connect,
    "rediss+sentinel": sentinel.connect,
}


def connect(url: str, connections_max: int = CONNECTIONS_MAX, replicas: int = 0) -> Store:
    """A store at redis://, rediss:// or unix://, or at one of these with +cluster or +sentinel.
    Nothing is sent yet.

    Args:
        connections_max: of this process to a server; whoever finds them all in use waits for one.
        replicas: how many must have a batch before it counts as stored.
    Raises:
        StoreError: this is no such address.
    """
    connect_to = _CONNECT.get(url.partition("://")[0], redis_store.connect)
    return connect_to(url, connections_max, replicas)


async def refuse_unsupported_data(store: Store) -> None:
    """Refuse to start over data that this version cannot read.

    A store that does not answer is not waited for: it may be down while the service starts.

    Raises:
        StoreError: says what the store holds and what to do.
    """
    if isinstance(store, Sharded):
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(CHECKED_WITHIN_S):
                await store.refuse_unsupported_data()
