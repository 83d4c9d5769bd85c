"""Limits on clients that are not authenticated yet."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.receivers.connection_guard import ConnectionGuard, ConnectionLimits, peer_of
from app.receivers.request_body import BodyLimiter
from app.service.asgi import build_app
from app.storage.memory import MemoryStore
from app.support.rejections import Rejections
from tests.support.lines import router
from tests.support.service import Clock, lifespan, private_settings
from tests.support.wire import USUAL, Wire, wire_to

HEAD = b"Host: localhost\r\nAuthorization: Basic c2hvcDp4\r\n"
CLOSE = b"Connection: close\r\n"
SHORT_TIMEOUTS = ConnectionLimits(head_timeout_s=0.2, unread_timeout_s=0.2)


@asynccontextmanager
async def service(
    limits: ConnectionLimits = USUAL, *, keep_alive_s: int = 60
) -> AsyncIterator[tuple[Wire, MemoryStore]]:
    store = MemoryStore(Clock())
    with private_settings(DYNOMETER_SPOOL_MAX_BYTES="0") as settings:
        app = build_app(settings, store, Clock())
        async with lifespan(app), wire_to(app, limits, keep_alive_s=keep_alive_s) as wire:
            yield wire, store


def drain(*headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /drain HTTP/1.1\r\n" + HEAD + b"".join(headers) + b"\r\n" + body


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "a length and chunks": drain(
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\nG"
    ),
    "chunks and a length": drain(
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", body=b"5c\r\nGPOST / HTTP/1.1\r\n"
    ),
    "chunks and another coding": drain(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", body=b"0\r\n\r\n"
    ),
    "an unknown coding": drain(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"),
    "two lengths": drain(b"Content-Length: 0\r\nContent-Length: 5\r\n", body=b"hello"),
    "a list of lengths": drain(b"Content-Length: 5, 5\r\n", body=b"hello"),
    "a length with a sign": drain(b"Content-Length: +5\r\n", body=b"hello"),
    "a folded header": HEALTH + b"X: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "a bare carriage return": drain(b"Logplex-Frame-Id: a\rX-Evil: 1\r\nContent-Length: 0\r\n"),
    "a zero byte in a header": HEALTH + b"X: a\0b\r\n\r\n",
    "a zero byte in the target": b"GET /heal\0thz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a chunk size that is none": drain(b"Transfer-Encoding: chunked\r\n", body=b"zz\r\nhi\r\n"),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two hosts": HEALTH + b"Host: evil.example.com\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_ambiguous_requests_are_rejected_and_the_connection_closed(name: str) -> None:
    async with service() as (wire, _):
        raw_request = MALFORMED[name] + b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = await wire.ask(raw_request)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json\r\n" in answer
        assert b"evil" not in answer.lower()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with service() as (wire, _):
        answers = await wire.ask(
            HEALTH + b"\r\nGET /version HTTP/1.1\r\nHost: localhost\r\n" + CLOSE + b"\r\n"
        )
        assert answers.index(b"ok\n") < answers.index(b'"dynometer"')


async def test_a_chunked_body_counts_like_any_other() -> None:
    frame = router()
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in (frame[:9], frame[9:]))
    async with service() as (wire, store):
        raw_request = drain(b"Transfer-Encoding: chunked\r\n", CLOSE, body=chunks + b"0\r\n\r\n")
        assert await wire.statuses(raw_request) == [200]
        assert await store.inbox_lengths(["shop"]) == {"shop": 1}


@pytest.mark.parametrize(
    "head",
    [
        HEALTH + b"X: " + b"a" * 10_000_000,
        HEALTH + b"X: a\r\n" * 100_000,
        HEALTH + b"X: a\r\n" * 8_000 + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 10_000_000,
    ],
    ids=["one header", "many headers", "a whole head", "a whole target", "a target"],
)
async def test_a_head_that_is_too_large_is_rejected(head: bytes) -> None:
    async with service() as (wire, _):
        reader, writer = await wire.connect()
        writer.write(head)
        answer = await reader.read(64)
        assert answer.startswith(b"HTTP/1.1 431 ")
        writer.close()
        assert await wire.statuses(HEALTH + CLOSE + b"\r\n") == [200]


async def test_a_head_of_normal_size_in_small_pieces_is_served() -> None:
    head = HEALTH + b"Cookie: " + b"c" * 8_000 + b"\r\n" + CLOSE + b"\r\n"
    async with service() as (wire, _):
        reader, writer = await wire.connect()
        for start in range(0, len(head), 500):
            writer.write(head[start : start + 500])
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize("raw_request", [b"G", HEALTH, HEALTH + b"\r\nG"])
async def test_a_head_that_does_not_end_times_out(raw_request: bytes) -> None:
    async with service(SHORT_TIMEOUTS) as (wire, _):
        assert (await wire.ask(raw_request)).count(b"HTTP/1.1 200") == raw_request.count(
            b"\r\n\r\n"
        )


@pytest.mark.parametrize("raw_request", [b"", b"\r\n", b"\r\n\r\n\r\n"])
async def test_a_connection_without_a_request_is_closed(raw_request: bytes) -> None:
    async with service(keep_alive_s=1) as (wire, _):
        assert await wire.ask(raw_request) == b""


async def test_a_body_that_continues_after_its_answer_is_cut_off() -> None:
    async with service() as (wire, _):
        raw_request = HEALTH + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        assert await wire.statuses(raw_request) == [200]


async def test_an_answer_that_is_not_read_times_out() -> None:
    async def large(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})

    async with wire_to(large, SHORT_TIMEOUTS) as wire:
        _, writer = await wire.connect()
        writer.write(HEALTH + b"\r\n")
        await writer.drain()
        state = wire.server.server_state
        async with asyncio.timeout(20):
            while not state.total_requests and not state.connections:
                await asyncio.sleep(0.001)
            while state.connections:
                await asyncio.sleep(0.01)
        writer.close()


async def test_idle_connections_are_evicted_for_new_ones() -> None:
    async with service(ConnectionLimits(connections_max=50)) as (wire, _):
        connections = [await wire.connect() for _ in range(200)]
        for _ in range(20):
            assert await wire.statuses(HEALTH + CLOSE + b"\r\n") == [200]
        assert len(wire.server.server_state.connections) <= 51
        for _, writer in connections:
            writer.close()


async def test_a_post_is_answered_among_hundreds_of_idle_connections() -> None:
    async with service() as (wire, store):
        idle = [await wire.connect() for _ in range(400)]
        body = router()
        raw_request = drain(b"Content-Length: %d\r\n" % len(body), CLOSE, body=body)
        assert await wire.statuses(raw_request) == [200]
        assert await store.inbox_lengths(["shop"]) == {"shop": 1}
        for _, writer in idle:
            writer.close()


async def test_too_many_pipelined_requests_are_cut_off_after_the_answers() -> None:
    async with service() as (wire, _):
        statuses = await wire.statuses((HEALTH + b"\r\n") * 1_500)
        assert statuses == [200] * (USUAL.pipelined_max + 1)
        assert wire.guard.rejections.counts["pipeline"] == 1


async def test_too_many_headers_are_rejected() -> None:
    async with service() as (wire, _):
        answer = await wire.ask(HEALTH + b"X: a\r\n" * USUAL.head_fields_max + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_strangers_do_not_close_the_connection_of_a_sender() -> None:
    async with service(ConnectionLimits(connections_max=40)) as (wire, _):
        body = router()
        raw_request = drain(b"Content-Length: %d\r\n" % len(body), body=body)
        reader, writer = await wire.connect()
        for _ in range(2):
            writer.write(raw_request)
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            for _, stranger in await wire.connect_many(100):
                stranger.write(b"GET / HTTP/1.1\r\nHost:")
        writer.write(raw_request)
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        assert wire.guard.rejections.counts["connections"] > 0


async def test_no_more_is_read_while_chunks_wait_to_be_parsed() -> None:
    async with service() as (wire, _):
        chunks = b"1\r\nx\r\n" * 150_000 + b"0\r\n\r\n"
        request = drain(b"Transfer-Encoding: chunked\r\n", CLOSE, body=chunks)
        answers = asyncio.gather(*(wire.statuses(request) for _ in range(8)))
        peak_bytes = 0
        while not answers.done():
            peak_bytes = max(peak_bytes, wire.guard.buffered_bytes)
            await asyncio.sleep(0)
        assert answers.result() == [[200]] * 8
        assert peak_bytes < 3 * 2**20  # of 7


async def test_a_body_that_no_app_reads_goes_with_its_answer() -> None:
    async with service() as (wire, _):
        reader, writer = await wire.connect()
        writer.write(HEALTH + b"Content-Length: 60000\r\n\r\n" + bytes(60_000))
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
            while wire.guard.buffered_bytes:
                await asyncio.sleep(0.01)
        writer.close()


async def test_bodies_that_wait_for_memory_go_with_their_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SmallLimiter(BodyLimiter):
        def __init__(self, rejections: Rejections) -> None:
            super().__init__(rejections, sender_bytes_max=1_000, budget_timeout_s=20)

    monkeypatch.setattr("app.service.asgi.BodyLimiter", SmallLimiter)
    requests, sent_bytes = 20, 60_000
    head = drain(b"Dynometer-Replay: 1\r\n", b"Content-Length: 120000\r\n")
    async with service() as (wire, _):
        tracemalloc.start()
        try:
            for _, writer in await wire.connect_many(requests):
                writer.write(head + bytes(sent_bytes))
            async with asyncio.timeout(20):
                while wire.guard.buffered_bytes < (requests - 1) * sent_bytes:
                    await asyncio.sleep(0.01)
                await wire.close_all()
                while wire.server.server_state.connections:
                    await asyncio.sleep(0.01)
            held_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held_bytes < requests * sent_bytes / 2


async def test_data_that_waits_in_connections_is_bounded() -> None:
    limits = ConnectionLimits(buffered_bytes_max=100_000)
    async with service(limits) as (wire, _):
        partial_head = HEALTH + b"X: " + b"x" * 20_000
        for _, writer in await wire.connect_many(20):
            writer.write(partial_head)
        assert await wire.statuses(HEALTH + CLOSE + b"\r\n") == [200]
        async with asyncio.timeout(20):
            while wire.guard.rejections.counts["buffers"] < 10:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("field", [b"Connection", b"Proxy-Connection"])
@pytest.mark.parametrize("more", [b"", b"Dynometer-Replay: 1\r\n"])
async def test_a_client_may_ask_to_close_the_connection(field: bytes, more: bytes) -> None:
    async with service() as (wire, _):
        body = router()
        head = drain(b"Content-Length: %d\r\n" % len(body), field + b": close\r\n", more)
        assert await wire.statuses(head + body) == [200]


async def test_behind_a_trusted_proxy_the_peer_is_the_client_that_it_names() -> None:
    guard = ConnectionGuard(USUAL, Rejections(), ["10.0.0.0/8"])
    assert guard.is_trusted("10.1.2.3")
    assert not guard.is_trusted("192.0.2.1")
    assert guard.forwarded_host(b"198.51.100.1, 192.0.2.1, 10.0.0.7") == "192.0.2.1"
    every_proxy = ConnectionGuard(USUAL, Rejections(), ["*"])
    assert every_proxy.forwarded_host(b"198.51.100.1, 192.0.2.1") == "192.0.2.1"
    assert peer_of("2001:db8::1") == peer_of("2001:db8::2") != peer_of("2001:db8:1::1")
