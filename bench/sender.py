"""The load generator: as cheap as Python allows, so that two cores hold it and the service.

Its cost is never counted. Bodies are made in advance; each POST has its own Logplex-Frame-Id.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple, TypeVar, cast

import uvloop

from bench.traffic import Post, Totals

_T = TypeVar("_T")
_WITHIN_S = 600
_SPLIT_S = 0.001  # between head and body; without a pause the receiver often reads both at once
_first_id = int.from_bytes(os.urandom(12), "big") << 32
_ids = iter(range(_first_id, _first_id + 2**32))


class Request(NamedTuple):
    """The bytes of a request: its head before and after the frame id, and its body."""

    before_id: bytes
    after_id: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """A persistent connection with one POST in flight."""

    def __init__(
        self,
        on_idle: Callable[[Connection], None],
        on_failed: Callable[[str], None],
        *,
        is_split: bool = False,
    ) -> None:
        """
        Args:
            on_idle: called when the connection is open, and after each answer 200.
            on_failed: called with the reason for anything else.
            is_split: whether head and body are sent in separate packets.
        """
        self.on_idle = on_idle
        self.on_failed = on_failed
        self._is_split = is_split
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self.on_idle(self)

    def post(self, request: Request) -> None:
        """Send a request with a new frame id."""
        head = b"%b%032X%b" % (request.before_id, next(_ids), request.after_id)
        if self._is_split:
            self._transport.write(head)
            asyncio.get_running_loop().call_later(_SPLIT_S, self._transport.write, request.body)
        else:
            self._transport.writelines((head, request.body))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"\r\n\r\n"):
            return
        status, self._answer = self._answer[9:12], b""
        if status == b"200":
            self.on_idle(self)
        else:
            self.on_failed(f"answered {status.decode()}")

    def connection_lost(self, reason: Exception | None) -> None:
        self.on_failed("connection lost")

    def close(self) -> None:
        """Close the connection."""
        self.on_failed = lambda reason: None
        self._transport.close()


def requests(
    posts: Sequence[Post], apps: int, prefix: str = "app", *, asgi: bool = False
) -> Iterator[Request]:
    """An endless series of POSTs from apps that take turns."""
    return requests_by_connection(posts, apps, 1, prefix, asgi=asgi)[0]


def requests_by_connection(
    posts: Sequence[Post], apps: int, connections: int, prefix: str = "app", *, asgi: bool = False
) -> list[Iterator[Request]]:
    """An endless series of POSTs for each connection, of its apps in turn. The connections take
    their bodies from one series, so `sent_totals` knows what they have sent together.
    """
    heads = [_head(f"{prefix}-{number}", asgi=asgi) for number in range(apps)]
    tails = cycle(
        (
            b"\r\nLogplex-Msg-Count: %d\r\nContent-Length: %d\r\n\r\n"
            % (post.lines, len(post.body)),
            post.body,
        )
        for post in posts
    )
    return [
        map(_join, cycle(heads[number % apps :: connections]), tails)
        for number in range(connections)
    ]


def _join(before_id: bytes, tail: tuple[bytes, bytes]) -> Request:
    return Request(before_id, *tail)


def _head(app: str, *, asgi: bool) -> bytes:
    credentials = base64.b64encode(f"{app}:any".encode()).decode()
    return (
        "POST /drain HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Basic {credentials}\r\nContent-Type: application/logplex-1\r\n"
        f"Logplex-Drain-Token: d.{app}\r\nUser-Agent: Logplex/v73\r\n"
        + ("TE: trailers\r\n" if asgi else "")  # which the fast path does not accept
        + "Logplex-Frame-Id: "
    ).encode()


def sent_totals(posts: Sequence[Post], count: int) -> Totals:
    """The totals of the first `count` requests."""
    total = Totals()
    rounds, rest = divmod(count, len(posts))
    for index, post in enumerate(posts):
        total.add(post, rounds + (index < rest))
    return total


class Sender:
    """Open connections to one service."""

    def __init__(self, runner: asyncio.Runner, connections: Sequence[Connection]) -> None:
        self._runner = runner
        self._connections = connections

    def send(self, sources: Sequence[Iterator[Request]], count: int) -> float:
        """Send `count` requests, from one source per connection; returns the seconds that it took.
        Each connection sends the next one as soon as its last one is answered.
        """
        return self._runner.run(self._send(sources, count))

    async def _send(self, sources: Sequence[Iterator[Request]], count: int) -> float:
        completion: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        source_by_connection = dict(zip(self._connections, sources, strict=True))
        state = Counter(left=count, answered=0)

        def post_next(connection: Connection) -> None:
            if state["left"]:
                state["left"] -= 1
                connection.post(next(source_by_connection[connection]))

        def on_idle(connection: Connection) -> None:
            state["answered"] += 1
            post_next(connection)
            if state["answered"] == count and not completion.done():
                completion.set_result(None)

        started_s = time.monotonic()
        for connection in self._connections:
            connection.on_idle, connection.on_failed = on_idle, partial(fail, completion)
            post_next(connection)
        async with asyncio.timeout(_WITHIN_S):
            await completion
        return time.monotonic() - started_s


@contextmanager
def connected_sender(url: str, connections: int, *, is_split: bool = False) -> Iterator[Sender]:
    """A sender with open connections, on one CPU. `is_split`: as of Connection."""
    with on_last_cpu(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opening = OpenConnections(url, connections, _ignore, _ignore, is_split=is_split)
        open_connections = runner.run(opening.__aenter__())
        try:
            yield Sender(runner, open_connections)
        finally:
            runner.run(opening.__aexit__())


def _ignore(_: object) -> None:
    """A callback of a connection that is not in use."""


def fail(completion: asyncio.Future[None], reason: str) -> None:
    """End the run with an error."""
    if not completion.done():
        completion.set_exception(SystemExit(f"the run is void: {reason}"))


class OpenConnections:
    """A context manager of `count` open connections."""

    def __init__(
        self,
        url: str,
        count: int,
        on_idle: Callable[[Connection], None],
        on_failed: Callable[[str], None],
        *,
        is_split: bool = False,
    ) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._where = host, int(port)
        self._open = [Connection(on_idle, on_failed, is_split=is_split) for _ in range(count)]

    async def __aenter__(self) -> list[Connection]:
        loop = asyncio.get_running_loop()
        for connection in self._open:
            await loop.create_connection(lambda c=connection: c, *self._where)  # type: ignore[misc]
        return self._open

    async def __aexit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on uvloop, the cheapest event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def on_last_cpu() -> Iterator[None]:
    """Pin this process to one CPU for the duration."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)
