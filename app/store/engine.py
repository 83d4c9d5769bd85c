"""Which store an address names. An engine is loaded only where an address asks for it."""

from __future__ import annotations

from importlib import import_module

from app.store.one_server import CONNECTIONS_MAX
from app.store.port import Store

_MODULES = {
    "redis+cluster": "app.store.cluster",
    "rediss+cluster": "app.store.cluster",
    "redis+sentinel": "app.store.sentinel",
    "rediss+sentinel": "app.store.sentinel",
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
    module = import_module(_MODULES.get(url.partition("://")[0], "app.store.redis"))
    store: Store = module.connect(url, connections_max, replicas)
    return store
