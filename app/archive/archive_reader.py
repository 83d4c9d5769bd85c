"""Reads the archive: packed rollups of hours and days, exactly as they were merged."""

from __future__ import annotations

from typing import NamedTuple

from app.archive.database import Database
from app.archive.times import from_utc, to_utc
from app.rollup.batch_codec import unpack_batch

PackedRollup = tuple[int, bytes]  # (start in Unix seconds, packed rollup)


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

    async def hours(self, app: str, start_s: int, end_s: int) -> list[PackedRollup]:
        """The packed rollup of each archived hour in `[start_s, end_s)`, in order."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                "SELECT t, rollup FROM dynometer.hours "
                "WHERE app = %s AND t >= %s AND t < %s ORDER BY t",
                (app, to_utc(start_s), to_utc(end_s)),
            )
            return [(from_utc(at), rollup) for at, rollup in await cursor.fetchall()]

    async def days(self, app: str, start_s: int, end_s: int) -> list[PackedRollup]:
        """The packed rollup of each archived day (UTC) in `[start_s, end_s)`, in order.

        It holds all sections that add up over a day: all but active minutes and events, for which
        `days_by_hour` has one rollup per hour.
        """
        async with self._database.transaction() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                "SELECT t, rollup FROM dynometer.days "
                "WHERE app = %s AND t >= %s AND t < %s ORDER BY t",
                (app, to_utc(start_s), to_utc(end_s)),
            )
            return [(from_utc(at), rollup) for at, rollup in await cursor.fetchall()]

    async def days_by_hour(self, app: str, start_s: int, end_s: int) -> list[PackedRollup]:
        """The sections that a day cannot add up, hour by hour, of the days in `[start_s, end_s)`.

        One packed rollup per hour, with the sections `active_minutes`, `events` and `lifecycle`.
        Their `messages` are 0, so together with `days` nothing counts twice.
        """
        async with self._database.transaction() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(
                "SELECT by_hour FROM dynometer.days "
                "WHERE app = %s AND t >= %s AND t < %s ORDER BY t",
                (app, to_utc(start_s), to_utc(end_s)),
            )
            batches = await cursor.fetchall()
        return [hour for (batch,) in batches for hour in unpack_batch(batch)]

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
