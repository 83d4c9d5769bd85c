"""Answers are the same on both sides of the seam between the store and its archive."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from app.archive.archive_reader import ArchiveReader
from app.archive.archiver import FOLDED_AFTER_S
from app.archive.database import Database
from app.archive.history_reader import DAYS, HistoryReader
from app.query.engine import answer, slots_of
from app.query.history import read_events, read_ledger
from app.query.planner import build_query, plan_range
from app.query.table import QueryRange
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.rollups import RollupReader
from app.storage.memory import MemoryStore
from tests.support.archive import (
    HORIZON_S,
    HOURS,
    archive_all,
    archiver_of,
    busy_rollup,
    put_hour,
    see_apps,
)
from tests.support.postgres import PostgresServer
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23, a Monday
NOW_S = MIDNIGHT + 13 * HOUR_S + 700
FIRST_S = MIDNIGHT - 16 * DAY_S
pytestmark = pytest.mark.slow

KEPT = Resolution("1h", HOUR_S, 400 * DAY_S)
SETTLED_AFTER_S = HORIZON_S + FOLDED_AFTER_S
STATS = {"counter": ["sum"], "gauge": ["avg", "max", "last"], "distribution": ["p95", "avg"]}


class Setup:
    """A store with sixteen days of hours, and its archive."""

    def __init__(self, archive_url: str) -> None:
        self.clock = Clock(FIRST_S + DAY_S)
        self.store = MemoryStore(self.clock)
        self.hours: dict[int, Rollup] = {}
        self.database = Database(archive_url)
        self.archive = ArchiveReader(self.database)

    async def fill(self) -> None:
        """Hours at random, archived as the days pass, because the archiver looks back five days."""
        rng = random.Random(29)
        archiver = archiver_of(self.store, self.database, self.clock)
        for day_s in range(FIRST_S, MIDNIGHT + DAY_S, DAY_S):
            self.clock.now_s = min(day_s + DAY_S + 700, NOW_S)
            await see_apps(self.store, ["shop"], self.clock())
            if (day_s - FIRST_S) // DAY_S == 4:
                continue  # a day without a line
            hours = range(0, min(DAY_S, int(self.clock()) - day_s), HOUR_S)
            for hour_s in rng.sample(hours, 3):
                start_s = day_s + hour_s
                self.hours[start_s] = busy_rollup(start_s, seed=start_s, requests=6)
                await put_hour(self.store, "shop", start_s, self.hours[start_s])
            await archive_all(archiver)

    def history(self, retention_s: int, store: RollupReader | None = None) -> HistoryReader:
        """A reader that takes the store to hold hours for so long."""
        return HistoryReader(
            store or self.store,
            self.archive,
            hours=HOURS._replace(retention_s=retention_s),
            settled_after_s=SETTLED_AFTER_S,
            clock=self.clock,
        )

    async def store_since(self, first_s: int) -> MemoryStore:
        """A store that holds only the hours from then on."""
        store = MemoryStore(self.clock)
        for start_s, rollup in self.hours.items():
            if start_s >= first_s:
                await put_hour(store, "shop", start_s, rollup)
        return store


@pytest.fixture
async def setup(archive_url: str) -> AsyncIterator[Setup]:
    setup = Setup(archive_url)
    await setup.fill()
    yield setup
    await setup.database.close()


def time_range(start: str, end: str, step: str, tiers: Sequence[Resolution]) -> QueryRange:
    return plan_range(start, end, step, tiers, NOW_S)[0]


async def answers(reader: RollupReader, period: QueryRange) -> dict[str, Any]:
    """Everything that is read of a range."""
    app = SeenApp("shop", FIRST_S, int(NOW_S), 0)
    results: dict[str, Any] = {
        "events": await read_events(reader, "shop", period),
        "ledger": await read_ledger(reader, "shop", period),
    }
    for metric in METRICS.values():
        labels = [label for label in metric.labels if label != "dyno"]
        query = build_query(period, metric.name, STATS[metric.kind], labels)
        results[metric.name] = await answer(reader, [app], query, NOW_S)
    return results


async def test_answers_do_not_depend_on_where_the_seam_is(setup: Setup) -> None:
    days = Resolution(DAYS, DAY_S, KEPT.retention_s)
    for step in ("1h", "1d", "1w", "range"):
        for start, end in (("now-14d", "now"), (str(FIRST_S), str(MIDNIGHT - 2 * DAY_S))):
            expected = await answers(setup.store, time_range(start, end, step, [KEPT]))
            for seam_days in (3, 5.5, 8, 30):
                seam_s = int(NOW_S - seam_days * DAY_S)
                reader = setup.history(NOW_S - seam_s, await setup.store_since(seam_s))
                for tiers in ([KEPT], [KEPT, days]):
                    history = await answers(reader, time_range(start, end, step, tiers))
                    assert history == expected, (step, start, seam_days, tiers)


async def test_a_store_that_lost_its_hours_is_read_from_the_archive(setup: Setup) -> None:
    lost_s = MIDNIGHT - DAY_S - 12 * HOUR_S
    reader = setup.history(KEPT.retention_s, await setup.store_since(lost_s))
    period = time_range("now-14d", "now", "1h", [KEPT])
    assert await answers(reader, period) == await answers(setup.store, period)


@pytest.mark.parametrize("bytes_max", [1, 3_000])
@pytest.mark.parametrize("is_emptied", [False, True])
async def test_parts_add_up_to_the_whole(setup: Setup, bytes_max: int, is_emptied: bool) -> None:
    store = await setup.store_since(MIDNIGHT) if is_emptied else setup.store
    reader = setup.history(5 * DAY_S, store)
    for resolution in (KEPT, Resolution(DAYS, DAY_S, KEPT.retention_s)):
        step = "1h" if resolution is KEPT else "1d"
        slots = slots_of(time_range(str(FIRST_S), "now", step, [resolution]))
        whole = await reader.read("shop", slots)
        parts: dict[Slot, list[bytes]] = {}
        calls = 0
        while slots:
            (part,) = await reader.read_parts([("shop", slots)], bytes_max)
            assert not parts.keys() & part.contents.slots.keys()
            parts |= part.contents.slots
            slots = slots[part.slot_count :]
            calls += 1
        assert parts == whole.slots
        assert calls > 2


async def test_without_its_database_only_old_ranges_fail(
    setup: Setup, postgres: PostgresServer
) -> None:
    reader = setup.history(5 * DAY_S)
    days = Resolution(DAYS, DAY_S, KEPT.retention_s)
    recent = time_range("now-3d", "now", "1d", [days])
    expected = await answers(setup.store, time_range("now-3d", "now", "1d", [KEPT]))
    postgres.kill()
    try:
        assert await answers(reader, recent) == expected
        with pytest.raises(StoreUnavailable, match="a start in the last 5 days"):
            await answers(reader, time_range("now-9d", "now", "1d", [days]))
    finally:
        postgres.start()
