"""Opens the store that an address names."""

from __future__ import annotations

from app.storage.interface import Store
from app.storage.redis import cluster, sentinel
from app.storage.redis import store as redis_store
from app.storage.redis.single import CONNECTIONS_MAX

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
