"""How long a body keeps a worker from other requests: `python -m bench.bench_turns`.

A worker handles one thing at a time. While it aggregates and packs a body, every other request
waits for its present turn. Each line of these bodies names another dyno, which no sender but a
hostile one does; the last row is ordinary traffic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from app.ingest.coalesced_batch import CoalescedBatch
from app.ingest.drain_post import SMALL_BYTES, DrainKey, DrainPost
from app.ingest.received_batch import batch_id
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface.elements import random_bytes
from bench.bench_parse import ARRIVED_S, HORIZON
from bench.corpus import SHARES, bodies, frames_by_class
from bench.measure import table
from tests.support.lines import router

MIB = 2**20
SIZES = (SMALL_BYTES, MIB, 16 * MIB)
MINUTES = 60


def process_types(number: int) -> bytes:
    """Each line names another process type."""
    return router(ARRIVED_S, dyno=f"p{number}.1")


def dynos(number: int) -> bytes:
    """Each line names another dyno of one process type, and the smallest number comes last."""
    return router(ARRIVED_S, dyno=f"web.{10**6 - number}")


def types_by_minute(number: int) -> bytes:
    """Each line names another process type, in the next of MINUTES."""
    return router(ARRIVED_S - 60 * (number % MINUTES), dyno=f"p{number}.1")


def _fill(line: Callable[[int], bytes], size: int) -> bytes:
    """A body of about this size."""
    return b"".join(line(number) for number in range(size // len(line(0))))


def _ordinary(size: int) -> bytes:
    [body] = bodies(frames_by_class(), SHARES, 1, 1_000)
    return body * (size // len(body))


def turns_ms(steps: Iterator[Any]) -> list[float]:
    """CPU ms of each turn."""
    durations_ms = []
    while True:
        began_s = time.process_time()
        done = next(steps, steps) is steps
        durations_ms.append(1000 * (time.process_time() - began_s))
        if done:
            return durations_ms


async def store(post: DrainPost) -> None:
    """What a worker does with a body, without the store."""
    if post.size <= SMALL_BYTES:
        batch = CoalescedBatch(post, ARRIVED_S, DEFAULT_LIMITS)
        batch.finalize()
        await batch.coalesced()
    else:
        (await post.aggregate(ARRIVED_S, DEFAULT_LIMITS)).pack()


def measure(body: bytes) -> list[float]:
    """The turns of one body."""
    post = DrainPost(DrainKey("shop", "", 1, HORIZON), batch_id(b""), random_bytes(), body)
    run: Coroutine[Any, Any, None] = store(post)
    return turns_ms(iter(run.__await__()))


def main() -> None:
    """Print the table."""
    kinds: dict[str, Callable[[int], bytes]] = {
        "process types": lambda size: _fill(process_types, size),
        "dynos": lambda size: _fill(dynos, size),
        f"process types over {MINUTES} minutes": lambda size: _fill(types_by_minute, size),
        "ordinary": _ordinary,
    }
    rows = []
    for name, make_body in kinds.items():
        for size in SIZES:
            rounds = [measure(make_body(size)) for _ in range(3)]
            longest_ms = min(max(turns) for turns in rounds)
            total_ms = min(sum(turns) for turns in rounds)
            rows.append(
                [
                    name,
                    f"{size / MIB:g}",
                    str(len(rounds[0])),
                    f"{longest_ms:.1f}",
                    f"{total_ms:.0f}",
                ]
            )
    print("\n### Turns of the event loop for one body\n")
    print(table(["every line names another", "MiB", "turns", "longest, ms", "all, ms"], rows))


if __name__ == "__main__":
    main()
