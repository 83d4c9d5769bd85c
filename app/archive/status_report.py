"""The state of the archive as its database tells it: versions, ranges and sizes of the tables."""

from __future__ import annotations

from typing import NamedTuple

from app.archive.database import Database
from app.archive.migrations import read_version
from app.archive.times import from_utc


class TableSize(NamedTuple):
    """A table with its partitions. `bytes` includes indexes; `first`, `last`: of its partitions."""

    name: str
    partitions: int
    first: str
    last: str
    rows: int
    bytes: int


class StatusReport(NamedTuple):
    """The schema's version, the server's version, the progress by store, and all tables."""

    version: int
    server: str
    archived_until_s: dict[str, int]
    tables: list[TableSize]


async def read_report(database: Database) -> StatusReport:
    """Read the state. Numbers of rows are those of the last ANALYZE.

    Raises:
        ArchiveUnavailable, ArchiveError
    """
    async with database.transaction() as connection:
        version = await read_version(connection)
        cursor = await connection.execute("SHOW server_version")
        row = await cursor.fetchone()
        server = str(row[0]) if row else ""
        cursor = await connection.execute("SELECT store_id, archived_until FROM dynometer.progress")
        progress = {store.hex: from_utc(at) for store, at in await cursor.fetchall()}
        cursor = await connection.execute(
            """
            SELECT parent, count(child.oid), coalesce(min(right(child.relname, 8)), ''),
                coalesce(max(right(child.relname, 8)), ''),
                coalesce(sum(greatest(child.reltuples, 0)), 0)::bigint,
                coalesce(sum(pg_total_relation_size(child.oid)), 0)::bigint
            FROM dynometer.partitioned
            LEFT JOIN pg_inherits ON inhparent = format('dynometer.%I', parent)::regclass
            LEFT JOIN pg_class AS child ON child.oid = inhrelid
            GROUP BY parent ORDER BY parent
            """
        )
        tables = [TableSize(*fields) for fields in await cursor.fetchall()]
    return StatusReport(version, server, progress, tables)
