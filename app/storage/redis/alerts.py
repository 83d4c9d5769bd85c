"""The alert part of the store on Redis or Valkey.

    dm:{!alerts}:lease          token of the worker that evaluates and delivers
    dm:{!alerts}:<table>        hashes: rules, channels (these two never expire), mutes, states,
                                outbox, health, verdicts, pasts
    dm:{!alerts}:history:APP    list: entries about an app, newest first
    dm:{!alerts}:episodes:APP   list: findings about an app that are over, newest first

{!alerts} is a hash tag: on a cluster these keys lie together. ! cannot occur in the name of an app.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.storage.interface.alerts import (
    EPISODES_LENGTH_MAX,
    EPISODES_TTL_MS,
    HISTORY_LENGTH_MAX,
    HISTORY_TTL_MS,
    NO_EPISODES,
    NO_HISTORY,
    PERMANENT_TABLES,
    TABLE_TTL_MS,
    TABLES_OF_APPS,
    AlertChange,
    AlertTable,
)
from app.storage.redis.commands import RedisCommands, Script, parse_map

_PREFIX = "dm:{!alerts}:"
_LEASE = f"{_PREFIX}lease"
_ACQUIRE_LEASE, _RELEASE_LEASE, _CHANGE, _HASHES = (
    Script(f"{name}.lua")
    for name in ("acquire_lease", "release_lease", "change_alerts", "read_hashes")
)


class RedisAlerts(RedisCommands):
    """The AlertStore on Redis: each change is one script, so it is atomic."""

    async def acquire_alert_lease(self, token: str, ttl_ms: int) -> bool:
        return bool(await self._evaluate(_ACQUIRE_LEASE, [_LEASE], [token, ttl_ms]))

    async def release_alert_lease(self, token: str) -> None:
        await self._evaluate(_RELEASE_LEASE, [_LEASE], [token])

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        keys = [_PREFIX + table.value for table in tables]
        return [
            {field.decode(): record for field, record in parse_map(table).items()}
            for table in await self._evaluate(_HASHES, keys, [])
        ]

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        return await self._read_lists("history", apps, count)

    async def episodes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        return await self._read_lists("episodes", apps, count)

    async def _read_lists(
        self, name: str, apps: Sequence[str], count: int
    ) -> dict[str, list[bytes]]:
        keys = [f"{_PREFIX}{name}:{app}" for app in apps]
        lists = await self._execute_all([("LRANGE", key, 0, count - 1) for key in keys])
        return {app: entries for app, entries in zip(apps, lists, strict=True) if entries}

    async def _remove_alerts(self, app: str) -> None:
        """Remove all records of an app, its history and its episodes."""
        tables = (_PREFIX + table.value for table in TABLES_OF_APPS)
        lists = (f"{_PREFIX}{name}:{app}" for name in ("history", "episodes"))
        await self._execute_all(
            [*(("HDEL", table, app) for table in tables), *(("UNLINK", key) for key in lists)]
        )

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        episodes: Mapping[str, Sequence[bytes]] = NO_EPISODES,
        lease: str = "",
    ) -> bool:
        keys = [_LEASE]
        arguments: list[str | bytes | int] = [lease]
        last_values = {(table, field): value for table, field, value in changes}
        for (table, field), value in last_values.items():
            keys.append(_PREFIX + table.value)
            ttl_ms = 0 if table in PERMANENT_TABLES else TABLE_TTL_MS
            arguments += ("record", field, value, ttl_ms)
        for name, additions, length_max, ttl_ms in (
            ("history", history, HISTORY_LENGTH_MAX, HISTORY_TTL_MS),
            ("episodes", episodes, EPISODES_LENGTH_MAX, EPISODES_TTL_MS),
        ):
            for app, entries in additions.items():
                for entry in entries:
                    keys.append(f"{_PREFIX}{name}:{app}")
                    arguments += ("entry", length_max, entry, ttl_ms)
        return bool(await self._evaluate(_CHANGE, keys, arguments))
