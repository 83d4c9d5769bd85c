"""The apps in the archive, and how one is removed."""

from __future__ import annotations

from app.archive.database import Database
from app.archive.tables import TABLES

REMOVE_TIMEOUT_S = 600  # years of rows


class ArchivedApps:
    """Lists and removes apps.

    Every method may raise ArchiveUnavailable and ArchiveError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def names(self) -> set[str]:
        """All apps in the archive."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT app FROM dynometer.apps")
            return {app for (app,) in await cursor.fetchall()}

    async def remove(self, app: str) -> None:
        """Delete all rows of an app. Do it after the store's, so that none can come back."""
        for name in (*[table.name for table in TABLES], "apps"):
            async with self._database.transaction(REMOVE_TIMEOUT_S) as connection:
                await connection.execute("SELECT dynometer.remove_app(%s, %s)", (app, name))
