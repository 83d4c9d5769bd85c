"""The archive in PostgreSQL: bytes a row of each table, and times of writing and reading.

    python -m bench.archive [--apps 20] [--days 14]

Each app has two process types of two dynos and 600 requests an hour; one more app has eight of two
dynos, and a year of days. Times are those of one client on this machine, with fsync off.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import psycopg

from app.archive.archive_reader import ArchiveReader
from app.archive.archiver import Archiver, Retention
from app.archive.database import Database
from app.archive.history_reader import DAYS, HistoryReader
from app.archive.interval_rollups import pack_day
from app.archive.progress import make_partitions
from app.archive.times import to_utc
from app.query.engine import answer
from app.query.planner import build_query
from app.query.table import QueryRange
from app.rollup.accelerated import FastRollup
from app.rollup.batch_codec import join_batch, unpack_batch
from app.rollup.codec import pack
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, Rollup
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import Fold, SlotWrite
from app.storage.memory import MemoryStore
from app.support.aio import run_in_steps
from bench.measure import table
from parsers.samples import Request, RuntimeMetrics
from tests.support.postgres import TEMPLATE, running_postgres

END_S = 20_780 * DAY_S  # 2026-11-23
REQUESTS = 600  # an hour
GAUGES = (
    *("memory_total_bytes", "memory_rss_bytes", "memory_cache_bytes", "memory_swap_bytes"),
    *("memory_quota_bytes", "load_avg_1m", "load_avg_5m", "load_avg_15m"),
)
TTL_MS = 10**12


def hour_of(start_s: int, rng: random.Random, types: Sequence[str] = ("web", "api")) -> Rollup:
    """An hour of an app. Timestamps are minutes, for speed: nothing depends on the seconds."""
    rollup = Rollup()
    for number in range(REQUESTS):
        dyno = f"{types[number % len(types)]}.{number // len(types) % 2 + 1}"
        status = rng.choices((200, 301, 404, 503), (90, 4, 5, 1))[0]
        sample = Request(dyno, status, "", 1, int(rng.lognormvariate(4.5, 1)), 9_000)
        rollup.observe(sample, (start_s + number * 6) * 1000)
    for dyno in (f"{name}.{number}" for name in types for number in (1, 2)):
        for minute in range(60):
            values = tuple((name, rng.randrange(30_000, 50_000)) for name in GAUGES)
            rollup.observe(RuntimeMetrics(dyno, values), (start_s + 60 * minute) * 1000)
    rollup.messages = REQUESTS + 120 * len(types)
    rollup.ledger.update(received=rollup.messages, counted=rollup.messages)
    return rollup


async def fill(store: MemoryStore, apps: list[str], days: int) -> None:
    """Hours of all apps; a day's hours of one app are those of the others, in another order."""
    rng = random.Random(1)
    rollups = [hour_of(END_S, rng) for _ in range(24)]
    await store.record_sightings([SeenApp(app, 1, END_S, 0) for app in apps], ttl_ms=TTL_MS)
    packed = [pack(rollup) for rollup in rollups]
    for number, app in enumerate(apps):
        for index, start_s in enumerate(range(END_S - days * DAY_S, END_S, HOUR_S)):
            data = packed[(index * 7 + number) % len(packed)]
            write = SlotWrite(Slot("1h", start_s), new_element(KIND_ROLLUP, data), TTL_MS)
            await store.fold_all({app: Fold([], [write])})


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        began_s = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began_s)
    return min(times) * 1000


async def measure(url: str, apps_count: int, days: int) -> None:
    """Print the tables."""
    clock = lambda: END_S + HOUR_S  # noqa: E731
    store, database = MemoryStore(clock), Database(url)
    apps = [f"app-{number}" for number in range(apps_count)]
    await fill(store, apps, days)
    archiver = Archiver(
        store,
        database,
        hours=Resolution("1h", HOUR_S, days * DAY_S),
        horizon_s=DAY_S,
        retention=Retention(0, 0),
        limits=DEFAULT_LIMITS,
        clock=clock,
    )
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while await archiver.advance():
        pass
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    app_hours = apps_count * days * 24
    print(
        f"{app_hours:,} app hours ({FastRollup.__module__}): {wall_s:.1f} s, {cpu_s:.1f} s of CPU "
        f"in the worker, {cpu_s / app_hours * 1000:.2f} ms each"
    )
    await print_sizes(url, app_hours)
    reader = ArchiveReader(database)
    since_s = END_S - days * DAY_S
    rows = [
        (
            "packed hours of one app, all days",
            await timed(lambda: reader.hours(apps[0], since_s, END_S)),
        ),
        ("packed days of one app", await timed(lambda: reader.days(apps[0], since_s, END_S))),
    ]
    rows += await time_year(database)
    for name, statement in STATEMENTS.items():
        rows.append((name, await timed(lambda: run(url, statement))))  # noqa: B023
    print(table(("query", "ms"), [(name, f"{value:.1f}") for name, value in rows]))
    await database.close()


