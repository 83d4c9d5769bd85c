"""Receives the POSTs of log senders without ASGI: no task, no messages, and little memory.

Each connection begins as a DrainConnection, which answers common POSTs to the drain itself. All
other data goes to an HTTP parser (app.receivers.http_protocol), which exists from the first such
data on. It answers POSTs to the drain alike.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.ingest.drain_post import DrainKey
from app.receivers.accelerated import parse_common_head
from app.receivers.body_budget import POLL_S, IncompleteBody, too_many_bodies
from app.receivers.connection_guard import (
    SENDER,
    STRANGER,
    Caller,
    ConnectionGuard,
    ConnectionLimits,
    peer_of,
)
from app.receivers.http_drain import RETRY_AFTER_S, DrainEndpoint
from app.receivers.http_protocol import LimitedHttpProtocol
from app.receivers.request_head import REQUEST_LINES, DrainRequestHead
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.support.aio import Deadlines
from app.support.asgi import DEFECT, PROBLEM_TYPE, pack_problem
from app.support.rejections import Rejections

log = logging.getLogger(__name__)

HELD_BYTES_MAX = 64 * 1024  # of requests that wait for an answer; then no more is read


class DrainConnection(asyncio.Protocol):
    """One connection. uvicorn builds it, and closes it in a shutdown."""

    __slots__ = (
        "_app_state",
        "_config",
        "_drain",
        "_http",
        "_idle_timer",
        "_keep_alive",
        "_key",
        "_partial",
        "_server_state",
        "_unread_timer",
        "_used_bytes",
        "_waiting_data",
        "buffered_bytes",
        "caller",
        "idle_since_s",
        "transport",
    )

    guard = ConnectionGuard(ConnectionLimits(), Rejections())
    transport: asyncio.Transport
    _idle_timer: asyncio.TimerHandle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._drain: DrainEndpoint | None = getattr(config.loaded_app, "drain", None)
        self._http: LimitedHttpProtocol | None = None
        self.caller = Caller(STRANGER, None)
        self.buffered_bytes = 0
        self._waiting_data: list[bytes] = []  # arrived before the answer to a POST
        self._unread_timer: asyncio.TimerHandle | None = None
        # The POST that is being received or committed; None if there is none.
        self._key: DrainKey | None = None
        self._partial: _PartialBody | None = None  # None once the body is complete
        self._used_bytes = 0  # of the memory for bodies, by a POST that is committed
        self._keep_alive = True

    # --- called by the event loop and by uvicorn ------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Accept a connection."""
        self.transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn calls `shutdown`
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if peer else ""
        if not self.guard.is_trusted(host):
            self.caller = Caller(STRANGER, peer_of(host))
        self.guard.add(self)
        loop = asyncio.get_running_loop()
        self.idle_since_s = loop.time()
        self._idle_timer = loop.call_later(self._config.timeout_keep_alive, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. A POST that is being committed still counts."""
        self._server_state.connections.discard(self)
        self.guard.remove(self)
        self._waiting_data.clear()
        self._idle_timer.cancel()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        if self._partial is not None:
            self._partial.cancel()
        if self._http is not None:
            self._http.connection_lost(exc)
            self._http = None

    def data_received(self, data: bytes) -> None:
        """Handle a common POST to the drain; let the HTTP parser handle all other data."""
        if self._key is not None:
            if self._partial is None:
                self._hold(data)
            else:
                self._add_part(self._partial, data)
            return
        http = self._http
        is_free = http is None or http.is_idle
        if is_free and data.startswith(REQUEST_LINES) and self._start_post(data):
            return
        (http or self._open_http()).data_received(data)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: limit the time for that."""
        if self._http is not None:
            self._http.pause_writing()
        self._unread_timer = asyncio.get_running_loop().call_later(
            self.guard.limits.unread_timeout_s, self.transport.abort
        )

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        if self._http is not None:
            self._http.resume_writing()

    def shutdown(self) -> None:
        """Close the connection after the answers to requests that have begun."""
        if self._key is not None:
            self._keep_alive = False
        elif self._http is not None:
            self._http.shutdown()
        else:
            self.transport.close()

    # --- a common POST --------------------------------------------------------------------------

    def _start_post(self, data: bytes) -> bool:
        """Begin with a POST; False if it needs the ASGI app."""
        drain = self._drain
        head = parse_common_head(data) if drain is not None else None
        if drain is None or head is None or head.size > self.guard.limits.head_bytes_max:
            return False
        end = head.size + head.body_bytes
        arrived_bytes = min(end, len(data)) - head.size
        key = drain.try_admit(head, arrived_bytes)
        if key is None:
            return False
        if self.caller.kind != SENDER:
            self.guard.recognize(self, SENDER, key.app)
        self._key, self._keep_alive = key, head.keep_alive
        if len(data) < end:
            drain.body_budget.release(key.app, arrived_bytes)
            self._partial = partial = _PartialBody(self, drain, key, head)
            partial.begin()
            if self._partial is partial:
                self._add_part(partial, data[head.size :])
            return True
        if len(data) > end:
            self._hold(data[end:])
            data = data[:end]
        self._submit(drain, key, head, data, head.size, arrived_bytes)
        return True

    def _submit(
        self,
        drain: DrainEndpoint,
        key: DrainKey,
        head: DrainRequestHead,
        data: bytes,
        start: int,
        used_bytes: int,
    ) -> None:
        """Commit a complete body, for which memory is in use. What is not held is released."""
        self._used_bytes = drain.submit_body(key, head, data, start, self._on_result)
        drain.body_budget.release(key.app, used_bytes - self._used_bytes)

    def _add_part(self, partial: _PartialBody, data: bytes) -> None:
        rest = data[partial.missing_bytes :]
        if rest:
            self._hold(rest)
            data = data[: partial.missing_bytes]
        partial.add(data)
        if partial.missing_bytes or self._partial is not partial:  # it was rejected for others
            return
        self._partial = None
        self._submit(*partial.complete())

    def _hold(self, data: bytes) -> None:
        """Keep what arrives before the answer to a POST."""
        self._waiting_data.append(data)
        size = sum(map(len, self._waiting_data))
        if size > HELD_BYTES_MAX:
            self.transport.pause_reading()
        self.guard.buffer(self, size)

    def _on_result(self, result: bool | BaseException) -> None:
        if self._used_bytes and self._drain is not None and self._key is not None:
            self._drain.body_budget.release(self._key.app, self._used_bytes)
        if isinstance(result, bool) and self._keep_alive:
            self._answer(_STATUS_LINE_200, _NO_BODY)
        elif isinstance(result, bool):
            self._respond(200)
        elif isinstance(result, StoreUnavailable):
            self._respond(503, without_addresses(str(result)), _RETRY_AFTER)
        else:
            log.error("Answered a POST to the drain with 500 because of a defect", exc_info=result)
            self._respond(500, DEFECT)

    def reject_body(self, status: int, detail: str, headers: bytes = b"") -> None:
        """Answer a POST whose body is not complete, and close the connection."""
        self._partial = None
        self._keep_alive = False
        self._respond(status, detail, headers)

    def _respond(self, status: int, detail: str = "", headers: bytes = b"") -> None:
        body = pack_problem(status, detail) if detail else b""
        if body:
            headers += b"content-type: %b\r\n" % PROBLEM_TYPE
        if not self._keep_alive:
            headers += b"connection: close\r\n"
        rest = b"%bcontent-length: %d\r\n\r\n%b" % (headers, len(body), body)
        self._answer(_STATUS_LINES[status], rest)

    def _answer(self, line: bytes, rest: bytes) -> None:
        """Write an answer, and continue with what has arrived meanwhile."""
        self._key = None
        transport, state = self.transport, self._server_state
        if transport.is_closing():
            return
        transport.write(line + _encode_headers(state.default_headers) + rest)
        state.total_requests += 1
        self.idle_since_s = asyncio.get_running_loop().time()
        if not self._keep_alive:
            transport.close()
            return
        unread_bytes = transport.get_write_buffer_size()
        if unread_bytes or self.buffered_bytes:
            self.guard.buffer(self, unread_bytes)
        if self._waiting_data:
            data = b"".join(self._waiting_data)
            self._waiting_data.clear()
            transport.resume_reading()
            self.data_received(data)

    # --- other data -----------------------------------------------------------------------------

    def _open_http(self) -> LimitedHttpProtocol:
        """Begin to parse HTTP. The connection stays the one that the guard knows."""
        http = LimitedHttpProtocol(self._config, self._server_state, self._app_state, self)
        http.connection_made(self.transport)
        self._server_state.connections.discard(http)
        self._http = http
        return http

    def _check_idle(self) -> None:
        """Close the connection if it has been idle for too long; otherwise check again later.

        A timer per request would be set and cancelled for nothing.
        """
        loop, transport = asyncio.get_running_loop(), self.transport
        timeout_s = self._config.timeout_keep_alive
        remaining_s = self.idle_since_s + timeout_s - loop.time()
        is_idle = self._key is None and (self._http is None or self._http.is_idle)
        if transport.is_closing() and remaining_s <= 0:
            transport.abort()  # the client does not read the last answer
            return
        delay_s = remaining_s if remaining_s > 0 else timeout_s
        if is_idle and remaining_s <= 0:
            transport.close()
            delay_s = self.guard.limits.unread_timeout_s
        self._idle_timer = loop.call_later(delay_s, self._check_idle)


class _PartialBody:
    """The body of a POST that arrives in parts: limits its time, and reads it while there is
    memory.
    """

    def __init__(
        self,
        connection: DrainConnection,
        drain: DrainEndpoint,
        key: DrainKey,
        head: DrainRequestHead,
    ) -> None:
        self._connection = connection
        self._drain = drain
        self._key = key
        self._head = head
        self._parts: list[bytes] = []
        self._room_timer: asyncio.TimerHandle | None = None
        self.missing_bytes = head.body_bytes
        self.memory = IncompleteBody(drain.body_budget, key.app, self._reject_for_others)

    def begin(self) -> None:
        """Take the memory for the request; the body may be rejected for others."""
        now_s = asyncio.get_running_loop().time()
        _body_deadlines.set(self, now_s + self._drain.body_timeout_s)
        self.memory.begin()

    def add(self, data: bytes) -> None:
        """Add a part; the body may be rejected for others."""
        self._parts.append(data)
        self.missing_bytes -= len(data)
        self.memory.add(len(data))
        if self.missing_bytes and self.memory.size and self.memory.must_wait:
            self._connection.transport.pause_reading()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self._drain.budget_timeout_s
            self._room_timer = loop.call_later(POLL_S, self._check_room, deadline)

    def complete(self) -> tuple[DrainEndpoint, DrainKey, DrainRequestHead, bytes, int, int]:
        """The arguments to submit the complete body, which is protected from rejection now."""
        self._cancel_timers()
        body = b"".join(self._parts)
        return self._drain, self._key, self._head, body, 0, self.memory.hand_over()

    def cancel(self) -> None:
        """Forget a body whose sender is gone, or that was rejected."""
        self._cancel_timers()
        self.memory.release()
        self._parts.clear()

    def _cancel_timers(self) -> None:
        _body_deadlines.clear(self)
        if self._room_timer is not None:
            self._room_timer.cancel()

    def _check_room(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if not self.memory.must_wait:
            self._connection.transport.resume_reading()
        elif loop.time() > deadline:
            self._drain.body_budget.count_rejection()
            self._reject_for_others()
        else:
            self._room_timer = loop.call_later(POLL_S, self._check_room, deadline)

    def reject_late(self) -> None:
        """Answer that the body took too long."""
        self.cancel()
        timeout_s = self._drain.body_timeout_s
        self._connection.reject_body(408, f"The body took longer than {timeout_s:g} s.")

    def _reject_for_others(self) -> None:
        self.cancel()
        rejection = too_many_bodies()
        self._connection.reject_body(rejection.status, str(rejection), _RETRY_AFTER)


_body_deadlines = Deadlines[_PartialBody](_PartialBody.reject_late)
_RETRY_AFTER = b"retry-after: " + RETRY_AFTER_S + b"\r\n"
_NO_BODY = b"content-length: 0\r\n\r\n"
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in (200, 408, 500, 503)
}
_STATUS_LINE_200 = _STATUS_LINES[200]
_last_encoding: tuple[object, bytes] = (None, b"")


def _encode_headers(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Encode uvicorn's default headers; cached, because that list is replaced once a second."""
    global _last_encoding  # noqa: PLW0603  # all connections of the process share it
    if _last_encoding[0] is not headers:
        _last_encoding = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
    return _last_encoding[1]
