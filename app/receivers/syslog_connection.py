"""One syslog connection: opening it, recognizing its sender, reading its messages.

Nothing is parsed before the connection has delivered a drain token that is linked to an app. Until
then, its bytes are only searched for one, slowly, and only up to a limit.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Hashable
from functools import partial
from itertools import islice
from typing import Protocol

from app.receivers.connection_guard import peer_of
from app.receivers.socket_stream import SocketStream, TlsStream
from app.receivers.syslog_guard import Reading, SyslogGuard
from parsers.framing import Damage
from parsers.proxy_protocol import HEADER_BYTES_MAX, NoHeader, parse_header
from parsers.syslog_stream import MessageReader

log = logging.getLogger(__name__)

# Logplex closes an idle connection after 240 to 255 s. It should be the one to close.
IDLE_TIMEOUT_S = 300
LAST_READ_TIMEOUT_S = 0.05  # for data that has already arrived when the service stops
READ_BYTES = 128 * 1024
SLICE_BYTES = 4 * 1024  # parsed in one go: at most a few milliseconds
COALESCE_DELAY_S = 0.05  # between two reads: lines that arrive meanwhile form one batch
# A stranger that sends as fast as it can costs as little as one that does not.
STRANGER_READ_BYTES = 4 * 1024
STRANGER_READ_DELAY_S = 0.25
STRANGER_TOKENS_MAX = 32  # looked up per read
# `<PRI>1 TIMESTAMP HOSTNAME `, wherever it is: the token of a message, and what must not be cut.
_HOSTNAME = re.compile(rb"<[0-9]{1,3}>1 [^ \n]{1,64} ([A-Za-z0-9._-]{1,64}) ")
_HOSTNAME_BYTES_MAX = 160

Messages = list[bytes | Damage]


class Ingest(Protocol):
    """Commits messages."""

    async def app_of(self, hostname: str) -> str:
        """The app to which a HOSTNAME belongs; "" for none. Waits while that cannot be known."""
        ...

    def reject(self, hostname: str) -> None:
        """Record a HOSTNAME that belongs to no app."""
        ...

    async def ingest(self, messages: Messages, hostname: str, reading: Reading) -> str:
        """Commit messages; returns the HOSTNAME of the last one.

        `hostname` is that of the message before. `reading`: in whose turns to do it.
        """
        ...


class UnknownSender(Exception):
    """A connection that delivered no known token in its first bytes, or in time."""


class SyslogConnection:
    """A connection from its acceptance to its end."""

    def __init__(
        self, ingest: Ingest, guard: SyslogGuard, stop: asyncio.Future[None], peer: Hashable
    ) -> None:
        """`stop`: done when the service shuts down."""
        self._ingest = ingest
        self._guard = guard
        self._stop = stop
        self._peer = peer
        self._is_open = False
        self._is_busy = False  # with lines that were read and must become safe
        self._is_evicted = False
        self._task: asyncio.Task[None] | None = None

    def start(
        self, connection: socket.socket, context: ssl.SSLContext | None, *, is_proxied: bool
    ) -> asyncio.Task[None]:
        """Serve the connection in a task, which closes it at the end."""
        serving = self._serve(connection, context, is_proxied)
        self._task = asyncio.create_task(serving, name="syslog connection")
        self._guard.add(self, self._peer)
        self._task.add_done_callback(lambda _: self._end(connection))
        return self._task

    def evict(self) -> None:
        """Close the connection for others, after lines that were read are safe."""
        self._is_evicted = True
        if self._task is not None and not self._is_busy:
            self._task.cancel()

    def end_opening(self) -> None:
        """Close the connection if it is not open yet: the service shuts down."""
        if not self._is_open:
            self.evict()

    def _end(self, connection: socket.socket) -> None:
        """Also of a task that was cancelled before it began."""
        connection.close()
        self._guard.remove(self)

    async def _serve(
        self, connection: socket.socket, context: ssl.SSLContext | None, is_proxied: bool
    ) -> None:
        stream: SocketStream | None = None
        try:
            stream = await self._open(connection, context, is_proxied)
            self._is_open = True
            app, beginning = await self._recognize(stream)
            if app:
                await self._read_messages(stream, app, beginning)
        except UnknownSender as error:
            log.debug("Closed a syslog connection: %s", error)
            self._guard.rejections.add("syslog_messages")
        except NoHeader:
            self._guard.rejections.add("proxy_headers")
        except (OSError, TimeoutError) as error:
            log.debug("A syslog connection ended: %s", error)
        except asyncio.CancelledError:
            if not self._is_evicted:
                log.warning("Shutting down. The last lines of a syslog sender could not be stored.")
        except Exception:  # a defect of the service, not of the sender
            log.exception("A syslog connection failed because of a defect")
        finally:
            if stream is not None:
                stream.close()

    # --- opening --------------------------------------------------------------------------------

    async def _open(
        self, connection: socket.socket, context: ssl.SSLContext | None, is_proxied: bool
    ) -> SocketStream:
        """Read the PROXY header and do the TLS handshake, where they are needed.

        Raises:
            OSError, NoHeader, TimeoutError
        """
        try:
            async with asyncio.timeout(self._guard.limits.opening_timeout_s):
                received = await self._read_proxy_header(connection) if is_proxied else b""
                if context is None:
                    return SocketStream(connection, received)
                stream = TlsStream(connection, received, context)
                await stream.shake_hands(partial(self._guard.stranger_turn, self._peer))
                return stream
        except TimeoutError:
            self._guard.rejections.add("handshakes")
            raise

    async def _read_proxy_header(self, connection: socket.socket) -> bytes:
        """Take the peer from the PROXY header; returns the bytes after it."""
        stream, data = SocketStream(connection), b""
        while True:
            await stream.wait()
            received = stream.receive(HEADER_BYTES_MAX - len(data))
            data += received or b""
            header = parse_header(data)
            if header is not None:
                break
            if received == b"":
                raise NoHeader
        if header.address:
            self._peer = peer_of(header.address)
            self._guard.add(self, self._peer)
        return data[header.size :]

    # --- recognizing the sender -----------------------------------------------------------------

    async def _recognize(self, stream: SocketStream) -> tuple[str, bytes]:
        """Read until a known token arrives; returns its app, and everything that was read.

        The app is "" if the connection ends before.

        Raises:
            UnknownSender: no known token in time, or in as many bytes as allowed.
        """
        limits = self._guard.limits
        deadline = asyncio.get_running_loop().time() + limits.first_token_timeout_s
        data = bytearray()
        while True:
            received = await self._receive_before(deadline, stream)
            search_start = max(0, len(data) - _HOSTNAME_BYTES_MAX)
            data += received
            app = await self._find_app(data, search_start)
            if app:
                self._guard.recognize(self, app)
                return app, bytes(data)
            if not received:
                return "", b""
            if len(data) >= limits.unknown_bytes_max:
                raise UnknownSender("its drain token is linked to no app")
            await asyncio.sleep(STRANGER_READ_DELAY_S)

    async def _receive_before(self, deadline: float, stream: SocketStream) -> bytes:
        """The next bytes of a stranger; b"" at the end.

        Raises:
            UnknownSender: the deadline has passed.
        """
        loop = asyncio.get_running_loop()
        while True:
            remaining_s = deadline - loop.time()
            if remaining_s <= 0:
                raise UnknownSender("no known drain token arrived in time")
            is_stopped = self._stop.done()
            if is_stopped:
                remaining_s = min(remaining_s, LAST_READ_TIMEOUT_S)
            if await stream.wait(remaining_s, None if is_stopped else self._stop):
                data = stream.receive(STRANGER_READ_BYTES)
                if data is not None:
                    return data
            elif is_stopped:
                return b""

    async def _find_app(self, data: bytearray, start: int) -> str:
        """The app of the first known token from `start`; "" if there is none."""
        search = partial(_HOSTNAME.findall, data, start)
        tokens = dict.fromkeys(await self._guard.stranger_turn(self._peer, search))
        for token in islice(tokens, STRANGER_TOKENS_MAX):
            hostname = token.decode()
            app = await self._ingest.app_of(hostname)
            if app:
                return app
            self._ingest.reject(hostname)
        return ""

    # --- reading its messages -------------------------------------------------------------------

    async def _read_messages(self, stream: SocketStream, app: str, beginning: bytes) -> None:
        messages = MessageReader()
        async with self._guard.reading(app) as reading:
            hostname = await self._ingest_slices(messages, beginning, "", reading)
        while not self._is_evicted and await self._wait_for_data(stream):
            async with self._guard.reading(app) as reading:
                data = stream.receive(READ_BYTES)
                if data is None:
                    continue
                if not data:
                    break
                hostname = await self._ingest_slices(messages, data, hostname, reading)
            self._guard.buffer(self, app, messages.buffered_bytes)
            await stream.wait_for_more(READ_BYTES // 2, COALESCE_DELAY_S, self._stop)
        rest = messages.end(is_cut=not stream.is_at_end)
        async with self._guard.reading(app) as reading:
            await self._ingest.ingest(rest, hostname, reading)

    async def _wait_for_data(self, stream: SocketStream) -> bool:
        """Wait until there is data; False if the service stops and no more has arrived.

        Raises:
            TimeoutError: the connection is idle.
        """
        if not self._stop.done():
            if await stream.wait(IDLE_TIMEOUT_S, self._stop):
                return True
            if not self._stop.done():
                raise TimeoutError
        return await stream.wait(LAST_READ_TIMEOUT_S)

    async def _ingest_slices(
        self, messages: MessageReader, data: bytes, hostname: str, reading: Reading
    ) -> str:
        """Split data into messages, with time for others in between, and commit them."""
        complete: Messages = []
        self._is_busy = True
        try:
            for begin in range(0, len(data), SLICE_BYTES):
                part = data[begin : begin + SLICE_BYTES]
                complete += await reading.turn(partial(messages.feed, part))
            return await self._ingest.ingest(complete, hostname, reading)
        finally:
            self._is_busy = False
