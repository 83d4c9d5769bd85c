"""TLS in front of HTTP: counts a connection, and limits its time, from before the handshake.

asyncio's own listener reports a TLS connection only after its handshake, and waits for that for a
minute. Until then nobody could count or close it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from app.receivers.connection_guard import STRANGER, Caller, ConnectionGuard, peer_of

log = logging.getLogger(__name__)


class TlsConfig(uvicorn.Config):
    """A configuration with a certificate, whose connections begin with a TlsHandshake."""

    def load(self) -> None:
        """Load everything, and let the protocol start TLS instead of the listener."""
        super().load()
        assert self.ssl is not None  # noqa: S101  # it has a certificate
        self.http_protocol_class = partial(  # type: ignore[assignment]  # uvicorn only calls it
            _build_handshake, self.ssl, self.http_protocol_class
        )
        self.ssl = None


def _build_handshake(context: ssl.SSLContext, protocol_class: Any, **options: Any) -> TlsHandshake:
    return TlsHandshake(context, protocol_class.guard, partial(protocol_class, **options))


class TlsHandshake(asyncio.Protocol):
    """A connection that hands over to another protocol after the handshake."""

    transport: asyncio.Transport
    buffered_bytes = 0
    caller = Caller(STRANGER, None)

    def __init__(
        self,
        context: ssl.SSLContext,
        guard: ConnectionGuard,
        build_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        """`build_protocol`: makes the protocol for the decrypted data."""
        self._context = context
        self._guard = guard
        self._build_protocol = build_protocol
        self._early_data: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Start the handshake."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.caller = Caller(STRANGER, peer_of(str(peer[0])) if peer else None)
        self._guard.add(self)
        self._task = asyncio.create_task(self._shake_hands(), name="TLS handshake")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._guard.remove(self)

    def data_received(self, data: bytes) -> None:
        """Keep data that arrives before TLS has begun, and decrypted data before the handover."""
        self._early_data.append(data)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        protocol = self._build_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for data in self._early_data:
            protocol.data_received(data)

    async def _start_tls(self) -> asyncio.Transport | None:
        return await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            self._context,
            server_side=True,
            ssl_handshake_timeout=self._guard.limits.handshake_timeout_s,
        )

    def _pass_on_to_tls(self) -> None:
        """Give TLS what the client said before.

        uvloop begins to read right after `connection_made`, whether reading is paused or not.
        """
        tls: Any = self.transport.get_protocol()  # an asyncio.BufferedProtocol
        data = b"".join(self._early_data)
        self._early_data.clear()
        while data and tls is not self:
            buffer = tls.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            tls.buffer_updated(size)
            data = data[size:]

    async def _shake_hands(self) -> None:
        try:
            if self.transport.is_closing():
                return
            handshake = asyncio.ensure_future(self._start_tls())
            await asyncio.sleep(0)  # now TLS has taken over, and reads nothing before the next turn
            self._pass_on_to_tls()
            transport: Any = await handshake
        except (OSError, ssl.SSLError) as error:
            log.debug("A TLS handshake failed: %s", error)
            if isinstance(error, ConnectionAbortedError):
                self._guard.rejections.add("handshakes")
            self.transport.abort()
        else:
            if transport is not None and not transport.is_closing():
                self._hand_over(transport)
        finally:
            self._guard.remove(self)
