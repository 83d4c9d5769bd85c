"""Hours come into the archive once they are closed, exactly, however often and from wherever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import psycopg
import pytest

from app.archive.archive_reader import ArchiveReader
from app.archive.archived_apps import ArchivedApps
from app.archive.archiver import CLOSED_AFTER_S, Archiver, Backlog
from app.archive.database import Database
from app.archive.tables import TABLES
from app.judgement.verdict import Episode, Finding
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import pack, unpack
from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.rollup import Rollup
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.memory import MemoryStore
from app.verdicts.verdict_record import pack_episode
from parsers.samples import Request
from tests.support.archive import (
    HORIZON_S,
    TTL_MS,
    archive_all,
    archiver_of,
    busy_rollup,
    put_hour,
    see_apps,
)
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23
NOON = MIDNIGHT + 12 * HOUR_S
APPS = ["blog", "shop"]


class Setup:
    """A store, its archive, and a clock at half past twelve."""

    def __init__(self, archive_url: str) -> None:
        self.url = archive_url
        self.clock = Clock(NOON + HOUR_S / 2)
        self.store = MemoryStore(self.clock)
        self.database = Database(archive_url)
        self.reader = ArchiveReader(self.database)
        self.archiver = self.new_archiver(self.database)
        self.truth: dict[tuple[str, int], Rollup] = {}

    def new_archiver(self, database: Database) -> Archiver:
        return archiver_of(self.store, database, self.clock)

    async def put(self, app: str, start_s: int, rollup: Rollup, *, is_noted: bool = True) -> None:
        await put_hour(self.store, app, start_s, rollup, is_noted=is_noted)
        self.truth.setdefault((app, start_s), Rollup()).merge(rollup)

    async def fill(self, first_s: int, until_s: int) -> None:
        """Busy hours of all apps."""
        for start_s in range(first_s, until_s, HOUR_S):
            for app in APPS:
                await self.put(
                    app, start_s, busy_rollup(start_s, seed=start_s + len(app), requests=9)
                )

    async def empty_store(self) -> None:
        """As if Redis had lost everything."""
        self.store = MemoryStore(self.clock)
        await see_apps(self.store, APPS, self.clock())
        self.archiver = self.new_archiver(self.database)

    async def hours(self, app: str = "shop") -> dict[int, bytes]:
        rows = await self.reader.hours(app, MIDNIGHT - 90 * DAY_S, MIDNIGHT + 90 * DAY_S)
        return {row.start_s: row.rollup for row in rows}

    async def days(self, app: str = "shop") -> dict[int, bytes]:
        rows = await self.reader.days(app, MIDNIGHT - 90 * DAY_S, MIDNIGHT + 90 * DAY_S)
        return {row.start_s: row.rollup for row in rows}

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def truth_of(self, app: str = "shop") -> dict[int, bytes]:
        return {
            start_s: pack(rollup.copy())
            for (name, start_s), rollup in self.truth.items()
            if name == app
        }


@pytest.fixture
async def setup(archive_url: str) -> AsyncIterator[Setup]:
    setup = Setup(archive_url)
    await see_apps(setup.store, APPS, setup.clock())
    yield setup
    await setup.database.close()


async def test_closed_hours_are_archived_exactly(setup: Setup) -> None:
    await setup.fill(NOON - 5 * HOUR_S, NOON)
    await archive_all(setup.archiver)
    for app in APPS:
        assert await setup.hours(app) == setup.truth_of(app)
    assert (await setup.archiver.progress()).archived_until_s == NOON


async def test_an_hour_is_left_out_until_it_is_closed(setup: Setup) -> None:
    await setup.fill(NOON, NOON + HOUR_S)
    setup.clock.now_s = NOON + HOUR_S + CLOSED_AFTER_S - 1
    await archive_all(setup.archiver)
    assert await setup.hours() == {}
    setup.clock.now_s += 1
    await archive_all(setup.archiver)
    assert await setup.hours() == setup.truth_of()


async def test_a_day_is_archived_with_its_last_hour(setup: Setup) -> None:
    await setup.fill(MIDNIGHT, NOON)  # nothing in its last hours
    setup.clock.now_s = MIDNIGHT + DAY_S
    await archive_all(setup.archiver)
    assert await setup.days() == {}
    setup.clock.now_s += CLOSED_AFTER_S
    await archive_all(setup.archiver)
    days = await setup.days()
    assert days.keys() == {MIDNIGHT}
    assert unpack(days[MIDNIGHT]).messages == sum(
        rollup.messages for (app, _), rollup in setup.truth.items() if app == "shop"
    )


async def test_days_hold_minutes_and_events_hour_by_hour(setup: Setup) -> None:
    await setup.fill(MIDNIGHT, MIDNIGHT + 3 * HOUR_S)
    setup.clock.now_s = MIDNIGHT + DAY_S + HOUR_S
    await archive_all(setup.archiver)
    (row,) = await setup.reader.days("shop", MIDNIGHT, MIDNIGHT + DAY_S)
    parts = dict(unpack_batch(row.by_hour))
    for start_s, data in setup.truth_of().items():
        part, hour = unpack(parts[start_s]), unpack(data)
        assert part.active_minutes == hour.active_minutes
        assert (part.events, part.lifecycle) == (hour.events, hour.lifecycle)
        assert part.messages == 0


async def test_after_an_outage_it_continues_where_it_stopped(setup: Setup) -> None:
    await setup.fill(NOON - 2 * HOUR_S, NOON)
    await archive_all(setup.archiver)
    setup.clock.now_s += 2 * DAY_S
    await setup.fill(NOON + DAY_S, NOON + DAY_S + 6 * HOUR_S)
    assert await setup.archiver.backlog() == Backlog(48, 0)
    await archive_all(setup.new_archiver(setup.database))
    assert await setup.hours() == setup.truth_of()
    assert await setup.archiver.backlog() == Backlog(0, 0)


async def test_hours_that_late_lines_change_are_written_again_and_their_day_too(
    setup: Setup,
) -> None:
    await setup.fill(MIDNIGHT - 4 * HOUR_S, MIDNIGHT + HOUR_S)
    await archive_all(setup.archiver)
    late_s = MIDNIGHT - 3 * HOUR_S
    await setup.put("shop", late_s, busy_rollup(late_s, seed=77))
    assert await setup.archiver.backlog() == Backlog(0, 1)
    await setup.archiver.advance()
    assert await setup.hours() == setup.truth_of()
    day = unpack((await setup.days())[MIDNIGHT - DAY_S])
    assert day.messages == sum(
        rollup.messages
        for (app, start_s), rollup in setup.truth.items()
        if app == "shop" and start_s < MIDNIGHT
    )
    assert await setup.archiver.backlog() == Backlog(0, 0)


async def test_a_fold_during_a_write_is_not_forgotten(setup: Setup) -> None:
    """The note is read before the hour, and only the note that was read is removed."""
    await setup.fill(NOON - HOUR_S, NOON)
    read_slots = setup.store.read_slots
    late = busy_rollup(NOON - HOUR_S, seed=5)

    async def fold_meanwhile(slots: list[tuple[str, Slot]]) -> list[list[bytes]]:
        contents = await read_slots(slots)
        if slots and slots[0][1].start == NOON - HOUR_S and ("shop", 0) not in setup.truth:
            setup.truth["shop", 0] = Rollup()  # once
            await setup.put("shop", NOON - HOUR_S, late)
        return contents

    setup.store.read_slots = fold_meanwhile  # type: ignore[method-assign,assignment]
    await archive_all(setup.archiver)
    assert await setup.hours() != setup.truth_of()
    await setup.archiver.advance()
    del setup.truth["shop", 0]
    assert await setup.hours() == setup.truth_of()


async def test_what_an_older_worker_folded_late_is_found_when_no_more_can_come(
    setup: Setup,
) -> None:
    await setup.fill(NOON - 2 * HOUR_S, NOON)
    await archive_all(setup.archiver)
    await setup.put("shop", NOON - HOUR_S, busy_rollup(NOON, seed=3), is_noted=False)
    await archive_all(setup.archiver)
    assert await setup.hours() != setup.truth_of()
    setup.clock.now_s += HORIZON_S + 3 * HOUR_S
    await archive_all(setup.archiver)
    assert await setup.hours() == setup.truth_of()


async def test_writing_again_changes_nothing(setup: Setup) -> None:
    await setup.fill(MIDNIGHT - 3 * HOUR_S, MIDNIGHT + HOUR_S)
    await archive_all(setup.archiver)
    tables = ("hours", "request_hours", "count_hours", "measurement_days", "days", "events")
    state = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM dynometer.{} AS t"
    before = [setup.query(state.format(table)) for table in tables]
    changed = [count async for _, count in setup.archiver.backfill()]
    assert sum(changed) == 0
    assert [setup.query(state.format(table)) for table in tables] == before


async def test_an_emptied_store_overwrites_nothing(setup: Setup) -> None:
    await setup.fill(MIDNIGHT - 3 * HOUR_S, MIDNIGHT + HOUR_S)
    await archive_all(setup.archiver)
    hours, days = await setup.hours(), await setup.days()
    await setup.empty_store()
    few_lines = Rollup()
    few_lines.messages = 1
    for start_s in range(MIDNIGHT - 3 * HOUR_S, MIDNIGHT + HOUR_S, HOUR_S):
        await put_hour(setup.store, "shop", start_s, few_lines)
    await archive_all(setup.archiver)
    async for _, changed in setup.archiver.backfill():
        assert changed == 0
    assert (await setup.hours(), await setup.days()) == (hours, days)


async def test_another_store_with_as_many_messages_overwrites_nothing(setup: Setup) -> None:
    await setup.fill(NOON - HOUR_S, NOON)
    await archive_all(setup.archiver)
    hours = await setup.hours()
    await setup.empty_store()
    other = busy_rollup(NOON, seed=9, requests=9)
    assert other.messages == unpack(hours[NOON - HOUR_S]).messages
    await put_hour(setup.store, "shop", NOON - HOUR_S, other)
    await archive_all(setup.archiver)
    assert await setup.hours() == hours


async def test_a_store_that_holds_more_of_an_hour_replaces_it(setup: Setup) -> None:
    await setup.fill(NOON - HOUR_S, NOON)
    await archive_all(setup.archiver)
    await setup.empty_store()
    setup.truth.clear()
    await setup.put("shop", NOON - HOUR_S, busy_rollup(NOON, seed=9, requests=500))
    await archive_all(setup.archiver)
    assert await setup.hours() == setup.truth_of()


async def test_two_workers_at_once_write_each_hour_once(setup: Setup) -> None:
    await setup.fill(NOON - 8 * HOUR_S, NOON)
    second_database = Database(setup.url)
    second = setup.new_archiver(second_database)
    await asyncio.gather(archive_all(setup.archiver), archive_all(second))
    await second_database.close()
    for app in APPS:
        assert await setup.hours(app) == setup.truth_of(app)
    written = setup.archiver.written_rows + second.written_rows
    assert written == len(setup.truth)


async def test_rows_that_a_later_state_lacks_are_reset_not_deleted(setup: Setup) -> None:
    start_s = NOON - HOUR_S
    first = Rollup()
    first.messages = 1
    first.observe(Request("zebra.1", 200, "", 1, 20, 0), start_s * 1000)
    await setup.put("shop", start_s, first)
    await archive_all(setup.archiver)
    late = Rollup()
    late.messages = 40
    for number in range(40):  # pushes zebra into "other"
        late.observe(Request(f"a{number}.1", 200, "", 1, 20, 0), start_s * 1000)
    await setup.put("shop", start_s, late)
    await setup.archiver.advance()
    counted = "SELECT sum({}), count(*) FROM dynometer.{}"
    assert setup.query(counted.format("requests", "request_hours")) == [(41, 34)]
    assert setup.query(counted.format("value", "count_hours WHERE metric = 'requests'")) == [
        (41, 34)
    ]


async def test_an_hour_of_a_newer_version_waits_and_the_others_go_on(setup: Setup) -> None:
    await setup.fill(NOON - HOUR_S, NOON)
    newer = new_element(KIND_ROLLUP, msgspec.msgpack.encode([2]))
    setup.store._push("shop", Slot("1h", NOON - HOUR_S), newer, TTL_MS)
    await archive_all(setup.archiver)
    assert await setup.hours("blog") == setup.truth_of("blog")
    assert await setup.hours("shop") == {}
    setup.store._elements("shop", Slot("1h", NOON - HOUR_S)).remove(newer)
    await setup.archiver.advance()
    assert await setup.hours("shop") == setup.truth_of("shop")


async def test_events_have_a_table_of_their_own(setup: Setup) -> None:
    await setup.fill(NOON - 2 * HOUR_S, NOON)
    await archive_all(setup.archiver)
    expected = sorted(
        (app, event.kind, event.source, event.detail, event.at_ms, count)
        for (app, _), rollup in setup.truth.items()
        for event, count in rollup.all_events.items()
    )
    rows = setup.query(
        "SELECT app, kind, source, detail, (extract(epoch FROM t) * 1000)::bigint, count "
        "FROM dynometer.events"
    )
    assert sorted(rows) == expected


async def test_a_text_that_postgresql_cannot_hold_does_not_stop_it(setup: Setup) -> None:
    rollup = busy_rollup(NOON - HOUR_S, seed=1)
    rollup.events[(NOON - HOUR_S) * 1000, "note", "", "a\0b"] = 1  # type: ignore[index]
    await setup.put("shop", NOON - HOUR_S, rollup)
    await archive_all(setup.archiver)
    details = setup.query("SELECT detail FROM dynometer.events WHERE kind = 'note'")
    assert details == [("a\N{REPLACEMENT CHARACTER}b",)]


async def test_episodes_are_archived_once_they_ended(setup: Setup) -> None:
    finding = Finding("failing", "degraded", NOON - 1800, until_s=NOON - 600, process_type="web")
    episode = Episode(finding, "Requests failed.")
    await setup.store.change_alerts([], episodes={"shop": [pack_episode(episode)]})
    await archive_all(setup.archiver)
    rows = setup.query("SELECT app, kind, process_type, state, summary FROM dynometer.episodes")
    assert rows == [("shop", "failing", "web", "degraded", "Requests failed.")]


async def test_old_partitions_are_dropped_by_name(setup: Setup) -> None:
    setup.query("SELECT dynometer.make_partitions('2024-11-25Z', '2024-12-08Z')")
    archiver = archiver_of(setup.store, setup.database, setup.clock, hours_s=400 * DAY_S)
    await archive_all(archiver)
    names = {name for (name,) in setup.query("SELECT relname FROM pg_class WHERE relkind = 'r'")}
    assert "hours_20241125" not in names
    assert "request_hours_20241125" not in names
    assert "days_20240101" in names
    assert {"hours_20261123", "hours_20261207"} <= names


async def test_a_removed_app_leaves_the_archive(setup: Setup) -> None:
    await setup.fill(MIDNIGHT - 2 * HOUR_S, MIDNIGHT + HOUR_S)
    await archive_all(setup.archiver)
    await ArchivedApps(setup.database).remove("shop")
    assert (await setup.hours("shop"), await setup.days("shop")) == ({}, {})
    assert await setup.hours("blog") == setup.truth_of("blog")
    for table in (table.name for table in TABLES):
        assert setup.query(f"SELECT count(*) FROM dynometer.{table} WHERE app = 'shop'") == [(0,)]
    assert setup.query("SELECT app FROM dynometer.apps") == [("blog",)]
