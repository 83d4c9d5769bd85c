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
    requests before the answer to an earlier one   closed, once those read were answered
    too many connections, or data in them          closed, as in app.receivers.connection_guard

Everything but a common POST to the drain is parsed and answered in turns (app.support.fair_turns),
so the many requests of one peer do not delay the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.receivers.accelerated import parse_common_head
from app.receivers.connection_guard import (
    SENDER,
    STRANGER,
    Caller,
    ConnectionGuard,
    ConnectionLimits,
    peer_of,
)
from app.receivers.http_drain import DrainEndpoint
from app.receivers.http_fast_path import FastPathCycle
from app.receivers.request_head import REQUEST_LINES
from app.support.asgi import (
    ON_RECOGNIZED,
    PROBLEM_TYPE,
    header,
    pack_problem,
)
from app.support.fair_turns import Job
from app.support.rejections import Rejections

PARSED_BYTES = 32 * 1024  # of heads and chunks, in one go: at most a few milliseconds
REQUEST_COST_S = 0.001  # of a request to the pages or the API
POST_COST_S = 0.0001  # of a sender's request, whose lines are aggregated in steps
WAITING_REQUEST_BYTES = 4 * 1024  # of memory


class _BadHead(Exception):
    pass


class _TooManyRequests(Exception):
    pass


