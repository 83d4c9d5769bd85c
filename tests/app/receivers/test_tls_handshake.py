"""TLS connections are counted and limited before their handshake."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from app.config import Settings
from app.receivers.connection_guard import ConnectionGuard, ConnectionLimits
from app.receivers.http_fast_path import DrainConnection
from app.receivers.tls import uvicorn_context
from app.receivers.tls_handshake import TlsConfig
from app.service.asgi import build_app
from app.storage.memory import MemoryStore
from app.support.rejections import Rejections
from tests.support.certificates import certificate
from tests.support.service import Clock, lifespan

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def tls_service(
    directory: Path, limits: ConnectionLimits
) -> AsyncIterator[tuple[int, ssl.SSLContext, Rejections]]:
    chain, key = certificate(directory, "localhost")
    rejections = Rejections()

    class Protocol(DrainConnection):
        guard = ConnectionGuard(limits, rejections)

    environ = {"DYNOMETER_SPOOL_MAX_BYTES": "0", "DYNOMETER_DATA_DIR": str(directory)}
    app = build_app(Settings.from_environ(environ), MemoryStore(Clock()), Clock())
    config = TlsConfig(
        app,
        port=0,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=str(chain),
        ssl_keyfile=str(key),
        ssl_context_factory=uvicorn_context,
    )
    server = uvicorn.Server(config)
    async with lifespan(app):
        task = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.001)
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            yield port, ssl.create_default_context(cafile=chain), rejections
        finally:
            server.should_exit = True
            await task


async def ask(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    writer.write(HEALTH)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_handshake_that_does_not_end_times_out_and_is_counted(tmp_path: Path) -> None:
    limits = ConnectionLimits(handshake_timeout_s=0.2)
    async with tls_service(tmp_path, limits) as (port, context, rejections), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        assert rejections.counts["handshakes"] == 1
        assert (await ask(port, context)).startswith(b"HTTP/1.1 200")


async def test_connections_without_a_handshake_are_closed_for_others(tmp_path: Path) -> None:
    limits = ConnectionLimits(connections_max=80)
    async with tls_service(tmp_path, limits) as (port, context, rejections), asyncio.timeout(50):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        for _ in range(5):
            assert (await ask(port, context)).startswith(b"HTTP/1.1 200")
        assert rejections.counts["connections"] >= 80
        for _, writer in silent:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for _, writer in silent), return_exceptions=True
        )
