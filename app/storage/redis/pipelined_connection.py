"""One connection to the server that stays with whoever asks all the time, beside the client's.

The client connects it, with all that its address may ask for (TLS, passwords, RESP3); then bytes
go over it as they are, and answers are handed out in the order of what was asked. The client's own
way, through a pool and streams, does the same for nearly three times the CPU
time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool

LOOKS_PER_TIMEOUT = 8
_NOT_WHOLE = object()


class _Asked(NamedTuple):
    answers: list[Any]
    commands: int
    answered: asyncio.Future[list[Any]]
    asked_s: float  # on the event loop's clock


class _Line(asyncio.Protocol):
    """A connection: what was asked over it, and its answers."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        refusal_of: Callable[[str], Exception],
        timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._transport = transport
        self._asked: deque[_Asked] = deque()
        self._reader = hiredis.Reader(replyError=refusal_of, notEnoughData=_NOT_WHOLE)
        self._timer: asyncio.TimerHandle | None = None  # while there is what may be late
        self.broken = False
        transport.set_protocol(self)

    def ask(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        asked = _Asked([], count, self._loop.create_future(), self._loop.time())
        self._asked.append(asked)
        self._transport.write(commands)
        if self._timer is None:
            self._look_later()
        return asked.answered

    def break_off(self, error: exceptions.RedisError) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._asked:
            answered = self._asked.popleft().answered
            if not answered.done():
                answered.set_exception(error)

    def _look_later(self) -> None:
        after_s = self._timeout_s / LOOKS_PER_TIMEOUT
        self._timer = self._loop.call_later(after_s, self._look_whether_late)

    def _look_whether_late(self) -> None:
        """Now and then: a timer for each answer would be set and cancelled for nothing."""
        self._timer = None
        if not self._asked:
            return
        if self._asked[0].asked_s <= self._loop.time() - self._timeout_s:
            self.break_off(exceptions.TimeoutError(f"no answer within {self._timeout_s:g} s"))
        else:
            self._look_later()

    def data_received(self, data: bytes) -> None:
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
            self.break_off(exceptions.ConnectionError("the server answered what was not asked"))

    def connection_lost(self, reason: Exception | None) -> None:
        self.break_off(exceptions.ConnectionError("the server closed the connection"))


class PipelinedConnection:
    """Connects when it is first asked, and again after it broke."""

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """
        Args:
            pool: where the connection comes from, and counts as in use.
            timeout_s: how long an answer may take; then the connection is given up.
        """
        self._pool = pool
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._line: _Line | None = None

    async def ask(self, commands: bytes, count: int) -> list[Any]:
        """The answers to so many commands, as the protocol has them (RESP); refusals among them,
        as errors of the client. Several may ask at a time; who stops waiting disturbs nobody.

        Raises:
            redis.exceptions.RedisError: whether the commands took place is unknown.
        """
        line = self._line
        if line is None or line.broken:
            line = await self._connected()
        return await line.ask(commands, count)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.break_off(exceptions.ConnectionError("the connection was closed"))
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _connected(self) -> _Line:
        async with self._connecting:
            if self._line is not None and not self._line.broken:
                return self._line
            await self.close()  # what is left of the last one
            get = self._pool.get_connection()  # type: ignore[no-untyped-call]  # theirs
            self._connection = connection = cast("AbstractConnection", await get)
            transport = cast("asyncio.StreamWriter", connection._writer).transport
            self._line = _Line(transport, connection._parser.parse_error, self._timeout_s)
            return self._line
