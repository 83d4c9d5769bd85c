"""The archive in the service: who writes it, and what is said about it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.archive.archive_reader import ArchiveReader
from app.archive.database import Database
from app.archive.plugin import FAILING_S, RETRY_S, TICK_S, ArchivePlugin
from app.rollup.resolutions import DAY_S, HOUR_S
from app.storage.memory import MemoryStore
from tests.support.archive import archiver_of, busy_rollup, put_hour, see_apps
from tests.support.service import Clock, client_of

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23
START = MIDNIGHT - HOUR_S


class Worker:
    """A worker's plugin, on a store that several share."""

    def __init__(self, store: MemoryStore, url: str, clock: Clock, *, is_leader: bool) -> None:
        self.is_leader = is_leader
        self.database = Database(url)
        self.reader = ArchiveReader(self.database)
        self.plugin = ArchivePlugin(
            archiver_of(store, self.database, clock),
            self.database,
            store,
            is_leader=lambda: self.is_leader,
            clock=clock,
        )

    async def work(self) -> float:
        """Work until nothing is left; returns the pause."""
        pause_s = 0.0
        while pause_s < 2:
            pause_s = await self.plugin.work()
        return pause_s


@pytest.fixture
def clock() -> Clock:
    return Clock(MIDNIGHT + HOUR_S)


@pytest.fixture
async def store(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock)
    await see_apps(store, ["shop"], clock())
    await put_hour(store, "shop", START, busy_rollup(START, seed=1))
    return store


@pytest.fixture
async def leader(store: MemoryStore, archive_url: str, clock: Clock) -> AsyncIterator[Worker]:
    worker = Worker(store, archive_url, clock, is_leader=True)
    yield worker
    await worker.database.close()


@pytest.fixture
async def other(store: MemoryStore, archive_url: str, clock: Clock) -> AsyncIterator[Worker]:
    worker = Worker(store, archive_url, clock, is_leader=False)
    yield worker
    await worker.database.close()


async def test_only_the_leader_writes(leader: Worker, other: Worker) -> None:
    assert await other.work() == TICK_S
    assert await other.reader.hours("shop", 0, MIDNIGHT) == []
    assert await leader.work() == TICK_S
    assert len(await other.reader.hours("shop", 0, MIDNIGHT)) == 1


async def test_another_worker_takes_over(leader: Worker, other: Worker, clock: Clock) -> None:
    await leader.work()
    leader.is_leader, other.is_leader = False, True
    clock.now_s += HOUR_S
    await other.work()
    assert other.plugin.health()["archive"]["archived_until"] == MIDNIGHT + HOUR_S


def break_archive(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE dynometer.progress RENAME TO hidden")


def repair_archive(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE dynometer.hidden RENAME TO progress")


async def test_all_workers_say_that_it_cannot_be_written_and_how_far_it_is_behind(
    leader: Worker, other: Worker, clock: Clock, archive_url: str
) -> None:
    await leader.work()
    break_archive(archive_url)
    clock.now_s += 5 * HOUR_S
    assert await leader.work() == RETRY_S
    await other.work()
    assert leader.plugin.notices() == other.plugin.notices() == []  # perhaps only for a moment
    clock.now_s += FAILING_S
    (notice,) = other.plugin.notices()
    assert notice.startswith("The archive is 5 hours behind: ")
    assert "dynometer archive init" in notice
    part = other.plugin.health()["archive"]
    assert (part["status"], part["hours_behind"]) == ("degraded", 5)
    repair_archive(archive_url)
    await leader.work()
    await other.work()
    assert leader.plugin.notices() == other.plugin.notices() == []
    assert other.plugin.health()["archive"]["archived_until"] == MIDNIGHT + 5 * HOUR_S


async def test_catching_up_is_said_once_it_is_hours(leader: Worker, clock: Clock) -> None:
    await leader.work()
    clock.now_s += 3 * DAY_S
    await leader.plugin.work()  # a round takes a day's hours
    assert leader.plugin.notices() == ["The archive is 48 hours behind and catching up."]
    await leader.work()
    assert leader.plugin.notices() == []


async def test_metrics_say_how_far_it_is_behind(
    leader: Worker, store: MemoryStore, clock: Clock
) -> None:
    await leader.work()
    clock.now_s += 3 * DAY_S
    await leader.plugin.work()
    registry = CollectorRegistry()
    registry.register(leader.plugin.collector(await store.statuses()))
    text = generate_latest(registry).decode()
    assert "dynometer_archive_behind_seconds 172800.0" in text
    assert "dynometer_archive_failing 0.0" in text


async def test_an_unexpected_failure_does_not_end_the_task(
    leader: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader.plugin._archiver, "advance", None)
    assert await leader.work() == RETRY_S
    monkeypatch.undo()
    assert await leader.work() == TICK_S


async def test_the_service_runs_and_says_so_in_readyz(archive_url: str, clock: Clock) -> None:
    async with client_of(MemoryStore(clock), clock, DYNOMETER_ARCHIVE_URL=archive_url) as client:
        body = (await client.get("/readyz")).json()
        assert body["ready"]
        assert body["archive"]["status"] == "ok"


async def test_the_service_goes_on_without_its_archive(clock: Clock) -> None:
    url = "postgresql://x@/x?host=/nowhere"
    async with client_of(MemoryStore(clock), clock, DYNOMETER_ARCHIVE_URL=url) as client:
        assert (await client.get("/readyz")).json()["ready"]


async def test_without_an_archive_readyz_has_no_part_of_it(clock: Clock) -> None:
    async with client_of(MemoryStore(clock), clock) as client:
        assert "archive" not in (await client.get("/readyz")).json()
