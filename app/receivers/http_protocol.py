"""HTTP/1.1 with limits that protect against arbitrary clients; uvicorn lacks them.

The parser (llhttp) is strict: a request with an ambiguous end (two lengths, a length and chunks,
folded headers, bare line feeds) is answered 400. This protocol adds what neither llhttp nor uvicorn
limits:

    a request head that is too large               431
    a request without a Host, or with two          400
    a head that takes too long                     closed
    a connection that never sends anything         closed, as after keep-alive
    an answer that the client does not read        closed
    a body that continues after its answer         closed
    too many connections                           the one that was idle longest is closed
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.receivers.accelerated import parse_common_head
from app.receivers.http_drain import DrainEndpoint
from app.receivers.http_fast_path import FastPathCycle
from app.receivers.request_head import REQUEST_LINES
from app.support.asgi import PROBLEM_TYPE, pack_problem

CONNECTIONS_MAX = 16_384
RESERVED_FILES = 1_128  # for syslog connections, connections to the store, files, pipes
EVICTION_CANDIDATES = 64  # checking all connections would be expensive during a flood


class ConnectionLimits(NamedTuple):
    """Limits of a connection, and of the number of connections per worker."""

    head_bytes_max: int = 32 * 1024  # Logplex sends 500; a browser behind proxies some 8,000
    head_timeout_s: float = 10.0
    unread_timeout_s: float = 60.0  # a slow client may stop reading for this long
    connections_max: int = CONNECTIONS_MAX


def limits_of_process() -> ConnectionLimits:
    """The default limits, with no more connections than this process may open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return ConnectionLimits()
    reserved = min(RESERVED_FILES, files // 2)
    return ConnectionLimits(connections_max=max(1, min(CONNECTIONS_MAX, files - reserved)))


class _BadHead(Exception):
    pass


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    limits = ConnectionLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._drain: DrainEndpoint | None = getattr(self.app, "drain", None)
        self._partial_post: FastPathCycle | None = None  # its body is not complete yet

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._in_head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Accept a connection; above the limit, close the one that was idle longest."""
        super().connection_made(transport)
        self._check_idle()
        if len(self.connections) > self.limits.connections_max:
            candidates = [
                connection
                for connection in islice(self.connections, EVICTION_CANDIDATES)
                if isinstance(connection, LimitedHttpProtocol) and connection.is_idle
            ]
            oldest = min(candidates, key=lambda candidate: candidate._idle_since_s, default=self)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        for timer in (self._head_timer, self._unread_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self._partial_post is not None:
            self._partial_post.connection_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle a common POST to the drain on the fast path; let uvicorn parse all other data.

        Limits the size and time of a head that is not complete yet.
        """
        post, start = self._partial_post, 0
        if post is None and data.startswith(REQUEST_LINES) and self.is_idle:
            post, start = self._start_post(data)
        if post is not None:
            start = post.feed(data, start)
            if post.more_body:
                self._partial_post = post
                post.wait_for_body(self.loop)
            else:
                self._partial_post = None
            if start == len(data):
                return
            data = data[start:]
        super().data_received(data)
        if self.transport.is_closing() or not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes_max:
            self._reject(431, self._head_limit)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_timeout_s, self._close)

    def _start_post(self, data: bytes) -> tuple[FastPathCycle | None, int]:
        """The cycle for this POST, and the size of its head; None if it needs the ASGI app."""
        drain = self._drain
        head = parse_common_head(data) if drain is not None else None
        if drain is None or head is None or head.size > self.limits.head_bytes_max:
            return None, 0
        key = drain.try_admit(head)
        if key is None:
            return None, 0
        post = FastPathCycle(drain, key, head, self._answer)
        self.cycle = post  # type: ignore[assignment]  # it has the attributes that uvicorn uses
        return post, head.size

    def on_message_begin(self) -> None:
        """Start to measure a head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Start to answer, unless the head is too large."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes_max:
            self._reject(431, self._head_limit)
            raise _BadHead  # the parser stops, and data_received sees that the connection closes
        if self.parser.get_http_version() == "1.1":
            hosts = [value for name, value in self.headers if name == b"host"]
            if len(hosts) != 1:
                raise _BadHead  # answered 400, as RFC 9112, section 3.2 requires
        super().on_headers_complete()

    def _answer(self, cycle: FastPathCycle, line: bytes, rest: bytes) -> None:
        transport = self.transport
        if cycle.disconnected or transport.is_closing():
            return
        transport.write(line + _encode_headers(self.server_state.default_headers) + rest)
        if not cycle.keep_alive:
            transport.close()
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request, unless it was answered already."""
        if not self.transport.is_closing():
            self._reject(400, msg)

    def on_response_complete(self) -> None:
        """Continue with the next request, if it has arrived.

        Closes the connection if the body of the answered request is not complete: its rest has no
        reader.
        """
        self.server_state.total_requests += 1
        self._idle_since_s = self.loop.time()
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: limit the time for that."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(
            self.limits.unread_timeout_s, self.transport.abort
        )

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()

    def _check_idle(self) -> None:
        """Close the connection if it has been idle for too long; otherwise check again later.

        A timer per request would be set and cancelled for nothing.
        """
        remaining_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if self.is_idle and remaining_s <= 0:
            self.transport.close()
        else:
            delay_s = remaining_s if remaining_s > 0 else self.timeout_keep_alive
            self._idle_timer = self.loop.call_later(delay_s, self._check_idle)

    def _close(self) -> None:
        self.transport.close()

    @property
    def _head_limit(self) -> str:
        return f"The request line and headers are larger than {self.limits.head_bytes_max} bytes."

    def _reject(self, status: int, detail: str) -> None:
        """Answer a request that no app can read, and close the connection."""
        body = pack_problem(status, detail)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (status, HTTPStatus(status).phrase.encode(), PROBLEM_TYPE, len(body))
            + body
        )
        self.transport.close()


_last_encoding: tuple[object, bytes] = (None, b"")


def _encode_headers(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Encode uvicorn's default headers; cached, because that list is replaced once a second."""
    global _last_encoding  # noqa: PLW0603  # all connections of the process share it
    if _last_encoding[0] is not headers:
        _last_encoding = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
    return _last_encoding[1]
