"""The store on Redis or Valkey: commands of Redis 6.2 and Lua, no modules.

    dm:{APP}:inbox              list of elements: batches not yet folded
    dm:{APP}:id:<16 bytes>      token of the POST that brought this batch
    dm:{APP}:drain              which of the app's drains counts (active_drain)
    dm:{APP}:1m:<start>         list of elements: rollups of one interval; also 10m, 1h, total:0,
    unreadable:0
    dm:apps:first_seen          sorted sets: app by Unix seconds; also last_seen, runtime_metrics
    dm:beat:<name>              hash: the last sign of life of a worker
    dm:beats                    set: names of the workers that gave one
    dm:drains                   hash: app -> its drain secrets, hashed
    dm:tokens                   hash: id -> a read token, hashed. These two never expire, nor do
    dm:{!alerts}:rules, :channels   (app/store/redis_alerts.py has all of the alerts)

{APP} is a hash tag: on a cluster, an app's keys lie together, as its scripts need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from app.store.kept import KeptSlots
from app.store.port import (
    NO_GUARDS,
    Appended,
    Batch,
    Bundle,
    Compaction,
    Contents,
    Facts,
    Fold,
    Guard,
    Outcome,
    SeenApp,
    Slot,
    SlotWrite,
    StoreError,
    StoreUnavailable,
    headers,
)
from app.store.redis_alerts import RedisAlerts
from app.store.redis_call import TIMEOUT_S, Script, asking
from app.store.redis_keys import append_call, bundle_call, fold_call, inbox_key, slot_key, state_key

OLDEST_VERSION = (6, 2)
CONNECT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 16  # of a process; whoever finds them all in use waits for one
_FIRST_SEEN = "dm:apps:first_seen"
_LAST_SEEN = "dm:apps:last_seen"
_RUNTIME_METRICS = "dm:apps:runtime_metrics"
_DRAINS = "dm:drains"
_TOKENS = "dm:tokens"
_BEAT = "dm:beat:"
_BEATS = "dm:beats"
_BEATS_TTL_MS = 7 * 24 * 3600 * 1000  # of the names; each sign of life has its own, shorter one


_APPEND, _BUNDLE, _FOLD, _COMPACT, _READ, _SWAP = (
    Script(f"{name}.lua") for name in ("append", "bundle", "fold", "compact", "read", "swap")
)


def connect(url: str, connections_max: int = CONNECTIONS_MAX) -> RedisStore:
    """A store at redis://, rediss:// or unix://. Nothing is sent yet.

    A command is not repeated by the client itself: only the caller knows what may be repeated.

    Raises:
        StoreError: this is no such address.
    """
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=connections_max,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            # With these on, the pool does not look whether the server closed an idle connection.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    except ValueError:  # its text may quote a part of the password
        raise StoreError(
            "REDIS_URL cannot be read: it must be redis://USER:PASSWORD@HOST:PORT/0, rediss://… or "
            "unix:///PATH, with / # ? @ : in a password written as %2F %23 %3F %40 %3A"
        ) from None
    return RedisStore(redis.asyncio.Redis.from_pool(pool))


class RedisStore(RedisAlerts):
    """See port.Store."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client)
        self._kept = KeptSlots()

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, Guard] = NO_GUARDS,
    ) -> dict[str, Appended]:
        calls = [
            append_call(app, batches, guards.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, batches in groups.items()
        ]
        answers = await asking(self._evaluate_all(_APPEND, calls))
        return {
            app: Appended([Outcome(outcome) for outcome in answer[:-2]], answer[-2], answer[-1])
            for app, answer in zip(groups, answers, strict=True)
        }

    async def append_bundles(
        self,
        bundles: Mapping[str, Bundle],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        guards: Mapping[str, Guard] = NO_GUARDS,
    ) -> dict[str, int]:
        calls = [
            bundle_call(app, bundle, guards.get(app), id_ttl_ms, inbox_ttl_ms)
            for app, bundle in bundles.items()
        ]
        lengths = await asking(self._evaluate_all(_BUNDLE, calls))
        return dict(zip(bundles, lengths, strict=True))

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        pipeline = self._client.pipeline(transaction=False)
        for app in apps:
            pipeline.get(state_key(app))
        states = await asking(pipeline.execute()) if apps else []
        return {app: state for app, state in zip(apps, states, strict=True) if state}

    async def read_inbox(self, app: str, count: int) -> list[bytes]:
        elements = self._client.lrange(inbox_key(app), 0, count - 1)
        return await asking(cast("Awaitable[list[bytes]]", elements))

    async def fold(
        self, app: str, folded: Sequence[bytes], writes: Sequence[SlotWrite]
    ) -> dict[Slot, int] | None:
        return (await self.fold_all({app: Fold(folded, writes)}))[app]

    async def read_inboxes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        calls = [("LRANGE", inbox_key(app), 0, count - 1) for app in apps]
        answers = await asking(self._ask_all(calls))
        return {app: elements for app, elements in zip(apps, answers, strict=True) if elements}

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        calls = [fold_call(app, fold) for app, fold in folds.items()]
        answers = await asking(self._evaluate_all(_FOLD, calls))
        return {
            app: None
            if lengths is None
            else {write.slot: length for write, length in zip(fold.writes, lengths, strict=True)}
            for (app, fold), lengths in zip(folds.items(), answers, strict=True)
        }

    async def compact(
        self, app: str, slot: Slot, merged: Sequence[bytes], element: bytes, ttl_ms: int
    ) -> bool:
        return (await self.compact_all([Compaction(app, slot, merged, element, ttl_ms)]))[0]

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        calls = [
            [1, slot_key(app, slot), len(merged), headers(merged), element, ttl_ms]
            for app, slot, merged, element, ttl_ms in compactions
        ]
        return [bool(each) for each in await asking(self._evaluate_all(_COMPACT, calls))]

    async def read_slots(self, asked: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        calls = [("LRANGE", slot_key(app, slot), 0, -1) for app, slot in asked]
        return await asking(self._ask_all(calls))

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        keys = [slot_key(app, slot) for slot in slots]
        known = self._kept.known(keys)
        versions = self._kept.versions(keys, known)
        found = await self._evaluate(_READ, [*keys, inbox_key(app)] if inbox else keys, [versions])
        self._kept.complete(keys, slots, known, found)
        return _contents(slots, found)

    async def read_many(self, asked: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        calls = [
            [len(slots) + 1, *(slot_key(app, slot) for slot in slots), inbox_key(app)]
            for app, slots in asked
        ]
        found = await asking(self._evaluate_all(_READ, calls))
        return [_contents(slots, each) for (_, slots), each in zip(asked, found, strict=True)]

    async def drop(self, app: str, slots: Sequence[Slot]) -> None:
        if slots:
            await asking(self._client.delete(*(slot_key(app, slot) for slot in slots)))

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        pipeline = self._client.pipeline(transaction=False)
        for app in apps:
            pipeline.llen(inbox_key(app))
        lengths = await asking(pipeline.execute()) if apps else []
        return dict(zip(apps, lengths, strict=True))

    async def see(self, apps: Sequence[SeenApp], *, ttl_ms: int) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for seen in apps:
            pipeline.zadd(_FIRST_SEEN, {seen.app: seen.first_seen_s}, lt=True)
            pipeline.zadd(_LAST_SEEN, {seen.app: seen.last_seen_s}, gt=True)
            if seen.runtime_metrics_s:
                pipeline.zadd(_RUNTIME_METRICS, {seen.app: seen.runtime_metrics_s}, gt=True)
        for key in (_FIRST_SEEN, _LAST_SEEN, _RUNTIME_METRICS):
            pipeline.pexpire(key, ttl_ms)
        await asking(pipeline.execute())

    async def seen_apps(self) -> list[SeenApp]:
        pipeline = self._client.pipeline(transaction=False)
        for key in (_FIRST_SEEN, _LAST_SEEN, _RUNTIME_METRICS):
            pipeline.zrange(key, 0, -1, withscores=True)
        first, last, runtime = (
            {app.decode(): int(score) for app, score in found}
            for found in await asking(pipeline.execute())
        )
        return [
            SeenApp(app, first.get(app, last[app]), last[app], runtime.get(app, 0))
            for app in sorted(last)
        ]

    async def forget_apps(self, before_s: int) -> list[str]:
        names = self._client.zrangebyscore(_LAST_SEEN, "-inf", f"({before_s}")
        forgotten = cast("list[bytes]", await asking(names))
        if forgotten:
            pipeline = self._client.pipeline(transaction=False)
            for key in (_FIRST_SEEN, _LAST_SEEN, _RUNTIME_METRICS):
                pipeline.zrem(key, *forgotten)
            await asking(pipeline.execute())
        return [app.decode() for app in forgotten]

    async def swap_drain(self, app: str, before: str, after: str) -> bool:
        return bool(await self._evaluate(_SWAP, [_DRAINS], [app, before, after]))

    async def drains(self) -> dict[str, str]:
        found = cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(_DRAINS))
        return {app.decode(): digest.decode() for app, digest in (await asking(found)).items()}

    async def put_token(self, token_id: str, record: bytes) -> None:
        await asking(self._client.hset(_TOKENS, token_id, record))

    async def remove_token(self, token_id: str) -> bool:
        return bool(await asking(self._client.hdel(_TOKENS, token_id)))

    async def tokens(self) -> dict[str, bytes]:
        found = cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(_TOKENS))
        return {key.decode(): record for key, record in (await asking(found)).items()}

    async def beat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(_BEAT + name)
        for field, value in fields.items():
            pipeline.hset(_BEAT + name, field, value)
        pipeline.pexpire(_BEAT + name, ttl_ms)
        pipeline.sadd(_BEATS, name)
        pipeline.pexpire(_BEATS, _BEATS_TTL_MS)
        await asking(pipeline.execute())

    async def beats(self) -> dict[str, dict[str, str]]:
        members = cast("Awaitable[set[bytes]]", self._client.smembers(_BEATS))
        names = sorted(name.decode() for name in await asking(members))
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(_BEAT + name)
        found = dict(zip(names, await asking(pipeline.execute()), strict=True))
        if silent := [name for name, fields in found.items() if not fields]:
            await asking(self._client.srem(_BEATS, *silent))
        return {
            name: {field.decode(): value.decode() for field, value in fields.items()}
            for name, fields in found.items()
            if fields
        }

    async def check(self) -> list[str]:
        info = await asking(self._client.info())
        problems = []
        version = str(info.get("valkey_version") or info.get("redis_version", "0.0"))
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            problems.append(f"the store is Redis {version}: upgrade it to {oldest} or newer")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            problems.append(
                f"the store's maxmemory-policy is {policy}, which drops acknowledged data when "
                "memory is full: run 'redis-cli CONFIG SET maxmemory-policy noeviction', at Heroku "
                "'heroku redis:maxmemory INSTANCE --policy noeviction'"
            )
        return problems

    async def facts(self) -> Facts:
        info = await asking(self._client.info())
        settings = await self._settings("appendfsync", "save")
        return Facts(
            server=f"{'Valkey' if 'valkey_version' in info else 'Redis'} "
            f"{info.get('valkey_version') or info.get('redis_version', '?')}",
            bytes_used=int(info.get("used_memory", 0)),
            bytes_max=int(info.get("maxmemory", 0)),
            persistence=_persistence(bool(info.get("aof_enabled")), settings),
            time_s=int(info.get("server_time_usec", 0)) / 1e6,
        )

    async def _settings(self, *names: str) -> dict[str, str]:
        """Those that we may read: hosted servers keep CONFIG to themselves."""
        try:
            return {
                name: str((await self._client.config_get(name)).get(name, "")) for name in names
            }
        except ResponseError:
            return {}
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"the store is away or refuses ({error})") from error

    async def close(self) -> None:
        await self._wire.close()
        await self._client.aclose()


def _persistence(append_only: bool, settings: Mapping[str, str]) -> str:
    if append_only:
        return f"append-only file, synced {settings.get('appendfsync', 'as its operator chose')}"
    if settings.get("save", "unknown"):
        return "snapshots now and then"
    return ""


def _contents(slots: Sequence[Slot], found: Sequence[Any]) -> Contents:
    """What read.lua returned of these slots and of the inbox behind them."""
    lists = dict(zip(found[::2], found[1::2], strict=True))
    inbox = lists.pop(len(slots) + 1, [])
    return Contents(inbox, {slots[position - 1]: elements for position, elements in lists.items()})
