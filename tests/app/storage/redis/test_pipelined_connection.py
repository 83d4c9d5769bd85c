"""The connection that stays: each gets its own answer, whatever becomes of others."""

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


def packed(*words: Any) -> bytes:
    command: bytes = pack_command(words)
    return command


SLOW = packed("BLPOP", "nothing", 0.2)
PING = packed("PING")


@asynccontextmanager
async def wire_to(
    server: RunningServer, timeout_s: float = 10
) -> AsyncIterator[PipelinedConnection]:
    pool = ConnectionPool.from_url(server.url, max_connections=1)
    wire = PipelinedConnection(pool, timeout_s)
    try:
        yield wire
    finally:
        await wire.close()
        await pool.aclose()


async def test_answers_go_to_who_asked(server: RunningServer) -> None:
    async with wire_to(server) as wire:
        words = [[b"%d" % n, b"again %d" % n] for n in range(100)]
        asked = [wire.ask(b"".join(packed("ECHO", word) for word in pair), 2) for pair in words]
        assert await asyncio.gather(*asked) == words


async def test_a_refusal_is_an_answer(server: RunningServer) -> None:
    async with wire_to(server) as wire:
        refusal, answer = await wire.ask(packed("EVALSHA", "0" * 40, 0) + PING, 2)
        assert isinstance(refusal, exceptions.NoScriptError)
        assert answer == b"PONG"


async def test_who_stops_waiting_disturbs_nobody(server: RunningServer) -> None:
    async with wire_to(server) as wire:
        await wire.ask(PING, 1)
        gone = asyncio.create_task(wire.ask(SLOW, 1))
        await asyncio.sleep(0)
        other = asyncio.create_task(wire.ask(PING, 1))
        await asyncio.sleep(0)
        gone.cancel()
        assert await other == [b"PONG"]
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_an_answer_that_does_not_come_is_given_up_and_the_next_comes(
    server: RunningServer,
) -> None:
    async with wire_to(server, timeout_s=0.05) as wire:
        with pytest.raises(exceptions.TimeoutError, match=r"within 0\.05 s"):
            await wire.ask(packed("BLPOP", "nothing", 0), 1)
        assert await wire.ask(PING, 1) == [b"PONG"]


async def test_nobody_looks_for_late_answers_while_none_is_due(server: RunningServer) -> None:
    async with wire_to(server, timeout_s=0.05) as wire:
        assert await wire.ask(PING, 1) == [b"PONG"]
        line = wire._line
        assert line is not None
        async with asyncio.timeout(10):
            while line._timer is not None:
                await asyncio.sleep(0)
            with pytest.raises(exceptions.TimeoutError):
                await wire.ask(packed("BLPOP", "nothing", 0), 1)


async def test_a_connection_that_the_server_closed_is_made_again(server: RunningServer) -> None:
    async with wire_to(server) as wire:
        [own] = await wire.ask(packed("CLIENT", "ID"), 1)
        waiting = asyncio.create_task(wire.ask(packed("BLPOP", "nothing", 0), 1))
        await asyncio.sleep(0)
        server.client.client_kill_filter(_id=str(own), skipme=False)
        with pytest.raises(exceptions.ConnectionError):
            await waiting
        assert await wire.ask(PING, 1) == [b"PONG"]
        server.client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(10):  # until the closing has been noticed
            while True:
                try:
                    assert await wire.ask(PING, 1) == [b"PONG"]
                    break
                except exceptions.ConnectionError:
                    continue
