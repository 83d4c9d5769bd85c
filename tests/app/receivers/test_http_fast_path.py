"""POSTs to the drain that the protocol takes at once: they are answered as the drain itself does,
whatever else happens on their connection.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.config import Settings
from app.receivers.http_drain import AT_ONCE_BYTES_MAX, DrainEndpoint
from app.receivers.http_protocol import ConnectionLimits
from app.receivers.request_body import BodyLimiter
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import unpack
from app.rollup.rollup import Rollup
from app.service.asgi import Routed, build_app
from app.storage.interface import HEADER_BYTES, StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import NOW_S, Clock, lifespan
from tests.support.wire import Wire, wire_to

LINES = 4
BODY = router(NOW_S - 1) * LINES


class Watched:
    """A service on the wire, and how many POSTs were taken at once."""

    def __init__(
        self, wire: Wire, store: MemoryStore, clock: Clock, endpoint: DrainEndpoint
    ) -> None:
        self.wire = wire
        self.clock = clock
        self.store = store
        self.taken = 0
        self._take = endpoint.submit_body
        endpoint.submit_body = self._counted  # type: ignore[method-assign]

    def _counted(self, *post: Any, **named: Any) -> None:
        self.taken += 1
        self._take(*post, **named)

    async def batches(self) -> int:
        return len(await self.store.read_inbox("shop", 1_000))

    async def books(self) -> dict[str, int]:
        """All that lies in the inbox."""
        total = Rollup()
        for element in await self.store.read_inbox("shop", 1_000):
            for _, packed in unpack_batch(element[HEADER_BYTES:]):
                total.merge(unpack(packed))
        return total.ledger


@asynccontextmanager
async def service(store: MemoryStore | None = None, **environ: str) -> AsyncIterator[Watched]:
    clock = Clock()
    store = store or MemoryStore(clock)
    settings = {"DYNOMETER_SPOOL_MAX_BYTES": "0", "DYNOMETER_COMMIT_WAIT": "1s", **environ}
    app = build_app(Settings.from_environ(settings), store, clock)
    assert isinstance(app, Routed)
    async with lifespan(app), wire_to(app, ConnectionLimits()) as wire:
        yield Watched(wire, store, clock, app.drain)


def post(
    body: bytes = BODY, *headers: bytes, version: bytes = b"1.1", frame_id: bytes = b""
) -> bytes:
    credentials = base64.b64encode(b"shop:any")
    head = [
        b"POST /drain HTTP/" + version,
        b"Host: localhost",
        b"Authorization: Basic " + credentials,
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    if frame_id:
        head.append(b"Logplex-Frame-Id: " + frame_id)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CLOSE = b"Connection: close"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + CLOSE + b"\r\n\r\n"


async def test_a_usual_post_is_taken_at_once_and_answered_as_logplex_needs() -> None:
    async with service() as at:
        answer = await at.wire.ask(post(BODY, CLOSE))
        assert at.taken == await at.batches() == 1
    head = answer.lower()
    assert head.startswith(b"http/1.1 200 ok\r\n")
    assert b"\r\ncontent-length: 0\r\n" in head
    assert b"\r\nconnection: close\r\n" in head
    assert re.search(rb"\r\ndate: [^\r]+ gmt\r\n", head)
    assert head.endswith(b"\r\n\r\n")


async def test_a_connection_goes_on_and_a_batch_in_any_pieces_counts_once() -> None:
    async with service() as at:
        reader, writer = await at.wire.connect()
        for size in (7, 100, 10_000):
            sent = post(frame_id=b"%d" % size)
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            for _ in range(2):
                async with asyncio.timeout(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                writer.write(sent)  # the same again
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert at.taken >= 6  # those that came whole, at the least
        assert await at.batches() == 3 + 6  # each duplicate is a note in the ledger
        books = await at.books()
        assert books == {"received": 3 * LINES, "counted": 3 * LINES, "duplicate": 6 * LINES}


@pytest.mark.parametrize("posts", [2, 5])
async def test_requests_in_a_row_are_answered_in_order(posts: int) -> None:
    async with service() as at:
        assert await at.wire.statuses(post() * posts + GET) == [200] * (posts + 1)
        assert await at.batches() == posts
        answer = await at.wire.ask(post() + GET)
        assert answer.endswith(b"ok\n")


async def test_behind_a_request_that_had_to_wait_the_connection_goes_on() -> None:
    kept = GET.replace(b"Connection: close\r\n", b"")
    async with service() as at:
        reader, writer = await at.wire.connect()
        for _ in range(3):  # while the POST is on its way, nothing more is read
            writer.write(post() + kept)
            for _ in range(2):
                async with asyncio.timeout(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            async with asyncio.timeout(20):
                assert await reader.readexactly(3) == b"ok\n"
        writer.close()
        assert await at.batches() == 3


UNUSUAL: dict[str, Callable[[], bytes]] = {
    "HTTP/1.0": lambda: post(version=b"1.0"),
    "gzip": lambda: post(gzip.compress(BODY), b"Content-Encoding: gzip", CLOSE),
    "no body": lambda: post(b"", CLOSE),
    "a large body": lambda: post(BODY * (AT_ONCE_BYTES_MAX // len(BODY) + 1), CLOSE),
    "who waits to be asked": lambda: post(BODY, b"Expect: 100-continue", CLOSE),
}


@pytest.mark.parametrize("name", UNUSUAL)
async def test_what_is_not_usual_is_taken_the_long_way(name: str) -> None:
    async with service() as at:
        assert (await at.wire.statuses(UNUSUAL[name]()))[-1] == 200
        assert at.taken == 0
        assert await at.batches() == (0 if name == "no body" else 1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post().replace(b"Host: localhost", b"Host: evil.example"), 403),
        (post(BODY, b"Origin: http://evil.example"), 403),
        (post().replace(b"POST", b"PUT "), 405),
        (post().replace(b"Basic ", b"Basic !"), 401),
    ],
)
async def test_who_may_not_send_is_refused_as_ever(sent: bytes, status: int) -> None:
    async with service() as at:
        assert await at.wire.statuses(sent + GET) in ([status], [status, 200])
        assert (at.taken, await at.batches()) == (0, 0)


async def test_with_secrets_a_wrong_one_is_refused_and_the_right_one_taken_at_once() -> None:
    token = "a token of sixteen or more"
    async with service(DYNOMETER_ADMIN_TOKEN=token, DYNOMETER_PUBLIC_URL="https://m.example") as at:
        admin = b"Authorization: Bearer " + token.encode()
        asked = (
            b"POST /api/v1/drains HTTP/1.1\r\nHost: m.example\r\n" + admin + b"\r\n" + CLOSE
            + b"\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
            + b'{"apps":["shop"]}'
        )  # fmt: skip
        answer = await at.wire.ask(asked)
        match = re.search(rb"shop:([^@]+)@", answer)
        assert match
        right = base64.b64encode(b"shop:" + match[1])
        wrong = base64.b64encode(b"shop:" + match[1][::-1])
        usual = base64.b64encode(b"shop:any")
        at.clock.now_s += 5  # until which a worker may not know of it
        assert await at.wire.statuses(post(BODY, CLOSE).replace(usual, wrong)) == [401]
        assert await at.wire.statuses(post(BODY, CLOSE).replace(usual, right)) == [200]
        assert at.taken == await at.batches() == 1


class Away(MemoryStore):
    """A store that takes nothing."""

    async def append_coalesced(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the store is away")


async def test_when_nothing_can_take_it_a_batch_is_refused_for_now() -> None:
    async with service(Away(Clock())) as at:
        answer = await at.wire.ask(post(BODY, CLOSE))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in answer
    assert answer.endswith(b"the store is away\n")


async def test_a_body_that_does_not_come_is_given_up_and_a_sender_that_goes_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[BodyLimiter] = []

    class Hurried(BodyLimiter):
        def __init__(self) -> None:
            super().__init__(within_s=0.2)
            made.append(self)

    monkeypatch.setattr("app.service.asgi.BodyLimiter", Hurried)
    async with service() as at:
        answer = await at.wire.ask(post()[:-10])
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        _, writer = await at.wire.connect()
        writer.write(post()[:-10])
        await writer.drain()
        writer.close()
        async with asyncio.timeout(20):
            while made[0].in_hand_bytes or at.wire.server.server_state.connections:
                await asyncio.sleep(0.01)
        assert (at.taken, await at.batches()) == (0, 0)
