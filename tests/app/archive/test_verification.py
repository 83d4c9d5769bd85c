"""`verify` finds every kind of difference, and nothing where all is well."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.archive.database import Database
from app.archive.verification import Verification
from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.interface.elements import Slot
from app.storage.memory import MemoryStore
from tests.app.archive.test_detail_rows import addon_rollup, custom_rollup
from tests.support.archive import (
    HOURS,
    archive_all,
    archiver_of,
    busy_rollup,
    put_hour,
    see_apps,
)
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23
HOURS_SLOT = Slot("1h", MIDNIGHT)
STARTS = range(MIDNIGHT - 2 * HOUR_S, MIDNIGHT + HOUR_S, HOUR_S)


class Setup:
    """A store and its archive, which are equal."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = Clock(MIDNIGHT + 2 * HOUR_S)
        self.store = MemoryStore(self.clock)
        self.database = Database(url)
        self.archiver = archiver_of(self.store, self.database, self.clock)

    async def fill(self) -> None:
        await see_apps(self.store, ["shop"], self.clock())
        for start_s in STARTS:
            rollup = busy_rollup(start_s, seed=start_s)
            rollup.merge(addon_rollup())
            rollup.merge(custom_rollup())
            await put_hour(self.store, "shop", start_s, rollup)
        await archive_all(self.archiver)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute(statement.encode()).rowcount

    async def verify(self) -> tuple[int, int, list[str]]:
        """The hours that are equal and that wait, and the problems."""
        verification = Verification(
            self.store, self.database, hours=HOURS, limits=DEFAULT_LIMITS, clock=self.clock
        )
        days = [day async for day in verification.compare()]
        return (
            sum(day.equal_hours for day in days),
            sum(day.waiting_hours for day in days),
            [difference.problem for day in days for difference in day.differences],
        )


@pytest.fixture
async def setup(archive_url: str) -> AsyncIterator[Setup]:
    setup = Setup(archive_url)
    await setup.fill()
    yield setup
    await setup.database.close()


async def test_an_archive_that_is_equal_has_no_difference(setup: Setup) -> None:
    assert await setup.verify() == (3, 0, [])


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM dynometer.hours WHERE t = '2026-11-23Z'", "is missing in the archive"),
        ("UPDATE dynometer.hours SET messages = messages - 1", "differs"),
        ("UPDATE dynometer.days SET messages = messages + 1", "is not the sum of its hours"),
        ("UPDATE dynometer.request_hours SET requests = requests + 1", "differs in request_hours"),
        ("UPDATE dynometer.count_days SET value = 7", "differs in count_days"),
        ("UPDATE dynometer.measurement_hours SET sum = sum + 0.01", "differs in measurement_hours"),
        ("DELETE FROM dynometer.dyno_hours", "differs in dyno_hours"),
        ("DELETE FROM dynometer.days", "is missing as a day"),
    ],
)
async def test_a_difference_is_named(setup: Setup, statement: str, problem: str) -> None:
    setup.execute(statement)
    problems = (await setup.verify())[2]
    assert problem in problems


async def test_lines_that_no_note_tells_of_are_a_difference(setup: Setup) -> None:
    await put_hour(setup.store, "shop", MIDNIGHT, busy_rollup(MIDNIGHT, seed=5), is_noted=False)
    assert await setup.verify() == (2, 0, ["differs"])


async def test_an_hour_that_is_to_be_written_again_waits(setup: Setup) -> None:
    await put_hour(setup.store, "shop", MIDNIGHT - HOUR_S, busy_rollup(MIDNIGHT, seed=5))
    assert await setup.verify() == (2, 1, [])
    await setup.archiver.advance()
    assert await setup.verify() == (3, 0, [])


async def test_an_archive_that_holds_more_says_so(setup: Setup) -> None:
    setup.store._elements("shop", HOURS_SLOT).pop()
    few = busy_rollup(MIDNIGHT, seed=1, requests=1)
    await put_hour(setup.store, "shop", MIDNIGHT, few, is_noted=False)
    (problem,) = (await setup.verify())[2]
    assert problem.endswith(f"messages in the archive, {few.messages} in the store")


async def test_rows_that_were_reset_are_no_difference(setup: Setup) -> None:
    setup.execute(
        "INSERT INTO dynometer.count_hours (app, t, metric, process_type) "
        "VALUES ('shop', '2026-11-23Z', 'requests', 'zebra')"
    )
    assert (await setup.verify())[2] == []
