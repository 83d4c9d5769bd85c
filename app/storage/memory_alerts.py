"""The alert part of the in-memory store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.storage.interface.alerts import (
    EPISODES_LENGTH_MAX,
    HISTORY_LENGTH_MAX,
    NO_EPISODES,
    NO_HISTORY,
    TABLES_OF_APPS,
    AlertChange,
    AlertTable,
)


class MemoryAlerts:
    """An AlertStore in memory. Methods are atomic because none of them awaits.

    Only the lease expires. Other records do not, because a process that uses this store does not
    live that long.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: returns Unix seconds; the lease expires by it."""
        self._clock = clock
        self._lease = ("", 0.0)
        self._tables: dict[AlertTable, dict[str, bytes]] = {table: {} for table in AlertTable}
        self._histories: dict[str, list[bytes]] = {}
        self._episodes: dict[str, list[bytes]] = {}

    async def acquire_alert_lease(self, token: str, ttl_ms: int) -> bool:
        if self._holder() not in ("", token):
            return False
        self._lease = (token, self._clock() + ttl_ms / 1000)
        return True

    async def release_alert_lease(self, token: str) -> None:
        if self._holder() == token:
            self._lease = ("", 0.0)

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        return [dict(self._tables[table]) for table in tables]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        return {app: self._histories[app][:count] for app in apps if app in self._histories}

    async def episodes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        return {app: self._episodes[app][:count] for app in apps if app in self._episodes}

    def _remove_alerts(self, app: str) -> None:
        """Remove all records of an app, its history and its episodes."""
        for table in TABLES_OF_APPS:
            self._tables[table].pop(app, None)
        self._histories.pop(app, None)
        self._episodes.pop(app, None)

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        episodes: Mapping[str, Sequence[bytes]] = NO_EPISODES,
        lease: str = "",
    ) -> bool:
        if lease and self._holder() != lease:
            return False
        for table, field, value in changes:
            if value:
                self._tables[table][field] = value
            else:
                self._tables[table].pop(field, None)
        _prepend(self._histories, history, HISTORY_LENGTH_MAX)
        _prepend(self._episodes, episodes, EPISODES_LENGTH_MAX)
        return True

    def _holder(self) -> str:
        token, until_s = self._lease
        return token if until_s > self._clock() else ""


def _prepend(
    lists: dict[str, list[bytes]], additions: Mapping[str, Sequence[bytes]], length_max: int
) -> None:
    """Put entries, oldest first, before those of each app."""
    for app, entries in additions.items():
        entries_of_app = lists.setdefault(app, [])
        entries_of_app[:0] = reversed(entries)
        del entries_of_app[length_max:]
