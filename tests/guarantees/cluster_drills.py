"""Faults of a Redis Cluster, and their drills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.storage.redis.keys import inbox_key
from tests.support.cluster import Node
from tests.support.cluster_drill import ClusterStage, on_cluster
from tests.support.drill import Drill

APP = "app-0"  # one of the apps under load


async def kill_primary(stage: ClusterStage) -> None:
    """Kill the primary of an app at random moments; it comes back as a replica."""
    for _ in range(max(1, stage.size.kills // 10)):
        await stage.pause()
        primary = stage.owner(APP)
        await _fail_over(stage, primary, primary.kill)
        stage.kills += 1
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(stage.cluster.wait_for_replicas)
        await stage.until_stored()


async def freeze_primary(stage: ClusterStage) -> None:
    """Freeze the primary of an app: its connections stay open, nothing is answered."""
    for _ in range(max(1, stage.size.kills // 10)):
        await stage.pause()
        primary = stage.owner(APP)
        await _fail_over(stage, primary, primary.freeze)
        stage.kills += 1
        primary.thaw()
        await stage.until(lambda primary=primary: _is_replica(primary), "becoming a replica")  # type: ignore[misc]
        await asyncio.to_thread(stage.cluster.wait_for_replicas)
        await stage.until_stored()


async def freeze_service(stage: ClusterStage) -> None:
    """Freeze the primary with the keys of the service: drain records, tokens, list of apps."""
    await stage.pause()
    primary = stage.cluster.owner("dm:{!service}:drains")
    await _fail_over(stage, primary, primary.freeze, stage.app_on(primary))
    stage.kills += 1
    primary.thaw()
    await stage.until(lambda: _is_replica(primary), "becoming a replica")
    await asyncio.to_thread(stage.cluster.wait_for_replicas)
    await stage.until_stored()


async def _fail_over(
    stage: ClusterStage, primary: Node, break_primary: Callable[[], None], app: str = APP
) -> None:
    async with stage.probing(stage.app_elsewhere(primary)) as durations_s:
        break_primary()
        elected_s = await stage.until(lambda: stage.owner(app) is not primary, "an election")
        note = f"elected after {elected_s:.1f} s"
        if "DYNOMETER_REDIS_REPLICAS" not in stage.service.environ:
            note += f", all stored {await stage.until_stored():.1f} s later"
    longest_ms = max(durations_s, default=0) * 1000
    stage.notes.append(f"{note}; other apps were answered within {longest_ms:.0f} ms")


async def move_slots(stage: ClusterStage) -> None:
    """Add a node and move apps between the nodes repeatedly."""
    new_node = stage.cluster.add()
    await asyncio.to_thread(stage.cluster.join, new_node)
    moves = 0
    for _ in range(max(4, stage.size.kills)):
        await stage.pause(0.0, 0.2)
        key = inbox_key(f"app-{stage.random.randrange(stage.size.apps)}")
        targets = [
            node for node in stage.cluster.primaries() if node is not stage.cluster.owner(key)
        ]
        await asyncio.to_thread(stage.cluster.move, key, stage.random.choice(targets))
        moves += 1
    stage.notes.append(f"{moves} moves of an app")
    await stage.until_stored()


def _is_replica(node: Node) -> bool:
    return bool(node.client.role()[0] == b"slave")


_SAFE = {"DYNOMETER_REDIS_REPLICAS": "1"}
DRILLS = (
    Drill(
        "cluster-kill-safe",
        kill_primary,
        "a cluster primary killed, batches acknowledged by one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-kill",
        kill_primary,
        "a cluster primary killed, batches not acknowledged by replicas",
        build=on_cluster,
        may_lose=True,
    ),
    Drill(
        "cluster-freeze-safe",
        freeze_primary,
        "a cluster primary cut off, batches acknowledged by one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-service",
        freeze_service,
        "the cluster primary with the service's keys cut off, batches acknowledged by one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-move",
        move_slots,
        "a node added to a cluster, apps moved between nodes",
        build=on_cluster,
    ),
)
