"""Redis behind Sentinel: who is the primary is asked before each connection."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from redis.asyncio.connection import BlockingConnectionPool, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import ReadOnlyError, RedisError

from app.storage.interface import StoreError
from app.storage.redis.commands import TIMEOUT_S, Call
from app.storage.redis.single import SingleRedis, options
from app.storage.redis.store import RedisStore
from app.storage.redis.urls import Hosts

PORT = 26379
_FORM = "redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE"
_OF_SENTINELS = "sentinel_"  # options that begin so are theirs


def connect(url: str, connections_max: int, replicas: int) -> RedisStore:
    """See engine.connect."""
    where = Hosts(url, PORT, _FORM)
    service, _, database = where.path.partition("/")
    if not service:
        raise StoreError(f"REDIS_URL names no service: it must be {_FORM}")
    try:
        of_servers = dict(parse_url(where.url_of(where.hosts[0], database)))
    except ValueError:  # its text may quote a part of the password
        raise StoreError(f"REDIS_URL cannot be read: it must be {_FORM}") from None
    for name in ("host", "port", "connection_class"):
        of_servers.pop(name, None)
    of_sentinels = {
        name.removeprefix(_OF_SENTINELS): of_servers.pop(name)
        for name in list(of_servers)
        if name.startswith(_OF_SENTINELS)
    }
    of_sentinels |= {name: value for name, value in of_servers.items() if name.startswith("ssl_")}
    of_sentinels |= {"ssl": where.tls, **options()}
    sentinels = Sentinel(where.hosts, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    pool = _Pool(  # type: ignore[no-untyped-call]
        service,
        sentinels,
        max_connections=connections_max,
        timeout=TIMEOUT_S,
        ssl=where.tls,
        **options(),
        **of_servers,
    )
    return RedisStore(_SentinelTopology(pool, replicas, sentinels, service))


class _Pool(SentinelConnectionPool, BlockingConnectionPool):
    """Whoever finds all connections in use waits for one, as with one Redis."""


class _SentinelTopology(SingleRedis):
    """The server that the sentinels name."""

    def __init__(
        self, pool: SentinelConnectionPool, replicas: int, sentinels: Sentinel, service: str
    ) -> None:
        super().__init__(pool, replicas)
        self._sentinels = sentinels
        self._service = service

    async def ask(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """See redis_call.Server."""
        return await self._unless_demoted(await super().ask(calls, before))

    async def _commit_to_replicas(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        return await self._unless_demoted(await super()._commit_to_replicas(calls, before))

    async def _unless_demoted(self, answers: list[Any]) -> list[Any]:
        """Whoever was the primary refuses to write: next time the sentinels are asked again."""
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            await self._wire.close()
        return answers

    async def problems(self) -> list[str]:
        """See redis_call.Server."""
        found = await super().problems()
        told = []
        for sentinel in self._sentinels.sentinels:
            with suppress(RedisError, OSError):
                told.append(cast("dict[str, Any]", await sentinel.sentinel_master(self._service)))
        sentinels = len(self._sentinels.sentinels)
        if len(told) <= sentinels // 2:
            found.append(
                f"{len(told)} of {sentinels} sentinels answer, too few to choose another primary: "
                "start them"
            )
        elif not any(each["num-slaves"] for each in told):
            found.append(
                f"the primary of {self._service} has no replica: should it fail, nobody can take "
                "its place"
            )
        return found

    async def close(self) -> None:
        """See redis_call.Server."""
        await super().close()
        for sentinel in self._sentinels.sentinels:
            await sentinel.aclose()
