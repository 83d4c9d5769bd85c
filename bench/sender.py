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
from typing import Any, NamedTuple, TypeVar, cast

import uvloop

from bench.traffic import Post, Totals

_T = TypeVar("_T")
_WITHIN_S = 600
_first_id = int.from_bytes(os.urandom(12), "big") << 32
_ids = iter(range(_first_id, _first_id + 2**32))


class Request(NamedTuple):
    """The bytes of a request before and after the frame id."""

    before_id: bytes
    after_id: bytes


class Connection(asyncio.Protocol):
    """A persistent connection with one POST in flight."""

    def __init__(self, on_idle: Callable[[Connection], None], on_failed: Callable[[str], None]):
        """
        Args:
            on_idle: called when the connection is open, and after each answer 200.
            on_failed: called with the reason for anything else.
        """
        self._on_idle = on_idle
        self._on_failed = on_failed
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._on_idle(self)

    def post(self, request: Request) -> None:
        """Send a request with a new frame id."""
        frame_id = b"%032X" % next(_ids)
        self._transport.writelines((request.before_id, frame_id, request.after_id))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"\r\n\r\n"):
            return
        status, self._answer = self._answer[9:12], b""
        if status == b"200":
            self._on_idle(self)
        else:
            self._on_failed(f"answered {status.decode()}")

    def connection_lost(self, reason: Exception | None) -> None:
        self._on_failed("connection lost")

    def close(self) -> None:
        """Close the connection."""
        self._on_failed = lambda reason: None
        self._transport.close()


def requests(
    posts: Sequence[Post], apps: int, prefix: str = "app", *, asgi: bool = False
) -> Iterator[Request]:
    """An endless series of POSTs from apps that take turns."""
    heads = [_head(f"{prefix}-{number}", asgi=asgi) for number in range(apps)]
    tails = [
        b"\r\nLogplex-Msg-Count: %d\r\nContent-Length: %d\r\n\r\n%b"
        % (post.lines, len(post.body), post.body)
        for post in posts
    ]
    number = 0
    while True:
        yield Request(heads[number % apps], tails[number % len(tails)])
        number += 1


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


def send(url: str, source: Iterator[Request], count: int, connections: int) -> float:
    """Send `count` requests; returns the seconds that it took. Each connection sends the next one
    as soon as its last one is answered.
    """
    with on_last_cpu():
        return run(_send(url, source, count, min(connections, count)))


async def _send(url: str, source: Iterator[Request], count: int, connections: int) -> float:
    completion: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    state = Counter(
        left=count, answered=-connections
    )  # each connection is idle once before its first answer

    def on_idle(connection: Connection) -> None:
        state["answered"] += 1
        if state["left"]:
            state["left"] -= 1
            connection.post(next(source))
        elif state["answered"] == count and not completion.done():
            completion.set_result(None)

    started_s = time.monotonic()
    async with OpenConnections(url, connections, on_idle, partial(fail, completion)):
        async with asyncio.timeout(_WITHIN_S):
            await completion
        return time.monotonic() - started_s


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
    ) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._where = host, int(port)
        self._open = [Connection(on_idle, on_failed) for _ in range(count)]

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
