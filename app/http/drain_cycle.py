"""A POST to the drain as it usually comes, answered without the detour over ASGI: no task, no
messages, no state of a request but this.

The protocol (app.http.protocol) begins one where a head promises nothing unusual; whatever is not
usual goes to the drain as an ASGI app, which does the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from app.store.port import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_AFTER_S = b"5"
_CLOSE = b"connection: close\r\n"


class Admitted(NamedTuple):
    """Who sends, and what the head says; `size` bytes of body are expected."""

    app: str
    generation: int
    headers: Mapping[bytes, bytes]
    size: int


class AtOnce(Protocol):
    """What the drain offers to the protocol."""

    body_within_s: float

    def admit(self, headers: Mapping[bytes, bytes]) -> Admitted | None:
        """Who sends, where that can be told at once and nothing is unusual; room for the body is
        taken.
        """
        ...

    def take(self, admitted: Admitted, body: bytes) -> asyncio.Future[Any]:
        """Aggregate and commit a body; done when it is safe, or StoreUnavailable."""
        ...

    def let_go(self, admitted: Admitted) -> None:
        """The room of the body is free again."""
        ...


class _Signal:
    """Stands for the event that uvicorn's cycles wait for."""

    def set(self) -> None:
        """Nobody waits."""


class DrainCycle:
    """One such request. The first attributes are what uvicorn's protocol asks of a cycle."""

    message_event = _Signal()

    def __init__(
        self,
        drain: AtOnce,
        admitted: Admitted,
        *,
        keep_alive: bool,
        answer: Callable[[DrainCycle, bytes], None],
    ) -> None:
        """`answer`: writes an answer, whole, to the connection of this cycle."""
        self.response_complete = False
        self.more_body = True
        self.disconnected = False
        self.keep_alive = keep_alive
        self._drain = drain
        self._admitted = admitted
        self._answer = answer
        self._parts: list[bytes] = []
        self._late: asyncio.TimerHandle | None = None
        self._holds_room = True

    def add(self, part: bytes) -> None:
        """A part of the body."""
        self._parts.append(part)

    def wait_for_body(self, loop: asyncio.AbstractEventLoop) -> None:
        """The body is not whole yet, and has limited time for that."""
        if self._late is None:
            self._late = loop.call_later(self._drain.body_within_s, self._refuse_late)

    def deliver(self) -> None:
        """The body is whole."""
        self.more_body = False
        self._cancel_timer()
        parts, self._parts = self._parts, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._drain.take(self._admitted, body).add_done_callback(self._taken)

    def lost(self) -> None:
        """The connection is gone."""
        self._cancel_timer()
        if self.more_body:
            self._let_go()

    def _taken(self, taken: asyncio.Future[Any]) -> None:
        self._let_go()
        error = None if taken.cancelled() else taken.exception()
        if error is None and not taken.cancelled():
            self._say(200)
        elif isinstance(error, StoreUnavailable):
            self._say(503, f"{error}\n", b"retry-after: " + RETRY_AFTER_S + b"\r\n")
        else:
            log.error("a batch could not be taken", exc_info=error)
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
            headers += _CLOSE
        length = b"content-length: %d\r\n\r\n" % len(body)
        self._answer(self, b"".join((_LINES[status], headers, length, body)))

    def _let_go(self) -> None:
        if self._holds_room:
            self._holds_room = False
            self._drain.let_go(self._admitted)

    def _cancel_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()


_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in (200, 408, 500, 503)
}
