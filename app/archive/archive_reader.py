"""Reads the archive: packed rollups of hours and days, exactly as they were merged."""

from __future__ import annotations

from typing import LiteralString

from app.archive.database import Database
from app.archive.interval_rollups import PackedInterval
from app.archive.times import from_utc, to_utc

BYTES_UNLIMITED = 2**62
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


class ArchiveReader:
    """Reads rollups from the archive.

    Every method raises ArchiveUnavailable if PostgreSQL does not answer, and ArchiveError if the
    schema is not the one that this version needs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hours(
        self, app: str, start_s: int, end_s: int, bytes_max: int = BYTES_UNLIMITED
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
        self, app: str, start_s: int, end_s: int, bytes_max: int = BYTES_UNLIMITED
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
