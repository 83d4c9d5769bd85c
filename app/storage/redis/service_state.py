"""What the store on Redis or Valkey keeps about the service as a whole: which apps were seen, who
may send and read, and who gave a sign of life. app/storage/redis/store.py lists the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.storage.interface import SeenApp
from app.storage.redis.alerts import RedisAlerts
from app.storage.redis.commands import RedisTopology, Script, fields_of

_SEEN = ("first_seen", "last_seen", "runtime_metrics")
_BEATS_TTL_MS = 7 * 24 * 3600 * 1000  # of the names; each sign of life has its own, shorter one
_SWAP, _BEAT = Script("swap.lua"), Script("beat.lua")


class RedisService(RedisAlerts):
    """See port.Store."""

    def __init__(self, server: RedisTopology, prefix: str) -> None:
        """`prefix`: of these keys."""
        super().__init__(server)
        self._first_seen, self._last_seen, self._runtime_metrics = (
            f"{prefix}apps:{name}" for name in _SEEN
        )
        self._drains = f"{prefix}drains"
        self._tokens = f"{prefix}tokens"
        self._beat = f"{prefix}beat:"
        self._heartbeats = f"{prefix}beats"

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        calls: list[tuple[str | int, ...]] = []
        for seen in apps:
            calls.append(("ZADD", self._first_seen, "LT", seen.first_seen_s, seen.app))
            calls.append(("ZADD", self._last_seen, "GT", seen.last_seen_s, seen.app))
            if seen.runtime_metrics_s:
                at_s = seen.runtime_metrics_s
                calls.append(("ZADD", self._runtime_metrics, "GT", at_s, seen.app))
        keys = (self._first_seen, self._last_seen, self._runtime_metrics)
        calls += [("PEXPIRE", key, ttl_ms) for key in keys]
        await self._ask_all(calls)

    async def seen_apps(self) -> list[SeenApp]:
        keys = (self._first_seen, self._last_seen, self._runtime_metrics)
        first, last, runtime = (
            {app.decode(): int(float(score)) for app, score in fields_of(found).items()}
            for found in await self._ask_all([("ZRANGE", key, 0, -1, "WITHSCORES") for key in keys])
        )
        return [
            SeenApp(app, first.get(app, last[app]), last[app], runtime.get(app, 0))
            for app in sorted(last)
        ]

    async def forget_apps(self, before_s: int) -> list[str]:
        forgotten = await self._ask("ZRANGEBYSCORE", self._last_seen, "-inf", f"({before_s}")
        if forgotten:
            keys = (self._first_seen, self._last_seen, self._runtime_metrics)
            await self._ask_all([("ZREM", key, *forgotten) for key in keys])
        return [app.decode() for app in forgotten]

    async def swap_drain(self, app: str, before: str, after: str) -> bool:
        return bool(await self._evaluate(_SWAP, [self._drains], [app, before, after]))

    async def drains(self) -> dict[str, str]:
        found = fields_of(await self._ask("HGETALL", self._drains))
        return {app.decode(): record.decode() for app, record in found.items()}

    async def put_token(self, token_id: str, record: bytes) -> None:
        await self._ask("HSET", self._tokens, token_id, record)

    async def remove_token(self, token_id: str) -> bool:
        return bool(await self._ask("HDEL", self._tokens, token_id))

    async def tokens(self) -> dict[str, bytes]:
        found = fields_of(await self._ask("HGETALL", self._tokens))
        return {token_id.decode(): record for token_id, record in found.items()}

    async def heartbeat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        said = [word for field in fields.items() for word in field]
        keys = [self._beat + name, self._heartbeats]
        await self._evaluate(_BEAT, keys, [name, ttl_ms, _BEATS_TTL_MS, *said])

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        names = sorted(name.decode() for name in await self._ask("SMEMBERS", self._heartbeats))
        answers = await self._ask_all([("HGETALL", self._beat + name) for name in names])
        found = dict(zip(names, map(fields_of, answers), strict=True))
        if silent := [name for name, fields in found.items() if not fields]:
            await self._ask("SREM", self._heartbeats, *silent)
        return {
            name: {field.decode(): value.decode() for field, value in fields.items()}
            for name, fields in found.items()
            if fields
        }
