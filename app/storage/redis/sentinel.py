"""Redis behind Sentinel: the sentinels are asked for the primary before each connection."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from redis.asyncio.connection import BlockingConnectionPool, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import ReadOnlyError, RedisError

from app.storage.interface.errors import StoreError
from app.storage.redis.commands import TIMEOUT_S, Call
from app.storage.redis.single import SingleRedis, connection_options
from app.storage.redis.store import RedisStore
from app.storage.redis.urls import MultiHostUrl

PORT = 26379
_URL_FORM = "redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE"
_SENTINEL_OPTION_PREFIX = "sentinel_"  # of options in the URL that are meant for the sentinels


def connect(url: str, connections_max: int, replicas: int) -> RedisStore:
    """Open the store at a redis+sentinel:// or rediss+sentinel:// URL."""
    address = MultiHostUrl(url, PORT, _URL_FORM)
    service, _, database = address.path.partition("/")
    if not service:
        raise StoreError(f"REDIS_URL names no service. Write it as {_URL_FORM}.")
    try:
        server_options = dict(parse_url(address.url_of(address.hosts[0], database)))
    except ValueError:  # its text may quote a part of the password
        raise StoreError(f"REDIS_URL cannot be read. Write it as {_URL_FORM}.") from None
    for name in ("host", "port", "connection_class"):
        server_options.pop(name, None)
    sentinel_options = {
        name.removeprefix(_SENTINEL_OPTION_PREFIX): server_options.pop(name)
        for name in list(server_options)
        if name.startswith(_SENTINEL_OPTION_PREFIX)
    }
    sentinel_options |= {
        name: value for name, value in server_options.items() if name.startswith("ssl_")
    }
    sentinel_options |= {"ssl": address.has_tls, **connection_options()}
    sentinels = Sentinel(address.hosts, sentinel_kwargs=sentinel_options)  # type: ignore[no-untyped-call]
    pool = _Pool(  # type: ignore[no-untyped-call]
        service,
        sentinels,
        max_connections=connections_max,
        timeout=TIMEOUT_S,
        ssl=address.has_tls,
        **connection_options(),
        **server_options,
    )
    return RedisStore(_SentinelTopology(pool, replicas, sentinels, service))


class _Pool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool of connections to the primary that waits for a free one, as with one Redis."""


class _SentinelTopology(SingleRedis):
    """The topology of the server that the sentinels name as primary."""

    def __init__(
        self, pool: SentinelConnectionPool, replicas: int, sentinels: Sentinel, service: str
    ) -> None:
        super().__init__(pool, replicas)
        self._sentinels = sentinels
        self._service = service

    async def send(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        return await self._disconnect_if_demoted(await super().send(calls, prefix))

    async def _send_and_wait(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        return await self._disconnect_if_demoted(await super()._send_and_wait(calls, prefix))

    async def _disconnect_if_demoted(self, answers: list[Any]) -> list[Any]:
        """Close the connection to a former primary, so that the sentinels are asked again."""
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            await self._connection.close()
        return answers

    async def warnings(self) -> list[str]:
        warnings = await super().warnings()
        states = []
        for sentinel in self._sentinels.sentinels:
            with suppress(RedisError, OSError):
                states.append(cast("dict[str, Any]", await sentinel.sentinel_master(self._service)))
        sentinels = len(self._sentinels.sentinels)
        if len(states) <= sentinels // 2:
            warnings.append(
                f"{len(states)} of {sentinels} sentinels respond, too few to elect another "
                "primary. Start the others."
            )
        elif not any(state["num-slaves"] for state in states):
            warnings.append(
                f"The primary of {self._service} has no replica that could take over if it fails. "
                "Add one."
            )
        return warnings

    async def close(self) -> None:
        await super().close()
        for sentinel in self._sentinels.sentinels:
            await sentinel.aclose()
