"""Whatever reads or folds a hostile app needs little memory, and lets other tasks run.

Each batch of the app names other dynos or process types than the one before, so all of them
together name far more than a rollup may keep.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.alerting.alert_worker import AlertWorker
from app.alerting.earlier_hours import EarlierHours
from app.dashboard.charts import current_questions
from app.folding.fold_worker import FoldWorker
from app.monitoring.exposition import render_apps
from app.monitoring.text_format import TEXT
from app.query.selection import WHOLE_APP
from app.query.snapshot import read_snapshot, read_snapshots
from app.query.table import QueryRange
from app.rollup.resolutions import MINUTE_S
from app.storage.interface.apps import SeenApp
from app.storage.memory import MemoryStore
from app.verdicts.verdict_reader import VerdictReader
from tests.support.hostile import HOSTILE_NAMES, append_hostile
from tests.support.incident import START_S, TIERS
from tests.support.service import Clock

APP = "evil"
MINUTES = 10
BATCHES = {"dynos": 12, "process types": 36}  # about 1.4 and 0.6 MB
END_S = START_S + MINUTES * MINUTE_S
PEAK_BYTES_MAX = 16 * 2**20  # decoded at once, the names of most cases take 22 to 110 MiB
TURN_BYTES_MAX = 256 * 1024  # of packed rollups, on average

Work = Callable[[MemoryStore, Clock, Path], Awaitable[object]]


async def fold(store: MemoryStore, clock: Clock, directory: Path) -> None:
    worker = FoldWorker(store, TIERS, name="1", clock=clock, interval_s=5, batches=64)
    await worker.fold(APP)
    for _ in range(2):  # further elements of the same slots, to compact
        await append_hostile(
            store, APP, HOSTILE_NAMES["process types"], START_S, minutes=2, batches=1
        )
        await worker.fold(APP)
    clock.now_s += 600
    await worker.compact_closed()


async def judge(store: MemoryStore, clock: Clock, directory: Path) -> None:
    worker = AlertWorker(
        store,
        TIERS,
        EarlierHours(store, TIERS[-1].retention_s),
        clock=clock,
        url="",
        name="1",
        spool_since_s=lambda: 0,
        directory=directory,
    )
    await worker.evaluate()
    clock.now_s += MINUTE_S
    await worker.evaluate()


async def judge_on_demand(store: MemoryStore, clock: Clock, directory: Path) -> object:
    return await VerdictReader(store, TIERS).current(await store.seen_apps(), clock())


async def expose_metrics(store: MemoryStore, clock: Clock, directory: Path) -> None:
    texts = await render_apps(store, await store.seen_apps(), clock(), TEXT)
    assert sum(map(len, texts)) < 2 * 2**20


async def show_page(store: MemoryStore, clock: Clock, directory: Path) -> object:
    time_range = QueryRange(START_S, END_S + MINUTE_S, MINUTE_S, TIERS[0])
    return await read_snapshot(store, APP, time_range, current_questions(WHOLE_APP))


async def list_apps(store: MemoryStore, clock: Clock, directory: Path) -> object:
    time_range = QueryRange(START_S, END_S + MINUTE_S, MINUTE_S, TIERS[0])
    questions = current_questions(WHOLE_APP)
    return [snapshot async for snapshot in read_snapshots(store, [APP], time_range, questions)]


WORK: dict[str, Work] = {
    work.__name__: work
    for work in (fold, judge, judge_on_demand, expose_metrics, show_page, list_apps)
}
CASES = [("process types", "fold"), *(("dynos", name) for name in WORK)]


async def count_turns(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await asyncio.sleep(0)


@pytest.mark.slow
@pytest.mark.parametrize(("names", "name"), CASES)
async def test_names_of_a_hostile_app_never_fill_the_memory(
    tmp_path: Path, names: str, name: str
) -> None:
    clock = Clock(END_S + 75)
    store = MemoryStore(clock)
    await store.record_sightings([SeenApp(APP, START_S, END_S, 0)], ttl_ms=10**9)
    stored_bytes = await append_hostile(
        store, APP, HOSTILE_NAMES[names], START_S, minutes=MINUTES, batches=BATCHES[names]
    )
    turns = [0]
    counting = asyncio.create_task(count_turns(turns))
    tracemalloc.start()
    try:
        await WORK[name](store, clock, tmp_path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        counting.cancel()
    assert peak_bytes < PEAK_BYTES_MAX
    assert turns[0] >= stored_bytes // TURN_BYTES_MAX
