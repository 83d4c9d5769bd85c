"""One Redis: the client for what is seldom, and for everything else one connection that stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis.asyncio
from hiredis import pack_command
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from app.storage.redis.commands import TIMEOUT_S, Call
from app.storage.redis.pipelined_connection import PipelinedConnection

CONNECTIONS_MAX = 16
CONNECT_TIMEOUT_S = 1.0
WAIT_MS = 1_000  # for replicas; they follow within a millisecond or so when they follow at all


class NotReplicated(RedisError):
    """Too few replicas have it, as yet."""


def options() -> dict[str, Any]:
    """Of each connection. A command is not repeated by the client itself: only the caller knows
    what may be repeated.
    """
    return {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        # With these on, the pool does not look whether the server closed an idle connection.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def pool_to(url: str, connections_max: int) -> ConnectionPool:
    """Connections to the server at redis://, rediss:// or unix://.

    Raises:
        ValueError: this is no such address; its text may quote a part of the password.
    """
    return redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=connections_max, timeout=TIMEOUT_S, **options()
    )


class SingleRedis:
    """See redis_call.Server."""

    apps_per_script = 32  # about 0.2 ms, in which nobody else is answered

    def __init__(self, pool: ConnectionPool, replicas: int = 0) -> None:
        """`replicas`: how many must have what is committed."""
        self._client = redis.asyncio.Redis.from_pool(pool)
        self._wire = PipelinedConnection(pool, TIMEOUT_S)
        self._replicas = replicas
        self.commit = self._commit_to_replicas if replicas else self.ask

    async def ask(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """See redis_call.Server."""
        commands = b"".join([pack_command((*before, *call)) for call in calls])
        return await self._wire.ask(commands, len(calls))

    async def _commit_to_replicas(self, calls: Sequence[Call], before: Call = ()) -> list[Any]:
        """WAIT speaks of what was written over the same connection, so it goes along; and it says
        nothing where nothing was written, so the scripts write also when they repeat.
        """
        words = [(*before, *call) for call in calls]
        commands = b"".join(map(pack_command, [*words, ("WAIT", self._replicas, WAIT_MS)]))
        *answers, have = await self._wire.ask(commands, len(calls) + 1)
        if isinstance(have, Exception):
            raise have
        if have < self._replicas:
            raise NotReplicated(f"{have} of {self._replicas} replicas have the batch")
        return answers

    async def load(self, script: str) -> None:
        """See redis_call.Server."""
        (answer,) = await self.ask([("SCRIPT", "LOAD", script)])
        if isinstance(answer, Exception):
            raise answer

    async def infos(self) -> list[Mapping[str, Any]]:
        """See redis_call.Server."""
        return [await self._client.info()]

    async def settings(self, *names: str) -> dict[str, str]:
        """See redis_call.Server."""
        try:
            return {
                name: str((await self._client.config_get(name)).get(name, "")) for name in names
            }
        except ResponseError:
            return {}

    async def problems(self) -> list[str]:
        """See redis_call.Server."""
        if not self._replicas:
            return []
        info = await self._client.info("replication")
        return list(too_few_replicas(info, self._replicas))

    async def close(self) -> None:
        """See redis_call.Server."""
        await self._wire.close()
        await self._client.aclose()


def too_few_replicas(info: Mapping[str, Any], replicas: int) -> list[str]:
    """Whether a batch can be had by so many, by INFO of a server."""
    online = sum(
        1
        for name, each in info.items()
        if name.startswith("slave") and isinstance(each, dict) and each.get("state") == "online"
    )
    if online >= replicas:
        return []
    return [
        f"a batch is to be on {replicas} replicas (DYNOMETER_REDIS_REPLICAS) and {online} are "
        "online: start them, or ask for fewer"
    ]
