"""What a POST of 100 lines costs Redis: commits in groups, of one app, of 20 and of 200."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median

import redis.asyncio

from app.aggregate import Aggregator
from app.appender import Appender
from app.arrival import Arrival, batch_id
from app.commit import Committer
from app.ingest import Parts
from app.store.redis import RedisStore
from bench.bench_parse import ARRIVED_S, HORIZON
from bench.corpus import SHARES, bodies, frames_by_class
from bench.measure import table
from bench.store import private_store, redis_cpu_s
from parsers.framing import split

APPS = (1, 20, 200)
IN_FLIGHT = 64  # POSTs that wait for their commit at a time
POSTS = 6_400
ROUNDS = 5


def counted_bodies() -> list[Parts]:
    """What the store gets of POSTs of 100 lines."""
    counted = []
    for body in bodies(frames_by_class(), SHARES, 50, 100):
        aggregator = Aggregator(ARRIVED_S, HORIZON)
        aggregator.add_frames(split(body))
        counted.append(aggregator.parts())
    return counted


def packed_arrivals(apps: int, counted: list[Parts]) -> list[Arrival]:
    """POSTS arrivals of the apps in turn, packed already: that is measured with the parsing."""
    arrivals = []
    for number in range(POSTS):
        app, parts = f"app-{number % apps}", counted[number % len(counted)]
        frame_id = batch_id(b"%d %d" % (apps, number))
        arrivals.append(Arrival(app, frame_id, parts, drain=f"d.{app}"))
        arrivals[-1].batch()
    return arrivals


async def commit_all(store: RedisStore, arrivals: list[Arrival]) -> None:
    """Commit them, IN_FLIGHT at a time."""
    appender = Appender(
        store,
        id_ttl_s=4_500,
        inbox_ttl_s=86_400,
        verified_s=3_600,
        clock=lambda: ARRIVED_S,
        on_stored=lambda app, length: None,
    )
    committer = Committer(appender, None, wait_s=4)

    async def sender(first: int) -> None:
        for arrival in arrivals[first::IN_FLIGHT]:
            await committer.commit(arrival)

    await asyncio.gather(*(sender(first) for first in range(IN_FLIGHT)))


async def measure(
    store: RedisStore, client: redis.asyncio.Redis, apps: int, counted: list[Parts]
) -> tuple[float, float, float]:
    """µs a POST: of Redis, of it in scripts, of this process."""
    arrivals = packed_arrivals(apps, counted)
    await client.flushall()
    await client.config_resetstat()
    before_s, own_s = await redis_cpu_s(client), time.process_time()
    await commit_all(store, arrivals)
    own_s = time.process_time() - own_s
    cpu_s = await redis_cpu_s(client) - before_s
    scripts = (await client.info("commandstats"))["cmdstat_evalsha"]
    return tuple(1e6 * each / POSTS for each in (cpu_s, scripts["usec"] / 1e6, own_s))  # type: ignore[return-value]  # three


async def run() -> None:
    """Print the table."""
    counted = counted_bodies()
    results: dict[int, list[tuple[float, float, float]]] = {apps: [] for apps in APPS}
    async with private_store() as (store, client):
        for _ in range(ROUNDS):
            for apps in APPS:
                results[apps].append(await measure(store, client, apps, counted))
    size = sum(len(parts.packed()) for parts in counted) / len(counted)
    print(f"\n### Redis per POST (100 lines, {size:,.0f} bytes packed, {IN_FLIGHT} in flight)\n")
    middle: Callable[[list[float]], str] = lambda values: f"{median(values):.1f}"  # noqa: E731
    rows = [
        (apps, *(middle(list(column)) for column in zip(*results[apps], strict=True)))
        for apps in APPS
    ]
    print(table(("apps", "Redis CPU, µs", "of it in scripts, µs", "worker's commit, µs"), rows))


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
