"""Reads the archive: packed rollups of hours and days, exactly as they were merged."""

from __future__ import annotations

from typing import LiteralString, NamedTuple

from app.archive.database import Database
from app.archive.interval_rollups import PackedInterval
from app.archive.times import from_utc, to_utc

UNLIMITED = 2**62  # bytes
# Rows until those before have %s bytes. PostgreSQL knows the length of a value without reading it.
_HOURS = """
    SELECT t, messages, rollup FROM (
        SELECT t, messages, rollup,
            sum(length(rollup)) OVER (ORDER BY t) - length(rollup) AS bytes_before
        FROM dynometer.hours WHERE app = %s AND t >= %s AND t < %s
    ) AS rows WHERE bytes_before < %s ORDER BY t
"""
_DAYS = """
    SELECT t, messages, rollup, by_hour FROM (
        SELECT t, messages, rollup, by_hour,
            sum(length(rollup) + length(by_hour)) OVER (ORDER BY t)
            - length(rollup) - length(by_hour) AS bytes_before
        FROM dynometer.days WHERE app = %s AND t >= %s AND t < %s
    ) AS rows WHERE bytes_before < %s ORDER BY t
"""


class ArchivedApp(NamedTuple):
    """An app in the archive: the starts of its first and last archived hour, in Unix seconds."""

    app: str
    first_s: int
    last_s: int


class ArchiveReader:
    """Reads rollups from the archive.

    Every method raises ArchiveUnavailable if PostgreSQL does not answer, and ArchiveError if the
    schema is not the one that this version needs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def archived_until_s(self) -> int:
        """The time before which every closed hour is archived, in Unix seconds; 0 for none."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT max(archived_until) FROM dynometer.progress")
            row = await cursor.fetchone()
        return from_utc(row[0]) if row and row[0] else 0

    async def hours(
        self, app: str, start_s: int, end_s: int, bytes_max: int = UNLIMITED
    ) -> list[PackedInterval]:
        """Each archived hour in `[start_s, end_s)`, in order.

        Args:
            app: its name.
            start_s: Unix seconds.
            end_s: Unix seconds.
            bytes_max: no more are read once those before have as many bytes.
        """
        return await self._rows(_HOURS, app, start_s, end_s, bytes_max)

    async def days(
        self, app: str, start_s: int, end_s: int, bytes_max: int = UNLIMITED
    ) -> list[PackedInterval]:
        """Each archived day (UTC) in `[start_s, end_s)`, in order; the arguments as for hours.

        A day's rollup has all sections that add up over a day. Its `by_hour` has a rollup per hour
        of the others, active minutes and events, without `messages`: nothing counts twice.
        """
        return await self._rows(_DAYS, app, start_s, end_s, bytes_max)

    async def _rows(
        self, query: LiteralString, app: str, start_s: int, end_s: int, bytes_max: int
    ) -> list[PackedInterval]:
        async with self._database.transaction() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(query, (app, to_utc(start_s), to_utc(end_s), bytes_max))
            return [
                PackedInterval(app, from_utc(at), *columns)
                for at, *columns in await cursor.fetchall()
            ]

    async def apps(self) -> list[ArchivedApp]:
        """All apps in the archive, by name."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "SELECT app, first_at, last_at FROM dynometer.apps ORDER BY app"
            )
            return [
                ArchivedApp(app, from_utc(first), from_utc(last))
                for app, first, last in await cursor.fetchall()
            ]
