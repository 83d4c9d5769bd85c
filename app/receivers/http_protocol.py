"""HTTP/1.1 with limits: what uvicorn's protocol leaves open to whoever can connect.

The parser (llhttp) is strict: what is ambiguous about where a request ends (two lengths, a length
and chunks, folded headers, bare line feeds) is answered 400. Added here, because neither it nor
uvicorn bounds them:

    the size of a request's head                   431
    a request without a Host, or with two          400
    the time a head may take                       closed
    a connection that never sends anything         closed, as after keep-alive
    an answer that nobody reads                    closed
    a body that goes on after its answer           closed
    the number of connections                      the one idle for longest makes room
"""

from __future__ import annotations

import asyncio
import resource
from itertools import islice
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.receivers.accelerated import parse_common_head
from app.receivers.http_fast_path import FastDrain, FastPathCycle
from app.receivers.request_head import BEGINNING

CONNECTIONS_MAX = 16_384
FILES_OF_OUR_OWN = 128  # connections to the store, files, pipes
CONNECTIONS_LOOKED_AT = 64  # for the one idle longest: looking at all would cost a flood's victim


class ConnectionLimits(NamedTuple):
    """Per worker and connection."""

    head_bytes_max: int = 32 * 1024  # Logplex sends 500; a browser with proxies in front some 8,000
    head_within_s: float = 10.0
    answer_read_within_s: float = 60.0  # a slow client may stop reading for so long
    connections_max: int = CONNECTIONS_MAX


def limits_of_process() -> ConnectionLimits:
    """The usual ones, with no more connections than this process may have open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return ConnectionLimits()
    return ConnectionLimits(connections_max=max(1, min(CONNECTIONS_MAX, files - FILES_OF_OUR_OWN)))


class _BadHead(Exception):
    pass


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    limits = ConnectionLimits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._drain: FastDrain | None = getattr(self.app, "drain", None)
        self._post: FastPathCycle | None = None  # whose body is not whole yet

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self._in_head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a connection, and make room for it."""
        super().connection_made(transport)
        self._look_whether_idle()
        if len(self.connections) > self.limits.connections_max:
            some = islice(self.connections, CONNECTIONS_LOOKED_AT)
            idle = [each for each in some if isinstance(each, LimitedHttpProtocol) and each.idle]
            oldest = min(idle, key=lambda each: each._idle_since_s, default=self)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for timer in (self._head_timer, self._unread_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self._post is not None:
            self._post.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a POST to the drain as it usually comes; have all else parsed, and count what
        belongs to a head that is not whole yet.
        """
        post, start = self._post, 0
        if post is None and data.startswith(BEGINNING) and self.idle:
            post, start = self._begun_post(data)
        if post is not None:
            start = post.add(data, start)
            if post.more_body:
                self._post = post
                post.wait_for_body(self.loop)
            else:
                self._post = None
            if start == len(data):
                return
            data = data[start:]
        super().data_received(data)
        if self.transport.is_closing() or not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes_max:
            self._refuse_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_within_s, self._close)

    def _begun_post(self, data: bytes) -> tuple[FastPathCycle | None, int]:
        """A cycle of http_fast_path, if this POST can be taken so, and the size of its
        head.
        """
        drain = self._drain
        head = parse_common_head(data) if drain is not None else None
        if drain is None or head is None or head.size > self.limits.head_bytes_max:
            return None, 0
        sender = drain.try_admit(head)
        if sender is None:
            return None, 0
        post = FastPathCycle(drain, sender, head, self._answer)
        self.cycle = post  # type: ignore[assignment]  # it has what is asked of one
        return post, head.size

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A head is whole: start answering, unless it is too large."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes_max:
            self._refuse_head()
            raise _BadHead  # the parser stops; data_received finds the connection closing
        if self.parser.get_http_version() == "1.1":
            hosts = [value for name, value in self.headers if name == b"host"]
            if len(hosts) != 1:
                raise _BadHead  # 400, as RFC 9112, 3.2 demands
        super().on_headers_complete()

    def _answer(self, cycle: FastPathCycle, line: bytes, rest: bytes) -> None:
        transport = self.transport
        if cycle.disconnected or transport.is_closing():
            return
        transport.write(line + _written(self.server_state.default_headers) + rest)
        if not cycle.keep_alive:
            transport.close()
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, unless it was answered already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the next request, or answer the one that is there; but do not wait for the end
        of a body that nobody wants.
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
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(
            self.limits.answer_read_within_s, self.transport.abort
        )

    def resume_writing(self) -> None:
        """It caught up."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()

    def _look_whether_idle(self) -> None:
        """Close what has been idle for too long. Looked at now and then: a timer for each request
        would be set and cancelled for nothing.
        """
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if self.idle and left_s <= 0:
            self.transport.close()
        else:
            after_s = left_s if left_s > 0 else self.timeout_keep_alive
            self._idle_timer = self.loop.call_later(after_s, self._look_whether_idle)

    def _close(self) -> None:
        self.transport.close()

    def _refuse_head(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()


_last: tuple[object, bytes] = (None, b"")


def _written(headers: list[tuple[bytes, bytes]]) -> bytes:
    """These headers as they go over the wire; uvicorn has new ones every second."""
    global _last  # noqa: PLW0603  # of a process: all connections share them
    if _last[0] is not headers:
        _last = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
    return _last[1]
