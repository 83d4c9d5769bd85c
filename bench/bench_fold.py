"""What folding costs: of a busy app, whose inbox is folded whenever 64 batches wait, per million
lines; of a quiet one, with one batch a minute, per minute; and the longest that other work of the
worker had to wait, in CPU time.

Closing is what comes two minutes after a minute's end: its slots are compacted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from statistics import median

import redis.asyncio

from app.arrival import new_batch
from app.fold import CLOSED_AFTER_S, Folder
from app.ingest import Aggregator, Horizon
from app.resolution import HOUR_S
from app.store.redis import RedisStore
from bench.corpus import SHARES, START_S, bodies, frames_by_class
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, private_store, redis_cpu_s
from parsers.framing import split

FOLDED_AT = 64  # batches, as the service does by default
ROUNDS = 5
LOADS = (  # name, apps, batches of each, lines of each
    ("busy", 1, 1_280, 100),
    ("quiet", 500, 1, 10),
)
_CLOSED_S = START_S + 2 * HOUR_S + CLOSED_AFTER_S
_MILLION = 1_000_000


async def timed(client: redis.asyncio.Redis, work: Awaitable[object]) -> tuple[float, float, float]:
    """CPU seconds of this process, of Redis, and the longest between two chances of others."""
    gaps = [0.0]

    async def other_work() -> None:
        last_s = time.process_time()
        while True:
            await asyncio.sleep(0.0005)
            now_s = time.process_time()
            gaps.append(now_s - last_s)
            last_s = now_s

    other = asyncio.create_task(other_work())
    theirs_s, own_s = await redis_cpu_s(client), time.process_time()
    await work
    own_s = time.process_time() - own_s
    other.cancel()
    return own_s, await redis_cpu_s(client) - theirs_s, max(gaps)


async def append_and_fold(
    store: RedisStore, folder: Folder, packed: list[bytes], apps: int, batches: int
) -> None:
    """As batches come in, in groups of FOLDED_AT."""
    for number in range(apps):
        app = f"app-{number}"
        for first in range(0, batches, FOLDED_AT):
            count = min(FOLDED_AT, batches - first)
            group = [new_batch(b"", packed[(first + n) % len(packed)]) for n in range(count)]
            await store.append({app: group}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
            await folder.fold(app)


async def append_only(store: RedisStore, packed: list[bytes], apps: int, batches: int) -> None:
    """What of the above is not folding; to be taken off."""
    for number in range(apps):
        for first in range(0, batches, FOLDED_AT):
            count = min(FOLDED_AT, batches - first)
            group = [new_batch(b"", packed[(first + n) % len(packed)]) for n in range(count)]
            app = f"app-{number}"
            await store.append({app: group}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)


def packed_bodies(lines: int) -> list[bytes]:
    """What the store gets of POSTs."""
    found = []
    for body in bodies(frames_by_class(), SHARES, 64, lines, rate=1_000.0):
        aggregator = Aggregator(START_S + 60, Horizon(HOUR_S, HOUR_S))
        aggregator.add_frames(split(body))
        found.append(aggregator.packed())
    return found


async def measured(
    store: RedisStore, client: redis.asyncio.Redis, apps: int, batches: int, packed: list[bytes]
) -> list[float]:
    """Folding and closing: own CPU, Redis' CPU, longest; each of one round."""
    clock_s = [START_S + 60]
    folder = Folder(
        store, RESOLUTIONS, name="bench", clock=lambda: clock_s[0], interval_s=5, batches=FOLDED_AT
    )
    await client.flushall()
    alone = await timed(client, append_only(store, packed, apps, batches))
    await client.flushall()
    both = await timed(client, append_and_fold(store, folder, packed, apps, batches))
    clock_s[0] = _CLOSED_S
    closing = await timed(client, folder.compact_closed())
    return [both[0] - alone[0], both[1] - alone[1], both[2], *closing]


async def run() -> None:
    """Print the table."""
    rows = []
    async with private_store() as (store, client):
        for name, apps, batches, lines in LOADS:
            packed = packed_bodies(lines)
            rounds = [
                await measured(store, client, apps, batches, packed) for _ in range(ROUNDS + 1)
            ]
            own, theirs, longest, closing, closing_theirs, closing_longest = (
                median(column) for column in zip(*rounds[1:], strict=True)
            )
            per = apps * batches * lines / _MILLION if name == "busy" else apps / _MILLION
            unit = "CPU s a million lines" if name == "busy" else "CPU µs an app and minute"
            figures = (own / per, theirs / per, closing / apps * 1e6, closing_theirs / apps * 1e6)
            pause_ms = 1000 * max(longest, closing_longest)
            rows.append((name, unit, *(f"{each:,.2f}" for each in figures), f"{pause_ms:.1f}"))
    print("\n### Folding\n")
    head = ("app", "folding in", "worker", "Redis", "closing, µs an app and minute: worker")
    print(table((*head, "Redis", "longest pause, ms"), rows))


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
