"""One connection to the server that stays with whoever asks all the time, beside the client's.

The client connects it, with all that its address may ask for (TLS, passwords, RESP3); then bytes
go over it as they are, and answers are handed out in the order of what was asked. The client's own
way, through a pool and streams, does the same for ten times the CPU time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NamedTuple, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool

_NOT_WHOLE = object()


class _Asked(NamedTuple):
    answers: list[Any]
    commands: int
    answered: asyncio.Future[list[Any]]


class Wire(asyncio.Protocol):
    """Connects when it is first asked, and again after it broke."""

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """
        Args:
            pool: where the connection comes from, and counts as in use.
            timeout_s: how long an answer may take; then the connection is given up.
        """
        self._pool = pool
        self._timeout_s = timeout_s
        self._asked: deque[_Asked] = deque()
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._connecting = asyncio.Lock()
        self._reader: hiredis.Reader

    async def ask(self, commands: bytes, count: int) -> list[Any]:
        """The answers to so many commands, as the protocol has them (RESP); refusals among them,
        as errors of the client. Several may ask at a time; who stops waiting disturbs nobody.

        Raises:
            redis.exceptions.RedisError: whether the commands took place is unknown.
        """
        transport = self._transport or await self._connect()
        asked = _Asked([], count, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        transport.write(commands)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asked.answered
        except TimeoutError:
            self._break("an answer took too long")
            raise exceptions.TimeoutError(f"no answer within {self._timeout_s:g} s") from None

    async def close(self) -> None:
        """Let go of the connection."""
        self._break("the connection was closed")
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _connect(self) -> asyncio.WriteTransport:
        async with self._connecting:
            if self._transport is None:
                await self.close()  # what is left of the last one
                self._transport = await self._taken_over()
            return self._transport

    async def _taken_over(self) -> asyncio.WriteTransport:
        """The transport of a new connection, which tells us now what comes over it."""
        get = self._pool.get_connection()  # type: ignore[no-untyped-call]  # theirs
        self._connection = connection = cast("AbstractConnection", await get)
        self._reader = hiredis.Reader(
            replyError=connection._parser.parse_error, notEnoughData=_NOT_WHOLE
        )
        transport = cast("asyncio.StreamWriter", connection._writer).transport
        transport.set_protocol(self)
        return transport

    def _break(self, why: str) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        while self._asked:
            answered = self._asked.popleft().answered
            if not answered.done():
                answered.set_exception(exceptions.ConnectionError(why))

    # --- what the event loop calls ---------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand out answers."""
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _NOT_WHOLE:
                if isinstance(answer, hiredis.PushNotification):
                    continue  # news that nobody asked for
                asked = self._asked[0]
                asked.answers.append(answer)
                if len(asked.answers) == asked.commands:
                    self._asked.popleft()
                    if not asked.answered.done():
                        asked.answered.set_result(asked.answers)
        except (hiredis.ProtocolError, IndexError):
            self._break("the server answered what was not asked")

    def connection_lost(self, reason: Exception | None) -> None:
        """Fail what waits for an answer."""
        self._break("the server closed the connection")
