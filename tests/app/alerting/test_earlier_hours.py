"""Rules that compare with a year before, which only the archive holds."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.alerting.earlier_hours import EarlierHours
from app.alerting.rule import Rule
from app.alerting.status import read_overview
from app.archive import prompt_reader
from app.archive.database import Database
from app.archive.history_reader import HistoryReader
from app.archive.prompt_reader import PromptReader
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S
from app.storage.memory import MemoryStore
from tests.support.archive import archive_hour, busy_rollup
from tests.support.incident import START_S, TIERS, World, error, quiet, world
from tests.support.postgres import PostgresServer
from tests.support.service import Clock

YEAR_S = 52 * 7 * DAY_S
MUCH = Rule(
    name="much",
    title="requests",
    metric="requests",
    stat="sum",
    compare="year",
    limit=2,
    for_minutes=3,
)
A_MINUTE = 60  # requests of `quiet`
HALF, THIRD = A_MINUTE * 60 // 2, A_MINUTE * 60 // 3  # requests of an hour, as shares of today's


@asynccontextmanager
async def year_old_app(url: str, kept_s: int = 400 * DAY_S) -> AsyncIterator[World]:
    """An app that the store knows since today, with the rule and an archive."""
    clock = Clock(START_S)
    store = MemoryStore(clock)
    database = Database(url)
    history = HistoryReader(
        store,
        PromptReader(database),
        hours=TIERS[-1],
        settled_after_s=2 * DAY_S,
        clock=clock,
    )
    try:
        async with world(store, clock, EarlierHours(history, kept_s)) as sim:
            await sim.add_rule(MUCH)
            yield sim
    finally:
        await database.close()


async def archive_requests(url: str, start_s: int, requests: int) -> None:
    database = Database(url)
    rollup = busy_rollup(start_s, seed=start_s, requests=requests - 1)  # it adds a WebSocket
    await archive_hour(database, "shop", start_s, rollup)
    await database.close()


async def unknown_reason(sim: World) -> str:
    return (await read_overview(sim.store)).unknown_reason


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + 5 * number, "H10") for number in range(8)]


@pytest.mark.parametrize(("requests", "stories"), [(THIRD, [("much", "firing")]), (HALF + 1, [])])
async def test_a_minute_is_compared_with_the_same_hour_and_weekday_of_last_year(
    archive_url: str, requests: int, stories: list[tuple[str, str]]
) -> None:
    for weeks, others in ((52, requests), (53, 4 * HALF), (51, 4 * HALF)):
        start_s = START_S - weeks * 7 * DAY_S
        await archive_requests(archive_url, start_s - HOUR_S, 4 * HALF)
        await archive_requests(archive_url, start_s, others)
    async with year_old_app(archive_url) as sim:
        await sim.live(10, quiet)
        assert sim.stories == stories
        assert await unknown_reason(sim) == ""
        for told in sim.told:
            what = told.message["alerts"][0]["what"]
            assert what.startswith("requests 60 (limit 40: 2 × 20, this hour a year before)")


async def test_an_app_that_appeared_during_that_hour_has_nothing_to_compare_with(
    archive_url: str,
) -> None:
    await archive_requests(archive_url, START_S - YEAR_S, THIRD)
    async with year_old_app(archive_url) as sim:
        await sim.live(10, quiet)
        assert sim.stories == []
        assert await unknown_reason(sim) == ""


async def test_while_the_archive_is_unavailable_the_rule_neither_fires_nor_resolves(
    archive_url: str, postgres: PostgresServer
) -> None:
    for hours in (-1, 0, 1):
        await archive_requests(archive_url, START_S - YEAR_S + hours * HOUR_S, THIRD)
    async with year_old_app(archive_url) as sim:
        sim.clock.now_s += 48 * MINUTE_S
        await sim.live(10, quiet)
        assert sim.stories == [("much", "firing")]
        postgres.stop()
        try:
            await sim.live(3, quiet)
            # Of this hour nothing was read, and the requests are fewer than a year before.
            await sim.live(20, lambda at_s: quiet(at_s, requests=10))
            assert sim.stories == [("much", "firing")]
            reason = await unknown_reason(sim)
            assert reason.startswith("Rules with compare=year are unknown. The archive of what ")
            assert "PostgreSQL does not answer" in reason
            await sim.live(8, crashing)
            assert sim.stories == [("much", "firing"), ("app-broken", "firing")]
        finally:
            postgres.start()
        await sim.live(20, lambda at_s: quiet(at_s, requests=10))
        assert ("much", "resolved") in sim.stories
        assert await unknown_reason(sim) == ""


async def test_an_archive_that_hangs_delays_no_other_rule(
    archive_url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_reader, "WAIT_S_MAX", 0.05)
    await archive_requests(archive_url, START_S - YEAR_S - HOUR_S, THIRD)
    await archive_requests(archive_url, START_S - YEAR_S, THIRD)
    async with year_old_app(archive_url) as sim:
        os.kill(postgres.process.pid, signal.SIGSTOP)  # accepts connections, and says nothing
        try:
            await sim.live(20, quiet)
            await sim.live(8, crashing)
            assert sim.stories == [("app-broken", "firing")]
            assert "took longer than 0.05 seconds" in await unknown_reason(sim)
        finally:
            os.kill(postgres.process.pid, signal.SIGCONT)


async def test_a_rule_from_the_time_of_an_archive_is_unknown_without_one() -> None:
    async with world() as sim:
        await sim.add_rule(MUCH)
        await sim.live(10, quiet)
        assert sim.stories == []
        assert await unknown_reason(sim) == (
            "Some rules are unknown: compare=year requires hours of 364 days ago, but they are "
            "kept for 90 days. Set DYNOMETER_ARCHIVE_URL, or keep hours for longer."
        )
