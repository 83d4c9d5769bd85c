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

from app.http.drain_cycle import AtOnce, DrainCycle

DRAIN_PATH = b"/drain"
CONNECTIONS_MAX = 16_384
FILES_OF_OUR_OWN = 128  # connections to the store, files, pipes
CONNECTIONS_LOOKED_AT = 64  # for the one idle longest: looking at all would cost a flood's victim


class Limits(NamedTuple):
    """Per worker and connection."""

    head_bytes_max: int = 32 * 1024  # Logplex sends 500; a browser with proxies in front some 8,000
    head_within_s: float = 10.0
    answer_read_within_s: float = 60.0  # a slow client may stop reading for so long
    connections_max: int = CONNECTIONS_MAX


def limits_of_process() -> Limits:
    """The usual ones, with no more connections than this process may have open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return Limits()
    return Limits(connections_max=max(1, min(CONNECTIONS_MAX, files - FILES_OF_OUR_OWN)))


class _BadHead(Exception):
    pass


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    limits = Limits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = self.loop.time()
        self._drain: AtOnce | None = getattr(self.app, "drain", None)
        self._taking: DrainCycle | None = None  # the present cycle, if it is one

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self._in_head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a connection, and make room for it."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > self.limits.connections_max:
            some = islice(self.connections, CONNECTIONS_LOOKED_AT)
            idle = [each for each in some if isinstance(each, GuardedProtocol) and each.idle]
            oldest = min(idle, key=lambda each: each._idle_since_s, default=self)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        if self._taking is not None:
            self._taking.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what belongs to a head that is not whole yet."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._taking is not None and self._taking.more_body:
            self._taking.wait_for_body(self.loop)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes_max:
                self._refuse_head()
        elif self.idle and self.timeout_keep_alive_task is None:
            self._wait_for_request()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.limits.head_within_s, self._close)

    def on_headers_complete(self) -> None:
        """A head is whole: start answering, unless it is too large."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes_max:
            self._refuse_head()
            raise _BadHead  # the parser stops; data_received finds the connection closing
        if self.parser.get_http_version() == "1.1":
            hosts = [value for name, value in self.headers if name == b"host"]
            if len(hosts) != 1:
                raise _BadHead  # 400, as RFC 9112, 3.2 demands
        if self.url != DRAIN_PATH or not self._begins_drain_cycle():
            self._taking = None
            super().on_headers_complete()

    def _begins_drain_cycle(self) -> bool:
        """Whether this POST can be taken at once; see app.http.drain_cycle."""
        if (
            self._drain is None
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.expect_100_continue
            or not (self.cycle is None or self.cycle.response_complete)
        ):
            return False
        admitted = self._drain.admit(dict(self.headers))
        if admitted is None:
            return False
        keep_alive = self.parser.should_keep_alive()
        self._taking = DrainCycle(self._drain, admitted, keep_alive=keep_alive, answer=self._answer)
        self.cycle = self._taking  # type: ignore[assignment]  # it has what is asked of one
        return True

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._taking is not None:
            self._taking.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A body is whole."""
        if self._taking is not None:
            self._taking.deliver()
        else:
            super().on_message_complete()

    def _answer(self, cycle: DrainCycle, answer: bytes) -> None:
        if cycle.disconnected or self.transport.is_closing():
            return
        head, _, rest = answer.partition(b"\r\n")
        dated = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(b"".join((head, b"\r\n", dated, rest)))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, unless it was answered already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the next request; but not to the end of a body that nobody wants."""
        super().on_response_complete()
        self._idle_since_s = self.loop.time()
        if self.cycle.response_complete and self.cycle.more_body:
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

    def _wait_for_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _close(self) -> None:
        self.transport.close()

    def _refuse_head(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()
