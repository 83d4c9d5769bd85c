"""A proxy in front of a server that does, while it runs, what networks and servers do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK_BYTES = 65_536


class FaultProxy:
    """Relays TCP connections on a loopback port to a server.

    What can be set at any time:
        refusing        connections are refused, those that exist are cut
        silent          connections are taken and nothing is relayed any more (a black hole)
        delay_s         each reply is held back for so long
        replies_to_lose so many replies get lost with their connections, after the server did its
                        work
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
        """Listen, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stop listening and cut what is open, until `start`."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()

    def stop_relaying(self) -> None:
        """Relay nothing, until `speak`."""
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
            pass  # one of the two went away, or we cut them
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
