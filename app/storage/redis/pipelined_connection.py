"""A permanent connection to Redis that many tasks share by pipelining.

redis-py connects it and does all that the URL may require (TLS, passwords, RESP3). After that,
commands are written to the transport as bytes, and answers are matched to them by their order.
redis-py's own path, through a pool and streams, takes several times the CPU time (bench_libraries).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool

CHECKS_PER_TIMEOUT = 8
_INCOMPLETE = object()


class _Request(NamedTuple):
    answers: list[Any]
    answer_count: int
    future: asyncio.Future[list[Any]]
    sent_s: float  # on the event loop's clock


class _RedisProtocol(asyncio.Protocol):
    """Sends commands over a transport and resolves a future with the answers to each request."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        parse_error: Callable[[str], Exception],
        timeout_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._transport = transport
        self._requests: deque[_Request] = deque()
        self._reader = hiredis.Reader(replyError=parse_error, notEnoughData=_INCOMPLETE)
        self._timer: asyncio.TimerHandle | None = None  # set while a request is open
        self.is_broken = False
        transport.set_protocol(self)

    def send(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        request = _Request([], count, self._loop.create_future(), self._loop.time())
        self._requests.append(request)
        self._transport.write(commands)
        if self._timer is None:
            self._schedule_timeout_check()
        return request.future

    def abort(self, error: exceptions.RedisError) -> None:
        self.is_broken = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._requests:
            future = self._requests.popleft().future
            if not future.done():
                future.set_exception(error)

    def _schedule_timeout_check(self) -> None:
        after_s = self._timeout_s / CHECKS_PER_TIMEOUT
        self._timer = self._loop.call_later(after_s, self._check_timeout)

    def _check_timeout(self) -> None:
        """Abort if the oldest request is overdue.

        One periodic check is cheaper than a timer for each request, nearly all of which would be
        cancelled.
        """
        self._timer = None
        if not self._requests:
            return
        if self._requests[0].sent_s <= self._loop.time() - self._timeout_s:
            self.abort(exceptions.TimeoutError(f"no answer within {self._timeout_s:g} s"))
        else:
            self._schedule_timeout_check()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(answer, hiredis.PushNotification):
                    continue  # not an answer
                request = self._requests[0]
                request.answers.append(answer)
                if len(request.answers) == request.answer_count:
                    self._requests.popleft()
                    if not request.future.done():
                        request.future.set_result(request.answers)
        except (hiredis.ProtocolError, IndexError):
            self.abort(exceptions.ConnectionError("the server sent an unexpected answer"))

    def connection_lost(self, reason: Exception | None) -> None:
        self.abort(exceptions.ConnectionError("the server closed the connection"))


class PipelinedConnection:
    """Connects on first use, and again after the connection broke."""

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """
        Args:
            pool: provides the connection, which counts as in use there.
            timeout_s: how long an answer may take. Then the connection is closed.
        """
        self._pool = pool
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._protocol: _RedisProtocol | None = None

    def send(self, commands: bytes, count: int) -> Awaitable[list[Any]]:
        """Send commands, immediately if connected; await their answers.

        Tasks may send concurrently. Cancelling one of them does not affect the others.

        Args:
            commands: encoded in RESP.
            count: the number of commands in it.
        Returns:
            One answer for each command. An error is an exception of redis-py in its place.
        Raises:
            redis.exceptions.RedisError: whether the commands were executed is unknown.
        """
        protocol = self._protocol
        if protocol is None or protocol.is_broken:
            return self._connect_and_send(commands, count)
        return protocol.send(commands, count)

    async def _connect_and_send(self, commands: bytes, count: int) -> list[Any]:
        return await (await self._connect()).send(commands, count)

    async def close(self) -> None:
        """Close the connection and fail all open requests."""
        if self._protocol is not None:
            self._protocol.abort(exceptions.ConnectionError("the connection was closed"))
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _connect(self) -> _RedisProtocol:
        async with self._connecting:
            if self._protocol is not None and not self._protocol.is_broken:
                return self._protocol
            await self.close()  # gives the broken connection back to the pool
            get = self._pool.get_connection()  # type: ignore[no-untyped-call]
            self._connection = connection = cast("AbstractConnection", await get)
            transport = cast("asyncio.StreamWriter", connection._writer).transport
            self._protocol = _RedisProtocol(
                transport, connection._parser.parse_error, self._timeout_s
            )
            return self._protocol
