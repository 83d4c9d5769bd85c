"""The store on Redis or Valkey: commands of Redis 6.2 and Lua, no modules.

    dm:{APP}:inbox              list of elements: batches not yet folded
    dm:{APP}:id:<16 bytes>      token of the POST that brought this batch
    dm:{APP}:1m:<start>         list of elements: rollups of one interval; also 10m, 1h, total:0,
    unreadable:0
    dm:apps:first_seen          sorted sets: app by Unix seconds; also last_seen, runtime_metrics
    dm:beat:<name>              hash: the last sign of life of a worker
    dm:drains                   hash: app -> hash of its drain secret. The only key that never
    expires.

{APP} is a hash tag: on a cluster, an app's keys lie together, as its scripts need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from app.store.port import (
    Appended,
    Batch,
    Contents,
    Outcome,
    SeenApp,
    Slot,
    SlotWrite,
    StoreUnavailable,
    headers,
)

_T = TypeVar("_T")

OLDEST_VERSION = (6, 2)
TIMEOUT_S = 3.0  # Logplex waits 5 s for its answer; one retry must still fit
_FIRST_SEEN = "dm:apps:first_seen"
_LAST_SEEN = "dm:apps:last_seen"
_RUNTIME_METRICS = "dm:apps:runtime_metrics"
_DRAINS = "dm:drains"
_BEAT = "dm:beat:"


class _Script:
    """A Lua script and the digest that it is called by."""

    def __init__(self, name: str) -> None:
        self.text = files("app.store").joinpath(name).read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_APPEND, _FOLD, _COMPACT, _READ = (
    _Script(f"{name}.lua") for name in ("append", "fold", "compact", "read")
)


def connect(url: str) -> RedisStore:
    """A store at redis://, rediss:// or unix://. Nothing is sent yet.

    A command is not repeated by the client itself: only the caller knows what may be repeated.
    """
    return RedisStore(
        redis.asyncio.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=20,
        )
    )


class RedisStore:
    """See port.Store."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def append(
        self, groups: Mapping[str, Sequence[Batch]], *, id_ttl_ms: int, inbox_ttl_ms: int
    ) -> dict[str, Appended]:
        calls = [
            _append_call(app, batches, id_ttl_ms, inbox_ttl_ms) for app, batches in groups.items()
        ]
        answers = await _asking(self._evaluate_all(_APPEND, calls))
        return {
            app: Appended([Outcome(outcome) for outcome in answer[:-1]], answer[-1])
            for app, answer in zip(groups, answers, strict=True)
        }

    async def read_inbox(self, app: str, count: int) -> list[bytes]:
        elements = self._client.lrange(_inbox(app), 0, count - 1)
        return await _asking(cast("Awaitable[list[bytes]]", elements))

    async def fold(
        self, app: str, folded: Sequence[bytes], writes: Sequence[SlotWrite]
    ) -> dict[Slot, int] | None:
        keys = [_inbox(app), *(_slot(app, write.slot) for write in writes)]
        arguments: list[bytes | int] = [len(folded), headers(folded)]
        for write in writes:
            arguments += (write.ttl_ms, write.element)
        lengths = await self._evaluate(_FOLD, keys, arguments)
        if lengths is None:
            return None
        return {write.slot: length for write, length in zip(writes, lengths, strict=True)}

    async def compact(
        self, app: str, slot: Slot, merged: Sequence[bytes], element: bytes, ttl_ms: int
    ) -> bool:
        arguments = [len(merged), headers(merged), element, ttl_ms]
        return bool(await self._evaluate(_COMPACT, [_slot(app, slot)], arguments))

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        keys = [_slot(app, slot) for slot in slots]
        found = await self._evaluate(_READ, [*keys, _inbox(app)] if inbox else keys, [])
        lists = dict(zip(found[::2], found[1::2], strict=True))
        return Contents(
            lists.pop(len(keys) + 1, []),
            {slots[position - 1]: elements for position, elements in lists.items()},
        )

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        pipeline = self._client.pipeline(transaction=False)
        for app in apps:
            pipeline.llen(_inbox(app))
        lengths = await _asking(pipeline.execute()) if apps else []
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
        await _asking(pipeline.execute())

    async def seen_apps(self) -> list[SeenApp]:
        pipeline = self._client.pipeline(transaction=False)
        for key in (_FIRST_SEEN, _LAST_SEEN, _RUNTIME_METRICS):
            pipeline.zrange(key, 0, -1, withscores=True)
        first, last, runtime = (
            {app.decode(): int(score) for app, score in found}
            for found in await _asking(pipeline.execute())
        )
        return [
            SeenApp(app, first.get(app, last[app]), last[app], runtime.get(app, 0))
            for app in sorted(last)
        ]

    async def forget_apps(self, before_s: int) -> list[str]:
        names = self._client.zrangebyscore(_LAST_SEEN, "-inf", f"({before_s}")
        forgotten = cast("list[bytes]", await _asking(names))
        if forgotten:
            pipeline = self._client.pipeline(transaction=False)
            for key in (_FIRST_SEEN, _LAST_SEEN, _RUNTIME_METRICS):
                pipeline.zrem(key, *forgotten)
            await _asking(pipeline.execute())
        return [app.decode() for app in forgotten]

    async def put_drain(self, app: str, secret_hash: str) -> None:
        await _asking(self._client.hset(_DRAINS, app, secret_hash))

    async def remove_drain(self, app: str) -> bool:
        return bool(await _asking(self._client.hdel(_DRAINS, app)))

    async def drains(self) -> dict[str, str]:
        found = cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(_DRAINS))
        return {app.decode(): digest.decode() for app, digest in (await _asking(found)).items()}

    async def beat(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(_BEAT + name)
        pipeline.hset(_BEAT + name, items=[part for pair in fields.items() for part in pair])
        pipeline.pexpire(_BEAT + name, ttl_ms)
        await _asking(pipeline.execute())

    async def beats(self) -> dict[str, dict[str, str]]:
        names = await _asking(self._beat_keys())
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(name)
        found = await _asking(pipeline.execute()) if names else []
        return {
            name.decode().removeprefix(_BEAT): {
                field.decode(): value.decode() for field, value in fields.items()
            }
            for name, fields in zip(names, found, strict=True)
            if fields
        }

    async def check(self) -> list[str]:
        info = await _asking(self._client.info())
        problems = []
        version = str(info.get("valkey_version") or info["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            problems.append(f"the store is Redis {version}: {oldest} or newer is needed")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            problems.append(
                f"the store's maxmemory-policy is {policy}, which drops acknowledged data when "
                "memory is full: run 'redis-cli CONFIG SET maxmemory-policy noeviction'"
            )
        return problems

    async def close(self) -> None:
        await self._client.aclose()

    async def _beat_keys(self) -> list[bytes]:
        return [key async for key in self._client.scan_iter(_BEAT + "*", count=1_000)]

    async def _evaluate(
        self, script: _Script, keys: Sequence[str | bytes], arguments: Sequence[Any]
    ) -> Any:
        call = [len(keys), *keys, *arguments]
        return (await _asking(self._evaluate_all(script, [call])))[0]

    async def _evaluate_all(self, script: _Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """One round trip; a second one where the server did not know the script yet."""
        answers = await self._run(script, calls)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            await self._client.script_load(script.text)
            again = await self._run(script, [calls[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _run(self, script: _Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command("EVALSHA", script.sha, *call)
        return await pipeline.execute(raise_on_error=False)


def _inbox(app: str) -> str:
    return f"dm:{{{app}}}:inbox"


def _slot(app: str, slot: Slot) -> str:
    return f"dm:{{{app}}}:{slot.resolution}:{slot.start}"


def _append_call(
    app: str, batches: Sequence[Batch], id_ttl_ms: int, inbox_ttl_ms: int
) -> list[Any]:
    prefix = f"dm:{{{app}}}:id:".encode()
    ids = [prefix + batch.id for batch in batches if batch.id]
    call: list[Any] = [1 + len(ids), _inbox(app), *ids, id_ttl_ms, inbox_ttl_ms]
    position = 0
    for batch in batches:
        if batch.id:
            position += 1
        call += (position if batch.id else 0, batch.token, batch.element)
    return call


async def _asking(answer: Awaitable[_T]) -> _T:
    """Await an answer of the server; what it or the way to it refuses is StoreUnavailable."""
    try:
        return await answer
    except (RedisError, OSError, TimeoutError) as error:
        # The message is Redis' own ("OOM command not allowed …") and never holds the URL.
        raise StoreUnavailable(f"the store does not answer or refuses: {error}") from error
