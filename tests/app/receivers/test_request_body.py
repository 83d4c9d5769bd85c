"""Request bodies are limited in size, time and number."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import httpx2
import pytest

from app.receivers.body_budget import OVERHEAD_BYTES, BodyBudget, BodyRejected, IncompleteBody
from app.receivers.request_body import STRANGERS_BYTES_MAX, BodyLimiter, BodyLimitMiddleware
from app.support.asgi import Headers, Receive
from app.support.rejections import Rejections
from tests.support.garbage import without_collector

MEBIBYTE = 2**20


def sending(*parts: bytes, ends: bool = True) -> Receive:
    """A sender of these parts, which then ends the body or falls silent."""
    events: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    if ends:
        events.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> MutableMapping[str, Any]:
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    return receive


def reading(
    limiter: BodyLimiter,
    receive: Receive,
    *,
    bytes_max: int = 1000,
    app: str = "shop",
    headers: Headers = (),
) -> AbstractAsyncContextManager[bytes | None]:
    return limiter.read(headers, receive, bytes_max, limiter.senders, app)


async def read(
    limiter: BodyLimiter, receive: Receive, *, bytes_max: int = 1000, **fields: str
) -> object:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    async with reading(limiter, receive, bytes_max=bytes_max, headers=headers) as body:
        return body


async def test_a_body_in_parts_is_read_completely() -> None:
    assert await read(BodyLimiter(), sending(b"a", b"", b"bc")) == b"abc"


async def test_a_sender_that_disconnects_leaves_no_body() -> None:
    async def disconnected() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    assert await read(BodyLimiter(), disconnected) is None


async def test_a_body_that_is_too_large_is_rejected_by_its_length_or_while_it_is_read() -> None:
    for receive, length in ((sending(ends=False), "1001"), (sending(b"x" * 1001), "")):
        with pytest.raises(BodyRejected, match="1000 bytes") as rejection:
            await read(BodyLimiter(), receive, content_length=length)
        assert rejection.value.status == 413


async def test_a_body_that_arrives_too_slowly_times_out() -> None:
    limiter = BodyLimiter(timeout_s=0.05)
    with pytest.raises(BodyRejected, match="longer") as rejection:
        await read(limiter, sending(b"x", ends=False))
    assert rejection.value.status == 408
    assert await read(limiter, sending(b"next")) == b"next"


async def test_a_body_waits_for_free_memory() -> None:
    limiter = BodyLimiter(senders_bytes_max=OVERHEAD_BYTES + 998)
    async with reading(limiter, sending(b"x" * 999), headers=[(b"content-length", b"999")]):
        second = asyncio.create_task(read(limiter, sending(b"second"), content_length="6"))
        await asyncio.sleep(0)
        assert not second.done()
    assert await second == b"second"


async def test_a_body_that_waits_too_long_for_memory_is_answered_503() -> None:
    limiter = BodyLimiter(senders_bytes_max=OVERHEAD_BYTES + 998, budget_timeout_s=0.03)
    async with reading(limiter, sending(b"x" * 999), headers=[(b"content-length", b"999")]):
        with pytest.raises(BodyRejected, match="Too many") as rejection:
            await read(limiter, sending(b"second"), content_length="6")
    assert rejection.value.status == 503
    assert await read(limiter, sending(b"third"), content_length="5") == b"third"


async def test_large_bodies_leave_memory_for_small_ones() -> None:
    limiter = BodyLimiter(senders_bytes_max=6 * MEBIBYTE, budget_timeout_s=0.03)
    large = [(b"content-length", b"%d" % (2 * MEBIBYTE))]

    def large_body(app: str) -> AbstractAsyncContextManager[bytes | None]:
        body = sending(bytes(2 * MEBIBYTE))
        return reading(limiter, body, bytes_max=4 * MEBIBYTE, app=app, headers=large)

    async with large_body("one"):
        with pytest.raises(BodyRejected, match="Too many"):
            async with large_body("other"):
                raise AssertionError("there is not enough memory for it")
        assert await read(limiter, sending(b"small"), content_length="5") == b"small"


async def test_rejected_bodies_release_their_memory() -> None:
    limiter = BodyLimiter(senders_bytes_max=MEBIBYTE // 2, budget_timeout_s=0.03)
    for _ in range(20):
        with pytest.raises(BodyRejected):
            await read(limiter, sending(b"x" * 1001))
    assert await read(limiter, sending(b"x" * 1000)) == b"x" * 1000


async def test_other_endpoints_accept_only_small_bodies() -> None:
    async def echo(scope: object, receive: Any, send: Any) -> None:
        event = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": event["body"]})

    app = BodyLimitMiddleware(echo, BodyLimiter(), bytes_max=10)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post("/", content=b"0123456789")).content == b"0123456789"
        assert (await client.post("/", content=b"01234567890")).status_code == 413
        assert (await client.get("/")).status_code == 200


async def test_bodies_that_are_declared_and_never_come_leave_memory_for_others() -> None:
    limiter = BodyLimiter()
    length = [(b"content-length", b"65536")]
    tasks = [
        asyncio.create_task(
            limiter.read(length, sending(ends=False), 65_536, limiter.strangers, "").__aenter__()
        )
        for _ in range(2_000)
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    assert limiter.strangers.used_bytes <= STRANGERS_BYTES_MAX
    assert await read(limiter, sending(b"x" * 999)) == b"x" * 999
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    rejected = [result for result in results if isinstance(result, BodyRejected)]
    assert {rejection.status for rejection in rejected} == {503}
    assert limiter.strangers.used_bytes == limiter.senders.used_bytes == 0


def test_of_an_apps_incomplete_bodies_only_the_oldest_may_exceed_its_share() -> None:
    budget = BodyBudget(Rejections(), 64 * MEBIBYTE, 4 * MEBIBYTE)
    bodies = [IncompleteBody(budget, "evil") for _ in range(5)]
    for body in bodies:
        body.add(MEBIBYTE)
    assert [body.must_wait for body in bodies] == [False, True, True, True, True]
    other = IncompleteBody(budget, "shop")
    other.add(MEBIBYTE)
    assert not other.must_wait


def test_bodies_that_are_processed_use_up_their_apps_share() -> None:
    budget = BodyBudget(Rejections(), 64 * MEBIBYTE, 4 * MEBIBYTE)
    for _ in range(4):  # each is the oldest incomplete one while it arrives
        body = IncompleteBody(budget, "evil")
        body.add(MEBIBYTE)
        body.complete()
    last = IncompleteBody(budget, "evil")
    last.add(1)
    assert last.must_wait
    body.release()
    assert not last.must_wait


class Ending(NamedTuple):
    """How a body of 8 MiB ends: its limiter, its sender, and the bytes of another app."""

    limiter: BodyLimiter
    receive: Receive
    other_bytes: int = 0


def plain(*, ends: bool = True) -> Receive:
    return sending(*[bytes(bytearray(MEBIBYTE)) for _ in range(8)], ends=ends)


ENDINGS: dict[str, Callable[[], Ending]] = {
    "waits in vain": lambda: Ending(
        BodyLimiter(senders_bytes_max=8 * MEBIBYTE, budget_timeout_s=0.1), plain(), MEBIBYTE
    ),
    "takes too long": lambda: Ending(BodyLimiter(timeout_s=0.1), plain(ends=False)),
    "makes room for others": lambda: Ending(
        BodyLimiter(senders_bytes_max=20 * MEBIBYTE), plain(ends=False), 13 * MEBIBYTE
    ),
    "is inflated in vain": lambda: Ending(
        BodyLimiter(senders_bytes_max=20 * MEBIBYTE),
        sending(gzip.compress(bytes(8 * MEBIBYTE))),
        17 * MEBIBYTE,
    ),
}


async def status_of(body: AbstractAsyncContextManager[bytes | None]) -> int:
    try:
        async with body:
            return 200
    except BodyRejected as rejection:
        return rejection.status


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_body_that_is_rejected_needs_no_search_for_cycles(name: str) -> None:
    with without_collector() as held_bytes:
        limiter, receive, other_bytes = ENDINGS[name]()
        headers = [(b"content-encoding", b"gzip")] if "inflated" in name else []
        body = reading(limiter, receive, bytes_max=16 * MEBIBYTE, headers=headers)
        del receive
        task = asyncio.create_task(status_of(body))
        while limiter.senders.used_bytes < 3 * MEBIBYTE and not task.done():
            await asyncio.sleep(0)
        limiter.senders.take("other", other_bytes)
        IncompleteBody(limiter.senders, "other").begin()
        assert await task == (408 if "too long" in name else 503)
        del task, body
        assert held_bytes() < MEBIBYTE


async def test_an_app_with_many_incomplete_bodies_does_not_shut_out_others() -> None:
    limiter = BodyLimiter(senders_bytes_max=MEBIBYTE, sender_bytes_max=MEBIBYTE // 4)
    tasks = [
        asyncio.create_task(
            reading(
                limiter, sending(b"x" * 60_000, ends=False), bytes_max=MEBIBYTE, app=f"evil-{n % 5}"
            ).__aenter__()
        )
        for n in range(100)
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await read(limiter, sending(b"x" * 999)) == b"x" * 999
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limiter.senders.used_bytes == 0
