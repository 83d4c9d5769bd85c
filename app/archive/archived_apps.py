"""The apps in the archive, also those that the store has forgotten."""

from __future__ import annotations

from typing import Any, LiteralString

from app.archive.database import Database
from app.archive.errors import ArchiveError
from app.archive.patience import Patience
from app.archive.tables import TABLES
from app.archive.times import from_utc
from app.rollup.resolutions import HOUR_S
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import HistoryUnavailable

REMOVE_TIMEOUT_S = 600  # years of rows
LISTED_MAX = 1_000
WAIT_S_MAX = 3.0  # in a minute, of all that find or list apps
_FIND = "SELECT app, first_at, last_at FROM dynometer.apps WHERE app = %s"
_LIST = "SELECT app, first_at, last_at FROM dynometer.apps ORDER BY last_at DESC, app LIMIT %s"


class ArchivedApps:
    """Finds, lists and removes apps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patience = Patience(WAIT_S_MAX)

    async def find(self, app: str) -> SeenApp | None:
        """An app; None if the archive does not know it.

        Raises:
            HistoryUnavailable: the archive does not answer soon.
        """
        return next(iter(await self._look_up(_FIND, app)), None)

    async def latest(self) -> list[SeenApp]:
        """The LISTED_MAX apps whose last archived hour is the latest, the latest first.

        Raises:
            HistoryUnavailable: the archive does not answer soon.
        """
        return await self._look_up(_LIST, LISTED_MAX)

    async def names(self) -> set[str]:
        """All apps in the archive.

        Raises:
            ArchiveUnavailable, ArchiveError
        """
        return {app for app, *_ in await self._rows("SELECT app FROM dynometer.apps")}

    async def remove(self, app: str) -> None:
        """Delete all rows of an app. Do it after the store's, so that none can come back.

        Raises:
            ArchiveUnavailable, ArchiveError
        """
        for name in (*[table.name for table in TABLES], "apps"):
            async with self._database.transaction(REMOVE_TIMEOUT_S) as connection:
                await connection.execute("SELECT dynometer.remove_app(%s, %s)", (app, name))

    async def _look_up(self, query: LiteralString, parameter: str | int) -> list[SeenApp]:
        try:
            rows = await self._patience.wait(self._rows(query, parameter))
        except ArchiveError as error:
            raise HistoryUnavailable(
                f"The archive does not answer. {error}",
                "What only the archive knows cannot be shown. Try again later.",
            ) from error
        return [_seen_app(*row) for row in rows]

    async def _rows(self, query: LiteralString, *parameters: str | int) -> list[tuple[Any, ...]]:
        async with self._database.transaction() as connection:
            return await (await connection.execute(query, parameters)).fetchall()


def _seen_app(app: str, first_at: Any, last_at: Any) -> SeenApp:
    """An app by the starts of its first and its last hour."""
    last_s = from_utc(last_at) + HOUR_S - 1
    # Whether it had runtime metrics is not archived: pages do not advise to enable them.
    return SeenApp(app, from_utc(first_at), last_s, last_s)
