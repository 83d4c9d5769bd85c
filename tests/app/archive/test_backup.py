"""A dump of the schema, restored elsewhere, is the same archive."""

from __future__ import annotations

import subprocess

import psycopg

from app.archive.database import Database
from app.archive.init import initialize
from app.rollup.resolutions import DAY_S, HOUR_S
from app.storage.memory import MemoryStore
from tests.support.archive import archive_all, archiver_of, busy_rollup, put_hour, see_apps
from tests.support.postgres import PostgresServer, find_program
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23


def copy(url: str, copy_url: str) -> None:
    """Dump the schema of a database into another one."""
    dump = subprocess.run(
        [find_program("pg_dump"), "-n", "dynometer", url], check=True, capture_output=True
    )
    subprocess.run(
        [find_program("psql"), "-q", "-v", "ON_ERROR_STOP=1", copy_url],
        input=dump.stdout,
        check=True,
        capture_output=True,
    )


async def test_a_restored_dump_is_the_same_and_goes_on(
    postgres: PostgresServer, archive_url: str
) -> None:
    clock = Clock(MIDNIGHT + HOUR_S)
    store = MemoryStore(clock)
    await see_apps(store, ["shop"], clock())
    for start_s in (MIDNIGHT - HOUR_S, MIDNIGHT):
        await put_hour(store, "shop", start_s, busy_rollup(start_s, seed=start_s))
    database = Database(archive_url)
    await archive_all(archiver_of(store, database, clock))
    await database.close()

    copy_url = postgres.url(postgres.create_database())
    copy(archive_url, copy_url)

    assert await initialize(copy_url) == []
    clock.now_s += HOUR_S
    database = Database(copy_url)
    archiver = archiver_of(store, database, clock)
    await archive_all(archiver)
    await database.close()
    assert archiver.written_rows == 1  # the hour that closed since; the others are there
    with psycopg.connect(copy_url) as connection:
        rows = connection.execute(
            "SELECT service_time_ms_p95 FROM dynometer.requests_by_day WHERE outcome = 'ok'"
        ).fetchall()
    assert rows
