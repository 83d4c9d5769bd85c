"""A TCP proxy in front of a server that injects faults of networks and servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK_BYTES = 65_536


class FaultProxy:
    """Relays TCP connections from a loopback port to a server.

    Faults can be injected at any time:
        refuse()         refuses new connections and closes existing ones
        stop_relaying()  accepts connections but relays nothing (a black hole)
        delay_s          delays each reply by this long
        replies_to_lose  loses this many replies with their connections; the server has executed
                         the commands
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._relaying = asyncio.Event()
        self._relaying.set()
        self.port = 0
        self.delay_s = 0.0
        self.replies_to_lose = 0
        self.replies_lost = 0

    async def start(self) -> None:
        """Listen; after the first time on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections and close existing ones, until `start`."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()

    def stop_relaying(self) -> None:
        """Relay nothing, until `resume_relaying`."""
        self._relaying.clear()

    def resume_relaying(self) -> None:
        """Relay again."""
        self._relaying.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a side closed its connection, or `refuse` closed both
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies, requests = await asyncio.open_connection("127.0.0.1", self._server_port)
        requests.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pump = asyncio.create_task(self._pump(reader, requests))
        try:
            while reply := await replies.read(CHUNK_BYTES):
                await self._relaying.wait()
                if self.replies_to_lose:
                    self.replies_to_lose -= 1
                    self.replies_lost += 1
                    return
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(reply)
                await writer.drain()
        finally:
            pump.cancel()
            requests.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        while request := await reader.read(CHUNK_BYTES):
            await self._relaying.wait()
            requests.write(request)
            await requests.drain()
        requests.write_eof()


@asynccontextmanager
async def fault_proxy(server_port: int) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(server_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        proxy.resume_relaying()
        await proxy.refuse()
