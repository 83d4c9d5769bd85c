"""Memory, CPU time and turns of judging 200 apps: `python -m bench.bench_judging`.

The worker that holds the lease of alerts keeps the last hours of every app. Each app here has
HISTORY_HOURS of minutes in Redis, and is new to the worker. The first rounds begin to judge all
apps and judge their past; of the rounds after them, each judges one more minute, once early and
once for good, by the built-in rules.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from app.alerting.channels.channel import Channel, pack_channel
from app.folding.fold_worker import FoldWorker
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import pack_batch
from app.rollup.resolutions import HOUR_S, MINUTE_S, align
from app.rollup.rollup import Rollup
from app.service.asgi import GC_THRESHOLD_OBJECTS
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.redis.store import RedisStore
from app.verdicts.verdict_record import unpack_verdict_records
from bench.alerts import Clock, new_worker
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, minutes, private_store, redis_cpu_s, repeat_minutes

APPS = 200
DYNOS = 8
REQUESTS_PER_MINUTE = 300
DISTINCT_MINUTES = 30
HISTORY_HOURS = 4
ROUNDS = 7
START_ROUNDS_MAX = 60
KIB, MIB = 1024, 1024 * 1024


class Turns(NamedTuple):
    """What a task took: CPU s in all, and the CPU ms of its longest turns, the longest first."""

    cpu_s: float
    longest_ms: list[float]


async def measure_turns(work: Callable[[], Awaitable[None]]) -> Turns:
    """Run a task, and measure each of its turns in the event loop."""
    durations_s: list[float] = []
    await _Timed(work(), durations_s)
    return Turns(sum(durations_s), [1000 * value for value in sorted(durations_s)[:-4:-1]])


class _Timed:
    """Awaits a coroutine and notes the CPU time of each of its turns."""

    def __init__(self, work: Awaitable[None], durations_s: list[float]) -> None:
        self._steps: Coroutine[Any, Any, None] = work  # type: ignore[assignment]
        self._durations_s = durations_s

    def __await__(self) -> Any:
        steps = self._steps.__await__()
        answer: Any = None
        while True:
            began_s = time.thread_time()
            try:
                question = steps.send(answer)
            except StopIteration:
                return
            finally:
                self._durations_s.append(time.thread_time() - began_s)
            answer = yield question


def rss_bytes() -> int:
    """The memory that this process occupies."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4 * KIB


