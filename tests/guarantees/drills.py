"""The faults, one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import httpx2

from tests.guarantees import cluster_drills
from tests.support.drill import Drill, World

HOURS_S = 3_600
EXIT_WITHIN_S = 10.0


async def kill_workers(world: World) -> None:
    """Any worker, at any moment."""
    while world.kills < world.size.kills:
        await world.pause()
        workers = world.service.workers
        if workers:
            await world.kill(world.random.choice(workers))


async def kill_workers_while_away(world: World) -> None:
    """What a killed worker left on disk, another one brings in."""
    await world.pause()
    await world.proxy.refuse()
    await _spools(world)
    await kill_workers(world)
    await world.proxy.start()


async def kill_supervisor(world: World) -> None:
    """The whole service at once, and a start on the same data directory."""
    for _ in range(world.size.kills):
        await world.pause(0.3, 1.0)
        await asyncio.to_thread(world.service.kill)
        world.kills += 1
        await asyncio.to_thread(world.service.start)


async def kill_redis(world: World) -> None:
    """Redis, at any moment, and a start on its files."""
    for _ in range(world.size.kills):
        await world.pause()
        await asyncio.to_thread(world.redis.kill)
        world.kills += 1
        await world.pause(0.0, 0.5)
        await asyncio.to_thread(world.redis.start)


async def _spools(world: World) -> None:
    """The service says that it takes batches, and that it is buffering."""
    body = {}
    for _ in range(200):
        answer = await world.ready()
        body = answer.json()
        if answer.status_code == 200 and body["spool"]["status"] == "buffering":
            world.expect(body["store"]["status"] == "degraded", "store not shown as degraded")
            return
        await asyncio.sleep(0.05)
    world.problems.append(f"not seen to buffer: {body}")


async def stop_redis(world: World) -> None:
    """Redis stands still (SIGSTOP): connections stay, nothing is answered."""
    await world.pause()
    os.kill(world.redis.pid, signal.SIGSTOP)
    await _spools(world)
    await asyncio.sleep(world.size.outage_s)
    os.kill(world.redis.pid, signal.SIGCONT)


async def refuse_redis(world: World) -> None:
    """Connections to Redis are refused."""
    await world.pause()
    await world.proxy.refuse()
    await _spools(world)
    await asyncio.sleep(world.size.outage_s)
    await world.proxy.start()


async def black_hole(world: World) -> None:
    """Connections to Redis are taken, and nothing comes back."""
    await world.pause()
    world.proxy.stop_relaying()
    await _spools(world)
    await asyncio.sleep(world.size.outage_s)
    world.proxy.resume_relaying()


async def lose_replies(world: World) -> None:
    """Redis does its work and the reply is lost; again and again."""
    for _ in range(world.size.kills * 3):
        await world.pause(0.05, 0.2)
        world.proxy.replies_to_lose += world.random.randint(1, 3)


async def lose_replies_and_workers(world: World) -> None:
    """Replies get lost, and workers are killed before they can try again."""
    while world.kills < world.size.kills:
        await world.pause(0.05, 0.3)
        world.proxy.replies_to_lose += 2
        await world.pause(0.0, 0.02)
        workers = world.service.workers
        if workers:
            await world.kill(world.random.choice(workers))


async def slow_redis(world: World) -> None:
    """Each reply of Redis takes half a second."""
    await world.pause()
    world.proxy.delay_s = 0.5
    await asyncio.sleep(world.size.outage_s)
    world.proxy.delay_s = 0.0


async def full_redis(world: World) -> None:
    """Redis reaches its maxmemory, and gets room again."""
    await world.pause()
    world.redis.client.config_set("maxmemory", 1)
    await _spools(world)
    await asyncio.sleep(world.size.outage_s)
    world.redis.client.config_set("maxmemory", 0)


async def eviction(world: World) -> None:
    """Somebody sets an eviction policy: the service says that it is not ready, and why."""
    await world.pause()
    world.redis.client.config_set("maxmemory-policy", "allkeys-lru")
    answer = await world.ready()
    world.expect(answer.status_code == 503, "ready in spite of an eviction policy")
    world.expect("noeviction" in answer.text, "/readyz does not name the policy")
    world.redis.client.config_set("maxmemory-policy", "noeviction")
    world.expect((await world.ready()).status_code == 200, "not ready again")


async def full_disk(world: World) -> None:
    """Redis is away and the spool has no room: batches are held, then refused, never taken."""
    await world.pause()
    await world.proxy.refuse()
    await asyncio.sleep(world.size.outage_s)
    async with asyncio.timeout(30):
        while (await world.ready()).status_code != 503:
            await asyncio.sleep(0.05)
    await world.proxy.start()


async def fold_together(world: World) -> None:
    """Further folders race with the workers, and are killed half-way."""
    program = [sys.executable, "-m", "app.cli", "fold"]
    environ = {**world.service.environ, "DYNOMETER_FOLD_INTERVAL": "1s"}
    for _ in range(world.size.kills):
        folders = [
            await asyncio.create_subprocess_exec(
                *program, env=environ, stderr=asyncio.subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        await world.pause(1.0, 2.0)
        for folder in folders:
            folder.kill()
            world.kills += 1
            await folder.wait()


async def huge_inbox(world: World) -> None:
    """Nobody folds for a while; then whoever starts finds a huge inbox."""
    await asyncio.sleep(world.size.outage_s)
    await asyncio.to_thread(world.service.kill)
    world.kills += 1
    world.service.environ.update(DYNOMETER_FOLD_INTERVAL="1s", DYNOMETER_FOLD_BATCHES="64")
    await asyncio.to_thread(world.service.start)


async def terminate(world: World) -> None:
    """SIGTERM under load, and a start."""
    for _ in range(world.size.kills):
        await world.pause(0.3, 0.8)
        refused = asyncio.create_task(_refused_soon(world))
        took_s = await asyncio.to_thread(world.service.terminate)
        world.expect(took_s < EXIT_WITHIN_S, f"took {took_s:.1f} s to exit")
        world.expect(await refused, "connections were not refused during shutdown")
        world.kills += 1
        await asyncio.to_thread(world.service.start)


async def _refused_soon(world: World) -> bool:
    """Whether a new connection is refused at some time within the shutdown, and none is answered
    503.
    """
    deadline = time.monotonic() + EXIT_WITHIN_S
    while time.monotonic() < deadline:
        try:
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"{world.service.url}/drain", auth=("app-0", "any"))
        except httpx2.ConnectError:
            return True
        except httpx2.TransportError:
            continue
        if answer.status_code != 200:
            return False
        await asyncio.sleep(0.01)
    return False


async def nothing(world: World) -> None:
    """No fault at all."""
    await world.pause()


DRILLS = (
    Drill("none", nothing, "nothing is broken"),
    Drill("worker", kill_workers, "SIGKILL of a worker", may_use_up_tries=True),
    Drill("supervisor", kill_supervisor, "SIGKILL of the supervisor, restart"),
    Drill("redis-always", kill_redis, "SIGKILL of Redis, appendfsync always"),
    Drill(
        "redis-everysec",
        kill_redis,
        "SIGKILL of Redis, appendfsync everysec",
        redis=("--appendfsync", "everysec"),
    ),
    Drill("stopped", stop_redis, "Redis stands still (SIGSTOP)"),
    Drill("refused", refuse_redis, "connections to Redis refused"),
    Drill("black-hole", black_hole, "Redis takes connections and is silent"),
    Drill("lost-replies", lose_replies, "replies of Redis lost after the commit"),
    Drill(
        "lost-and-killed",
        lose_replies_and_workers,
        "replies lost, then the worker killed",
        may_use_up_tries=True,
    ),
    Drill("slow", slow_redis, "each reply of Redis takes 500 ms"),
    Drill("maxmemory", full_redis, "Redis out of memory, then relieved"),
    Drill("eviction", eviction, "an eviction policy set by mistake"),
    Drill(
        "full-disk",
        full_disk,
        "Redis away and no room on disk",
        settings={"DYNOMETER_SPOOL_MAX_BYTES": "64KiB"},
        may_drop=True,
    ),
    Drill("folders", fold_together, "four folders race, two of them killed again and again"),
    Drill(
        "huge-inbox",
        huge_inbox,
        "nobody folds, then a killed service finds a huge inbox",
        settings={"DYNOMETER_FOLD_INTERVAL": "1h", "DYNOMETER_FOLD_BATCHES": "999999"},
    ),
    Drill("sigterm", terminate, "SIGTERM under load, restart: a rolling restart"),
    Drill("clock-behind", nothing, "a sender's clock 3 hours behind", clock_off_s=-3 * HOURS_S),
    Drill(
        "killed-while-away",
        kill_workers_while_away,
        "Redis away and workers killed meanwhile",
        may_use_up_tries=True,
    ),
)
BY_NAME = {drill.name: drill for drill in (*DRILLS, *cluster_drills.DRILLS)}