async def time_year(database: Database) -> list[tuple[str, float]]:
    """Queries of the API over a year of days."""
    rng = random.Random(2)
    types = ["web", "api", *(f"worker{number}" for number in range(6))]
    app, start_s = "year", END_S - 365 * DAY_S
    hours = [(hour_s, pack(hour_of(hour_s, rng, types))) for hour_s in range(0, DAY_S, HOUR_S)]
    day = await run_in_steps(pack_day(app, 0, hours, DEFAULT_LIMITS))
    async with database.transaction() as connection:
        await make_partitions(connection, start_s, END_S)
        for day_s in range(start_s, END_S, DAY_S):
            parts = {day_s + hour_s: part for hour_s, part in unpack_batch(day.by_hour)}
            await connection.execute(
                "INSERT INTO dynometer.days VALUES (%s, %s, %s, gen_random_uuid(), now(), %s, %s)",
                (app, to_utc(day_s), day.messages, day.rollup, join_batch(parts)),
            )
    clock = lambda: END_S + HOUR_S  # noqa: E731
    reader = HistoryReader(
        MemoryStore(clock),
        ArchiveReader(database),
        hours=Resolution("1h", HOUR_S, 90 * DAY_S),
        settled_after_s=2 * DAY_S,
        clock=clock,
    )
    period = QueryRange(start_s, END_S, DAY_S, Resolution(DAYS, DAY_S, 400 * DAY_S))
    rows = []
    for name, stat in (("service_time_ms", "p95"), ("requests", "sum"), ("dynos", "avg")):
        query = build_query(period, name, [stat], ["process_type"])
        seen = [SeenApp(app, start_s, END_S, 0)]
        time_ms = await timed(lambda: answer(reader, seen, query, END_S))  # noqa: B023
        rows.append((f"{stat} of {name} by day and process type, a year", time_ms))
    return rows


STATEMENTS = {
    "p95 by hour of one day, all apps": """
        SELECT t, dynometer.percentile_ms(dynometer.merge_sketches(bins, counts), 0.95)
        FROM dynometer.request_hours WHERE t >= '2026-11-22Z' GROUP BY t""",
    "requests by day and app": """
        SELECT app, t, sum(requests) FROM dynometer.requests_by_day GROUP BY 1, 2""",
    "largest memory by app and day": """
        SELECT app, t, max(max) FROM dynometer.measurements_by_day
        WHERE metric = 'memory_total_bytes' GROUP BY 1, 2""",
}  # fmt: skip


async def run(url: str, statement: str) -> None:
    """Run a statement in a session of its own."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(statement.encode())
        await cursor.fetchall()


async def print_sizes(url: str, app_hours: int) -> None:
    """Print bytes a row, and bytes an app and hour or day, of each table."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ANALYZE")
        cursor = await connection.execute(
            "SELECT parent, sum(greatest(reltuples, 0))::bigint, "
            "sum(pg_table_size(child.oid))::bigint, sum(pg_indexes_size(child.oid))::bigint "
            "FROM dynometer.partitioned JOIN pg_inherits "
            "ON inhparent = format('dynometer.%I', parent)::regclass "
            "JOIN pg_class AS child ON child.oid = inhrelid "
            "WHERE reltuples > 0 GROUP BY parent ORDER BY parent"
        )
        rows = await cursor.fetchall()
    lines = []
    for name, count, heap, index in rows:
        intervals = app_hours if name.endswith("hours") else app_hours / 24
        lines.append(
            (
                name,
                f"{count / intervals:.1f}",
                f"{heap / count:,.0f}",
                f"{index / count:,.0f}",
                f"{(heap + index) / intervals:,.0f}",
            )
        )
    print(table(("table", "rows", "bytes a row", "index", "bytes an interval"), lines))


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=20)
    parser.add_argument("--days", type=int, default=14)
    arguments = parser.parse_args()
    with running_postgres() as server:
        url = server.url(server.create_database(TEMPLATE))
        asyncio.run(measure(url, arguments.apps, arguments.days))


if __name__ == "__main__":
    main()
