"""What folding costs: of a busy app, whose inbox is folded whenever 64 elements wait, per million
lines, each batch by itself and 20 in a bundle; of quiet ones, with one batch a minute each, per app
and minute; and the longest that other work of the worker had to wait, in CPU time.

Closing is what comes two minutes after an interval's end: its slots are compacted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from statistics import median

import redis.asyncio
import uvloop

from app.folding.fold_worker import CLOSED_AFTER_S, QUIET_AFTER_FOLDS, FoldWorker
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.ingest.received_batch import new_batch
from app.rollup.resolutions import HOUR_S
from app.storage.redis.store import RedisStore
from bench.corpus import SHARES, START_S, bodies, frames_by_class
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, private_store, redis_cpu_s
from parsers.framing import split

FOLDED_AT = 64  # elements, as the service does by default
INTERVAL_S = 5.0
ROUNDS = 5
ELEMENTS = 1_280  # of the busy app
LINES = 100  # of a batch of the busy app
QUIET_APPS, QUIET_MINUTES, QUIET_LINES = 500, 20, 10
KNOWN_AFTER_MINUTES = QUIET_AFTER_FOLDS  # until then an app is folded as any other: not counted
ARRIVES_AFTER_S = 1  # in the minute of its lines, as mostly: one rollup a batch
_MILLION = 1_000_000


async def timed(client: redis.asyncio.Redis, work: Awaitable[object]) -> tuple[float, float]:
    """CPU seconds of this process and of Redis."""
    theirs_s, own_s = await redis_cpu_s(client), time.process_time()
    await work
    own_s = time.process_time() - own_s
    return own_s, await redis_cpu_s(client) - theirs_s


async def longest_pause_s(work: Awaitable[object]) -> float:
    """CPU time between two chances of other work, which costs some itself."""
    gaps = [0.0]

    async def other_work() -> None:
        last_s = time.process_time()
        while True:
            await asyncio.sleep(0.0005)
            now_s = time.process_time()
            gaps.append(now_s - last_s)
            last_s = now_s

    other = asyncio.create_task(other_work())
    await work
    other.cancel()
    return max(gaps)


async def append(store: RedisStore, packed: list[bytes], app: str, count: int, first: int) -> int:
    """So many batches; returns how many wait."""
    group = [new_batch(b"", packed[(first + n) % len(packed)]) for n in range(count)]
    appended = await store.append({app: group}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    return appended[app].inbox_length


def packed_batches(lines: int, bundled: int = 1, minute: int = 0, count: int = 64) -> list[bytes]:
    """What the store gets of POSTs within a minute, so many of them as one."""
    found = []
    start_s = START_S + 60 * minute
    sent = bodies(frames_by_class(), SHARES, count * bundled, lines, start_s=start_s, rate=40_000.0)
    for first in range(0, len(sent), bundled):
        aggregator = Aggregator(start_s + ARRIVES_AFTER_S, AcceptanceWindow(HOUR_S, HOUR_S))
        for body in sent[first : first + bundled]:
            aggregator.add_frames(split(body))
        found.append(aggregator.pack())
    return found


class Costs:
    """Of folding and closing, in one round: own CPU, Redis' CPU; of one that is watched, instead of
    these, the longest pause.
    """

    def __init__(self, store: RedisStore, client: redis.asyncio.Redis, *, watched: bool) -> None:
        self._store, self._client, self._watched = store, client, watched
        self.pause_s = 0.0
        self._now_s = START_S + 60.0
        self.folder = FoldWorker(
            store,
            RESOLUTIONS,
            name="bench",
            clock=lambda: self._now_s,
            interval_s=INTERVAL_S,
            batches=FOLDED_AT,
        )
        self.folding, self.closing = [0.0] * 2, [0.0] * 2

    async def busy(self, packed: list[bytes]) -> None:
        """Whenever so many wait."""
        for first in range(0, ELEMENTS, FOLDED_AT):
            await append(self._store, packed, "app", FOLDED_AT, first)
            self.folder.schedule({"app": FOLDED_AT})
            await self._pass(0)
        await self._pass(2 * HOUR_S + CLOSED_AFTER_S)

    async def quiet(self, packed: list[bytes]) -> None:
        """One batch of each app in a minute; what comes in order is folded as it falls due."""
        for minute in range(KNOWN_AFTER_MINUTES + QUIET_MINUTES):
            if minute == KNOWN_AFTER_MINUTES:
                self.folding, self.closing = [0.0] * 2, [0.0] * 2
            for number in range(QUIET_APPS):
                app = f"app-{number}"
                length = await append(self._store, [packed[minute]], app, 1, 0)
                self.folder.schedule({app: length})
            await self._pass(60)
        await self._pass(2 * HOUR_S + CLOSED_AFTER_S)

    async def _pass(self, seconds: float) -> None:
        self._now_s += seconds
        for costs, work in (
            (self.folding, self.folder.fold_due()),
            (self.closing, self.folder.compact_closed()),
        ):
            if self._watched:
                self.pause_s = max(self.pause_s, await longest_pause_s(work))
                continue
            own_s, theirs_s = await timed(self._client, work)
            costs[:] = (costs[0] + own_s, costs[1] + theirs_s)


async def row(
    store: RedisStore, client: redis.asyncio.Redis, packed: list[bytes], bundled: int
) -> list[str]:
    """Medians of a load; `bundled` 0: of quiet apps."""
    rounds, pauses = [], []
    for number in range(ROUNDS + 1):
        for watched in (False, True):
            await client.flushall()
            costs = Costs(store, client, watched=watched)
            await (costs.busy(packed) if bundled else costs.quiet(packed))
            if watched:
                pauses.append(costs.pause_s)
            elif number:
                rounds.append([*costs.folding, *costs.closing])
    of = ELEMENTS * bundled * LINES if bundled else QUIET_APPS * QUIET_MINUTES
    figures = (_MILLION * median(column) / of for column in zip(*rounds, strict=True))
    return [*(f"{each:,.2f}" for each in figures), f"{1000 * median(pauses):.1f}"]


async def run() -> None:
    """Print the table."""
    rows = []
    async with private_store() as (store, client):
        for name, bundled in (("busy", 1), ("busy, 20 batches in a bundle", 20)):
            cells = await row(store, client, packed_batches(LINES, bundled), bundled)
            rows.append([name, "CPU s a million lines", *cells])
        packed = [
            each
            for minute in range(KNOWN_AFTER_MINUTES + QUIET_MINUTES)
            for each in packed_batches(QUIET_LINES, minute=minute, count=1)
        ]
        cells = await row(store, client, packed, 0)
        rows.append([f"quiet ({QUIET_APPS})", "CPU µs an app and minute", *cells])
    print("\n### Folding\n")
    head = ("app", "folding in", "worker", "Redis", "closing: worker", "Redis")
    print(table((*head, "longest pause, ms"), rows))


def main() -> None:
    """Print the table."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the service has it
        runner.run(run())


if __name__ == "__main__":
    main()
