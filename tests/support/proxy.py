"""A proxy in front of a server that can lose replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class Proxy:
    """Relays between a store and its server, on its own unix socket."""

    def __init__(self, url: str, server_path: str) -> None:
        self.url = url
        self.requests = 0  # writes of the client; a small one arrives in one piece
        self.replies_to_lose = 0
        self._server_path = server_path

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection. A lost reply closes it after the server processed the request."""
        server_reader, server_writer = await asyncio.open_unix_connection(self._server_path)
        relay = asyncio.create_task(self._relay_requests(reader, server_writer))
        try:
            while reply := await server_reader.read(65_536):
                if self.replies_to_lose:
                    self.replies_to_lose -= 1
                    break
                writer.write(reply)
                await writer.drain()
        finally:
            relay.cancel()
            writer.close()
            server_writer.close()

    async def _relay_requests(
        self, reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter
    ) -> None:
        while request := await reader.read(65_536):
            self.requests += 1
            server_writer.write(request)
            await server_writer.drain()
        server_writer.close()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    with TemporaryDirectory(prefix="dynometer-") as directory:
        path = Path(directory, "proxy")
        proxy = Proxy(f"unix://{path}", url.removeprefix("unix://"))
        server = await asyncio.start_unix_server(proxy.serve, path)
        async with server:
            yield proxy
