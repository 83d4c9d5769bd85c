"""Two years of history: every count is that of the generator, hours go, days stay."""

from __future__ import annotations

import random
from collections import Counter

import psycopg
import pytest

from app.archive.archive_reader import ArchiveReader
from app.archive.database import Database
from app.rollup.codec import unpack
from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.rollup import Rollup
from app.rollup.schema import SERVICE_FAILED, SERVICE_OK
from app.storage.memory import MemoryStore
from parsers.samples import Request
from tests.support.archive import archive_all, archiver_of, put_hour, see_apps
from tests.support.service import Clock

DAYS = 730
LAST_S = 20_780 * DAY_S  # 2026-11-23
FIRST_S = LAST_S - DAYS * DAY_S
STEP_DAYS = 15  # of which the last ones have data, because the store of these tests holds 5 days
HOURS_KEPT_S = 400 * DAY_S


def traffic(start_s: int, rng: random.Random) -> Rollup:
    rollup = Rollup()
    for _ in range(rng.randrange(1, 6)):
        request = Request("web.1", rng.choice([200, 500]), "", 1, rng.randrange(2_000), 0)
        rollup.observe(request, (start_s + rng.randrange(HOUR_S)) * 1000)
    rollup.messages = sum(rollup.requests.values())
    return rollup


def service_time_ms(rollup: Rollup) -> int:
    kinds = (SERVICE_OK, SERVICE_FAILED)
    return sum(timing.total for (_, kind), timing in rollup.tallies.items() if kind in kinds)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_years_are_counted_exactly(archive_url: str) -> None:
    rng = random.Random(29)
    clock = Clock(FIRST_S)
    store = MemoryStore(clock)
    database = Database(archive_url)
    archiver = archiver_of(store, database, clock, HOURS_KEPT_S)
    truth: Counter[tuple[str, int]] = Counter()  # requests by app and day
    times_ms: Counter[str] = Counter()
    for first_day in range(0, DAYS, STEP_DAYS):
        clock.now_s = FIRST_S + (first_day + STEP_DAYS) * DAY_S + HOUR_S
        await see_apps(store, ["blog", "shop"], clock())
        for day in range(first_day + STEP_DAYS - 3, first_day + STEP_DAYS):
            for app in ("blog", "shop"):
                start_s = FIRST_S + day * DAY_S + rng.randrange(24) * HOUR_S
                rollup = traffic(start_s, rng)
                await put_hour(store, app, start_s, rollup)
                truth[app, FIRST_S + day * DAY_S] += rollup.messages
                times_ms[app] += service_time_ms(rollup)
        await archive_all(archiver)

    reader = ArchiveReader(database)
    for app in ("blog", "shop"):
        days = await reader.days(app, FIRST_S, int(clock()))
        assert {day.start_s: unpack(day.rollup).messages for day in days} == {
            start_s: count for (name, start_s), count in truth.items() if name == app
        }
        hours = await reader.hours(app, FIRST_S, int(clock()))
        assert min(hour.start_s for hour in hours) >= clock() - HOURS_KEPT_S - 7 * DAY_S
    await database.close()
    with psycopg.connect(archive_url) as connection:
        sums = connection.execute(
            "SELECT app, sum(requests), sum(sum_ms) FROM dynometer.request_days GROUP BY app"
        ).fetchall()
    assert {app: (requests, sum_ms) for app, requests, sum_ms in sums} == {
        app: (sum(count for (name, _), count in truth.items() if name == app), times_ms[app])
        for app in ("blog", "shop")
    }
