"""The cost of queries: one metric over a day, a week and a quarter, and the page of all apps.

Also the longest time during which a query keeps all other work of the worker waiting.
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
from app.judgement.verdict import Finding, Verdict
from app.query.engine import answer
from app.query.planner import QueryRequest, plan
from app.rollup.codec import pack
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.redis.store import RedisStore
from app.verdicts.verdict_reader import VerdictReader
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, minutes, private_store, redis_cpu_s
from tests.support.store_calls import fold
from tests.support.verdicts import store_verdict

APP = "shop"
DYNOS = 8
REQUESTS_PER_MINUTE = 1_000
ROUNDS = 7
APPS = 200
DISTINCT = 30  # rollups, repeated

QUERIES = (
    ("service_time_ms", ("p95",), ("process_type",)),
    ("requests", ("sum",), ("status",)),
    ("memory_total_bytes", ("avg",), ("dyno",)),
)
RANGES = (("24 h by 1m", 0, DAY_S), ("7 d by 10m", 1, 7 * DAY_S), ("90 d by 1h", 2, 90 * DAY_S))
COLUMNS = ("worker, ms", "Redis, ms", "longest hold, ms")
_MS = 1000
_START_S = int(START_S) // HOUR_S * HOUR_S


class LoopHolds:
    """The longest CPU time between two turns of the event loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        last_s = time.process_time()
        while True:
            await asyncio.sleep(0)
            now_s = time.process_time()
            self.longest_s = max(self.longest_s, now_s - last_s)
            last_s = now_s


def merge_minutes(rollups: list[Rollup], seconds: int) -> list[bytes]:
    """Packed rollups of longer intervals, merged from minutes, which repeat."""
    count = seconds // MINUTE_S
    intervals = []
    for first in range(DISTINCT):
        total = Rollup()
        for number in range(count):
            total.merge(rollups[(first + number) % len(rollups)])
        intervals.append(pack(total))
    return intervals


async def fill(
    store: RedisStore,
    app: str,
    resolution: Resolution,
    intervals: list[bytes],
    count: int,
    end_s: int,
) -> None:
    """Write `count` slots up to `end_s`; the rollups repeat."""
    writes = []
    for number in range(count):
        slot = Slot(resolution.name, end_s - (count - number) * resolution.seconds)
        element = new_element(KIND_ROLLUP, intervals[number % len(intervals)])
        writes.append(SlotWrite(slot, element, TTL_MS))
    await fold(store, app, [], writes)


async def measure(client: redis.asyncio.Redis, query: Callable[[], Awaitable[Any]]) -> list[str]:
    """Medians in CPU ms: this process, Redis, the longest hold."""
    times: dict[str, list[float]] = {"worker": [], "Redis": [], "hold": []}
    for _ in range(ROUNDS):
        redis_s = await redis_cpu_s(client)
        started_s = time.process_time()
        await query()
        times["worker"].append(time.process_time() - started_s)
        times["Redis"].append(await redis_cpu_s(client) - redis_s)
        holds = LoopHolds()
        watcher = asyncio.create_task(holds.watch())
        await query()
        watcher.cancel()
        times["hold"].append(holds.longest_s)
    return [f"{_MS * median(samples):.1f}" for samples in times.values()]


async def queries(rollups: list[Rollup]) -> None:
    """Measure one metric of one app."""
    rows = []
    end_s = _START_S + 90 * DAY_S
    async with private_store() as (store, client):
        for name, number, seconds in RANGES:
            resolution = RESOLUTIONS[number]
            intervals = merge_minutes(rollups, resolution.seconds)
            await fill(store, APP, resolution, intervals, seconds // resolution.seconds, end_s)
            for metric, stats, by in QUERIES:
                start, end, step = str(end_s - seconds), str(end_s), resolution.name
                query, warnings = plan(
                    QueryRequest(metric, stats, by, None, start, end, step), RESOLUTIONS, end_s
                )
                assert not warnings
                apps = [SeenApp(APP, end_s - seconds, end_s, end_s)]
                result = await answer(store, apps, query, end_s)
                assert all(len(item.values) == query.range.size for item in result.series)
                assert all(None not in item.values for item in result.series)
                cost = await measure(client, partial(answer, store, apps, query, end_s))
                series = len(result.series)
                description = f"{metric} {' '.join(stats)} by {' '.join(by)}"
                rows.append((name, description, series, *cost))
    print(
        f"\n### One metric of one app ({DYNOS} dynos, {REQUESTS_PER_MINUTE:,} requests a minute;"
        " CPU)\n"
    )
    print(table(("range", "query", "series", *COLUMNS), rows))


async def all_apps(rollups: list[Rollup]) -> None:
    """Measure the rows of the page of all apps."""
    now_s = _START_S + DAY_S
    sightings = [SeenApp(f"app-{n}", _START_S, now_s, now_s) for n in range(APPS)]
    async with private_store() as (store, client):
        hours, of_minutes = merge_minutes(rollups, HOUR_S)[:1], merge_minutes(rollups, MINUTE_S)
        for app, *_ in sightings:
            await fill(store, app, RESOLUTIONS[0], of_minutes, 60, now_s)
            await fill(store, app, RESOLUTIONS[2], hours, 1, now_s - 7 * DAY_S)
            finding = Finding("failing", "degraded", now_s - 600, code="H12", value=0.05)
            await store_verdict(
                store, Verdict(app, "degraded", now_s - 600, 0, now_s, "Failing.", (finding,))
            )
        overviews = AppsOverviewCache(RESOLUTIONS, VerdictReader(store, RESOLUTIONS))
        at_s = float(now_s)

        async def rows_of() -> None:
            nonlocal at_s
            at_s += FRESH_S
            rows = await overviews.get_all(store, sightings, at_s)
            assert all(row.figures.p95s_ms[-1] for row in rows)

        row = await measure(client, rows_of)
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
