"""A POST to the drain as it usually comes, answered without the detour over ASGI: no task, no
messages, no state of a request but this.

The protocol (app.receivers.http_protocol) begins one where a head promises nothing unusual;
whatever is not
usual goes to the drain as an ASGI app, which does the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from app.ingest.coalesced_batch import DrainKey
from app.ingest.group_commit import OnResult
from app.receivers.request_head import DrainRequestHead
from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_AFTER_S = b"5"


class FastDrain(Protocol):
    """What the drain offers to the protocol.

    Attributes:
        let_go: called with the size of a body whose room is free again.
    """

    body_within_s: float
    release: Callable[[int], None]

    def try_admit(self, head: DrainRequestHead) -> DrainKey | None:
        """Who sends, where that can be told at once and nothing is unusual; room for the body is
        taken.
        """
        ...

    def submit_body(
        self, sender: DrainKey, head: DrainRequestHead, data: bytes, start: int, settle: OnResult
    ) -> None:
        """Aggregate and commit the body that begins at `start`, and have `settle` called when it is
        safe, or why not.
        """
        ...


class _Signal:
    """Stands for the event that uvicorn's cycles wait for."""

    def set(self) -> None:
        """Nobody waits."""


class FastPathCycle:
    """One such request. The first attributes are what uvicorn's protocol asks of a cycle."""

    message_event = _Signal()
    response_complete = False
    more_body = True
    disconnected = False

    _late: asyncio.TimerHandle | None = None
    _holds_room = True

    def __init__(
        self,
        drain: FastDrain,
        sender: DrainKey,
        head: DrainRequestHead,
        answer: Callable[[FastPathCycle, bytes, bytes], None],
    ) -> None:
        """
        Args:
            answer: writes an answer to the connection of this cycle: its first line, and what comes
                behind the headers that all answers have.
        """
        self.keep_alive = head.keep_alive
        self._drain = drain
        self._sender = sender
        self._head = head
        self._answer = answer
        self._missing = head.body_bytes
        self._parts: list[bytes] = []

    def add(self, data: bytes, start: int) -> int:
        """What came holds from `start` on a part of the body, and perhaps what comes behind it;
        returns where that begins. The body is delivered once it is whole.
        """
        if not self._parts and start + self._missing == len(data):
            self._deliver(data, start)  # as it mostly comes, and is not copied
            return len(data)
        end = min(len(data), start + self._missing)
        self._missing -= end - start
        self._parts.append(data[start:end])
        if not self._missing:
            parts, self._parts = self._parts, []
            self._deliver(b"".join(parts), 0)
        return end

    def wait_for_body(self, loop: asyncio.AbstractEventLoop) -> None:
        """The body is not whole yet, and has limited time for that."""
        if self._late is None:
            self._late = loop.call_later(self._drain.body_within_s, self._refuse_late)

    def _deliver(self, data: bytes, start: int) -> None:
        self.more_body = False
        if self._late is not None:
            self._late.cancel()
        self._drain.submit_body(self._sender, self._head, data, start, self._settle)

    def lost(self) -> None:
        """The connection is gone."""
        if self._late is not None:
            self._late.cancel()
        if self.more_body:
            self._let_go()

    def _settle(self, result: bool | BaseException) -> None:
        self._let_go()
        if isinstance(result, bool) and self.keep_alive:
            self.response_complete = True
            self._answer(self, _TAKEN, _NO_BODY)
        elif isinstance(result, bool):
            self._say(200)
        elif isinstance(result, StoreUnavailable):
            self._say(503, f"{result}\n", b"retry-after: " + RETRY_AFTER_S + b"\r\n")
        else:
            log.error("a batch could not be taken", exc_info=result)
            self._say(500, "Internal Server Error")

    def _refuse_late(self) -> None:
        self._let_go()
        self.keep_alive = False
        self._say(408, f"The body took longer than {self._drain.body_within_s:g} s.\n")

    def _say(self, status: int, text: str = "", headers: bytes = b"") -> None:
        self.response_complete = True
        body = text.encode()
        if body:
            headers += b"content-type: text/plain; charset=utf-8\r\n"
        if not self.keep_alive:
            headers += b"connection: close\r\n"
        rest = b"%bcontent-length: %d\r\n\r\n%b" % (headers, len(body), body)
        self._answer(self, _LINES[status], rest)

    def _let_go(self) -> None:
        if self._holds_room:
            self._holds_room = False
            self._drain.release(self._head.body_bytes)


_NO_BODY = b"content-length: 0\r\n\r\n"
_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in (200, 408, 500, 503)
}
_TAKEN = _LINES[200]
