"""Bodies of requests: of bounded size, within bounded time, and not too many at once."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import MutableMapping
from typing import Any

from app.support.aio import EagerCoroutine
from app.support.asgi import ASGIApp, Headers, Receive, Scope, Send, header, respond

API_BYTES_MAX = 64 * 1024  # the longest is a list of apps
CLOSE = (b"connection", b"close")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_WITHIN_S = 30.0  # Logplex gives up after 5
IN_HAND_BYTES_MAX = 64 * 2**20
ROOM_WITHIN_S = 4.0  # as long as a batch waits for its store
_INFLATE_STEP_BYTES = 2**16  # damage costs at most so much of what came before it
_ROOM_POLL_S = 0.01
_SMALL_BYTES = 2**20  # ten of Logplex's
_CHUNKED_ROOM_BYTES = 128 * 1024  # taken for a body that does not say how large it is


class BodyRejected(Exception):
    """The body is answered with this status and sentence, and its connection closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class BodyLimiter:
    """Reads bodies. All those in hand together stay below `in_hand_bytes_max`: whoever finds no
    room does not read on, so that TCP holds the sender back. Large ones get half of it, so that
    they never keep Logplex's out.
    """

    def __init__(
        self,
        *,
        within_s: float = BODY_WITHIN_S,
        in_hand_bytes_max: int = IN_HAND_BYTES_MAX,
        room_within_s: float = ROOM_WITHIN_S,
    ) -> None:
        self.within_s = within_s
        self._in_hand_bytes_max = in_hand_bytes_max
        self._room_within_s = room_within_s
        self.in_hand_bytes = 0

    def body(self, headers: Headers, receive: Receive, bytes_max: int) -> _Reading:
        """A context that gives the whole body, inflated; None when the sender went away before its
        end. It is in hand until the context ends, which raises, as it begins:

            BodyRefused: 413 when it is larger than `bytes_max`, 408 when it takes too long, 503
                when too many are in hand.
        """
        return _Reading(self, headers, receive, bytes_max)

    async def read_in_time(
        self, headers: Headers, receive: Receive, bytes_max: int, room: _BodyBudget
    ) -> bytes | None:
        """The body as it was sent."""
        reading = EagerCoroutine(self._read(headers, receive, bytes_max, room))
        if reading.is_done:
            return reading.result
        try:
            async with asyncio.timeout(self.within_s):
                return await reading
        except TimeoutError:
            raise BodyRejected(408, f"The body took longer than {self.within_s:g} s.") from None

    def take_at_once(self, size: int) -> bool:
        """Take room for a body of so many bytes; False when there is none now."""
        if self.in_hand_bytes + size > self._in_hand_bytes_max:
            return False
        self.in_hand_bytes += size
        return True

    def release(self, size: int) -> None:
        """What a body took is free again."""
        self.in_hand_bytes -= size

    async def _read(
        self, headers: Headers, receive: Receive, bytes_max: int, room: _BodyBudget
    ) -> bytes | None:
        declared = header(headers, b"content-length")
        if declared.isdigit() and int(declared) > bytes_max:
            raise _too_large(bytes_max)
        await room.grow_to(int(declared) if declared.isdigit() else _CHUNKED_ROOM_BYTES)
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
            await room.grow_to(size)
            parts.append(part)
            if not event.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def wait_for(self, more: int, size: int) -> None:
        """Take so many bytes more for a body that will then have `size`.

        Raises:
            BodyRefused: 503.
        """
        share = 1 if size <= _SMALL_BYTES else 2
        waited_s = 0.0
        while self.in_hand_bytes + more > self._in_hand_bytes_max // share:
            if waited_s > self._room_within_s:
                raise BodyRejected(503, "Too many bodies at once: try again in some seconds.")
            await asyncio.sleep(_ROOM_POLL_S)
            waited_s += _ROOM_POLL_S
        self.in_hand_bytes += more


class _Reading:
    """See Bodies.body."""

    def __init__(
        self, bodies: BodyLimiter, headers: Headers, receive: Receive, bytes_max: int
    ) -> None:
        self._bodies = bodies
        self._headers = headers
        self._receive = receive
        self._bytes_max = bytes_max
        self._room = _BodyBudget(bodies)

    async def __aenter__(self) -> bytes | None:
        try:
            body = await self._bodies.read_in_time(
                self._headers, self._receive, self._bytes_max, self._room
            )
            if body and header(self._headers, b"content-encoding").lower() == b"gzip":
                body = inflated(body, self._bytes_max)
                await self._room.grow_to(len(body))
        except BaseException:
            self._bodies.release(self._room.size)
            raise
        return body

    async def __aexit__(self, *_: object) -> None:
        self._bodies.release(self._room.size)


class _BodyBudget:
    """What one body takes of the room."""

    def __init__(self, bodies: BodyLimiter) -> None:
        self._bodies = bodies
        self.size = 0

    async def grow_to(self, size: int) -> None:
        if size > self.size:
            await self._bodies.wait_for(size - self.size, size)
            self.size = size


class BodyLimitMiddleware:
    """Hands an app whole bodies of at most `bytes_max`, read before it is asked."""

    def __init__(self, app: ASGIApp, bodies: BodyLimiter, bytes_max: int = API_BYTES_MAX) -> None:
        self._app = app
        self._bodies = bodies
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        try:
            async with self._bodies.body(scope["headers"], receive, self._bytes_max) as body:
                if body is not None:
                    await self._app(scope, _replayed(body, receive), send)
        except BodyRejected as refusal:
            await respond(send, refusal.status, f"{refusal}\n", [CLOSE])


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, and then what comes after it."""
    events: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body}]

    async def again() -> MutableMapping[str, Any]:
        return events.pop() if events else await receive()

    return again


def inflated(body: bytes, bytes_max: int) -> bytes:
    """What is whole of a gzip body, of all its members; a damaged rest is missing from it and shows
    as lost against Msg-Count. b"\\0", which no message begins with, when nothing is whole.

    Raises:
        BodyRefused: 413 when it is larger than `bytes_max`; no more than that was inflated.
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
    return BodyRejected(413, f"A body may have {bytes_max} bytes at most.")