class _OpenTransport:
    """Writes answers while the connection is open. Closed ones are reported late, and uvloop raises
    on a write to them.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.close, self.is_closing = transport.close, transport.is_closing

    def write(self, data: bytes) -> None:
        """Write data, or drop it if the connection closes."""
        if data and not self._transport.is_closing():
            self._transport.write(data)


class _Flow(FlowControl):
    """Reads no more while data that was read waits to be parsed. Whenever the app asks for a part
    of the body, uvicorn would resume.
    """

    is_held = False

    def hold(self) -> None:
        """Pause reading until `is_held` is reset."""
        self.is_held = True
        self.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless it is held."""
        if not self.is_held:
            super().resume_reading()


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    guard = ConnectionGuard(ConnectionLimits(), Rejections())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = self.guard.limits
        self._head_bytes = 0
        self._in_head = False
        self._unparsed: list[bytes] = []  # waits for its turn
        self._unparsed_bytes = 0
        self.buffered_bytes = 0  # as the guard counted them last
        self._missing_bytes = 0  # of a body whose length was declared
        self._is_pipeline_full = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._drain: DrainEndpoint | None = getattr(self.app, "drain", None)
        self._partial_post: FastPathCycle | None = None  # its body is not complete yet
        self._caller = Caller(STRANGER, None)
        self._is_behind_proxy = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._in_head and not self._unparsed_bytes

    flow: _Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Accept a connection."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._open_transport = _OpenTransport(transport)
        self._check_idle()
        host = self.client[0] if self.client else ""
        self._is_behind_proxy = self.guard.is_trusted(host)
        self._caller = Caller(STRANGER, None if self._is_behind_proxy else peer_of(host))
        self.guard.add(self, self._caller)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self.guard.remove(self)
        self._forget_unparsed()
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
                post.wait_for_body(self.transport)
            else:
                self._partial_post = None
            if start == len(data):
                return
            data = data[start:]
        self._unparsed.append(data)
        self._unparsed_bytes += len(data)
        self._run(self._parse)
        if self._unparsed:
            if self._unparsed_bytes > HIGH_WATER_LIMIT:
                self.flow.hold()
            self._count_buffer()

    def _run(self, job: Job) -> None:
        """Run a job in the turn of this connection's caller."""
        self.guard.turns_of(self._caller).run(self._caller.name, job)

    def _parse(self) -> None:
        """Parse data that waits: heads and chunks in parts, a body of declared length at once."""
        if self.transport.is_closing() or self._is_pipeline_full:
            self._forget_unparsed()
            return
        data = self._unparsed.pop(0)
        part_bytes = max(PARSED_BYTES, self._missing_bytes)
        part, rest = data[:part_bytes], data[part_bytes:]
        self._parse_part(part)
        if rest and len(rest) <= self._missing_bytes:
            self._parse_part(rest)
        elif rest:
            self._unparsed.insert(0, rest)
            self._run(self._parse)
        self._count_buffer()
        if self.flow.is_held and not self._unparsed and not self._is_pipeline_full:
            self.flow.is_held = False
            is_body_large = self.cycle is not None and len(self.cycle.body) > HIGH_WATER_LIMIT
            if not (self.pipeline or is_body_large or self.transport.is_closing()):
                self.flow.resume_reading()

    def _forget_unparsed(self) -> None:
        self._unparsed.clear()
        self._unparsed_bytes = 0

    def _parse_part(self, data: bytes) -> None:
        """Let uvicorn parse data. Limits the size and time of a head that is not complete yet."""
        self._unparsed_bytes -= len(data)
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes_max:
            self._reject(431, self._head_limit)
        elif len(self.headers) > self.limits.head_fields_max:
            self._reject(431, self._fields_limit)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_timeout_s, self._close)

    def _count_buffer(self) -> None:
        """Count what waits in this connection."""
        size = self._unparsed_bytes + self.transport.get_write_buffer_size()
        if self._in_head:
            size += self._head_bytes
        if self.pipeline:
            size += sum(WAITING_REQUEST_BYTES + len(cycle.body) for cycle, _ in self.pipeline)
        elif self.cycle is not None:
            size += len(self.cycle.body)
        if size != self.buffered_bytes:
            self.guard.buffer(self, size)

    def _recognize(self, kind: str, name: Hashable) -> None:
        """A request was authenticated. Of several callers, the first one keeps the connection."""
        if kind == self._caller.kind != STRANGER:
            return
        caller = Caller(kind, name)
        if caller != self._caller and not self.transport.is_closing():
            self.guard.move(self, self._caller, caller)
            self._caller = caller

    def _start_post(self, data: bytes) -> tuple[FastPathCycle | None, int]:
        """The cycle for this POST, and the size of its head; None if it needs the ASGI app."""
        drain = self._drain
        head = parse_common_head(data) if drain is not None else None
        if drain is None or head is None or head.size > self.limits.head_bytes_max:
            return None, 0
        arrived_bytes = min(head.body_bytes, len(data) - head.size)
        key = drain.try_admit(head, arrived_bytes)
        if key is None:
            return None, 0
        if self._caller.kind != SENDER:
            self._recognize(SENDER, key.app)
        post = FastPathCycle(drain, key, head, arrived_bytes, self._answer)
        self.cycle = post  # type: ignore[assignment]  # it has the attributes that uvicorn uses
        return post, head.size

    def on_message_begin(self) -> None:
        """Start to measure a head; not if too many requests wait already."""
        if len(self.pipeline) >= self.limits.pipelined_max:
            self._is_pipeline_full = True
            self.flow.hold()
            self.guard.rejections.add("pipeline")
            raise _TooManyRequests  # the parser stops; the connection closes after the answers
        super().on_message_begin()
        self.scope["extensions"] = {ON_RECOGNIZED: {"call": self._recognize}}
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Start to answer, unless the head is too large."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size, hosts, length = len(self.url), 0, b""
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                length = value
        if size > self.limits.head_bytes_max:
            self._reject(431, self._head_limit)
            raise _BadHead  # the parser stops, and data_received sees that the connection closes
        if len(self.headers) > self.limits.head_fields_max:
            self._reject(431, self._fields_limit)
            raise _BadHead
        if hosts != 1 and self.parser.get_http_version() == "1.1":
            raise _BadHead  # answered 400, as RFC 9112, section 3.2 requires
        self._missing_bytes = int(length) if length.isdigit() else 0
        if self._is_behind_proxy:
            self._set_forwarded_client()
        super().on_headers_complete()

    def _set_forwarded_client(self) -> None:
        """Take the client from the proxy's header, also as the peer of a stranger."""
        host = self.guard.forwarded_host(header(self.headers, b"x-forwarded-for"))
        if host:
            self.scope["client"] = (host, 0)
            if self._caller.kind == STRANGER:
                self._recognize(STRANGER, peer_of(host))

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        super().on_body(body)
        if self._missing_bytes:
            self._missing_bytes -= len(body)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start to answer, in a turn of the caller, unless the connection closed meanwhile."""
        if self.transport.is_closing():
            return
        is_post = self._caller.kind == SENDER and cycle.scope["method"] == "POST"
        self.guard.turns_of(self._caller).spend(POST_COST_S if is_post else REQUEST_COST_S)
        cycle.transport = self._open_transport
        super()._start_asgi_task(cycle, app)

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
        if not self.transport.is_closing() and not self._is_pipeline_full:
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
        if self.cycle.body and self.cycle.response_complete:
            self.cycle.body.clear()  # which the app has not read
        if self.buffered_bytes or self.transport.get_write_buffer_size():
            self._count_buffer()
        self.flow.resume_reading()
        if self.pipeline:
            self._run(partial(self._start_asgi_task, *self.pipeline.pop()))
        elif self._is_pipeline_full or (self.cycle.response_complete and self.cycle.more_body):
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: limit the time for that."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(
            self.limits.unread_timeout_s, self.transport.abort
        )
        self._count_buffer()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._count_buffer()

    def _check_idle(self) -> None:
        """Close the connection if it has been idle for too long; otherwise check again later.

        A timer per request would be set and cancelled for nothing.
        """
        remaining_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if self.transport.is_closing() and remaining_s <= 0:
            self.transport.abort()  # the client does not read the last answer
        elif self.is_idle and remaining_s <= 0:
            self.transport.close()
            self._idle_timer = self.loop.call_later(self.limits.unread_timeout_s, self._check_idle)
        else:
            delay_s = remaining_s if remaining_s > 0 else self.timeout_keep_alive
            self._idle_timer = self.loop.call_later(delay_s, self._check_idle)

    def _close(self) -> None:
        self.transport.close()

    @property
    def _head_limit(self) -> str:
        return f"The request line and headers are larger than {self.limits.head_bytes_max} bytes."

    @property
    def _fields_limit(self) -> str:
        return f"The request has more than {self.limits.head_fields_max} headers."

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
