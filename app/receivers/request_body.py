"""Reads request bodies with limits on their size, their time, and the memory of all together."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import MutableMapping
from typing import Any

from app.support.aio import EagerCoroutine
from app.support.asgi import ASGIApp, Headers, Receive, Scope, Send, header, respond

API_BYTES_MAX = 64 * 1024  # the longest is a list of apps
CLOSE = (b"connection", b"close")
_METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_TIMEOUT_S = 30.0  # Logplex gives up after 5
RESERVED_BYTES_MAX = 64 * 2**20
BUDGET_TIMEOUT_S = 4.0  # as long as a batch waits for its store
_INFLATE_STEP_BYTES = 2**16  # damage costs at most this much of the data before it
_BUDGET_POLL_S = 0.01
_SMALL_BYTES = 2**20  # ten of Logplex's
_CHUNKED_BYTES = 128 * 1024  # reserved for a body that does not declare its size


class BodyRejected(Exception):
    """The request is answered with this status and message, and its connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BodyLimiter:
    """Reads bodies; all bodies in memory together stay below `reserved_bytes_max`.

    A body that finds no free memory is not read any further, so TCP slows its sender down. Large
    bodies may use only half of the memory, so that they never exclude those of Logplex.
    """

    def __init__(
        self,
        *,
        timeout_s: float = BODY_TIMEOUT_S,
        reserved_bytes_max: int = RESERVED_BYTES_MAX,
        budget_timeout_s: float = BUDGET_TIMEOUT_S,
    ) -> None:
        """
        Args:
            timeout_s: how long a body may take to arrive.
            budget_timeout_s: how long a body may wait for free memory.
        """
        self.timeout_s = timeout_s
        self._reserved_bytes_max = reserved_bytes_max
        self._budget_timeout_s = budget_timeout_s
        self.reserved_bytes = 0

    def read(self, headers: Headers, receive: Receive, bytes_max: int) -> _BodyContext:
        """Read a body: returns an async context manager that yields the inflated body.

        It yields None if the sender disconnected before the end. The memory of the body is
        reserved until the context ends. Entering the context raises

            BodyRejected: 413 if the body is larger than `bytes_max`, 408 if it takes too long, 503
                if too many bodies are in memory.
        """
        return _BodyContext(self, headers, receive, bytes_max)

    async def receive_in_time(
        self, headers: Headers, receive: Receive, bytes_max: int, budget: _BodyBudget
    ) -> bytes | None:
        """Receive a body as it was sent.

        Raises:
            BodyRejected: as in `read`.
        """
        reading = EagerCoroutine(self._receive(headers, receive, bytes_max, budget))
        if reading.is_done:
            return reading.result
        try:
            async with asyncio.timeout(self.timeout_s):
                return await reading
        except TimeoutError:
            raise BodyRejected(408, f"The body took longer than {self.timeout_s:g} s.") from None

    def try_reserve(self, size: int) -> bool:
        """Reserve memory for a body; False if there is not enough at present."""
        if not self._has_memory(size, size):
            return False
        self.reserved_bytes += size
        return True

    def release(self, size: int) -> None:
        """Release the memory of a body."""
        self.reserved_bytes -= size

    async def _receive(
        self, headers: Headers, receive: Receive, bytes_max: int, budget: _BodyBudget
    ) -> bytes | None:
        length = header(headers, b"content-length")
        if length.isdigit() and int(length) > bytes_max:
            raise _too_large(bytes_max)
        await budget.reserve(int(length) if length.isdigit() else _CHUNKED_BYTES)
        parts: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return None
            part: bytes = event.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            await budget.reserve(size)
            parts.append(part)
            if not event.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def reserve(self, more: int, size: int) -> None:
        """Reserve `more` bytes for a body that then has `size` bytes.

        Raises:
            BodyRejected: 503, there was not enough memory in time.
        """
        waiting_s = 0.0
        while not self._has_memory(more, size):
            if waiting_s > self._budget_timeout_s:
                raise BodyRejected(
                    503, "Too many request bodies in memory. Retry in a few seconds."
                )
            await asyncio.sleep(_BUDGET_POLL_S)
            waiting_s += _BUDGET_POLL_S
        self.reserved_bytes += more

    def _has_memory(self, more: int, size: int) -> bool:
        divisor = 1 if size <= _SMALL_BYTES else 2
        return self.reserved_bytes + more <= self._reserved_bytes_max // divisor


class _BodyContext:
    """The context manager of BodyLimiter.read."""

    def __init__(
        self, limiter: BodyLimiter, headers: Headers, receive: Receive, bytes_max: int
    ) -> None:
        self._limiter = limiter
        self._headers = headers
        self._receive = receive
        self._bytes_max = bytes_max
        self._budget = _BodyBudget(limiter)

    async def __aenter__(self) -> bytes | None:
        try:
            body = await self._limiter.receive_in_time(
                self._headers, self._receive, self._bytes_max, self._budget
            )
            if body and header(self._headers, b"content-encoding").lower() == b"gzip":
                body = inflate(body, self._bytes_max)
                await self._budget.reserve(len(body))
        except BaseException:
            self._limiter.release(self._budget.size)
            raise
        return body

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release(self._budget.size)


class _BodyBudget:
    """The memory that is reserved for one body."""

    def __init__(self, limiter: BodyLimiter) -> None:
        self._limiter = limiter
        self.size = 0

    async def reserve(self, size: int) -> None:
        """Increase the reservation to `size`; it never shrinks."""
        if size > self.size:
            await self._limiter.reserve(size - self.size, size)
            self.size = size


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
        try:
            async with self._body_limiter.read(scope["headers"], receive, self._bytes_max) as body:
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


def inflate(body: bytes, bytes_max: int) -> bytes:
    """Inflate a gzip body with all its members, up to the first damaged byte.

    The missing rest shows as lost, by comparison with Logplex-Msg-Count. If nothing can be
    inflated, the result is b"\\0", with which no message begins.

    Raises:
        BodyRejected: 413, it is larger than `bytes_max`; no more than that was inflated.
    """
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        inflater = zlib.decompressobj(wbits=31)
        while rest and not inflater.eof:
            try:
                part = inflater.decompress(rest, _INFLATE_STEP_BYTES)
            except zlib.error:
                return b"".join(parts) or b"\x00"
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            parts.append(part)
            rest = inflater.unconsumed_tail
            if not part and not rest:
                break
        rest = inflater.unused_data if inflater.eof else b""
    return b"".join(parts)


def _too_large(bytes_max: int) -> BodyRejected:
    return BodyRejected(413, f"The body is larger than {bytes_max} bytes.")
