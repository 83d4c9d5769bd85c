"""A query of 24 hours by the minute over 8 dynos: what it costs to fetch and to answer."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from app.plan import Asked, plan
from app.query import answer
from app.resolution import DAY_S
from app.store.port import Slot
from app.store.redis import RedisStore
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, fill, minutes, private_store, redis_cpu_s

APP = "shop"
DYNOS = 8
REQUESTS_PER_MINUTE = 1_000
MINUTES = DAY_S // 60
ROUNDS = 7

ASKED = (
    ("service_time_ms", ("p95",), ("process_type",)),
    ("requests", ("sum",), ("status",)),
    ("memory_total_bytes", ("avg",), ("dyno",)),
)


async def fetch(store: RedisStore) -> None:
    """Read the day's slots, and do nothing with them."""
    starts = range(int(START_S), int(START_S) + DAY_S, 60)
    await store.read(APP, [Slot("1m", start) for start in starts])


async def run() -> None:
    """Print the table."""
    async with private_store() as (store, client):
        end_s = await fill(store, APP, minutes(REQUESTS_PER_MINUTE, DYNOS, 60), MINUTES)
        rows = []
        fetching = []
        for _ in range(ROUNDS):
            started_s = time.process_time()
            await fetch(store)
            fetching.append(time.process_time() - started_s)
        for metric, stats, by in ASKED:
            asked = Asked(metric, stats, by, None, str(int(START_S)), str(int(end_s)), "1m")
            query, warnings = plan(asked, RESOLUTIONS, end_s)
            assert not warnings
            own, theirs = [], []
            for _ in range(ROUNDS):
                redis_s, started_s = await redis_cpu_s(client), time.process_time()
                answered = await answer(store, [APP], query, end_s)
                own.append(time.process_time() - started_s)
                theirs.append(await redis_cpu_s(client) - redis_s)
            assert all(len(series.values) == MINUTES for series in answered.series)
            asked_for = f"{metric} {' '.join(stats)} by {' '.join(by)}"
            rows.append(
                (
                    asked_for,
                    len(answered.series),
                    *(f"{1000 * median(each):.0f}" for each in (own, fetching, theirs)),
                )
            )
    print(
        f"\n### A query of 24 hours by the minute ({DYNOS} dynos,"
        f" {REQUESTS_PER_MINUTE:,} requests a minute; CPU)\n"
    )
    print(table(("query", "series", "worker, ms", "of it fetching, ms", "Redis, ms"), rows))


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
