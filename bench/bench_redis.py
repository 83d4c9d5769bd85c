"""The cost of a POST of 100 lines in Redis and in the worker, with group commit.

Measured for one app, 20 and 200 apps; the worker's cost includes coalescing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import median

import redis.asyncio

from app.ingest.aggregator import ActivityTimes
from app.ingest.batch_writer import BatchWriter
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.group_commit import GroupCommitter, commit
from app.ingest.received_batch import batch_id
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface.elements import random_bytes
from app.storage.redis.store import RedisStore
from bench.bench_parse import ARRIVED_S, HORIZON
from bench.corpus import SHARES, bodies, frames_by_class
from bench.measure import table
from bench.store import private_store, redis_cpu_s

APPS = (1, 20, 200)
IN_FLIGHT = 64  # POSTs that wait for their commit at the same time
POSTS = 6_400
ROUNDS = 5


def posts(apps: int) -> list[DrainPost]:
    """POSTS requests of apps that take turns."""
    request_bodies = bodies(frames_by_class(), SHARES, 50, 100)
    requests = []
    for number in range(POSTS):
        app = f"app-{number % apps}"
        frame_id = batch_id(b"%d %d" % (apps, number))
        body = request_bodies[number % len(request_bodies)]
        key = DrainKey(app, f"d.{app}", 1, HORIZON)
        requests.append(DrainPost(key, frame_id, random_bytes(), body, 100))
    return requests


async def commit_all(store: RedisStore, requests: list[DrainPost]) -> None:
    """Commit them, IN_FLIGHT at a time."""
    writer = BatchWriter(
        store,
        id_ttl_s=4_500,
        inbox_ttl_s=86_400,
        verified_s=3_600,
        clock=lambda: ARRIVED_S,
        on_appended=lambda lengths: None,
    )
    committer = GroupCommitter(
        writer,
        None,
        wait_s=4,
        limits=DEFAULT_LIMITS,
        clock=lambda: ARRIVED_S,
        on_stored=_ignore_activity,
    )

    async def sender(first: int) -> None:
        for post in requests[first::IN_FLIGHT]:
            await commit(committer, post)

    await asyncio.gather(*(sender(first) for first in range(IN_FLIGHT)))


async def _ignore_activity(activity: Sequence[tuple[str, ActivityTimes]]) -> None:
    """Recording sightings is not measured."""


async def measure(
    store: RedisStore, client: redis.asyncio.Redis, apps: int
) -> tuple[float, float, float]:
    """CPU µs per POST: of Redis, of that in scripts, of this process."""
    requests = posts(apps)
    await client.flushall()
    await client.config_resetstat()
    before_s, own_s = await redis_cpu_s(client), time.process_time()
    await commit_all(store, requests)
    own_s = time.process_time() - own_s
    cpu_s = await redis_cpu_s(client) - before_s
    scripts = (await client.info("commandstats"))["cmdstat_evalsha"]
    return tuple(1e6 * cost_s / POSTS for cost_s in (cpu_s, scripts["usec"] / 1e6, own_s))  # type: ignore[return-value]  # three


async def run() -> None:
    """Print the table."""
    results: dict[int, list[tuple[float, float, float]]] = {apps: [] for apps in APPS}
    async with private_store() as (store, client):
        for _ in range(ROUNDS):
            for apps in APPS:
                results[apps].append(await measure(store, client, apps))
    print(f"\n### Redis per POST (100 lines, {IN_FLIGHT} in flight)\n")
    middle: Callable[[list[float]], str] = lambda values: f"{median(values):.1f}"  # noqa: E731
    rows = [
        (apps, *(middle(list(column)) for column in zip(*results[apps], strict=True)))
        for apps in APPS
    ]
    print(
        table(
            ("apps", "Redis CPU, µs", "of that in scripts, µs", "worker, from body to stored, µs"),
            rows,
        )
    )


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
