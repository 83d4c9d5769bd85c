"""A Redis Cluster as the store: what of it others must not notice. The contract is in
test_contract.py, faults under load in tests/guarantees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from app.storage import connect as engine
from app.storage.interface import Outcome, SeenApp, StatePrecondition, StoreError, StoreUnavailable
from app.storage.redis.cluster import ClusterStore
from app.storage.redis.keys import ids_of_each, inbox_key
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
from tests.support.cluster import ClusterOfNodes, free_port, running_cluster
from tests.support.servers import running_server, wait_until

APPS = [f"app-{number}" for number in range(12)]


@pytest.fixture
async def on_cluster(cluster: ClusterOfNodes) -> AsyncIterator[ClusterStore]:
    """A store on a cluster that nobody breaks."""
    cluster.empty()
    store = engine.connect(cluster.url)
    assert isinstance(store, ClusterStore)
    yield store
    await store.close()


@pytest.fixture
def fragile() -> Iterator[ClusterOfNodes]:
    """A cluster to be broken."""
    with running_cluster() as cluster:
        yield cluster


async def test_apps_lie_on_every_primary_and_each_on_one(
    on_cluster: ClusterStore, cluster: ClusterOfNodes
) -> None:
    for app in APPS:
        await append(on_cluster, app, batch())

    for node in cluster.primaries():
        here = str(node.client.keys("dm:{app-*"))
        for app in APPS:
            assert (inbox_key(app) in here) == (cluster.owner(inbox_key(app)) is node)
    assert len({on_cluster.shard_of(app) for app in APPS}) == 3


async def test_what_is_kept_of_the_service_lies_together(
    on_cluster: ClusterStore, cluster: ClusterOfNodes
) -> None:
    await on_cluster.record_sightings([SeenApp("shop", 1, 2, 0)], ttl_ms=DAY_MS)
    await on_cluster.swap_drain("shop", "", "secret")
    await on_cluster.heartbeat("fold:1", {"at": "1"}, ttl_ms=DAY_MS)

    holding = [node for node in cluster.primaries() if node.client.keys("dm:{!service}:*")]
    assert len(holding) == 1


async def test_an_app_that_moves_is_followed(
    on_cluster: ClusterStore, cluster: ClusterOfNodes
) -> None:
    first, second = batch(), batch()
    await append(on_cluster, "shop", first)
    before = cluster.owner(inbox_key("shop"))
    target = next(node for node in cluster.primaries() if node is not before)
    cluster.move(inbox_key("shop"), target)

    assert (await append(on_cluster, "shop", again(first), second)).outcomes == [
        Outcome.DUPLICATE,
        Outcome.STORED,
    ]
    assert target.client.llen(inbox_key("shop")) == 2
    cluster.move(inbox_key("shop"), before)


async def test_while_a_slot_moves_nothing_is_pushed_whose_id_is_not_recorded(
    on_cluster: ClusterStore, cluster: ClusterOfNodes
) -> None:
    """Just as older ids are dropped, so that a key is gone that could not be made anew."""
    for guard in (
        StatePrecondition(b"", b"state"),
        StatePrecondition(b"state", b""),
    ):  # so that all keys are there
        await append_bundle(on_cluster, "shop", bundle(batch()), {"shop": guard})
    _, ids_before = ids_of_each("shop")
    sent = batch()
    owner = cluster.owner(inbox_key("shop"))
    target = next(node for node in cluster.primaries() if node is not owner)
    with cluster.moving(inbox_key("shop"), target):
        owner.client.pexpire(ids_before, 900)
        with pytest.raises(StoreUnavailable):
            await append(on_cluster, "shop", sent)

    await append_when_taken(on_cluster, "shop", sent)
    assert (await append(on_cluster, "shop", again(sent))).outcomes == [Outcome.DUPLICATE]
    assert (await on_cluster.read_inbox("shop", 10)).count(sent.element) == 1
    cluster.move(inbox_key("shop"), owner)


async def test_a_primary_that_is_away_costs_only_its_own_apps(fragile: ClusterOfNodes) -> None:
    store = engine.connect(fragile.url)
    for app in APPS:
        await append(store, app, batch())
    lost = fragile.owner(inbox_key(APPS[0]))
    theirs = {app for app in APPS if fragile.owner(inbox_key(app)) is lost}
    lost.kill()

    assert set(await store.read_inboxes(APPS, 10)) == set(APPS) - theirs
    assert await store.reachable(APPS) == [app for app in APPS if app not in theirs]
    for app in APPS:
        if app not in theirs:
            assert (await append(store, app, batch())).outcomes == [Outcome.STORED]
    with pytest.raises(StoreUnavailable):
        await append(store, APPS[0], batch())
    assert any(str(lost.port) in sentence for sentence in await store.warnings())
    await store.close()


async def test_a_promoted_replica_goes_on_where_the_primary_was(fragile: ClusterOfNodes) -> None:
    store = engine.connect(fragile.url, replicas=1)
    first = batch()
    await append(store, "shop", first)
    lost = fragile.owner(inbox_key("shop"))
    lost.kill()
    await asyncio.to_thread(
        wait_until, lambda: fragile.owner(inbox_key("shop")) is not lost, within_s=30
    )
    lost.start()
    await asyncio.to_thread(fragile.wait_for_replicas)

    taken = await append_when_taken(store, "shop", again(first))
    assert taken.outcomes == [Outcome.DUPLICATE]
    await store.close()


async def test_what_the_operator_should_see_to_is_said(fragile: ClusterOfNodes) -> None:
    store = engine.connect(fragile.url)
    assert await store.warnings() == []
    node = fragile.primaries()[0]
    node.client.config_set("maxmemory-policy", "allkeys-lru")
    for each in fragile.primaries():
        each.client.config_set("cluster-require-full-coverage", "yes")

    assert "noeviction" in " ".join(await store.check())
    assert "cluster-require-full-coverage" in " ".join(await store.warnings())
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
def test_an_address_that_cannot_be_one_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as refusal:
        engine.connect(url.replace("://", "://user:secret@"))
    assert "REDIS_URL" in str(refusal.value)
    assert "secret" not in str(refusal.value)


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
        taken = await append_when_taken(store, "shop", batch())  # it wants a moment
        assert taken.outcomes == [Outcome.STORED]
        await store.close()
