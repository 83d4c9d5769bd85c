"""Creates and upgrades the schema of the archive: `dynometer archive init`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import sql

from app.archive.database import connect
from app.archive.errors import translate_errors
from app.archive.migrations import Migration, apply_migrations, pending_migrations
from app.archive.progress import AHEAD_S, make_partitions
from app.archive.tables import SCHEMA, TABLES

_READER_RIGHTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
)
_WRITER_RIGHTS = (
    *_READER_RIGHTS,
    "GRANT INSERT, UPDATE ON {tables} TO {role}",
    "GRANT EXECUTE ON FUNCTION {schema}.make_partitions, {schema}.drop_partitions, "
    "{schema}.remove_app TO {role}",
)
_WRITTEN = (*[table.name for table in TABLES], "apps", "metrics", "progress")


async def initialize(
    url: str, writers: Sequence[str] = (), readers: Sequence[str] = ()
) -> list[Migration]:
    """Apply what is missing, make partitions, and grant roles their rights, all or nothing.

    Args:
        url: of a role that may create a schema, or owns it.
        writers: existing roles with which services write.
        readers: existing roles that only read.
    Returns:
        The migrations that were applied.
    Raises:
        ArchiveUnavailable, ArchiveError
    """
    with translate_errors():
        connection = await connect(url)
        async with connection, connection.transaction():
            steps = await apply_migrations(connection)
            now_s = time.time()
            await make_partitions(connection, now_s, now_s + AHEAD_S)
            for statement in _grants(writers, readers):
                await connection.execute(statement)
            return steps


async def describe_changes(
    url: str, writers: Sequence[str] = (), readers: Sequence[str] = ()
) -> list[str]:
    """The SQL that `initialize` would run, without running it.

    Raises:
        ArchiveUnavailable, ArchiveError
    """
    with translate_errors():
        connection = await connect(url)
        async with connection:
            steps = await pending_migrations(connection)
            grants = [
                f"{statement.as_string(connection)};" for statement in _grants(writers, readers)
            ]
    return [f"-- {step.number} {step.name}\n{step.sql}" for step in steps] + grants


def _grants(writers: Sequence[str], readers: Sequence[str]) -> list[sql.Composed]:
    tables = sql.SQL(", ").join(sql.Identifier(SCHEMA, name) for name in _WRITTEN)
    return [
        sql.SQL(statement).format(
            schema=sql.Identifier(SCHEMA), tables=tables, role=sql.Identifier(role)
        )
        for roles, rights in ((writers, _WRITER_RIGHTS), (readers, _READER_RIGHTS))
        for role in roles
        for statement in rights
    ]
