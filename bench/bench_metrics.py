"""The cost of /metrics with 200 apps of 8 dynos: reading, writing and compressing.

Also the longest time during which nothing else runs in the worker, with ten times as many apps.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from functools import partial
from statistics import median

from app.folding.fold_worker import FoldWorker
from app.ingest.received_batch import new_batch
from app.monitoring.app_metrics import FAMILIES, AppState, read_app_states, render_app
from app.monitoring.exposition import APPS_PER_TURN, in_blocks, render_apps
from app.monitoring.text_format import TEXT, render_header
from app.rollup.batch_codec import pack_batch
from app.storage.interface.apps import SeenApp
from app.storage.redis.store import RedisStore
from bench.bench_query import LoopHolds
from bench.corpus import START_S
from bench.measure import cpu_s, table
from bench.store import RESOLUTIONS, TTL_MS, minutes, private_store

APPS = 200
MANY_APPS = 2_000
DYNOS = 8
REQUESTS_PER_MINUTE = 1_000
MINUTES = 6
ROUNDS = 7
_MS = 1000
_NOW_S = START_S + MINUTES * 60


async def fill(store: RedisStore, apps: int) -> list[SeenApp]:
    """Store the last minutes of every app, folded."""
    rollups = minutes(REQUESTS_PER_MINUTE, DYNOS, MINUTES)
    worker = FoldWorker(
        store, RESOLUTIONS, name="bench", clock=lambda: _NOW_S, interval_s=5, batches=64
    )
    sightings = [SeenApp(f"app-{n}", int(START_S), int(_NOW_S), int(_NOW_S)) for n in range(apps)]
    for app, *_ in sightings:
        minute_rollups = {
            int(START_S) + 60 * number: rollup for number, rollup in enumerate(rollups)
        }
        payload = pack_batch(minute_rollups)
        await store.append({app: [new_batch(b"", payload)]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
        await worker.fold(app)
    await worker.compact_closed()
    return sightings


async def longest_hold_s(store: RedisStore, sightings: list[SeenApp]) -> float:
    """In CPU time, without the compression, which runs in a thread."""
    holds = LoopHolds()
    watcher = asyncio.create_task(holds.watch())
    await asyncio.sleep(0)
    async for _block in in_blocks(await render_apps(store, sightings, _NOW_S, TEXT)):
        pass
    watcher.cancel()
    return holds.longest_s


async def run() -> None:
    """Print the table."""
    async with private_store() as (store, _):
        many_sightings = await fill(store, MANY_APPS)
        hold_s = median([await longest_hold_s(store, many_sightings) for _ in range(ROUNDS)])
    async with private_store() as (store, _):
        sightings = await fill(store, APPS)
        reading, writing, compressing = [], [], []
        states: list[AppState] = []
        text = ""
        for _round in range(ROUNDS):
            started_s = time.process_time()
            states = [
                state
                for first in range(0, APPS, APPS_PER_TURN)
                for state in await read_app_states(
                    store, sightings[first : first + APPS_PER_TURN], _NOW_S
                )
            ]
            reading.append(time.process_time() - started_s)
            started_s = time.process_time()
            lines = zip(*[render_app(state) for state in states], strict=True)
            text = "".join(
                render_header(family, TEXT) + "".join(app_lines)
                for (family, _), app_lines in zip(FAMILIES, lines, strict=True)
            )
            writing.append(time.process_time() - started_s)
            compressing.append(cpu_s(partial(gzip.compress, text.encode(), 1)))
    rows = [
        (name, round(median(times) * _MS))
        for name, times in (("read", reading), ("write", writing), ("compress", compressing))
    ]
    print(
        f"\n### /metrics of {APPS} apps with {DYNOS} dynos ({text.count(chr(10)):,} lines; CPU)\n"
    )
    print(table(("step", "ms"), rows))
    print(f"\nLongest hold of the loop with {MANY_APPS:,} apps: {hold_s * _MS:.1f} ms")


def main() -> None:
    """Print the table."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
