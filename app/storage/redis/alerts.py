"""The alerts' part of the store on Redis or Valkey.

    dm:{!alerts}:lease          token of the worker that evaluates and delivers
    dm:{!alerts}:<table>        hashes: rules, channels (these two never expire), mutes, states,
                                outbox, health
    dm:{!alerts}:history:APP    list: what was told of an app, the newest first

The hash tag is no name of an app, so an app's keys are never among these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.storage.alert_interface import (
    HISTORY_LENGTH_MAX,
    HISTORY_TTL_MS,
    NO_HISTORY,
    PERMANENT_TABLES,
    TABLE_TTL_MS,
    AlertChange,
    AlertTable,
)
from app.storage.redis.commands import RedisCommands, Script, fields_of

_PREFIX = "dm:{!alerts}:"
_LEASE = f"{_PREFIX}lease"
_HOLD, _END, _CHANGE, _HASHES = (
    Script(f"{name}.lua") for name in ("lease", "lease_end", "alerts", "hashes")
)


class RedisAlerts(RedisCommands):
    """See alert_port.AlertStore."""

    async def hold_alert_lease(self, token: str, ttl_ms: int) -> bool:
        return bool(await self._evaluate(_HOLD, [_LEASE], [token, ttl_ms]))

    async def end_alert_lease(self, token: str) -> None:
        await self._evaluate(_END, [_LEASE], [token])

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        keys = [_PREFIX + table.value for table in tables]
        return [
            {field.decode(): record for field, record in fields_of(found).items()}
            for found in await self._evaluate(_HASHES, keys, [])
        ]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        keys = [f"{_PREFIX}history:{app}" for app in apps]
        found = await self._ask_all([("LRANGE", key, 0, count - 1) for key in keys])
        return {app: entries for app, entries in zip(apps, found, strict=True) if entries}

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        lease: str = "",
    ) -> bool:
        keys = [_LEASE]
        arguments: list[str | bytes | int] = [lease, HISTORY_LENGTH_MAX]
        last = {(table, field): value for table, field, value in changes}
        for (table, field), value in last.items():
            keys.append(_PREFIX + table.value)
            ttl_ms = 0 if table in PERMANENT_TABLES else TABLE_TTL_MS
            arguments += ("record", field, value, ttl_ms)
        for app, entries in history.items():
            for entry in entries:
                keys.append(f"{_PREFIX}history:{app}")
                arguments += ("history", "", entry, HISTORY_TTL_MS)
        return bool(await self._evaluate(_CHANGE, keys, arguments))
