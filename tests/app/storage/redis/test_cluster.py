"""The store on a Redis Cluster: moving slots, failing primaries, warnings.

The contract of the store is tested in test_contract.py, faults under load in tests/guarantees.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from app.storage import connect as engine
from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import Outcome, StatePrecondition
from app.storage.interface.errors import StoreError, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.redis.cluster import ClusterStore
from app.storage.redis.keys import app_id_keys, inbox_key
from tests.support.batches import (
    DAY_MS,
    again,
    append,
    append_bundle,
    append_when_taken,
    batch,
    bundle,
)
from tests.support.certificates import certificate
from tests.support.cluster import RedisCluster, free_port, running_cluster
from tests.support.servers import running_server, wait_until
from tests.support.store_calls import read_inbox

SPREADS = "dm:{!service}:spreads"
APPS = [f"app-{number}" for number in range(12)]


@pytest.fixture
async def cluster_store(cluster: RedisCluster) -> AsyncIterator[ClusterStore]:
    """An empty store on the shared cluster, which a test must not break."""
    cluster.empty()
    store = engine.connect(cluster.url)
    assert isinstance(store, ClusterStore)
    yield store
    await store.close()


@pytest.fixture
def disposable_cluster() -> Iterator[RedisCluster]:
    """A cluster that a test may break."""
    with running_cluster() as cluster:
        yield cluster


async def test_apps_lie_on_every_primary_and_each_on_one(
    cluster_store: ClusterStore, cluster: RedisCluster
) -> None:
    for app in APPS:
        await append(cluster_store, app, batch())

    for node in cluster.primaries():
        keys = str(node.client.keys("dm:{app-*"))
        for app in APPS:
            assert (inbox_key(app) in keys) == (cluster.owner(inbox_key(app)) is node)
    assert len({cluster_store.shard_of(app) for app in APPS}) == 3


async def test_the_keys_of_the_service_lie_on_one_primary(
    cluster_store: ClusterStore, cluster: RedisCluster
) -> None:
    await cluster_store.record_sightings([SeenApp("shop", 1, 2, 0)], ttl_ms=DAY_MS)
    await cluster_store.compare_and_set_drain("shop", "", "secret")
    await cluster_store.compare_and_set_note("loss", "", "note")
    await cluster_store.access_tables()
    await cluster_store.write_status("fold:1", {"at": "1"}, ttl_ms=DAY_MS)

    holding = [node for node in cluster.primaries() if node.client.keys("dm:{!service}:*")]
    assert len(holding) == 1


async def test_an_app_that_moves_is_followed(
    cluster_store: ClusterStore, cluster: RedisCluster
) -> None:
    first, second = batch(), batch()
    await append(cluster_store, "shop", first)
    before = cluster.owner(inbox_key("shop"))
    target = next(node for node in cluster.primaries() if node is not before)
    cluster.move(inbox_key("shop"), target)

    assert (await append(cluster_store, "shop", again(first), second)).outcomes == [
        Outcome.DUPLICATE,
        Outcome.STORED,
    ]
    assert target.client.llen(inbox_key("shop")) == 2
    cluster.move(inbox_key("shop"), before)


async def test_while_a_slot_moves_nothing_is_pushed_whose_id_is_not_recorded(
    cluster_store: ClusterStore, cluster: RedisCluster
) -> None:
    """The script replaces the older ids just then: a deleted key could not be created again."""
    for precondition in (
        StatePrecondition(b"", b"state"),
        StatePrecondition(b"state", b""),
    ):  # so that all keys exist
        await append_bundle(cluster_store, "shop", bundle(batch()), {"shop": precondition})
    _, ids_before = app_id_keys("shop")
    new_batch = batch()
    owner = cluster.owner(inbox_key("shop"))
    target = next(node for node in cluster.primaries() if node is not owner)
    with cluster.moving(inbox_key("shop"), target):
        owner.client.pexpire(ids_before, 900)
        with pytest.raises(StoreUnavailable):
            await append(cluster_store, "shop", new_batch)

    await append_when_taken(cluster_store, "shop", new_batch)
    assert (await append(cluster_store, "shop", again(new_batch))).outcomes == [Outcome.DUPLICATE]
    assert (await read_inbox(cluster_store, "shop", 10)).count(new_batch.element) == 1
    cluster.move(inbox_key("shop"), owner)


async def test_a_dead_primary_affects_only_its_own_apps(disposable_cluster: RedisCluster) -> None:
    store = engine.connect(disposable_cluster.url)
    for app in APPS:
        await append(store, app, batch())
    dead_node = disposable_cluster.owner(inbox_key(APPS[0]))
    dead_apps = {app for app in APPS if disposable_cluster.owner(inbox_key(app)) is dead_node}
    dead_node.kill()

    assert set(await store.read_inboxes(APPS, 10, 2**20)) == set(APPS) - dead_apps
    assert await store.reachable_apps(APPS) == [app for app in APPS if app not in dead_apps]
    for app in APPS:
        if app not in dead_apps:
            assert (await append(store, app, batch())).outcomes == [Outcome.STORED]
    with pytest.raises(StoreUnavailable):
        await append(store, APPS[0], batch())
    assert any(str(dead_node.port) in sentence for sentence in await store.warnings())
    await store.close()


async def test_a_promoted_replica_continues_for_its_primary(
    disposable_cluster: RedisCluster,
) -> None:
    store = engine.connect(disposable_cluster.url, replicas=1)
    first = batch()
    await append(store, "shop", first)
    dead_node = disposable_cluster.owner(inbox_key("shop"))
    dead_node.kill()
    await asyncio.to_thread(
        wait_until,
        lambda: disposable_cluster.owner(inbox_key("shop")) is not dead_node,
        within_s=30,
    )
    dead_node.start()
    await asyncio.to_thread(disposable_cluster.wait_for_replicas)

    result = await append_when_taken(store, "shop", again(first))
    assert result.outcomes == [Outcome.DUPLICATE]
    await store.close()


async def test_risky_settings_are_warnings(disposable_cluster: RedisCluster) -> None:
    store = engine.connect(disposable_cluster.url)
    assert await store.warnings() == []
    node = disposable_cluster.primaries()[0]
    node.client.config_set("maxmemory-policy", "allkeys-lru")
    for primary in disposable_cluster.primaries():
        primary.client.config_set("cluster-require-full-coverage", "yes")

    assert "noeviction" in " ".join(await store.problems())
    assert "cluster-require-full-coverage" in " ".join(await store.warnings())
    await store.close()


async def test_apps_split_by_an_earlier_version_are_rejected_with_a_command_that_helps(
    cluster_store: ClusterStore, cluster: RedisCluster
) -> None:
    await engine.refuse_unsupported_data(cluster_store)
    for app in ("shop", "api.eu"):
        cluster.owner(SPREADS).client.hset(SPREADS, app, b"\x95\x01\x04\x01\x00\x04")

    with pytest.raises(StoreError) as error:
        await engine.refuse_unsupported_data(cluster_store)

    message = str(error.value)
    assert not isinstance(error.value, StoreUnavailable)
    assert "'dynometer spread'" in message
    assert "api.eu, shop" in message
    # The command is run in a shell, as an operator would, against a node that may not hold the key.
    command = message[message.index("redis-cli") :].replace("HOST", "127.0.0.1")
    for node in cluster.primaries():
        cluster.owner(SPREADS).client.hset(SPREADS, mapping={"shop": b"", "api.eu": b""})
        process = await asyncio.create_subprocess_shell(
            command.replace("PORT", str(node.port)), stdout=asyncio.subprocess.PIPE
        )
        assert (await process.communicate())[0].split() == [b"2"]
        assert process.returncode == 0
        await engine.refuse_unsupported_data(cluster_store)


async def test_a_store_that_is_unavailable_or_has_no_shards_is_not_checked_for_old_data() -> None:
    await engine.refuse_unsupported_data(MemoryStore(time.time))
    store = engine.connect(f"redis+cluster://127.0.0.1:{free_port()}")
    await engine.refuse_unsupported_data(store)
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://localhost:6379/3",
        "redis+cluster://",
        "redis+cluster://localhost:port",
        "redis+sentinel://localhost:26379",
    ],
)
def test_an_unreadable_url_is_rejected_without_quoting_its_password(url: str) -> None:
    with pytest.raises(StoreError) as error:
        engine.connect(url.replace("://", "://user:secret@"))
    assert "REDIS_URL" in str(error.value)
    assert "secret" not in str(error.value)


async def test_a_cluster_is_reached_over_tls_with_its_password(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "localhost")
    port = free_port()
    options = ("--cluster-enabled", "yes", "--requirepass", "secret", "--tls-port", str(port))
    files = ("--tls-cert-file", chain, "--tls-key-file", key, "--tls-ca-cert-file", chain)
    with running_server(
        "redis-server",
        *(*options, *map(str, files), "--tls-cluster", "yes", "--tls-auth-clients", "no"),
        *("--cluster-preferred-endpoint-type", "hostname"),
        *("--cluster-announce-hostname", "localhost"),
    ) as server:
        with redis.from_url(server.url, password="secret") as client:
            client.cluster("ADDSLOTSRANGE", 0, 16_383)
        url = f"rediss+cluster://:secret@localhost:{port}?ssl_ca_certs={chain}"
        store = engine.connect(url)
        result = await append_when_taken(
            store, "shop", batch()
        )  # the cluster needs a moment to form
        assert result.outcomes == [Outcome.STORED]
        await store.close()
