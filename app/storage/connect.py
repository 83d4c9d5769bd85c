"""Opens the store at a URL."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.server import ShardedStore
from app.storage.interface.store import Store
from app.storage.redis import cluster, sentinel
from app.storage.redis import store as redis_store
from app.storage.redis.single import CONNECTIONS_MAX

CHECK_TIMEOUT_S = 2.0
_CONNECT = {
    "redis+cluster": cluster.connect,
    "rediss+cluster": cluster.connect,
    "redis+sentinel": sentinel.connect,
    "rediss+sentinel": sentinel.connect,
}


def connect(url: str, connections_max: int = CONNECTIONS_MAX, replicas: int = 0) -> Store:
    """Open the store at a URL. Nothing is sent yet.

    Args:
        url: redis://, rediss:// or unix://; or redis+cluster://, redis+sentinel:// and the same
            with rediss.
        connections_max: from this process to one server. Further commands wait for a free one.
        replicas: how many replicas must acknowledge a batch before it counts as stored.
    Raises:
        StoreError: the URL cannot be read.
    """
    connect_to = _CONNECT.get(url.partition("://")[0], redis_store.connect)
    return connect_to(url, connections_max, replicas)


async def refuse_unsupported_data(store: Store) -> None:
    """Raise an error if the store holds data that this version cannot read.

    If the store does not respond within CHECK_TIMEOUT_S, nothing is raised: the service must be
    able to start during an outage.

    Raises:
        StoreError: names the data and the fix.
    """
    if isinstance(store, ShardedStore):
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await store.refuse_unsupported_data()
