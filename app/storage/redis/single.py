"""A single Redis server.

Commands go over one pipelined connection; rare administrative ones over redis-py's client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from itertools import islice
from typing import Any

import redis.asyncio
from hiredis import pack_command
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from app.storage.redis.commands import TIMEOUT_S, Call, Send
from app.storage.redis.pipelined_connection import PipelinedConnection
from app.storage.redis.server_info import durability_warnings

CONNECTIONS_MAX = 16
CONNECT_TIMEOUT_S = 1.0
REPLICATION_TIMEOUT_MS = 1_000  # replicas that work acknowledge within a millisecond or so
_MULTI, _EXEC = pack_command(("MULTI",)), pack_command(("EXEC",))
_WHOLE_LIST: Call = (0, -1)


class NotReplicated(RedisError):
    """Too few replicas acknowledged a write in time."""


def connection_options() -> dict[str, Any]:
    """Options of every connection.

    The client must not retry commands: only the caller knows which ones may be repeated.
    """
    return {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        # If enabled, the pool does not notice that the server closed an idle connection.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def create_pool(url: str, connections_max: int) -> ConnectionPool:
    """A pool of connections to the server at a redis://, rediss:// or unix:// URL.

    Raises:
        ValueError: the URL cannot be read. Its text may quote a part of the password.
    """
    return redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=connections_max, timeout=TIMEOUT_S, **connection_options()
    )


class SingleRedis:
    """The topology of one server."""

    apps_per_script = 32  # about 0.2 ms, during which the server answers no other client

    def __init__(self, pool: ConnectionPool, replicas: int = 0) -> None:
        """`replicas`: how many must acknowledge the writes of `send_replicated`."""
        self._client = redis.asyncio.Redis.from_pool(pool)
        self._connection = PipelinedConnection(pool, TIMEOUT_S)
        self._replicas = replicas
        self.send_replicated: Send = self._send_and_wait if replicas else self.send

    def send(self, calls: Sequence[Call], prefix: Call = ()) -> Awaitable[list[Any]]:
        commands = b"".join([pack_command((*prefix, *call)) for call in calls])
        return self._connection.send(commands, len(calls))

    async def read_lists(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        commands = []
        for _, *keys in calls:
            reads = [pack_command(("LRANGE", key, *_WHOLE_LIST)) for key in keys]
            commands += [_MULTI, *reads, _EXEC]
        answers = iter(await self._connection.send(b"".join(commands), len(commands)))
        return [_transaction_answer(list(islice(answers, call[0] + 2))) for call in calls]

    async def _send_and_wait(self, calls: Sequence[Call], prefix: Call = ()) -> list[Any]:
        """Send calls followed by WAIT.

        WAIT covers the writes of its own connection, so it must go over the same one. It covers
        nothing if a script wrote nothing; therefore scripts write known ids again.
        """
        words = [(*prefix, *call) for call in calls]
        commands = b"".join(
            map(pack_command, [*words, ("WAIT", self._replicas, REPLICATION_TIMEOUT_MS)])
        )
        *answers, count = await self._connection.send(commands, len(calls) + 1)
        if isinstance(count, Exception):
            raise count
        if count < self._replicas:
            raise NotReplicated(f"{count} of {self._replicas} replicas acknowledged the batch")
        return answers

    async def load_script(self, script: str) -> None:
        (answer,) = await self.send([("SCRIPT", "LOAD", script)])
        if isinstance(answer, Exception):
            raise answer

    async def infos(self) -> list[Mapping[str, Any]]:
        return [await self._client.info()]

    async def settings(self, *names: str) -> dict[str, str]:
        try:
            return {
                name: str((await self._client.config_get(name)).get(name, "")) for name in names
            }
        except ResponseError:
            return {}

    async def warnings(self) -> list[str]:
        info = await self._client.info()
        settings = await self.settings("aof-load-truncated", "save")
        warnings = list(durability_warnings(info, settings))
        if self._replicas:
            warnings += replica_warnings(info, self._replicas)
        return warnings

    async def close(self) -> None:
        await self._connection.close()
        await self._client.aclose()


def _transaction_answer(answers: Sequence[Any]) -> Any:
    """The answer of EXEC, or the first error with which a command was rejected before."""
    return next((answer for answer in answers if isinstance(answer, Exception)), answers[-1])


def replica_warnings(info: Mapping[str, Any], replicas: int) -> list[str]:
    """A warning if fewer replicas than required are online, by INFO replication of a server."""
    online = sum(
        1
        for name, replica in info.items()
        if name.startswith("slave")
        and isinstance(replica, dict)
        and replica.get("state") == "online"
    )
    if online >= replicas:
        return []
    return [
        f"A batch must be acknowledged by {replicas} replicas (DYNOMETER_REDIS_REPLICAS), but "
        f"{online} are online. Start them, or require fewer."
    ]
