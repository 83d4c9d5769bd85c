"""The cost of folding: `python -m bench.bench_fold`.

- Busy: one app; its inbox is folded whenever 64 elements wait; per million lines. An element is
  one batch, or a coalesced batch of 20.
- Quiet: apps with one batch a minute each; per app and minute.
- The longest pause of other work in the worker's event loop, in CPU time.

Closing is the compaction of an interval's slots, two minutes after the interval ends.
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

FOLDED_AT = 64  # elements; the service's default
INTERVAL_S = 5.0
ROUNDS = 5
ELEMENTS = 1_280  # of the busy app
LINES = 100  # of a batch of the busy app
QUIET_APPS, QUIET_MINUTES, QUIET_LINES = 500, 20, 10
KNOWN_AFTER_MINUTES = QUIET_AFTER_FOLDS  # until then an app does not count as quiet: not measured
ARRIVES_AFTER_S = 1  # mostly within the minute of its lines: one rollup per batch
_MILLION = 1_000_000


async def cpu_of(client: redis.asyncio.Redis, work: Awaitable[object]) -> tuple[float, float]:
    """(CPU seconds of this process, of Redis) that the work takes."""
    redis_s, own_s = await redis_cpu_s(client), time.process_time()
    await work
    own_s = time.process_time() - own_s
    return own_s, await redis_cpu_s(client) - redis_s


async def longest_pause_s(work: Awaitable[object]) -> float:
    """The longest CPU time between two turns of other work. Measuring costs some time itself."""
    gaps = [0.0]

    async def other_work() -> None:
        last_s = time.process_time()
        while True:
            await asyncio.sleep(0.0005)
            now_s = time.process_time()
            gaps.append(now_s - last_s)
            last_s = now_s

    other_task = asyncio.create_task(other_work())
    await work
    other_task.cancel()
    return max(gaps)


async def append(store: RedisStore, payloads: list[bytes], app: str, count: int, first: int) -> int:
    """Append batches; returns the number of elements in the inbox."""
    group = [new_batch(b"", payloads[(first + n) % len(payloads)]) for n in range(count)]
    results = await store.append({app: group}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    return results[app].inbox_length


def packed_batches(
    lines: int, coalesced_posts: int = 1, minute: int = 0, count: int = 64
) -> list[bytes]:
    """Payloads of POSTs within one minute, each of `coalesced_posts` POSTs."""
    payloads = []
    start_s = START_S + 60 * minute
    request_bodies = bodies(
        frames_by_class(), SHARES, count * coalesced_posts, lines, start_s=start_s, rate=40_000.0
    )
    for first in range(0, len(request_bodies), coalesced_posts):
        aggregator = Aggregator(start_s + ARRIVES_AFTER_S, AcceptanceWindow(HOUR_S, HOUR_S))
        for body in request_bodies[first : first + coalesced_posts]:
            aggregator.add_frames(split(body))
        payloads.append(aggregator.pack())
    return payloads


class Costs:
    """CPU seconds [own, Redis] of folding and closing in one round; in a pause round, only the
    longest pause.
    """

    def __init__(
        self, store: RedisStore, client: redis.asyncio.Redis, *, is_pause_round: bool
    ) -> None:
        self._store, self._client, self._is_pause_round = store, client, is_pause_round
        self.pause_s = 0.0
        self._now_s = START_S + 60.0
        self.worker = FoldWorker(
            store,
            RESOLUTIONS,
            name="bench",
            clock=lambda: self._now_s,
            interval_s=INTERVAL_S,
            batches=FOLDED_AT,
        )
        self.folding, self.closing = [0.0] * 2, [0.0] * 2

    async def fold_busy_app(self, payloads: list[bytes]) -> None:
        """Append and fold, whenever FOLDED_AT elements wait."""
        for first in range(0, ELEMENTS, FOLDED_AT):
            await append(self._store, payloads, "app", FOLDED_AT, first)
            self.worker.schedule({"app": FOLDED_AT})
            await self._pass(0)
        await self._pass(2 * HOUR_S + CLOSED_AFTER_S)

    async def fold_quiet_apps(self, payloads: list[bytes]) -> None:
        """Append one batch per app and minute, and fold the apps that are due."""
        for minute in range(KNOWN_AFTER_MINUTES + QUIET_MINUTES):
            if minute == KNOWN_AFTER_MINUTES:
                self.folding, self.closing = [0.0] * 2, [0.0] * 2
            for number in range(QUIET_APPS):
                app = f"app-{number}"
                length = await append(self._store, [payloads[minute]], app, 1, 0)
                self.worker.schedule({app: length})
            await self._pass(60)
        await self._pass(2 * HOUR_S + CLOSED_AFTER_S)

    async def _pass(self, seconds: float) -> None:
        self._now_s += seconds
        for costs, work in (
            (self.folding, self.worker.fold_due()),
            (self.closing, self.worker.compact_closed()),
        ):
            if self._is_pause_round:
                self.pause_s = max(self.pause_s, await longest_pause_s(work))
                continue
            own_s, redis_s = await cpu_of(self._client, work)
            costs[:] = (costs[0] + own_s, costs[1] + redis_s)


async def measure(
    store: RedisStore, client: redis.asyncio.Redis, payloads: list[bytes], coalesced_posts: int
) -> list[str]:
    """The figures of one row; `coalesced_posts` 0: quiet apps."""
    rounds, pauses = [], []
    for number in range(ROUNDS + 1):
        for is_pause_round in (False, True):
            await client.flushall()
            costs = Costs(store, client, is_pause_round=is_pause_round)
            await (
                costs.fold_busy_app(payloads)
                if coalesced_posts
                else costs.fold_quiet_apps(payloads)
            )
            if is_pause_round:
                pauses.append(costs.pause_s)
            elif number:
                rounds.append([*costs.folding, *costs.closing])
    units = ELEMENTS * coalesced_posts * LINES if coalesced_posts else QUIET_APPS * QUIET_MINUTES
    figures = (_MILLION * median(column) / units for column in zip(*rounds, strict=True))
    return [*(f"{figure:,.2f}" for figure in figures), f"{1000 * median(pauses):.1f}"]


async def run() -> None:
    """Print the table."""
    rows = []
    async with private_store() as (store, client):
        for name, coalesced_posts in (("busy", 1), ("busy, coalesced batches of 20", 20)):
            cells = await measure(
                store, client, packed_batches(LINES, coalesced_posts), coalesced_posts
            )
            rows.append([name, "CPU s per million lines", *cells])
        payloads = [
            payload
            for minute in range(KNOWN_AFTER_MINUTES + QUIET_MINUTES)
            for payload in packed_batches(QUIET_LINES, minute=minute, count=1)
        ]
        cells = await measure(store, client, payloads, 0)
        rows.append([f"quiet ({QUIET_APPS})", "CPU µs per app and minute", *cells])
    print("\n### Folding\n")
    head = ("app", "unit", "folding: worker", "Redis", "closing: worker", "Redis")
    print(table((*head, "longest pause, ms"), rows))


def main() -> None:
    """Print the table."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in the service
        runner.run(run())


if __name__ == "__main__":
    main()
