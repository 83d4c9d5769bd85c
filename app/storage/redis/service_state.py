"""The part of the store on Redis or Valkey that concerns the whole service.

It holds the identity, the list of apps, drain records, read tokens, notes about access and status
records.
app.storage.redis.store lists the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.storage.interface.access import AccessTables
from app.storage.interface.apps import SeenApp, decode_origin
from app.storage.interface.identity import StoreIdentity, new_store_id
from app.storage.redis.alerts import RedisAlerts
from app.storage.redis.commands import RedisTopology, Script, parse_map

_SIGHTING_KEYS = ("first_seen", "last_seen", "runtime_metrics")
_STATUS_NAMES_TTL_MS = (
    7 * 24 * 3600 * 1000
)  # of the set of names; each status has its own, shorter TTL
_IDENTIFY, COMPARE_AND_SET, _WRITE_STATUS, _RECORD_SIGHTINGS = (
    Script(f"{name}.lua")
    for name in ("identify", "compare_and_set", "write_status", "record_sightings")
)


class RedisService(RedisAlerts):
    """Identity, apps, access and status records on Redis."""

    def __init__(self, topology: RedisTopology, prefix: str) -> None:
        """`prefix`: of the keys of the service."""
        super().__init__(topology)
        self._first_seen, self._last_seen, self._runtime_metrics = (
            f"{prefix}apps:{name}" for name in _SIGHTING_KEYS
        )
        self._origins = f"{prefix}apps:origins"
        self._removal_times = f"{prefix}apps:removed"
        self._identity = f"{prefix}identity"
        self._drains = f"{prefix}drains"
        self._tokens = f"{prefix}tokens"
        self._notes = f"{prefix}access"
        self._status_prefix = f"{prefix}beat:"
        self._status_names = f"{prefix}beats"

    async def identity(self) -> StoreIdentity:
        record = await self._evaluate(_IDENTIFY, [self._identity], [new_store_id()])
        return _parse_identity(record)

    async def access_tables(self) -> AccessTables:
        get_identity = ("GET", self._identity)
        hashes = [("HGETALL", key) for key in (self._drains, self._tokens, self._notes)]
        identity = None
        while identity is None:
            # An emptied store has no identity, or another one. So if it is the same before and
            # after, the hashes in between are of one store. A script would take four times as long.
            before, *answers, after = await self._execute_all([get_identity, *hashes, get_identity])
            if before is not None and before == after:
                identity = before
            else:
                await self.identity()
        drains, tokens, notes = map(parse_map, answers)
        return AccessTables(
            _parse_identity(identity),
            {app.decode(): record.decode() for app, record in drains.items()},
            {token_id.decode(): record for token_id, record in tokens.items()},
            {name.decode(): note.decode() for name, note in notes.items()},
        )

    async def compare_and_set_note(self, name: str, old_note: str, new_note: str) -> bool:
        return bool(
            await self._evaluate(COMPARE_AND_SET, [self._notes], [name, old_note, new_note])
        )

    async def record_sightings(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        arguments: list[str | int] = [ttl_ms]
        for app, first_seen_s, last_seen_s, runtime_metrics_s, origin in apps:
            arguments += (app, first_seen_s, last_seen_s, runtime_metrics_s, origin.encode())
        await self._evaluate(_RECORD_SIGHTINGS, self._sighting_keys, arguments)

    @property
    def _sighting_keys(self) -> tuple[str, str, str, str]:
        return self._first_seen, self._last_seen, self._runtime_metrics, self._origins

    async def seen_apps(self) -> list[SeenApp]:
        *times, origins = self._sighting_keys
        *scores, words = await self._execute_all(
            [*(("ZRANGE", key, 0, -1, "WITHSCORES") for key in times), ("HGETALL", origins)]
        )
        first, last, runtime = (
            {app.decode(): int(float(score)) for app, score in parse_map(answer).items()}
            for answer in scores
        )
        origin_words = {app.decode(): word.decode() for app, word in parse_map(words).items()}
        return [
            SeenApp(
                app,
                first.get(app, last[app]),
                last[app],
                runtime.get(app, 0),
                decode_origin(origin_words.get(app, "")),
            )
            for app in sorted(last)
        ]

    async def forget_apps(self, before_s: int) -> list[str]:
        apps = await self._execute("ZRANGEBYSCORE", self._last_seen, "-inf", f"({before_s}")
        await self._remove_sightings(apps)
        return [app.decode() for app in apps]

    async def _remove_sightings(self, apps: Sequence[str | bytes]) -> None:
        if apps:
            *times, origins = self._sighting_keys
            await self._execute_all(
                [*(("ZREM", key, *apps) for key in times), ("HDEL", origins, *apps)]
            )

    async def removed_apps(self) -> dict[str, int]:
        times = await self._execute("ZRANGE", self._removal_times, 0, -1, "WITHSCORES")
        return {app.decode(): int(float(at_s)) for app, at_s in parse_map(times).items()}

    async def _record_removal(self, app: str, now_s: int, ttl_ms: int) -> None:
        calls = (
            ("ZADD", self._removal_times, "GT", now_s, app),
            ("PEXPIRE", self._removal_times, ttl_ms),
        )
        await self._execute_all(calls)

    async def compare_and_set_drain(self, app: str, old_record: str, new_record: str) -> bool:
        return bool(
            await self._evaluate(COMPARE_AND_SET, [self._drains], [app, old_record, new_record])
        )

    async def drains(self) -> dict[str, str]:
        records = parse_map(await self._execute("HGETALL", self._drains))
        return {app.decode(): record.decode() for app, record in records.items()}

    async def put_token(self, token_id: str, record: bytes) -> None:
        await self._execute("HSET", self._tokens, token_id, record)

    async def remove_token(self, token_id: str) -> bool:
        return bool(await self._execute("HDEL", self._tokens, token_id))

    async def tokens(self) -> dict[str, bytes]:
        records = parse_map(await self._execute("HGETALL", self._tokens))
        return {token_id.decode(): record for token_id, record in records.items()}

    async def write_status(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        arguments = [word for field in fields.items() for word in field]
        keys = [self._status_prefix + name, self._status_names]
        await self._evaluate(_WRITE_STATUS, keys, [name, ttl_ms, _STATUS_NAMES_TTL_MS, *arguments])

    async def statuses(self) -> dict[str, dict[str, str]]:
        names = sorted(
            name.decode() for name in await self._execute("SMEMBERS", self._status_names)
        )
        answers = await self._execute_all(
            [("HGETALL", self._status_prefix + name) for name in names]
        )
        records = dict(zip(names, map(parse_map, answers), strict=True))
        if expired_names := [name for name, fields in records.items() if not fields]:
            await self._execute("SREM", self._status_names, *expired_names)
        return {
            name: {field.decode(): value.decode() for field, value in fields.items()}
            for name, fields in records.items()
            if fields
        }


def _parse_identity(record: bytes) -> StoreIdentity:
    store_id, epoch_s = record.decode().split()
    return StoreIdentity(store_id, int(epoch_s))
