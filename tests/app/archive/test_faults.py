"""PostgreSQL fails in every way, and nothing is lost, doubled or half written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from app.archive.archive_reader import ArchiveReader
from app.archive.archiver import Archiver
from app.archive.database import Database
from app.archive.errors import ArchiveError, ArchiveUnavailable
from app.archive.init import initialize
from app.rollup.codec import pack
from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.rollup import Rollup
from app.storage.memory import MemoryStore
from tests.support.archive import archive_all, archiver_of, busy_rollup, put_hour, see_apps
from tests.support.postgres import PostgresServer, own_postgres
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23
HOURS = range(MIDNIGHT - 3 * HOUR_S, MIDNIGHT, HOUR_S)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may break."""
    with own_postgres() as server:
        asyncio.run(initialize(server.url()))
        yield server


class Source:
    """A store with three hours of two apps, and the truth about them."""

    def __init__(self) -> None:
        self.clock = Clock(MIDNIGHT + HOUR_S)
        self.store = MemoryStore(self.clock)
        self.truth: dict[str, dict[int, bytes]] = {"blog": {}, "shop": {}}

    async def fill(self) -> None:
        await see_apps(self.store, list(self.truth), self.clock())
        for start_s in HOURS:
            for app, hours in self.truth.items():
                rollup = busy_rollup(start_s, seed=start_s + len(app), requests=9)
                await put_hour(self.store, app, start_s, rollup)
                hours[start_s] = pack(rollup)

    def archiver(self, database: Database) -> Archiver:
        return archiver_of(self.store, database, self.clock)

    async def check(self, database: Database) -> None:
        """Check that the archive holds exactly the truth, and its day."""
        reader = ArchiveReader(database)
        for app, hours in self.truth.items():
            rows = await reader.hours(app, 0, MIDNIGHT)
            assert {row.start_s: row.rollup for row in rows} == hours
            assert [day.start_s for day in await reader.days(app, 0, MIDNIGHT)] == [
                MIDNIGHT - DAY_S
            ]


@pytest.fixture
async def source() -> Source:
    source = Source()
    await source.fill()
    return source


@pytest.fixture
async def database(archive_url: str) -> AsyncIterator[Database]:
    database = Database(archive_url)
    yield database
    await database.close()


