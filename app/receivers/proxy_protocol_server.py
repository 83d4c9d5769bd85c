"""Listens for connections that begin with a PROXY header, and removes it before TLS begins."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from parsers.proxy_protocol import HEADER_BYTES_MAX, NoHeader, parse_header

log = logging.getLogger(__name__)

HEADER_TIMEOUT_S = 5.0  # the specification of the protocol asks for at least 3 s
BACKLOG = 512
READ_BYTES = 128 * 1024
HANDSHAKE_TIMEOUT_S = 10.0
_PEEK_INTERVAL_S = 0.01  # rarely needed, because a header arrives in one segment

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ProxyProtocolServer:
    """Accepts connections from a proxy and serves the stream after the PROXY header.

    A connection without the header is not from a proxy, and is closed.
    """

    def __init__(self, host: str, port: int, serve: Serve, context: ssl.SSLContext | None) -> None:
        """Start to listen.

        Raises:
            OSError: the address cannot be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, reuse_port=True
        )
        self._listener.setblocking(False)
        self._serve = serve
        self._context = context
        self._connect_tasks: set[asyncio.Task[None]] = set()
        self._accept_task = asyncio.create_task(self._accept(), name="accept behind a proxy")

    def close(self) -> None:
        """Stop listening. Connections that are already served stay open."""
        self._accept_task.cancel()
        for task in self._connect_tasks:
            task.cancel()
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # such as too many open files, which passes
                log.warning("Cannot accept a syslog connection: %s", error)
                await asyncio.sleep(1)
                continue
            task = asyncio.create_task(self._connect(connection), name="PROXY header")
            self._connect_tasks.add(task)
            task.add_done_callback(self._connect_tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._serve, loop=loop)
        is_served = False
        try:
            async with asyncio.timeout(HEADER_TIMEOUT_S):
                await _remove_header(connection)
            await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._context else None,
            )
            is_served = True
        except NoHeader:
            log.warning(
                "Closed a syslog connection without a PROXY header. Let senders connect to the "
                "proxy, or set DYNOMETER_SYSLOG_PROXY_PROTOCOL=0."
            )
        except (OSError, TimeoutError) as error:
            log.debug("A syslog connection ended before its first message: %s", error)
        finally:
            if not is_served:
                connection.close()


async def _remove_header(connection: socket.socket) -> None:
    """Read exactly the header: the bytes after it may be a TLS handshake.

    Raises:
        NoHeader: there is none.
    """
    loop = asyncio.get_running_loop()
    while True:
        await _wait_readable(loop, connection)
        data = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK)
        if not data:
            raise NoHeader
        proxy_header = parse_header(data)
        if proxy_header:
            connection.recv(proxy_header.size)
            return
        await asyncio.sleep(_PEEK_INTERVAL_S)


async def _wait_readable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    readable = loop.create_future()
    loop.add_reader(connection, _resolve, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
