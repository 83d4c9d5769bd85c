"""The schema: created, upgraded and granted by `dynometer archive init`."""

from __future__ import annotations

import psycopg
import pytest

from app.archive.archiver import Archiver
from app.archive.database import Database
from app.archive.errors import ArchiveError, ArchiveUnavailable
from app.archive.init import describe_changes, initialize
from app.archive.migrations import MIGRATIONS, VERSION
from app.archive.tables import TABLES
from app.rollup.resolutions import HOUR_S
from app.storage.memory import MemoryStore
from tests.support.archive import archive_all, archiver_of, busy_rollup, put_hour, see_apps
from tests.support.postgres import PostgresServer
from tests.support.service import NOW_S, Clock

HOUR = int(NOW_S) // HOUR_S * HOUR_S - 2 * HOUR_S


async def store_with_an_hour(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock)
    await see_apps(store, ["shop"], clock())
    await put_hour(store, "shop", HOUR, busy_rollup(HOUR, seed=1))
    return store


@pytest.fixture
def new_url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.url(postgres.create_database())


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_a_second_time_changes_nothing(new_url: str) -> None:
    assert [step.number for step in await initialize(new_url)] == list(range(1, VERSION + 1))
    assert await initialize(new_url) == []


async def test_a_dry_run_prints_the_sql_and_changes_nothing(new_url: str) -> None:
    statements = await describe_changes(new_url, ["writer"], ["reader"])
    assert "CREATE TABLE dynometer.hours" in "\n".join(statements)
    assert 'GRANT USAGE ON SCHEMA "dynometer" TO "reader";' in statements
    assert execute(new_url, "SELECT to_regnamespace('dynometer')") == [(None,)]


async def test_what_a_dry_run_prints_can_be_run_by_hand(new_url: str) -> None:
    for statement in await describe_changes(new_url):
        execute(new_url, statement)
    assert execute(new_url, "SELECT to_regclass('dynometer.releases') IS NULL") == [(False,)]


async def test_the_columns_are_those_that_the_code_writes(archive_url: str) -> None:
    names = {"timestamp with time zone": "timestamptz", "bigint": "int8", "ARRAY": "int4[]"}
    for table in TABLES:
        rows = execute(
            archive_url,
            "SELECT column_name, data_type FROM information_schema.columns WHERE "
            f"table_schema = 'dynometer' AND table_name = '{table.name}' ORDER BY ordinal_position",
        )
        assert {column: names.get(str(kind), kind) for column, kind in rows} == table.types


@pytest.mark.parametrize("version", range(1, VERSION))
async def test_data_of_an_earlier_version_is_upgraded(
    version: int, postgres: PostgresServer
) -> None:
    """Rows that were written under each earlier version of the schema stay, and can be read."""
    url = postgres.url(postgres.create_database())
    for step in MIGRATIONS[:version]:
        execute(url, step.sql)
        execute(
            url,
            f"INSERT INTO dynometer.migrations VALUES ({step.number}, '{step.name}')",
        )
    execute(url, "SELECT dynometer.make_partitions('2026-11-22Z', '2026-11-22Z')")
    execute(
        url,
        "INSERT INTO dynometer.request_hours (app, t, process_type, outcome, requests, timed, "
        "sum_ms, max_ms, bins, counts) VALUES "
        "('shop', '2026-11-22T09:00Z', 'web', 'ok', 3, 3, 60, 30, '{10,20,30}', '{1,1,1}')",
    )
    assert [step.number for step in await initialize(url)] == list(range(version + 1, VERSION + 1))
    rows = execute(url, "SELECT requests, service_time_ms_p50 FROM dynometer.requests_by_hour")
    assert rows == [(3, 20.0)]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("INSERT INTO dynometer.migrations VALUES (99, 'future')", "of a newer Dynometer"),
        (f"DELETE FROM dynometer.migrations WHERE number = {VERSION}", "Run 'dynometer archive"),
        ("DROP SCHEMA dynometer CASCADE", "has no schema. Run 'dynometer archive init'"),
    ],
)
async def test_another_version_of_the_schema_is_a_sentence(
    archive_url: str, statement: str, sentence: str
) -> None:
    execute(archive_url, statement)
    database = Database(archive_url)
    with pytest.raises(ArchiveError, match=sentence):
        async with database.transaction():
            pass


async def test_a_newer_schema_is_not_downgraded(archive_url: str) -> None:
    execute(archive_url, "INSERT INTO dynometer.migrations VALUES (99, 'future')")
    with pytest.raises(ArchiveError, match="Upgrade this process"):
        await initialize(archive_url)


# --- rights -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roles(postgres: PostgresServer) -> tuple[str, str]:
    postgres.execute("CREATE ROLE archive_writer LOGIN")
    postgres.execute("CREATE ROLE archive_reader LOGIN")
    return "archive_writer", "archive_reader"


@pytest.fixture
async def granted(
    roles: tuple[str, str], postgres: PostgresServer, archive_url: str
) -> tuple[str, str]:
    """The URLs of a writer and a reader."""
    writer, reader = roles
    await initialize(archive_url, [writer], [reader])
    name = archive_url.split("/")[3].partition("?")[0]
    return postgres.url(name, writer), postgres.url(name, reader)


async def test_a_writer_needs_no_more_than_its_grants(granted: tuple[str, str]) -> None:
    clock = Clock()
    database = Database(granted[0])
    archiver: Archiver = archiver_of(await store_with_an_hour(clock), database, clock)
    await archive_all(archiver)
    await database.close()
    assert archiver.written_rows == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM dynometer.hours",
        "DROP TABLE dynometer.hours",
        "TRUNCATE dynometer.days",
        "UPDATE dynometer.migrations SET number = 5",
        "CREATE TABLE dynometer.mine (a int)",
    ],
)
def test_a_writer_can_delete_nothing_by_itself(granted: tuple[str, str], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(granted[0], statement)


def test_a_writer_cannot_drop_the_last_month(granted: tuple[str, str]) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="last 30 days"):
        execute(granted[0], "SELECT dynometer.drop_partitions('week', now(), 10)")


def test_a_reader_reads_every_view_and_writes_nothing(granted: tuple[str, str]) -> None:
    for view in ("requests_by_day", "measurements_by_hour", "releases", "episodes", "apps"):
        assert execute(granted[1], f"SELECT * FROM dynometer.{view}") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(granted[1], "INSERT INTO dynometer.apps VALUES ('x', now(), now())")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(granted[1], "SELECT dynometer.remove_app('shop', 'hours')")


async def test_a_service_without_rights_is_told_what_to_grant(granted: tuple[str, str]) -> None:
    clock = Clock()
    database = Database(granted[1])
    archiver = archiver_of(await store_with_an_hour(clock), database, clock)
    with pytest.raises(ArchiveUnavailable, match="archive init --writer ROLE"):
        await archive_all(archiver)
    await database.close()
