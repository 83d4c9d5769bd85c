"""What answers cost: one metric over a day, a week and a quarter, and the page of all apps; and for
how long they keep everything else of the worker waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any

import redis.asyncio

from app.dashboard.apps_overview import FRESH_S, AppsOverviewCache
from app.query.engine import answer
from app.query.planner import QueryRequest, plan
from app.rollup.codec import pack
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.storage.interface import KIND_ROLLUP, SeenApp, Slot, SlotWrite, new_element
from app.storage.redis.slot_cache import SlotCache
from app.storage.redis.store import RedisStore
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, minutes, private_store, redis_cpu_s

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
COLUMNS = ("first, ms", "again, ms", "Redis, ms", "longest hold, ms")
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


def merged(rollups: list[Rollup], seconds: int) -> list[bytes]:
    """Longer intervals: as many minutes as they have, each of them over and over."""
    count = seconds // MINUTE_S
    intervals = []
    for first in range(DISTINCT):
        whole = Rollup()
        for number in range(count):
            whole.merge(rollups[(first + number) % len(rollups)])
        intervals.append(pack(whole))
    return intervals


async def fill(
    store: RedisStore, app: str, stored: Resolution, intervals: list[bytes], count: int, end_s: int
) -> None:
    """Write so many slots, the last of which ends then; these rollups over and over."""
    writes = []
    for number in range(count):
        slot = Slot(stored.name, end_s - (count - number) * stored.seconds)
        element = new_element(KIND_ROLLUP, intervals[number % len(intervals)])
        writes.append(SlotWrite(slot, element, TTL_MS))
    await store.fold(app, [], writes)


async def measured(
    store: RedisStore, client: redis.asyncio.Redis, ask: Callable[[], Awaitable[Any]]
) -> list[str]:
    """CPU ms of this process when a store is asked for the first time and again, and of Redis;
    medians; and the longest hold of the loop.
    """
    found: dict[str, list[float]] = {"first": [], "again": [], "Redis": [], "hold": []}
    for _ in range(ROUNDS):
        store._slot_cache = SlotCache()  # as of a process that has read nothing
        for name in ("first", "again"):
            started_s = time.process_time()
            await ask()
            found[name].append(time.process_time() - started_s)
        redis_s = await redis_cpu_s(client)
        await ask()
        found["Redis"].append(await redis_cpu_s(client) - redis_s)
        holds = Holds()
        watching = asyncio.create_task(holds.watch())
        store._slot_cache = SlotCache()
        await ask()
        watching.cancel()
        found["hold"].append(holds.longest_s)
    return [f"{_MS * median(each):.1f}" for each in found.values()]


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
                    QueryRequest(metric, stats, by, None, start, end, step), RESOLUTIONS, end_s
                )
                assert not warnings
                answered = await answer(store, [APP], query, end_s)
                assert all(len(each.values) == query.range.size for each in answered.series)
                assert all(None not in each.values for each in answered.series)
                cost = await measured(store, client, partial(answer, store, [APP], query, end_s))
                series = len(answered.series)
                asked_for = f"{metric} {' '.join(stats)} by {' '.join(by)}"
                rows.append((name, asked_for, series, *cost))
    print(
        f"\n### One metric of one app ({DYNOS} dynos, {REQUESTS_PER_MINUTE:,} requests a minute;"
        " CPU)\n"
    )
    print(table(("range", "query", "series", *COLUMNS), rows))


async def all_apps(rollups: list[Rollup]) -> None:
    """The rows of the page of all apps."""
    now_s = _START_S + DAY_S
    seen = [SeenApp(f"app-{n}", _START_S, now_s, now_s) for n in range(APPS)]
    async with private_store() as (store, client):
        hours, of_minutes = merged(rollups, HOUR_S)[:1], merged(rollups, MINUTE_S)
        for app, *_ in seen:
            await fill(store, app, RESOLUTIONS[0], of_minutes, 60, now_s)
            await fill(store, app, RESOLUTIONS[2], hours, 1, now_s - 7 * DAY_S)
        overviews: dict[SlotCache, AppsOverviewCache] = {}
        at_s = float(now_s)

        async def rows_of() -> None:
            nonlocal at_s
            at_s += FRESH_S
            kept = overviews.setdefault(store._slot_cache, AppsOverviewCache(RESOLUTIONS))
            shown = [await kept.of(store, each, at_s) for each in seen]
            assert all(row.p95_ms for row in shown)

        row = await measured(store, client, rows_of)
    print(f"\n### All apps: {APPS} with {DYNOS} dynos each (CPU)\n")
    print(table(COLUMNS, [row]))


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
