"""Reads request bodies with limits on their size, their time, and the memory of all together."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any
from weakref import WeakValueDictionary

from app.access.read_tokens import NOTHING, current_permissions
from app.receivers.body_budget import (
    BodyBudget,
    BodyRejected,
    IncompleteBody,
    too_many_bodies,
)
from app.receivers.gzip_body import InflatedTooLarge, inflate_in_steps
from app.support.aio import EagerCoroutine
from app.support.asgi import ASGIApp, Headers, Receive, Scope, Send, client_host, header, respond
from app.support.rejections import Rejections

API_BYTES_MAX = 64 * 1024  # the longest is a list of apps
CLOSE = (b"connection", b"close")
_METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_TIMEOUT_S = 30.0  # Logplex gives up after 5
SENDERS_BYTES_MAX = 64 * 2**20
SENDER_BYTES_MAX = 16 * 2**20  # of one app; a single body may be larger
READERS_BYTES_MAX = 8 * 2**20
STRANGERS_BYTES_MAX = 4 * 2**20
BUDGET_TIMEOUT_S = 4.0  # as long as a batch waits for its store


class BodyLimiter:
    """Reads bodies, and limits the memory of all together.

    `senders`, `readers` and `strangers` are the budgets of the callers.
    """

    def __init__(
        self,
        rejections: Rejections | None = None,
        *,
        timeout_s: float = BODY_TIMEOUT_S,
        senders_bytes_max: int = SENDERS_BYTES_MAX,
        sender_bytes_max: int = SENDER_BYTES_MAX,
        budget_timeout_s: float = BUDGET_TIMEOUT_S,
    ) -> None:
        """
        Args:
            timeout_s: how long a body may take to arrive.
            senders_bytes_max: for the bodies of all apps.
            sender_bytes_max: for the bodies of one app.
            budget_timeout_s: how long a body may wait for free memory.
        """
        self.timeout_s = timeout_s
        self.budget_timeout_s = budget_timeout_s
        self._inflate_locks = WeakValueDictionary[str, asyncio.Lock]()
        counts = rejections or Rejections()
        self.senders = BodyBudget(counts, senders_bytes_max, sender_bytes_max)
        self.readers = BodyBudget(counts, READERS_BYTES_MAX)
        self.strangers = BodyBudget(counts, STRANGERS_BYTES_MAX)

    def inflate_lock(self, caller: str) -> asyncio.Lock:
        """The lock of a caller whose bodies are inflated one after the other."""
        return self._inflate_locks.setdefault(caller, asyncio.Lock())

    def read(
        self, headers: Headers, receive: Receive, bytes_max: int, budget: BodyBudget, caller: str
    ) -> _BodyContext:
        """Read a body: returns an async context manager that yields the inflated body.

        It yields None if the sender disconnected before the end. The memory of the body is in use
        until the context ends. Entering the context raises

            BodyRejected: 413 if the body is larger than `bytes_max`, 408 if it takes too long, 503
                if too many bodies are in memory.
        """
        return _BodyContext(self, headers, receive, bytes_max, IncompleteBody(budget, caller))


class _BodyContext:
    """The context manager of BodyLimiter.read."""

    def __init__(
        self,
        limiter: BodyLimiter,
        headers: Headers,
        receive: Receive,
        bytes_max: int,
        memory: IncompleteBody,
    ) -> None:
        self._limiter = limiter
        self._headers = headers
        self._receive = receive
        self._bytes_max = bytes_max
        self._memory = memory
        self._is_rejected = False
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> bytes | None:
        self._memory.on_reject = self._reject
        try:
            body = await self._read_in_time()
        except BaseException:
            self._memory.release()
            raise
        self._memory.complete()
        return body

    async def __aexit__(self, *_: object) -> None:
        self._memory.release()

    async def _read_in_time(self) -> bytes | None:
        reading = EagerCoroutine(self._read())
        if reading.is_done:
            if self._is_rejected:
                raise too_many_bodies()
            return reading.result
        if self._memory.size or not self._memory.must_wait:  # otherwise it has not begun
            self._memory.begin()
        try:
            async with asyncio.timeout(self._limiter.timeout_s) as self._timeout:
                if self._is_rejected:
                    self._reject()
                return await reading
        except TimeoutError:
            if self._is_rejected:
                raise too_many_bodies() from None
            message = f"The body took longer than {self._limiter.timeout_s:g} s."
            raise BodyRejected(408, message) from None

    def _reject(self) -> None:
        """End the reading now: others need the memory."""
        self._is_rejected = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def _read(self) -> bytes | None:
        bytes_max = self._bytes_max
        length = header(self._headers, b"content-length")
        if length.isdigit() and int(length) > bytes_max:
            raise _too_large(bytes_max)
        if self._memory.must_wait:
            await self._wait_for_room()
            self._memory.begin()
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                return None
            part: bytes = event.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            parts.append(part)
            if not event.get("more_body", False):
                self._memory.add_last(len(part))
                break
            self._memory.add(len(part))
            if self._memory.must_wait:
                await self._wait_for_room()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if body and header(self._headers, b"content-encoding").lower() == b"gzip":
            # One at a time of each caller: many at once would delay everybody between two steps.
            async with self._limiter.inflate_lock(self._memory.caller):
                return await self._inflate(body)
        return body

    async def _inflate(self, body: bytes) -> bytes:
        parts: list[bytes] = []
        try:
            for part in inflate_in_steps(body, self._bytes_max):
                self._memory.add(len(part))
                parts.append(part)
                if self._memory.must_wait:
                    await self._wait_for_room()
                await asyncio.sleep(0)
        except InflatedTooLarge:
            raise _too_large(self._bytes_max) from None
        return b"".join(parts)

    async def _wait_for_room(self) -> None:
        await self._memory.wait_for_room(self._limiter.budget_timeout_s)


class BodyLimitMiddleware:
    """Reads each body, of at most `bytes_max`, completely before it calls the app."""

    def __init__(
        self, app: ASGIApp, body_limiter: BodyLimiter, bytes_max: int = API_BYTES_MAX
    ) -> None:
        self._app = app
        self._body_limiter = body_limiter
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request with its body, or reject it."""
        if scope["type"] != "http" or scope["method"] in _METHODS_WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        is_stranger = current_permissions.get(NOTHING) == NOTHING
        budget = self._body_limiter.strangers if is_stranger else self._body_limiter.readers
        body_context = self._body_limiter.read(
            scope["headers"], receive, self._bytes_max, budget, client_host(scope)
        )
        try:
            async with body_context as body:
                if body is not None:
                    await self._app(scope, _replay(body, receive), send)
        except BodyRejected as rejection:
            await respond(send, rejection.status, str(rejection), [CLOSE])


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns this body first, and then the events after it."""
    events: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body}]

    async def receive_again() -> MutableMapping[str, Any]:
        return events.pop() if events else await receive()

    return receive_again


def _too_large(bytes_max: int) -> BodyRejected:
    return BodyRejected(413, f"The body is larger than {bytes_max} bytes.")
