"""What answers cost: one metric over a day, a week and a quarter, and the page of all apps; and for
how long they keep everything else of the worker waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import redis.asyncio

from app.arrival import new_batch
from app.batch import pack_batch
from app.overview import Overviews
from app.packing import pack
from app.plan import Asked, plan
from app.query import answer
from app.resolution import DAY_S, HOUR_S, MINUTE_S, Resolution
from app.rollup import Rollup
from app.store.port import KIND_ROLLUP, SeenApp, Slot, SlotWrite, new_element
from app.store.redis import RedisStore
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, minutes, moved, private_store, redis_cpu_s

APP = "shop"
DYNOS = 8
REQUESTS_PER_MINUTE = 1_000
ROUNDS = 7
APPS = 200
DISTINCT = 30  # rollups, over and over

ASKED = (
    ("service_time_ms", ("p95",), ("process_type",)),
    ("requests", ("sum",), ("status",)),
    ("memory_total_bytes", ("avg",), ("dyno",)),
)
RANGES = (("24 h by 1m", 0, DAY_S), ("7 d by 10m", 1, 7 * DAY_S), ("90 d by 1h", 2, 90 * DAY_S))
_MS = 1000
_START_S = int(START_S) // HOUR_S * HOUR_S


class Holds:
    """For how long at most (CPU) the loop serves nobody else."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        """Until it is cancelled."""
        last_s = time.process_time()
        while True:
            await asyncio.sleep(0)
            now_s = time.process_time()
            self.longest_s = max(self.longest_s, now_s - last_s)
            last_s = now_s


def merged(rollups: list[Rollup], seconds: int) -> list[Rollup]:
    """Longer intervals: as many minutes as they have, each of them over and over."""
    count = seconds // MINUTE_S
    intervals = []
    for first in range(DISTINCT):
        whole = Rollup()
        for number in range(count):
            whole.merge(rollups[(first + number) % len(rollups)])
        intervals.append(whole)
    return intervals


async def fill(
    store: RedisStore, app: str, stored: Resolution, intervals: list[Rollup], count: int, end_s: int
) -> None:
    """Write so many slots, the last of which ends then."""
    batch = new_batch(b"", pack_batch({}))
    await store.append({app: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    writes = []
    for number in range(count):
        at_s = end_s - (count - number) * stored.seconds
        rollup = moved(intervals[number % len(intervals)], int(START_S), at_s)
        element = new_element(KIND_ROLLUP, pack(rollup))
        writes.append(SlotWrite(Slot(stored.name, at_s), element, TTL_MS))
    await store.fold(app, await store.read_inbox(app, 1), writes)


async def measured(
    client: redis.asyncio.Redis, ask: Callable[[], Awaitable[Any]]
) -> tuple[float, float, float]:
    """CPU ms of this process and of Redis, medians; and the longest hold of the loop, ms CPU."""
    own, theirs, longest = [], [], []
    for _ in range(ROUNDS):
        redis_s, started_s = await redis_cpu_s(client), time.process_time()
        await ask()
        own.append(time.process_time() - started_s)
        theirs.append(await redis_cpu_s(client) - redis_s)
        holds = Holds()
        watching = asyncio.create_task(holds.watch())
        await ask()
        watching.cancel()
        longest.append(holds.longest_s)
    return tuple(_MS * median(each) for each in (own, theirs, longest))  # type: ignore[return-value]


async def queries(rollups: list[Rollup]) -> None:
    """One metric of one app."""
    rows = []
    end_s = _START_S + 90 * DAY_S
    async with private_store() as (store, client):
        for name, number, seconds in RANGES:
            stored = RESOLUTIONS[number]
            intervals = merged(rollups, stored.seconds)
            await fill(store, APP, stored, intervals, seconds // stored.seconds, end_s)
            for metric, stats, by in ASKED:
                start, end, step = str(end_s - seconds), str(end_s), stored.name
                query, warnings = plan(
                    Asked(metric, stats, by, None, start, end, step), RESOLUTIONS, end_s
                )
                assert not warnings
                answered = await answer(store, [APP], query, end_s)
                assert all(len(each.values) == query.range.size for each in answered.series)
                assert all(None not in each.values for each in answered.series)
                cost = await measured(client, lambda: answer(store, [APP], query, end_s))  # noqa: B023
                series = len(answered.series)
                asked_for = f"{metric} {' '.join(stats)} by {' '.join(by)}"
                rows.append((name, asked_for, series, *(f"{each:.0f}" for each in cost)))
    print(
        f"\n### One metric of one app ({DYNOS} dynos, {REQUESTS_PER_MINUTE:,} requests a minute;"
        " CPU)\n"
    )
    head = ("range", "query", "series", "worker, ms", "Redis, ms", "longest hold of the loop, ms")
    print(table(head, rows))


async def all_apps(rollups: list[Rollup]) -> None:
    """The rows of the page of all apps."""
    now_s = _START_S + DAY_S
    seen = [SeenApp(f"app-{n}", _START_S, now_s, now_s) for n in range(APPS)]
    async with private_store() as (store, client):
        hours = merged(rollups, HOUR_S)[:1]
        for app, *_ in seen:
            await fill(store, app, RESOLUTIONS[0], rollups, 60, now_s)
            await fill(store, app, RESOLUTIONS[2], hours, 1, now_s - 7 * DAY_S)

        async def first() -> None:
            overviews = Overviews(RESOLUTIONS)
            rows = [await overviews.of(store, each, now_s) for each in seen]
            assert all(row.p95_ms for row in rows)

        again = Overviews(RESOLUTIONS)
        at_s = float(now_s)

        async def refresh() -> None:
            nonlocal at_s
            at_s += 11  # what is shown may be 10 s old
            for each in seen:
                await again.of(store, each, at_s)

        await refresh()
        rows = [
            (name, *(f"{each:.0f}" for each in await measured(client, ask)))
            for name, ask in (("for the first time", first), ("again", refresh))
        ]
    print(f"\n### All apps: {APPS} with {DYNOS} dynos each (CPU)\n")
    print(table(("rows", "worker, ms", "Redis, ms", "longest hold of the loop, ms"), rows))


async def run() -> None:
    """Print the tables."""
    rollups = minutes(REQUESTS_PER_MINUTE, DYNOS, DISTINCT)
    await queries(rollups)
    await all_apps(rollups)


def main() -> None:
    """Print the tables."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
