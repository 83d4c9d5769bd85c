"""Fixtures with stores: in memory, and on every kind of server that is installed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from app.storage import connect as engine
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore, connect
from tests.support.cluster import (
    RedisCluster,
    SentinelSetup,
    running_cluster,
    running_sentinels,
)
from tests.support.postgres import TEMPLATE, PostgresServer, running_postgres
from tests.support.servers import RunningServer, running_server, server_names

# A deadline per example would measure the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

SLOW_FOLDERS = frozenset({"browser", "guarantees", "kafka", "prometheus", "proxies", "senders"})
SERVER_FIXTURES = frozenset({"server_of", "cluster", "watched", "postgres"})
SERVER_MODULES = ("processes", "servers", "cluster", "logtext", "kafka", "monitoring", "postgres")
DEFAULT_DATA_DIR = Path(".dynometer")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Three workers for two cores: a third of the time, tests wait for servers and processes.

    Browsers and foreign programs load the cores themselves: `--numprocesses=logical` is for them.
    """
    if config.option.numprocesses == "logical":
        return None
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and what needs a server or a process, by what a test uses.

    Files that wait for processes come first, so that none of them runs alone at the end.
    """
    for item in items:
        assert isinstance(item, pytest.Function)
        if SLOW_FOLDERS & set(item.path.parts):
            item.add_marker("slow")
        if "guarantees" in item.path.parts:
            item.add_marker("drill")
        if "kafka" in item.path.parts:
            item.add_marker("kafka")
        if _starts_something(item):
            item.add_marker("server")
    waiting = {item.path for item in items if item.get_closest_marker("server")}
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path in waiting, sizes[item.path]), reverse=True)


def _starts_something(item: pytest.Function) -> bool:
    if SERVER_FIXTURES & set(item.fixturenames):
        chosen = item.callspec.params.get("store") if hasattr(item, "callspec") else None
        return chosen != "memory"
    helpers = {f"tests.support.{name}" for name in SERVER_MODULES}
    used = {getattr(value, "__module__", None) for value in vars(item.module).values()}
    return bool(helpers & used) or not {"subprocess", "uvicorn"}.isdisjoint(vars(item.module))


def _last_change_ns(directory: Path) -> int:
    return directory.stat().st_mtime_ns if directory.exists() else 0


@pytest.fixture(autouse=True)
def _own_data_directory() -> Iterator[None]:
    """Fail a test whose service uses the default data directory.

    All tests, and the service that a developer runs in this checkout, would share it. A service
    then takes the store of a test for one that lost what an earlier test had.
    """
    last_change_ns = _last_change_ns(DEFAULT_DATA_DIR)
    yield
    assert _last_change_ns(DEFAULT_DATA_DIR) == last_change_ns, (
        f"{DEFAULT_DATA_DIR} was changed: set DYNOMETER_DATA_DIR in this test"
    )


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], RunningServer]]:
    """Returns a server by name, and starts it on first use."""
    servers: dict[str, RunningServer] = {}
    with ExitStack() as stack:

        def server_of(name: str) -> RunningServer:
            if name not in servers:
                servers[name] = stack.enter_context(running_server(name))
            return servers[name]

        yield server_of


@pytest.fixture(params=server_names())
def server(
    request: pytest.FixtureRequest, server_of: Callable[[str], RunningServer]
) -> Iterator[RunningServer]:
    """A real server, empty and with default settings."""
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
def cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster shared by all tests, so none may break it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sentinel() -> Iterator[SentinelSetup]:
    """A Redis behind sentinels shared by all tests, so none may break it."""
    with running_sentinels() as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server shared by all tests, so none may break it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def archive_url(postgres: PostgresServer) -> str:
    """An archive of its own, empty and with its schema."""
    return postgres.url(postgres.create_database(TEMPLATE))


@pytest.fixture(params=["memory", *server_names(), "cluster", "sentinel"])
async def store(
    request: pytest.FixtureRequest, server_of: Callable[[str], RunningServer]
) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore(time.time)
        return
    if request.param in ("cluster", "sentinel"):
        topology: RedisCluster | SentinelSetup = request.getfixturevalue(request.param)
        topology.empty()
        url = topology.url
    else:
        server = server_of(request.param)
        server.client.flushall()
        url = server.url
    store = engine.connect(url)
    yield store
    await store.close()
