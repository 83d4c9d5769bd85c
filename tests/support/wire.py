"""The service on a real socket in this process, with raw bytes to and from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn

from app.receivers.connection_guard import ConnectionGuard, ConnectionLimits
from app.receivers.http_fast_path import DrainConnection
from app.support.asgi import ASGIApp
from app.support.rejections import Rejections

ANSWERED_WITHIN_S = 20.0
USUAL = ConnectionLimits()


class Wire:
    """Opens connections to a listening service."""

    def __init__(self, port: int, server: uvicorn.Server, guard: ConnectionGuard) -> None:
        self.port = port
        self.guard = guard
        self.server = server
        self._opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def connect_many(
        self, connections: int
    ) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        opened = [await self.connect() for _ in range(connections)]
        self._opened += opened
        return opened

    async def close_all(self) -> None:
        """Close those of `connect_many`, even if the service has closed them."""
        for _, writer in self._opened:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for _, writer in self._opened), return_exceptions=True
        )

    async def ask(self, data: bytes) -> bytes:
        """Send bytes; returns all bytes until the service closes the connection."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                return await reader.read()
        except ConnectionResetError:  # the service closed before it read all bytes
            return b""
        finally:
            writer.close()

    async def statuses(self, data: bytes) -> list[int]:
        """Send bytes; returns the statuses of all answers until the service closes."""
        answers = await self.ask(data)
        return [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]]


@asynccontextmanager
async def wire_to(
    app: ASGIApp,
    limits: ConnectionLimits = USUAL,
    *,
    keep_alive_s: int = 60,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[Wire]:
    class Protocol(DrainConnection):
        pass

    Protocol.guard = ConnectionGuard(limits, Rejections(), trusted_proxies)
    config = uvicorn.Config(
        app,
        port=0,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while not server.started:
            await asyncio.sleep(0.001)
    wire = Wire(server.servers[0].sockets[0].getsockname()[1], server, Protocol.guard)
    try:
        yield wire
    finally:
        await wire.close_all()
        server.should_exit = True
        await task
