"""TLS errors are told from servers that are not there."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx2
import pytest

from app.storage.connect import connect
from app.storage.interface.errors import StoreUnavailable
from app.support.tls_errors import tls_problem
from app.traffic.answers import connection_problem
from tests.support.certificates import certificate


async def _serve(context: ssl.SSLContext | None) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", ssl=context)


async def _problem_with_https(server: asyncio.Server) -> str:
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError) as error:
            await client.get(url)
    return connection_problem(url, error.value).removeprefix(url)


async def test_a_certificate_that_is_not_accepted_is_named_with_the_reason(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "127.0.0.1"))
    problem = await _problem_with_https(await _serve(context))
    assert problem == ": TLS failed: its certificate is not accepted (self-signed certificate)"


async def test_a_server_without_tls_is_named() -> None:
    problem = await _problem_with_https(await _serve(None))
    assert problem.startswith(": TLS failed: the other side does not speak TLS")


async def test_a_redis_without_tls_is_named() -> None:
    async with await _serve(None) as server:
        store = connect(f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="does not speak TLS: write redis://"):
            await store.problems()
        await store.close()


def test_other_errors_are_no_tls_errors() -> None:
    assert tls_problem(ConnectionRefusedError(111, "Connection refused")) == ""
