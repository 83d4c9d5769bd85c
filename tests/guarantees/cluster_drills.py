"""The faults of a cluster, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.storage.redis.keys import inbox_key
from tests.support.cluster import Node
from tests.support.cluster_drill import ClusterStage, on_cluster
from tests.support.drill import Drill

APP = "app-0"  # one of those under load


async def kill_primary(stage: ClusterStage) -> None:
    """The primary of an app, at any moment; it comes back as a replica."""
    for _ in range(max(1, stage.size.kills // 10)):
        await stage.pause()
        lost = stage.owner(APP)
        await _fail_over(stage, lost, lost.kill)
        stage.kills += 1
        await asyncio.to_thread(lost.start)
        await asyncio.to_thread(stage.cluster.wait_for_replicas)
        await stage.until_stored()


async def freeze_primary(stage: ClusterStage) -> None:
    """The primary of an app is cut off: it holds its connections, and answers nobody."""
    for _ in range(max(1, stage.size.kills // 10)):
        await stage.pause()
        lost = stage.owner(APP)
        await _fail_over(stage, lost, lost.freeze)
        stage.kills += 1
        lost.thaw()
        await stage.until(lambda lost=lost: _is_replica(lost), "that it is a replica")  # type: ignore[misc]
        await asyncio.to_thread(stage.cluster.wait_for_replicas)
        await stage.until_stored()


async def freeze_service(stage: ClusterStage) -> None:
    """The primary that holds what belongs to the service: which apps were seen, who may send."""
    await stage.pause()
    lost = stage.cluster.owner("dm:{!service}:drains")
    await _fail_over(stage, lost, lost.freeze, stage.app_on(lost))
    stage.kills += 1
    lost.thaw()
    await stage.until(lambda: _is_replica(lost), "that it is a replica")
    await asyncio.to_thread(stage.cluster.wait_for_replicas)
    await stage.until_stored()


async def _fail_over(
    stage: ClusterStage, lost: Node, lose: Callable[[], None], app: str = APP
) -> None:
    async with stage.probing(stage.app_elsewhere(lost)) as took_s:
        lose()
        elected_s = await stage.until(lambda: stage.owner(app) is not lost, "an election")
        note = f"elected after {elected_s:.1f} s"
        if "DYNOMETER_REDIS_REPLICAS" not in stage.service.environ:
            note += f", all stored {await stage.until_stored():.1f} s later"
    longest_ms = max(took_s, default=0) * 1000
    stage.notes.append(f"{note}; other apps were answered within {longest_ms:.0f} ms")


async def move_slots(stage: ClusterStage) -> None:
    """A node is added, and apps move to it and back, again and again."""
    added = stage.cluster.add()
    await asyncio.to_thread(stage.cluster.join, added)
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
        "a primary of a cluster killed, batches on one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-kill",
        kill_primary,
        "a primary of a cluster killed, batches not waited for on replicas",
        build=on_cluster,
        may_lose=True,
    ),
    Drill(
        "cluster-freeze-safe",
        freeze_primary,
        "a primary of a cluster cut off, batches on one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-service",
        freeze_service,
        "the primary of a cluster cut off that holds what is the service's, on one replica",
        settings=_SAFE,
        build=on_cluster,
    ),
    Drill(
        "cluster-move",
        move_slots,
        "a node added to a cluster, apps moved",
        build=on_cluster,
    ),
)
