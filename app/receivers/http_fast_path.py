"""Answers a common POST to the drain without ASGI: no task, no messages, only the state held here.

The protocol (app.receivers.http_protocol) starts a cycle for a request head of the common form. All
other requests go to the drain as an ASGI app, which gives the same answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from app.ingest.drain_post import DrainKey
from app.receivers.body_budget import POLL_S, IncompleteBody, too_many_bodies
from app.receivers.http_drain import RETRY_AFTER_S, DrainEndpoint
from app.receivers.request_head import DrainRequestHead
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.support.asgi import DEFECT, PROBLEM_TYPE, pack_problem

log = logging.getLogger(__name__)


class _Signal:
    """Replaces the event for which uvicorn's own cycles wait."""

    def set(self) -> None:
        """Do nothing: this cycle does not wait for events."""


class FastPathCycle:
    """One request on the fast path.

    The public attributes are those that uvicorn's protocol expects of a request cycle.
    """

    message_event = _Signal()
    response_complete = False
    more_body = True
    disconnected = False
    body = bytearray()  # of uvicorn's own cycles

    _body_timer: asyncio.TimerHandle | None = None
    _room_timer: asyncio.TimerHandle | None = None
    _memory: IncompleteBody | None = None  # None if the whole body arrived with its head

    def __init__(
        self,
        drain: DrainEndpoint,
        key: DrainKey,
        head: DrainRequestHead,
        arrived_bytes: int,
        answer: Callable[[FastPathCycle, bytes, bytes], None],
    ) -> None:
        """
        Args:
            arrived_bytes: of the body, with its head; their memory was taken.
            answer: writes an answer to the connection, from this cycle, the status line, and the
                part after the default headers.
        """
        self.keep_alive = head.keep_alive
        self._drain = drain
        self._key = key
        self._head = head
        self._answer = answer
        self._missing_bytes = head.body_bytes
        self._used_bytes = arrived_bytes
        self._chunks: list[bytes] = []

    def feed(self, data: bytes, start: int) -> int:
        """Add the part of the body that begins at `start` of `data`.

        Submits the body once it is complete. Returns the position in `data` after the body.
        """
        if not self._chunks and start + self._missing_bytes == len(data):
            self._submit(data, start)  # the common case, without a copy
            return len(data)
        end = min(len(data), start + self._missing_bytes)
        self._missing_bytes -= end - start
        self._use_memory(end - start)
        if self.response_complete:  # it was rejected for others
            return len(data)
        self._chunks.append(data[start:end])
        if not self._missing_bytes:
            chunks, self._chunks = self._chunks, []
            self._submit(b"".join(chunks), 0)
        return end

    def wait_for_body(self, transport: asyncio.Transport) -> None:
        """Limit the time for the rest of the body, and read it only while there is memory."""
        loop = asyncio.get_running_loop()
        if self._body_timer is None:
            self._body_timer = loop.call_later(self._drain.body_timeout_s, self._reject_late_body)
        if not self.response_complete and self._memory is not None and self._memory.must_wait:
            transport.pause_reading()
            self._room_timer = loop.call_later(
                POLL_S, self._check_room, transport, loop.time() + self._drain.budget_timeout_s
            )

    def _use_memory(self, size: int) -> None:
        if self._memory is None:  # the first part, whose memory is in use without it
            self._memory = IncompleteBody(
                self._drain.body_budget, self._key.app, self._reject_for_others
            )
            self._drain.body_budget.release(self._key.app, self._used_bytes)
            self._memory.begin()
        self._memory.add(size)

    def _check_room(self, transport: asyncio.Transport, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if self.response_complete or self._memory is None:
            return
        if not self._memory.must_wait:
            transport.resume_reading()
        elif loop.time() > deadline:
            self._drain.body_budget.count_rejection()
            self._reject_for_others()
        else:
            self._room_timer = loop.call_later(POLL_S, self._check_room, transport, deadline)

    def _submit(self, data: bytes, start: int) -> None:
        self.more_body = False
        self._cancel_timers()
        if self._memory is not None:
            self._memory.complete()
        self._drain.submit_body(self._key, self._head, data, start, self._on_result)

    def connection_lost(self) -> None:
        """Release the resources of an incomplete request."""
        self._cancel_timers()
        if self.more_body:
            self._release()

    def _cancel_timers(self) -> None:
        for timer in (self._body_timer, self._room_timer):
            if timer is not None:
                timer.cancel()

    def _on_result(self, result: bool | BaseException) -> None:
        self._release()
        if isinstance(result, bool) and self.keep_alive:
            self.response_complete = True
            self._answer(self, _STATUS_LINE_200, _NO_BODY)
        elif isinstance(result, bool):
            self._respond(200)
        elif isinstance(result, StoreUnavailable):
            self._respond(503, without_addresses(str(result)), _RETRY_AFTER)
        else:
            log.error("Answered a POST to the drain with 500 because of a defect", exc_info=result)
            self._respond(500, DEFECT)

    def _reject_late_body(self) -> None:
        self._release()
        self._cancel_timers()
        self.keep_alive = False
        self._respond(408, f"The body took longer than {self._drain.body_timeout_s:g} s.")

    def _reject_for_others(self) -> None:
        self._release()
        self._cancel_timers()
        self._chunks.clear()
        self.keep_alive = False
        rejection = too_many_bodies()
        self._respond(rejection.status, str(rejection), _RETRY_AFTER)

    def _respond(self, status: int, detail: str = "", headers: bytes = b"") -> None:
        self.response_complete = True
        body = pack_problem(status, detail) if detail else b""
        if body:
            headers += b"content-type: %b\r\n" % PROBLEM_TYPE
        if not self.keep_alive:
            headers += b"connection: close\r\n"
        rest = b"%bcontent-length: %d\r\n\r\n%b" % (headers, len(body), body)
        self._answer(self, _STATUS_LINES[status], rest)

    def _release(self) -> None:
        if self._memory is not None:
            self._memory.release()
        elif self._used_bytes:
            self._drain.body_budget.release(self._key.app, self._used_bytes)
            self._used_bytes = 0


_RETRY_AFTER = b"retry-after: " + RETRY_AFTER_S + b"\r\n"
_NO_BODY = b"content-length: 0\r\n\r\n"
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in (200, 408, 500, 503)
}
_STATUS_LINE_200 = _STATUS_LINES[200]
