"""Connections that begin with a PROXY header, which is taken off before TLS begins."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from parsers.proxy_protocol import HEADER_BYTES_MAX, NoHeader, header

log = logging.getLogger(__name__)

HEADER_WITHIN_S = 5.0  # as the protocol's paper asks for at the least: 3 s
BACKLOG = 512
READ_BYTES = 128 * 1024
HANDSHAKE_S = 10.0
_PEEK_AGAIN_S = 0.01  # a header comes in one segment, so this is hardly ever waited for

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ProxyProtocolServer:
    """Listens, and serves what comes behind headers. Who sends none is no proxy, and is let go."""

    def __init__(self, host: str, port: int, serve: Serve, context: ssl.SSLContext | None) -> None:
        """
        Raises:
            OSError: nobody can listen there.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, reuse_port=True
        )
        self._listening.setblocking(False)
        self._serve = serve
        self._context = context
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(), name="accept behind a proxy")

    def close(self) -> None:
        """Listen no more. Connections that are served stay."""
        self._accepting.cancel()
        for connecting in self._connecting:
            connecting.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError as error:  # out of files: some will be closed
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(1)
                continue
            task = asyncio.create_task(self._connect(connection), name="PROXY header")
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._serve, loop=loop)
        handed_on = False
        try:
            async with asyncio.timeout(HEADER_WITHIN_S):
                await _take_off_header(connection)
            await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S if self._context else None,
            )
            handed_on = True
        except NoHeader:
            log.warning(
                "a syslog connection without a PROXY header was closed: let senders connect to the "
                "proxy, or set DYNOMETER_SYSLOG_PROXY_PROTOCOL=0"
            )
        except (OSError, TimeoutError) as error:
            log.debug("syslog connection ended before it began: %s", error)
        finally:
            if not handed_on:
                connection.close()


async def _take_off_header(connection: socket.socket) -> None:
    """Read exactly the header: what follows it may be a TLS handshake, which is another's to read.

    Raises:
        NoHeader: there is none.
    """
    loop = asyncio.get_running_loop()
    while True:
        await _readable(loop, connection)
        seen = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK)
        if not seen:
            raise NoHeader
        found = header(seen)
        if found:
            connection.recv(found.size)
            return
        await asyncio.sleep(_PEEK_AGAIN_S)


async def _readable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    ready = loop.create_future()
    loop.add_reader(connection, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