def peak_bytes() -> int:
    """The most that it ever did since `reset_peak`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * KIB


def reset_peak() -> None:
    """Let `peak_bytes` begin anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Service:
    """A private store with the apps, and the worker that judges them."""

    def __init__(self, store: RedisStore, apps: list[str], rollups: list[Rollup]) -> None:
        self.store = store
        self.apps = apps
        self.clock = Clock(START_S)
        self._rollups = rollups
        self._folding = FoldWorker(
            store, RESOLUTIONS, name="bench", clock=self.clock, interval_s=5, batches=64
        )
        self.worker = new_worker(store, self.clock)
        self._first_s = 0
        self._stored_s = 0

    async def begin(self, history_s: int) -> None:
        """Store the history of the apps, and a channel that no app uses."""
        channel = Channel(
            name="none", kind="slack", url="https://example.com/", added_s=1, apps=("x",)
        )
        change = AlertChange(AlertTable.CHANNELS, "none", pack_channel(channel))
        await self.store.change_alerts([change])
        self._stored_s = align(int(START_S), HOUR_S)
        first_s = self._stored_s
        for _ in range(history_s // HOUR_S):
            await self.add_minutes(HOUR_S // MINUTE_S, first_s)
        self._first_s = first_s

    async def add_minutes(self, count: int, first_s: int) -> None:
        """Store so many more minutes of each app, and put the clock to their end."""
        chunk = dict(repeat_minutes(self._rollups, count, self._stored_s))
        data = pack_batch(chunk)
        end_s = self._stored_s + count * MINUTE_S
        self.clock.now_s = end_s
        for app in self.apps:
            batch = new_batch(b"", data)
            await self.store.append({app: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
            await self._folding.fold(app)
        sightings = [SeenApp(app, first_s, end_s - MINUTE_S, end_s - MINUTE_S) for app in self.apps]
        await self.store.record_sightings(sightings, ttl_ms=TTL_MS)
        self._stored_s = end_s

    async def judge(self) -> Turns:
        """Run a round for good."""
        self.clock.now_s = self._stored_s + MINUTE_S + 5
        return await measure_turns(self.worker.evaluate)

    async def judge_early(self) -> Turns:
        """Run a round for the minute that has just ended."""
        self.clock.now_s = self._stored_s + 20
        return await measure_turns(self.worker.evaluate)

    async def next_minute(self) -> None:
        """Store one more minute of each app."""
        await self.add_minutes(1, self._first_s)

    async def is_started(self) -> bool:
        """Whether every app is judged from its first minute on."""
        (records,) = await self.store.alert_tables(AlertTable.VERDICTS)
        states = unpack_verdict_records(records)
        return len(states) == len(self.apps) and all(
            record.judged_since_s <= self._first_s for record in states.values()
        )


def describe(name: str, rounds: list[Turns], store_cpu_s: float | None = None) -> tuple[str, ...]:
    """A row of the table."""
    return (
        name,
        str(len(rounds)),
        f"{median(turns.cpu_s for turns in rounds):.2f}",
        f"{max(turns.cpu_s for turns in rounds):.2f}",
        "" if store_cpu_s is None else f"{store_cpu_s:.2f}",
        ", ".join(f"{ms:.1f}" for ms in max(turns.longest_ms for turns in rounds)),
    )


async def run(apps_count: int, history_hours: int, rounds: int) -> None:
    """Print the tables."""
    apps = [f"app-{number:04}" for number in range(apps_count)]
    rollups = minutes(REQUESTS_PER_MINUTE, DYNOS, DISTINCT_MINUTES)
    async with private_store() as (store, client):
        service = Service(store, apps, rollups)
        await service.begin(history_hours * HOUR_S)
        gc.collect()
        gc.freeze()  # as the service does, and its threshold
        gc.set_threshold(GC_THRESHOLD_OBJECTS)
        idle_bytes = rss_bytes()
        reset_peak()
        starting = []
        while len(starting) < START_ROUNDS_MAX and not await service.is_started():
            await service.next_minute()
            starting.append(await service.judge())
        start_peak_bytes = peak_bytes()
        early, final, store_s = [], [], []
        for _ in range(rounds):
            await service.next_minute()
            redis_s = await redis_cpu_s(client)
            early.append(await service.judge_early())
            final.append(await service.judge())
            store_s.append(await redis_cpu_s(client) - redis_s)
        gc.collect()
        busy_bytes = rss_bytes()
    print(
        f"\n{apps_count} apps of {DYNOS} dynos and {REQUESTS_PER_MINUTE} requests a minute, new"
        f" with {history_hours} hours of history; built-in rules, one channel\n"
    )
    sums = [Turns(a.cpu_s + b.cpu_s, []) for a, b in zip(early, final, strict=True)]
    rows = [
        describe("first rounds", starting),
        describe("a minute, early", early),
        describe("a minute, for good", final),
        describe("both", sums, median(store_s)),
    ]
    print(table(("round", "number", "CPU s", "most", "CPU s, Redis", "longest turns, ms"), rows))
    print(
        "\n"
        + table(
            ("memory of the worker", "MiB"),
            [
                ("before", f"{idle_bytes / MIB:.0f}"),
                ("at most, in the first rounds", f"{start_peak_bytes / MIB:.0f}"),
                ("judging", f"{busy_bytes / MIB:.0f}"),
                ("an app", f"{(busy_bytes - idle_bytes) / MIB / apps_count:.3f}"),
            ],
        )
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=APPS)
    parser.add_argument("--hours", type=int, default=HISTORY_HOURS, help="of history")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    asyncio.run(run(options.apps, options.hours, options.rounds))


if __name__ == "__main__":
    main()
