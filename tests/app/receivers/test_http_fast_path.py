"""POSTs on the fast path get the same answers as from the ASGI app."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.ingest.drain_post import SMALL_BYTES
from app.receivers.connection_guard import ConnectionLimits
from app.receivers.http_drain import DrainEndpoint
from app.receivers.request_body import BodyLimiter
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import unpack
from app.rollup.rollup import Rollup
from app.service.asgi import DrainRouter, build_app
from app.storage.interface.elements import HEADER_BYTES
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.support.rejections import Rejections
from tests.support.garbage import without_collector
from tests.support.lines import router
from tests.support.service import NOW_S, Clock, lifespan, private_settings
from tests.support.store_calls import read_inbox
from tests.support.wire import Wire, wire_to

LINES = 4
BODY = router(NOW_S - 1) * LINES


class WatchedService:
    """A service on the wire, which counts the POSTs on the fast path."""

    def __init__(self, wire: Wire, store: Store, clock: Clock, endpoint: DrainEndpoint) -> None:
        self.wire = wire
        self.clock = clock
        self.store = store
        self.fast_posts = 0
        self.body_budget = endpoint.body_budget
        self._submit_body = endpoint.submit_body
        endpoint.submit_body = self._count  # type: ignore[method-assign]

    def _count(self, *args: Any, **kwargs: Any) -> int:
        self.fast_posts += 1
        return self._submit_body(*args, **kwargs)

    async def batches(self) -> int:
        return len(await read_inbox(self.store, "shop", 1_000))

    async def ledger(self) -> dict[str, int]:
        """The ledger of everything in the inbox."""
        total = Rollup()
        for element in await read_inbox(self.store, "shop", 1_000):
            for _, data in unpack_batch(element[HEADER_BYTES:]):
                total.merge(unpack(data))
        return total.ledger


@asynccontextmanager
async def service(store: Store | None = None, **environ: str) -> AsyncIterator[WatchedService]:
    clock = Clock()
    store = store or MemoryStore(clock)
    environ = {"DYNOMETER_SPOOL_MAX_BYTES": "0", "DYNOMETER_COMMIT_WAIT": "1s", **environ}
    with private_settings(**environ) as settings:
        app = build_app(settings, store, clock, monotonic=clock)
        assert isinstance(app, DrainRouter)
        async with lifespan(app), wire_to(app, ConnectionLimits()) as wire:
            yield WatchedService(wire, store, clock, app.drain)


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


async def test_a_common_post_takes_the_fast_path_and_is_answered_as_logplex_needs() -> None:
    async with service() as at:
        answer = await at.wire.ask(post(BODY, CLOSE))
        assert at.fast_posts == await at.batches() == 1
    head = answer.lower()
    assert head.startswith(b"http/1.1 200 ok\r\n")
    assert b"\r\ncontent-length: 0\r\n" in head
    assert b"\r\nconnection: close\r\n" in head
    assert re.search(rb"\r\ndate: [^\r]+ gmt\r\n", head)
    assert head.endswith(b"\r\n\r\n")


async def test_a_batch_in_any_pieces_counts_once_and_the_connection_continues() -> None:
    async with service() as at:
        reader, writer = await at.wire.connect()
        for size in (7, 100, 10_000):
            raw_request = post(frame_id=b"%d" % size)
            for start in range(0, len(raw_request), size):
                writer.write(raw_request[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            for _ in range(2):
                async with asyncio.timeout(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                writer.write(raw_request)  # the same again
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert at.fast_posts >= 6  # at least those that came in one piece
        assert await at.batches() == 3 + 6  # each duplicate is a ledger entry
        ledger = await at.ledger()
        assert ledger == {"received": 3 * LINES, "counted": 3 * LINES, "duplicate": 6 * LINES}


@pytest.mark.parametrize("posts", [2, 5])
async def test_pipelined_requests_are_answered_in_order(posts: int) -> None:
    async with service() as at:
        assert await at.wire.statuses(post() * posts + GET) == [200] * (posts + 1)
        assert await at.batches() == posts
        answer = await at.wire.ask(post() + GET)
        assert answer.endswith(b"ok\n")


async def test_the_connection_continues_after_a_request_that_waited() -> None:
    keep_alive_get = GET.replace(b"Connection: close\r\n", b"")
    async with service() as at:
        reader, writer = await at.wire.connect()
        for _ in range(3):  # while the POST is committed, no more is read
            writer.write(post() + keep_alive_get)
            for _ in range(2):
                async with asyncio.timeout(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            async with asyncio.timeout(20):
                assert await reader.readexactly(3) == b"ok\n"
        writer.close()
        assert await at.batches() == 3


SLOW_PATH: dict[str, Callable[[], bytes]] = {
    "HTTP/1.0": lambda: post(version=b"1.0"),
    "gzip": lambda: post(gzip.compress(BODY), b"Content-Encoding: gzip", CLOSE),
    "no body": lambda: post(b"", CLOSE),
    "a sender that waits for 100": lambda: post(BODY, b"Expect: 100-continue", CLOSE),
}


async def test_a_large_body_is_aggregated_in_steps_and_counts_once() -> None:
    repeats = SMALL_BYTES // len(BODY) + 1
    raw_request = post(BODY * repeats, CLOSE, frame_id=b"1")
    async with service() as at:
        assert await at.wire.statuses(raw_request) == [200]
        assert await at.wire.statuses(raw_request) == [200]
        assert at.fast_posts == 2
        lines = LINES * repeats
        assert await at.ledger() == {"received": lines, "counted": lines, "duplicate": lines}


@pytest.mark.parametrize("name", SLOW_PATH)
async def test_uncommon_requests_take_the_slow_path(name: str) -> None:
    async with service() as at:
        assert (await at.wire.statuses(SLOW_PATH[name]()))[-1] == 200
        assert at.fast_posts == 0
        assert await at.batches() == (0 if name == "no body" else 1)


@pytest.mark.parametrize(
    ("raw_request", "status"),
    [
        (post().replace(b"Host: localhost", b"Host: evil.example"), 403),
        (post(BODY, b"Origin: http://evil.example"), 403),
        (post().replace(b"POST", b"PUT "), 405),
        (post().replace(b"Basic ", b"Basic !"), 401),
    ],
)
async def test_forbidden_requests_are_rejected_on_the_slow_path(
    raw_request: bytes, status: int
) -> None:
    async with service() as at:
        assert await at.wire.statuses(raw_request + GET) in ([status], [status, 200])
        assert (at.fast_posts, await at.batches()) == (0, 0)


async def test_with_secrets_only_the_right_one_takes_the_fast_path() -> None:
    token = "a token of sixteen or more"
    async with service(DYNOMETER_ADMIN_TOKEN=token, DYNOMETER_PUBLIC_URL="https://m.example") as at:
        admin = b"Authorization: Bearer " + token.encode()
        add_drain = (
            b"POST /api/v1/drains HTTP/1.1\r\nHost: m.example\r\n" + admin + b"\r\n" + CLOSE
            + b"\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
            + b'{"apps":["shop"]}'
        )  # fmt: skip
        answer = await at.wire.ask(add_drain)
        match = re.search(rb"shop:([^@]+)@", answer)
        assert match
        right = base64.b64encode(b"shop:" + match[1])
        wrong = base64.b64encode(b"shop:" + match[1][::-1])
        usual = base64.b64encode(b"shop:any")
        at.clock.now_s += 5  # a worker may not know the secret before
        assert await at.wire.statuses(post(BODY, CLOSE).replace(usual, wrong)) == [401]
        assert await at.wire.statuses(post(BODY, CLOSE).replace(usual, right)) == [200]
        assert at.fast_posts == await at.batches() == 1


class UnavailableStore(MemoryStore):
    """A store that rejects everything."""

    async def append_coalesced(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the store is down")


async def test_a_batch_is_answered_503_if_the_store_rejects_it() -> None:
    async with service(UnavailableStore(Clock())) as at:
        answer = await at.wire.ask(post(BODY, CLOSE))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in answer
    assert b"content-type: application/problem+json\r\n" in answer
    assert answer.endswith(b'"status": 503, "detail": "the store is down"}\n')


async def test_a_body_that_arrived_in_parts_is_released_without_a_search_for_cycles() -> None:
    body, posts = BODY * 100, 20
    async with service() as at:
        reader, writer = await at.wire.connect()
        with without_collector() as held_bytes:
            for _ in range(posts):
                writer.write(post(body)[:-10])
                async with asyncio.timeout(20):
                    while at.body_budget.used_bytes < len(body) - 10:
                        await asyncio.sleep(0)
                writer.write(body[-10:])
                async with asyncio.timeout(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert held_bytes() < posts * len(body) / 4
        writer.close()
        assert at.fast_posts == posts


async def test_an_incomplete_body_times_out_and_a_lost_sender_leaves_no_memory_reserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiters: list[BodyLimiter] = []

    class ImpatientLimiter(BodyLimiter):
        def __init__(self, rejections: Rejections) -> None:
            super().__init__(rejections, timeout_s=0.2)
            limiters.append(self)

    monkeypatch.setattr("app.service.asgi.BodyLimiter", ImpatientLimiter)
    async with service() as at:
        answer = await at.wire.ask(post()[:-10])
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        _, writer = await at.wire.connect()
        writer.write(post()[:-10])
        await writer.drain()
        writer.close()
        async with asyncio.timeout(20):
            while limiters[0].senders.used_bytes or at.wire.server.server_state.connections:
                await asyncio.sleep(0.01)
        assert (at.fast_posts, await at.batches()) == (0, 0)
