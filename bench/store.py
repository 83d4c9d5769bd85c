"""A private store for benchmarks, and rollups to fill it with."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import redis.asyncio

from app.folding.fold_worker import FoldWorker
from app.ingest.aggregator import MINUTE_S, AcceptanceWindow, Aggregator
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import pack_batch
from app.rollup.resolutions import HOUR_S, resolutions
from app.rollup.rollup import Rollup
from app.storage import embedded
from app.storage.redis.store import RedisStore, connect
from app.traffic.simulated_dyno import user_activity
from bench.corpus import START_S, simulated_lines
from parsers.framing import split

RESOLUTIONS = resolutions(24 * HOUR_S, 15 * 24 * HOUR_S, 90 * 24 * HOUR_S)
TTL_MS = 3_600_000
_LINES_PER_REQUEST = 1.55
_VITALS_PER_DYNO_S = 0.1


@asynccontextmanager
async def private_store() -> AsyncIterator[tuple[RedisStore, redis.asyncio.Redis]]:
    """A temporary embedded store, as `serve` starts it, and a plain client of it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        embedded.start(Path(directory), appendfsync="everysec") as server,
    ):
        store, client = connect(server.url), redis.asyncio.from_url(server.url)
        try:
            yield store, client
        finally:
            await store.close()
            await client.aclose()


async def redis_cpu_s(client: redis.asyncio.Redis) -> float:
    """CPU seconds that the server's process has used."""
    cpu = await client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def minutes(requests_per_minute: float, dynos: int, count: int) -> list[Rollup]:
    """Rollups of the first minutes of an app, with all its kinds of lines."""
    requests_per_s = requests_per_minute / 60 / user_activity(START_S + HOUR_S / 2)
    lines_per_s = requests_per_s * _LINES_PER_REQUEST + dynos * _VITALS_PER_DYNO_S
    lines = simulated_lines(dynos=dynos, lines_per_s=lines_per_s, seconds=count * MINUTE_S)
    rollups = []
    for minute, minute_lines in groupby(lines, lambda line: int(line.at_s) // MINUTE_S * MINUTE_S):
        aggregator = Aggregator(minute, AcceptanceWindow(HOUR_S, HOUR_S))
        aggregator.add_frames(split(b"".join(line.frame for line in minute_lines)))
        rollups.append(aggregator.rollups[minute])
    return rollups


def move_minute(rollup: Rollup, from_s: int, to_s: int) -> Rollup:
    """The same minute at another time."""
    copy = rollup.copy()
    for reading in copy.gauges.values():
        reading.last_at_ms += (to_s - from_s) * 1000
    bit = 1 << (to_s // MINUTE_S % 60)
    copy.active_minutes = dict.fromkeys(copy.active_minutes, bit)
    return copy


def repeat_minutes(
    rollups: list[Rollup], count: int, start_s: int = int(START_S)
) -> Iterator[tuple[int, Rollup]]:
    """(minute, rollup) for `count` minutes; the rollups, which begin at START_S, repeat."""
    for number in range(count):
        index = number % len(rollups)
        from_s, to_s = int(START_S) + MINUTE_S * index, start_s + MINUTE_S * number
        yield to_s, move_minute(rollups[index], from_s, to_s)


async def fill(
    store: RedisStore, app: str, rollups: list[Rollup], count: int, start_s: int = int(START_S)
) -> float:
    """Store `count` minutes, folded and compacted; returns the Unix time of their end."""
    end_s = start_s + count * MINUTE_S + HOUR_S
    worker = FoldWorker(
        store, RESOLUTIONS, name="bench", clock=lambda: end_s, interval_s=5, batches=64
    )
    for minute, rollup in repeat_minutes(rollups, count, start_s):
        batch = new_batch(b"", pack_batch({minute: rollup}))
        await store.append({app: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    await worker.fold(app)
    await worker.compact_closed()
    return end_s - HOUR_S
