"""Reads a connection only when its reader asks for it, so what waits stays with the sender.

asyncio's streams read ahead, up to some hundred KiB of each connection, and report a TLS connection
only after its handshake. Many connections could so use up the memory and the open files.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

RECORD_BYTES = 16 * 1024  # read from a TLS connection in one go; the largest record

Turn = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs an expensive step when it is its turn."""


class SocketStream:
    """The bytes of a connection without TLS."""

    def __init__(self, connection: socket.socket, received: bytes = b"") -> None:
        """`received`: bytes that were already read from the connection."""
        self._socket = connection
        self._received = received
        self.is_at_end = False

    async def wait(
        self, timeout_s: float | None = None, stop: asyncio.Future[Any] | None = None
    ) -> bool:
        """Wait until there is something to receive; False after the timeout, or at `stop`."""
        if self._has_unread:
            return True
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self._socket, _resolve, readable)
        try:
            futures = {readable} if stop is None else {readable, stop}
            await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return readable.done()
        finally:
            loop.remove_reader(self._socket)

    async def wait_for_more(self, size: int, timeout_s: float, stop: asyncio.Future[Any]) -> None:
        """Wait until as many bytes can be received, but no longer than this time, or until `stop`.

        They wait in the system's buffer, not in this process.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        await self.wait(timeout_s, stop)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def receive(self, bytes_max: int) -> bytes | None:
        """The bytes that have arrived; b"" at the end, None if there are none yet.

        Raises:
            OSError: the connection is broken.
        """
        data = self._receive_raw(bytes_max)
        self.is_at_end = data == b""
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    @property
    def _has_unread(self) -> bool:
        """Whether there is something to receive that was read from the socket already."""
        return bool(self._received) or self.is_at_end

    def _receive_raw(self, bytes_max: int) -> bytes | None:
        if self._received:
            data, self._received = self._received, b""
            return data
        try:
            return self._socket.recv(bytes_max)
        except (BlockingIOError, InterruptedError):
            return None


class TlsStream(SocketStream):
    """The decrypted bytes of a connection with TLS."""

    def __init__(self, connection: socket.socket, received: bytes, context: ssl.SSLContext) -> None:
        """Call `shake_hands` before anything else."""
        super().__init__(connection, received)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self, turn: Turn) -> None:
        """Do the handshake.

        Raises:
            OSError: it failed; ssl.SSLError is one too.
        """
        loop = asyncio.get_running_loop()
        while True:
            is_done = False
            try:
                await turn(self._tls.do_handshake)
                is_done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                await loop.sock_sendall(self._socket, self._outgoing.read())
            if is_done:
                return
            await self.wait()
            self._feed(RECORD_BYTES)

    def receive(self, bytes_max: int) -> bytes | None:
        """The bytes that have arrived, and those of the record that they end.

        Raises:
            OSError: the connection is broken; ssl.SSLError is one too.
        """
        self._feed(min(bytes_max, RECORD_BYTES))
        parts = []
        try:
            while part := self._tls.read(RECORD_BYTES):
                parts.append(part)
            self.is_at_end = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:  # closed without notice, as many senders do
            self.is_at_end = True
        self._send()
        return b"".join(parts) if parts or self.is_at_end else None

    def close(self) -> None:
        """Say that the connection ends, and close it."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._send()
        super().close()

    @property
    def _has_unread(self) -> bool:
        # Messages often arrive together with the end of the handshake.
        return super()._has_unread or self._incoming.pending > 0

    def _feed(self, bytes_max: int) -> None:
        data = self._receive_raw(bytes_max)
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()

    def _send(self) -> None:
        """Send the few bytes that TLS itself has to say after the handshake."""
        data = self._outgoing.read()
        if data and self._socket.send(data) < len(data):
            raise ConnectionError("the peer does not read")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
