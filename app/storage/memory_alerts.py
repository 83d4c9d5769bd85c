"""The alerts' part of the store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.storage.alert_interface import HISTORY_LENGTH_MAX, NO_HISTORY, AlertChange, AlertTable


class MemoryAlerts:
    """See alert_port.AlertStore. Atomic because nothing in a method awaits; nothing of it expires
    but the lease, since a process does not live as long as that.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: Unix time in seconds, by which the lease ends."""
        self._clock = clock
        self._lease = ("", 0.0)
        self._tables: dict[AlertTable, dict[str, bytes]] = {table: {} for table in AlertTable}
        self._histories: dict[str, list[bytes]] = {}

    async def hold_alert_lease(self, token: str, ttl_ms: int) -> bool:
        if self._holder() not in ("", token):
            return False
        self._lease = (token, self._clock() + ttl_ms / 1000)
        return True

    async def end_alert_lease(self, token: str) -> None:
        if self._holder() == token:
            self._lease = ("", 0.0)

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        return [dict(self._tables[table]) for table in tables]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        return {app: self._histories[app][:count] for app in apps if app in self._histories}

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        lease: str = "",
    ) -> bool:
        if lease and self._holder() != lease:
            return False
        for table, field, value in changes:
            if value:
                self._tables[table][field] = value
            else:
                self._tables[table].pop(field, None)
        for app, entries in history.items():
            kept = self._histories.setdefault(app, [])
            kept[:0] = reversed(entries)
            del kept[HISTORY_LENGTH_MAX:]
        return True

    def _holder(self) -> str:
        token, until_s = self._lease
        return token if until_s > self._clock() else ""
