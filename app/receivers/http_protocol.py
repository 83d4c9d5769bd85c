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

Requests are parsed and answered in turns (app.support.fair_turns), so the many requests of one peer
do not delay the others. Common POSTs to the drain never come here (app.receivers.http_fast_path).
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.receivers.connection_guard import (
    SENDER,
    STRANGER,
    ConnectionGuard,
    HttpConnection,
    peer_of,
)
from app.support.asgi import ON_RECOGNIZED, PROBLEM_TYPE, header, pack_problem
from app.support.fair_turns import Job

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


class OpenConnection(HttpConnection, Protocol):
    """The connection whose data is parsed; it has the timers."""

    guard: ConnectionGuard
    idle_since_s: float  # on the event loop's clock


class LimitedHttpProtocol(HttpToolsProtocol):
    """The parser of one connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        connection: OpenConnection,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._connection = connection
        self._guard = connection.guard
        self._limits = connection.guard.limits
        self._head_bytes = 0
        self._in_head = False
        self._unparsed: list[bytes] = []  # waits for its turn
        self._unparsed_bytes = 0
        self._missing_bytes = 0  # of a body whose length was declared
        self._is_pipeline_full = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_behind_proxy = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._in_head and not self._unparsed_bytes

    flow: _Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Begin to parse."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._open_transport = _OpenTransport(transport)
        self._is_behind_proxy = self._guard.is_trusted(self.client[0] if self.client else "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer, and forget what has arrived.

        Requests and their connection refer to each other. Thousands of dropped bodies would wait
        for the garbage collector, which counts objects and not their bytes.
        """
        self._forget_unparsed()
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)
        if self.cycle is not None:
            self.cycle.body.clear()
        self.cycle = None  # type: ignore[assignment]  # as uvicorn initializes it
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Let uvicorn parse data. Limits the size and time of a head that is not complete yet."""
        self._unparsed.append(data)
        self._unparsed_bytes += len(data)
        self._run(self._parse)
        if self._unparsed:
            if self._unparsed_bytes > HIGH_WATER_LIMIT:
                self.flow.hold()
            self._count_buffer()

    def _run(self, job: Job) -> None:
        """Run a job in the turn of this connection's caller."""
        caller = self._connection.caller
        self._guard.turns_of(caller).run(caller.name, job)

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
        if self._head_bytes > self._limits.head_bytes_max:
            self._reject(431, self._head_limit)
        elif len(self.headers) > self._limits.head_fields_max:
            self._reject(431, self._fields_limit)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self._close)

    def _count_buffer(self) -> None:
        """Count what waits in this connection."""
        size = self._unparsed_bytes + self.transport.get_write_buffer_size()
        if self._in_head:
            size += self._head_bytes
        if self.pipeline:
            size += sum(WAITING_REQUEST_BYTES + len(cycle.body) for cycle, _ in self.pipeline)
        elif self.cycle is not None:
            size += len(self.cycle.body)
        if size != self._connection.buffered_bytes:
            self._guard.buffer(self._connection, size)

    def on_message_begin(self) -> None:
        """Start to measure a head; not if too many requests wait already."""
        if len(self.pipeline) >= self._limits.pipelined_max:
            self._is_pipeline_full = True
            self.flow.hold()
            self._guard.rejections.add("pipeline")
            raise _TooManyRequests  # the parser stops; the connection closes after the answers
        super().on_message_begin()
        self.scope["extensions"] = {
            ON_RECOGNIZED: {"call": partial(self._guard.recognize, self._connection)}
        }
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
        if size > self._limits.head_bytes_max:
            self._reject(431, self._head_limit)
            raise _BadHead  # the parser stops, and data_received sees that the connection closes
        if len(self.headers) > self._limits.head_fields_max:
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
        host = self._guard.forwarded_host(header(self.headers, b"x-forwarded-for"))
        if host:
            self.scope["client"] = (host, 0)
            if self._connection.caller.kind == STRANGER:
                self._guard.recognize(self._connection, STRANGER, peer_of(host))

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        super().on_body(body)
        if self._missing_bytes:
            self._missing_bytes -= len(body)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start to answer, in a turn of the caller, unless the connection closed meanwhile."""
        if self.transport.is_closing():
            return
        caller = self._connection.caller
        is_post = caller.kind == SENDER and cycle.scope["method"] == "POST"
        self._guard.turns_of(caller).spend(POST_COST_S if is_post else REQUEST_COST_S)
        cycle.transport = self._open_transport
        super()._start_asgi_task(cycle, app)

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
        self._connection.idle_since_s = self.loop.time()
        if self.cycle is None or self.transport.is_closing():
            return
        if self.cycle.body and self.cycle.response_complete:
            self.cycle.body.clear()  # which the app has not read
        if self._connection.buffered_bytes or self.transport.get_write_buffer_size():
            self._count_buffer()
        self.flow.resume_reading()
        if self.pipeline:
            self._run(partial(self._start_asgi_task, *self.pipeline.pop()))
        elif self._is_pipeline_full or (self.cycle.response_complete and self.cycle.more_body):
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._count_buffer()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._count_buffer()

    def _close(self) -> None:
        self.transport.close()

    @property
    def _head_limit(self) -> str:
        return f"The request line and headers are larger than {self._limits.head_bytes_max} bytes."

    @property
    def _fields_limit(self) -> str:
        return f"The request has more than {self._limits.head_fields_max} headers."

    def _reject(self, status: int, detail: str) -> None:
        """Answer a request that no app can read, and close the connection."""
        body = pack_problem(status, detail)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (status, HTTPStatus(status).phrase.encode(), PROBLEM_TYPE, len(body))
            + body
        )
        self.transport.close()