@pytest.mark.parametrize("statement", range(0, 60, 4))
async def test_a_session_that_ends_at_any_statement_leaves_whole_hours(
    statement: int, archive_url: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the session before the n-th statement or COPY of the second hour."""
    count = 0
    database = Database(archive_url)
    execute, copy = psycopg.AsyncCursor.execute, psycopg.AsyncCursor.copy

    def interrupt(cursor: psycopg.AsyncCursor[object]) -> None:
        nonlocal count
        count += 1
        if count == statement + 60:
            with psycopg.connect(archive_url, autocommit=True) as other:
                pid = cursor.connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    async def interrupted_execute(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        interrupt(self)
        return await execute(self, *args, **kwargs)

    def interrupted_copy(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        interrupt(self)
        return copy(self, *args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", interrupted_execute)
    monkeypatch.setattr(psycopg.AsyncCursor, "copy", interrupted_copy)
    with pytest.raises(ArchiveUnavailable):
        await archive_all(source.archiver(database))
    monkeypatch.undo()
    await expect_whole_hours(archive_url)
    await archive_all(source.archiver(database))
    await source.check(database)
    await database.close()


async def expect_whole_hours(url: str) -> None:
    """Each hour has both apps or none, and its columns in the clear."""
    with psycopg.connect(url) as connection:
        hours = connection.execute("SELECT t, count(*) FROM dynometer.hours GROUP BY t").fetchall()
        assert {count for _, count in hours} <= {2}
        for table in ("request_hours", "measurement_hours", "count_hours", "dyno_hours"):
            starts = connection.execute(f"SELECT DISTINCT t FROM dynometer.{table}").fetchall()
            assert sorted(starts) == sorted((start,) for start, _ in hours), table


async def test_a_server_killed_in_the_middle_of_a_copy_has_whole_hours(
    own_server: PostgresServer, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(own_server.url())
    copy = psycopg.AsyncCursor.copy
    killed = False

    def kill_in_copy(self, statement, *args, **kwargs):  # type: ignore[no-untyped-def]
        nonlocal killed
        if "staged_count_hours" in statement.as_string(self) and not killed:
            killed = True
            own_server.kill()
        return copy(self, statement, *args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncCursor, "copy", kill_in_copy)
    with pytest.raises(ArchiveUnavailable):
        await archive_all(source.archiver(database))
    with pytest.raises(ArchiveUnavailable, match="does not answer"):
        await source.archiver(database).advance()
    own_server.start()
    await expect_whole_hours(own_server.url())
    await archive_all(source.archiver(database))
    await source.check(database)
    await database.close()


async def test_a_read_only_database_is_a_sentence(archive_url: str, source: Source) -> None:
    name = archive_url.split("/")[3].partition("?")[0]
    with psycopg.connect(archive_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = Database(archive_url)
    with pytest.raises(ArchiveUnavailable, match=r"read-only\. Connect to the primary"):
        await archive_all(source.archiver(database))
    await database.close()
    with psycopg.connect(archive_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    database = Database(archive_url)
    await archive_all(source.archiver(database))
    await source.check(database)
    await database.close()


async def test_a_full_disk_is_a_sentence(source: Source) -> None:
    """No file of the server may grow above a megabyte and a bit, as on a disk that is full."""
    blocks = 2**11 + 2  # a write of 8 KiB then ends early
    with own_postgres("--wal-segsize=1") as server:
        await initialize(server.url())
        server.stop()
        server.start(str(blocks))
        database = Database(server.url())
        large = Rollup()
        large.messages = 10**6
        large.extensions = (("noise", random.randbytes(1024 * blocks)),)  # incompressible
        await put_hour(source.store, "shop", HOURS[0], large)
        # PostgreSQL 16 and newer take the limit for one of the file, not for a full disk.
        with pytest.raises(ArchiveUnavailable, match=r"disk of the database is full|too large"):
            await archive_all(source.archiver(database))
        await database.close()


async def test_too_many_connections_are_a_sentence(
    postgres: PostgresServer, archive_url: str, source: Source
) -> None:
    postgres.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    database = Database(archive_url.replace("dynometer@", "crowded@"))
    with pytest.raises(ArchiveUnavailable, match="Raise max_connections"):
        await archive_all(source.archiver(database))


async def test_a_missing_partition_is_made_again(archive_url: str, source: Source) -> None:
    database = Database(archive_url)
    await archive_all(source.archiver(database))
    with psycopg.connect(archive_url, autocommit=True) as connection:
        connection.execute("DROP TABLE dynometer.hours_20261116, dynometer.count_hours_20261116")
    async for _ in source.archiver(database).backfill():
        pass
    await source.check(database)
    await database.close()


async def test_a_detached_partition_is_a_sentence(archive_url: str, source: Source) -> None:
    with psycopg.connect(archive_url, autocommit=True) as connection:
        connection.execute("SELECT dynometer.make_partitions('2026-11-22Z', '2026-11-22Z')")
        connection.execute("ALTER TABLE dynometer.hours DETACH PARTITION dynometer.hours_20261116")
    database = Database(archive_url)
    with pytest.raises(ArchiveUnavailable, match="No partition of relation"):
        await archive_all(source.archiver(database))
    await database.close()


async def test_a_locked_table_is_waited_for_only_so_long(
    archive_url: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.archive.database.LOCK_TIMEOUT_S", 0.05)
    database = Database(archive_url)
    with psycopg.connect(archive_url) as other:
        other.execute("LOCK dynometer.hours IN EXCLUSIVE MODE")
        with pytest.raises(ArchiveUnavailable, match="A lock in the database was not free"):
            await archive_all(source.archiver(database))
    await archive_all(source.archiver(database))
    await source.check(database)
    await database.close()


async def test_a_slow_statement_is_ended(archive_url: str) -> None:
    database = Database(archive_url)
    with pytest.raises(ArchiveUnavailable, match="took too long"):
        async with database.transaction(timeout_s=0.05) as connection:
            await connection.execute("SELECT pg_sleep(10)")
    await database.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u:se%cret@h:port/x", "cannot be read. Write it as postgresql://USER"),
        ("postgresql://nobody@/nowhere?host={}", 'role "nobody" does not exist'),
        ("postgresql://dynometer@/nowhere?host={}", 'Database "nowhere" does not exist'),
        ("postgresql://dynometer@/postgres?host=/nowhere", "PostgreSQL does not answer"),
    ],
)
async def test_a_wrong_address_is_a_sentence(
    url: str, sentence: str, postgres: PostgresServer
) -> None:
    with pytest.raises(ArchiveError, match=sentence) as caught:
        async with Database(url.format(postgres.directory)).transaction():
            pass
    assert "cret" not in str(caught.value)


async def test_a_cancelled_write_leaves_nothing_and_a_fresh_connection(
    archive_url: str, source: Source, database: Database
) -> None:
    task = asyncio.create_task(archive_all(source.archiver(database)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await archive_all(source.archiver(database))
    await source.check(database)
