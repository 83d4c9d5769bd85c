"""Stores for tests: in memory, and on each server that is here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from app.storage import connect as engine
from app.storage.interface import Store
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore, connect
from tests.support.cluster import (
    ClusterOfNodes,
    Watched,
    running_cluster,
    running_sentinels,
)
from tests.support.servers import RunningServer, running_server, server_names

SLOW_FOLDERS = frozenset({"browser", "guarantees", "kafka", "prometheus", "proxies", "senders"})
SERVER_FIXTURES = frozenset({"server_of", "cluster", "watched"})
SERVER_MODULES = ("processes", "servers", "cluster", "logtext", "kafka", "monitoring")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and what needs a server or a process, by what a test uses."""
    for item in items:
        assert isinstance(item, pytest.Function)
        if SLOW_FOLDERS & set(item.path.parts):
            item.add_marker("slow")
        if _starts_something(item):
            item.add_marker("server")


def _starts_something(item: pytest.Function) -> bool:
    if SERVER_FIXTURES & set(item.fixturenames):
        chosen = item.callspec.params.get("store") if hasattr(item, "callspec") else None
        return chosen != "memory"
    helpers = {f"tests.support.{name}" for name in SERVER_MODULES}
    used = {getattr(value, "__module__", None) for value in vars(item.module).values()}
    return bool(helpers & used) or "subprocess" in vars(item.module)


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], RunningServer]]:
    """Servers by name, each started when first asked for."""
    started: dict[str, RunningServer] = {}
    with ExitStack() as stack:

        def server_of(name: str) -> RunningServer:
            if name not in started:
                started[name] = stack.enter_context(running_server(name))
            return started[name]

        yield server_of


@pytest.fixture(params=server_names())
def server(
    request: pytest.FixtureRequest, server_of: Callable[[str], RunningServer]
) -> Iterator[RunningServer]:
    """A real server, empty and with its usual settings."""
    server = server_of(request.param)
    server.client.flushall()
    yield server
    server.client.config_set("maxmemory", 0)
    server.client.config_set("maxmemory-policy", "noeviction")
    server.client.replicaof("NO", "ONE")


@pytest.fixture
async def redis_store(server: RunningServer) -> AsyncIterator[RedisStore]:
    """A store on a real server."""
    store = connect(server.url)
    yield store
    await store.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterOfNodes]:
    """A Redis Cluster, which a test may not break."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """A Redis behind sentinels, which a test may not break."""
    with running_sentinels() as watched:
        yield watched


@pytest.fixture(params=["memory", *server_names(), "cluster", "watched"])
async def store(
    request: pytest.FixtureRequest, server_of: Callable[[str], RunningServer]
) -> AsyncIterator[Store]:
    """Each kind of store, empty."""
    if request.param == "memory":
        yield MemoryStore(time.time)
        return
    if request.param in ("cluster", "watched"):
        several: ClusterOfNodes | Watched = request.getfixturevalue(request.param)
        several.empty()
        url = several.url
    else:
        server = server_of(request.param)
        server.client.flushall()
        url = server.url
    store = engine.connect(url)
    yield store
    await store.close()
