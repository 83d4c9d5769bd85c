"""The faults that drills inject, and the drills."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import httpx2

from tests.guarantees import cluster_drills, upgrade_drill
from tests.support.drill import Drill, World

HOURS_S = 3_600
EXIT_WITHIN_S = 10.0


async def kill_workers(world: World) -> None:
    """Kill random workers at random moments."""
    while world.kills < world.size.kills:
        await world.pause()
        workers = world.service.workers
        if workers:
            await world.kill(world.random.choice(workers))


async def kill_workers_during_outage(world: World) -> None:
    """Kill workers while they spool: others must replay the spool of a killed worker."""
    await world.pause()
    await world.proxy.refuse()
    await _wait_until_spooling(world)
    await kill_workers(world)
    await world.proxy.start()


async def kill_supervisor(world: World) -> None:
    """Kill the whole service and start it on the same data directory."""
    for _ in range(world.size.kills):
        await world.pause(0.3, 1.0)
        await asyncio.to_thread(world.service.kill)
        world.kills += 1
        await asyncio.to_thread(world.service.start)


async def kill_redis(world: World) -> None:
    """Kill Redis at random moments and start it on its files."""
    for _ in range(world.size.kills):
        await world.pause()
        await asyncio.to_thread(world.redis.kill)
        world.kills += 1
        await world.pause(0.0, 0.5)
        await asyncio.to_thread(world.redis.start)


async def _wait_until_spooling(world: World) -> None:
    """Wait until the service reports that it is ready and spooling."""
    body = {}
    for _ in range(200):
        answer = await world.ready()
        body = answer.json()
        if answer.status_code == 200 and body["spool"]["status"] == "buffering":
            world.expect(
                body["store"]["status"] == "degraded", "the store is not reported as degraded"
            )
            return
        await asyncio.sleep(0.05)
    world.problems.append(f"no spooling was reported: {body}")


async def freeze_redis(world: World) -> None:
    """Freeze Redis with SIGSTOP: connections stay open, nothing is answered."""
    await world.pause()
    os.kill(world.redis.pid, signal.SIGSTOP)
    await _wait_until_spooling(world)
    await asyncio.sleep(world.size.outage_s)
    os.kill(world.redis.pid, signal.SIGCONT)


async def refuse_redis(world: World) -> None:
    """Refuse connections to Redis."""
    await world.pause()
    await world.proxy.refuse()
    await _wait_until_spooling(world)
    await asyncio.sleep(world.size.outage_s)
    await world.proxy.start()


async def black_hole(world: World) -> None:
    """Accept connections to Redis, but relay nothing."""
    await world.pause()
    world.proxy.stop_relaying()
    await _wait_until_spooling(world)
    await asyncio.sleep(world.size.outage_s)
    world.proxy.resume_relaying()


async def lose_replies(world: World) -> None:
    """Let Redis execute commands and lose the replies, repeatedly."""
    for _ in range(world.size.kills * 3):
        await world.pause(0.05, 0.2)
        world.proxy.replies_to_lose += world.random.randint(1, 3)


async def lose_replies_and_workers(world: World) -> None:
    """Lose replies and kill workers before they can retry."""
    while world.kills < world.size.kills:
        await world.pause(0.05, 0.3)
        world.proxy.replies_to_lose += 2
        await world.pause(0.0, 0.02)
        workers = world.service.workers
        if workers:
            await world.kill(world.random.choice(workers))


async def slow_redis(world: World) -> None:
    """Delay each reply of Redis by half a second."""
    await world.pause()
    world.proxy.delay_s = 0.5
    await asyncio.sleep(world.size.outage_s)
    world.proxy.delay_s = 0.0


async def full_redis(world: World) -> None:
    """Let Redis reach its maxmemory, then remove the limit."""
    await world.pause()
    world.redis.client.config_set("maxmemory", 1)
    await _wait_until_spooling(world)
    await asyncio.sleep(world.size.outage_s)
    world.redis.client.config_set("maxmemory", 0)


async def eviction(world: World) -> None:
    """Set an eviction policy: the service must report that it is not ready, and why."""
    await world.pause()
    world.redis.client.config_set("maxmemory-policy", "allkeys-lru")
    answer = await _ready_answer(world, 503)
    world.expect(answer.status_code == 503, "ready despite an eviction policy")
    world.expect("noeviction" in answer.text, "/readyz does not name the policy")
    world.redis.client.config_set("maxmemory-policy", "noeviction")
    answer = await _ready_answer(world, 200)
    world.expect(answer.status_code == 200, "not ready again")


async def _ready_answer(world: World, status: int) -> httpx2.Response:
    """The first answer of /readyz with this status, or the last one. Each worker caches its own."""
    for _ in range(100):
        answer = await world.ready()
        if answer.status_code == status:
            break
        await asyncio.sleep(0.1)
    return answer


async def full_disk(world: World) -> None:
    """Make Redis unavailable with a full spool: batches wait, then are rejected."""
    await world.pause()
    await world.proxy.refuse()
    await asyncio.sleep(world.size.outage_s)
    async with asyncio.timeout(30):
        while (await world.ready()).status_code != 503:
            await asyncio.sleep(0.05)
    await world.proxy.start()


async def race_folds(world: World) -> None:
    """Start more fold workers that race with the others, and kill them half-way."""
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
    """Fold nothing for a while; after a restart the service finds a huge inbox."""
    await asyncio.sleep(world.size.outage_s)
    await asyncio.to_thread(world.service.kill)
    world.kills += 1
    world.service.environ.update(DYNOMETER_FOLD_INTERVAL="1s", DYNOMETER_FOLD_BATCHES="64")
    await asyncio.to_thread(world.service.start)


async def terminate(world: World) -> None:
    """Stop the service with SIGTERM under load, and start it again."""
    for _ in range(world.size.kills):
        await world.pause(0.3, 0.8)
        refusal = asyncio.create_task(_is_refused_soon(world))
        duration_s = await asyncio.to_thread(world.service.terminate)
        world.expect(duration_s < EXIT_WITHIN_S, f"took {duration_s:.1f} s to exit")
        world.expect(await refusal, "connections were not refused during shutdown")
        world.kills += 1
        await asyncio.to_thread(world.service.start)


async def _is_refused_soon(world: World) -> bool:
    """Whether the shutdown refuses a new connection before any request is answered 503."""
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


async def no_fault(world: World) -> None:
    """Inject no fault."""
    await world.pause()


DRILLS = (
    Drill("none", no_fault, "no fault"),
    Drill("worker", kill_workers, "SIGKILL of a worker", may_use_up_tries=True),
    Drill("supervisor", kill_supervisor, "SIGKILL of the supervisor, then a restart"),
    Drill("redis-always", kill_redis, "SIGKILL of Redis, appendfsync always"),
    Drill(
        "redis-everysec",
        kill_redis,
        "SIGKILL of Redis, appendfsync everysec",
        redis=("--appendfsync", "everysec"),
    ),
    Drill("stopped", freeze_redis, "Redis frozen (SIGSTOP)"),
    Drill("refused", refuse_redis, "connections to Redis refused"),
    Drill("black-hole", black_hole, "Redis accepts connections but never answers"),
    Drill("lost-replies", lose_replies, "replies of Redis lost after the commit"),
    Drill(
        "lost-and-killed",
        lose_replies_and_workers,
        "replies lost, then the worker killed",
        may_use_up_tries=True,
    ),
    Drill("slow", slow_redis, "each reply of Redis takes 500 ms"),
    Drill("maxmemory", full_redis, "Redis out of memory for a while"),
    Drill("eviction", eviction, "an eviction policy set by mistake"),
    Drill(
        "full-disk",
        full_disk,
        "Redis unavailable and the spool full",
        settings={"DYNOMETER_SPOOL_MAX_BYTES": "64KiB"},
        may_drop=True,
    ),
    Drill("folders", race_folds, "four fold workers race, two of them killed repeatedly"),
    Drill(
        "huge-inbox",
        huge_inbox,
        "no folding for a while, then a restart with a huge inbox",
        settings={"DYNOMETER_FOLD_INTERVAL": "1h", "DYNOMETER_FOLD_BATCHES": "999999"},
    ),
    Drill("sigterm", terminate, "rolling restarts (SIGTERM) under load"),
    Drill("clock-behind", no_fault, "a sender's clock 3 hours behind", clock_off_s=-3 * HOURS_S),
    Drill(
        "killed-while-away",
        kill_workers_during_outage,
        "workers killed while Redis is unavailable",
        may_use_up_tries=True,
    ),
)
ALL_DRILLS = (*DRILLS, *upgrade_drill.DRILLS, *cluster_drills.DRILLS)
BY_NAME = {drill.name: drill for drill in ALL_DRILLS}
