"""The pipelined connection: each task gets its own answers, even if others are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hiredis import pack_command
from redis import exceptions
from redis.asyncio import ConnectionPool

from app.storage.redis.pipelined_connection import PipelinedConnection
from tests.support.servers import RunningServer


def encode(*words: Any) -> bytes:
    command: bytes = pack_command(words)
    return command


SLOW = encode("BLPOP", "nothing", 0.2)
PING = encode("PING")


@asynccontextmanager
async def connection_to(
    server: RunningServer, timeout_s: float = 10
) -> AsyncIterator[PipelinedConnection]:
    pool = ConnectionPool.from_url(server.url, max_connections=1)
    connection = PipelinedConnection(pool, timeout_s)
    try:
        yield connection
    finally:
        await connection.close()
        await pool.aclose()


async def test_each_sender_gets_its_own_answers(server: RunningServer) -> None:
    async with connection_to(server) as connection:
        words = [[b"%d" % n, b"again %d" % n] for n in range(100)]
        requests = [
            connection.send(b"".join(encode("ECHO", word) for word in pair), 2) for pair in words
        ]
        assert await asyncio.gather(*requests) == words


async def test_an_error_is_an_answer(server: RunningServer) -> None:
    async with connection_to(server) as connection:
        error, answer = await connection.send(encode("EVALSHA", "0" * 40, 0) + PING, 2)
        assert isinstance(error, exceptions.NoScriptError)
        assert answer == b"PONG"


async def test_cancelling_a_sender_does_not_affect_others(server: RunningServer) -> None:
    async with connection_to(server) as connection:
        await connection.send(PING, 1)
        cancelled_task = asyncio.ensure_future(connection.send(SLOW, 1))
        await asyncio.sleep(0)
        task = asyncio.ensure_future(connection.send(PING, 1))
        await asyncio.sleep(0)
        cancelled_task.cancel()
        assert await task == [b"PONG"]
        with pytest.raises(asyncio.CancelledError):
            await cancelled_task


async def test_an_overdue_answer_is_an_error_and_the_next_request_succeeds(
    server: RunningServer,
) -> None:
    async with connection_to(server, timeout_s=0.05) as connection:
        with pytest.raises(exceptions.TimeoutError, match=r"within 0\.05 s"):
            await connection.send(encode("BLPOP", "nothing", 0), 1)
        assert await connection.send(PING, 1) == [b"PONG"]


async def test_no_timer_runs_while_no_answer_is_due(server: RunningServer) -> None:
    async with connection_to(server, timeout_s=0.05) as connection:
        assert await connection.send(PING, 1) == [b"PONG"]
        protocol = connection._protocol
        assert protocol is not None
        async with asyncio.timeout(10):
            while protocol._timer is not None:
                await asyncio.sleep(0)
            with pytest.raises(exceptions.TimeoutError):
                await connection.send(encode("BLPOP", "nothing", 0), 1)


async def test_a_connection_closed_by_the_server_is_replaced(server: RunningServer) -> None:
    async with connection_to(server) as connection:
        [own] = await connection.send(encode("CLIENT", "ID"), 1)
        task = asyncio.ensure_future(connection.send(encode("BLPOP", "nothing", 0), 1))
        await asyncio.sleep(0)
        server.client.client_kill_filter(_id=str(own), skipme=False)
        with pytest.raises(exceptions.ConnectionError):
            await task
        assert await connection.send(PING, 1) == [b"PONG"]
        server.client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(10):  # until the closing is noticed
            while True:
                try:
                    assert await connection.send(PING, 1) == [b"PONG"]
                    break
                except exceptions.ConnectionError:
                    continue
