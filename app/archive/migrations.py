"""The versions of the archive's schema: sql/*.sql, applied in order and never changed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, NamedTuple

import psycopg

from app.archive.errors import ArchiveError
from app.rollup.schema import METRICS

LOCK = (1685679727, 3)  # "dyno" in ASCII; of migrations


class Migration(NamedTuple):
    """One step of the schema. `number` counts from 1."""

    number: int
    name: str
    sql: str


def _read_migrations() -> tuple[Migration, ...]:
    directory = files("app.archive").joinpath("sql")
    names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(int(name[:3]), name[4:-4], directory.joinpath(name).read_text("utf-8"))
        for name in names
    )


MIGRATIONS = _read_migrations()
VERSION = MIGRATIONS[-1].number


async def read_version(connection: psycopg.AsyncConnection[Any]) -> int:
    """The number of the last migration that was applied; 0 if there is no schema.

    Raises:
        psycopg.Error
    """
    cursor = await connection.execute("SELECT to_regclass('dynometer.migrations') IS NOT NULL")
    if await cursor.fetchone() != (True,):
        return 0
    cursor = await connection.execute("SELECT max(number) FROM dynometer.migrations")
    row = await cursor.fetchone()
    return row[0] or 0 if row else 0


async def check_version(connection: psycopg.AsyncConnection[Any]) -> None:
    """Check that this version can work with the schema.

    Raises:
        ArchiveError: the schema is missing, older or newer.
        psycopg.Error
    """
    version = await read_version(connection)
    if version > VERSION:
        raise ArchiveError(
            f"The archive's schema {version} is of a newer Dynometer; this one knows {VERSION}. "
            "Upgrade this process."
        )
    if version < VERSION:
        state = f"has schema {version}, not {VERSION}" if version else "has no schema"
        raise ArchiveError(f"The archive {state}. Run 'dynometer archive init'.")


async def pending_migrations(connection: psycopg.AsyncConnection[Any]) -> tuple[Migration, ...]:
    """The migrations that are still to be applied.

    Raises:
        ArchiveError: the schema is newer.
        psycopg.Error
    """
    version = await read_version(connection)
    if version > VERSION:
        await check_version(connection)
    return MIGRATIONS[version:]


async def apply_migrations(connection: psycopg.AsyncConnection[Any]) -> list[Migration]:
    """Apply the pending migrations, all or nothing, and return them. Call it in a transaction.

    Raises:
        ArchiveError: the schema is newer.
        psycopg.Error
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", LOCK)
    steps = list(await pending_migrations(connection))
    for step in steps:
        await connection.execute(step.sql.encode())
        await connection.execute(
            "INSERT INTO dynometer.migrations (number, name) VALUES (%s, %s)",
            (step.number, step.name),
        )
    await describe_metrics(connection)
    return steps


async def describe_metrics(connection: psycopg.AsyncConnection[Any]) -> None:
    """Write the metrics that this version knows, with their units.

    Raises:
        psycopg.Error
    """
    await connection.cursor().executemany(
        """
        INSERT INTO dynometer.metrics (metric, kind, unit, help) VALUES (%s, %s, %s, %s)
        ON CONFLICT (metric) DO UPDATE SET
            kind = EXCLUDED.kind, unit = EXCLUDED.unit, help = EXCLUDED.help
        """,
        [(metric.name, metric.kind, metric.unit, metric.help) for metric in METRICS.values()],
    )
