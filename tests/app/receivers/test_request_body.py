"""Bodies: bounded in size, time and number."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import MutableMapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.request_body import BodyLimiter, BodyLimitMiddleware, BodyRejected, inflated
from app.support.asgi import Receive

MEBIBYTE = 2**20


def sending(*parts: bytes, ends: bool = True) -> Receive:
    """A sender of these parts, which then ends or falls silent."""
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


async def read(
    bodies: BodyLimiter, receive: Receive, *, bytes_max: int = 1000, **named: str
) -> object:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    async with bodies.body(headers, receive, bytes_max) as body:
        return body


async def test_a_body_in_parts_is_read_whole() -> None:
    assert await read(BodyLimiter(), sending(b"a", b"", b"bc")) == b"abc"


async def test_a_sender_that_goes_away_leaves_nothing() -> None:
    async def gone() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    assert await read(BodyLimiter(), gone) is None


async def test_a_body_that_is_too_large_is_refused_at_its_head_or_on_the_way() -> None:
    for receive, length in ((sending(ends=False), "1001"), (sending(b"x" * 1001), "")):
        with pytest.raises(BodyRejected, match="1000 bytes") as refused:
            await read(BodyLimiter(), receive, content_length=length)
        assert refused.value.status == 413


async def test_a_body_that_trickles_in_is_cut_off() -> None:
    bodies = BodyLimiter(within_s=0.05)
    with pytest.raises(BodyRejected, match="longer") as refused:
        await read(bodies, sending(b"x", ends=False))
    assert refused.value.status == 408
    assert await read(bodies, sending(b"next")) == b"next"


async def test_who_finds_no_room_waits_until_there_is_some() -> None:
    bodies = BodyLimiter(in_hand_bytes_max=1000)
    async with bodies.body([(b"content-length", b"999")], sending(b"x" * 999), 1000):
        waiting = asyncio.create_task(read(bodies, sending(b"second"), content_length="6"))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == b"second"


async def test_who_finds_no_room_for_long_is_refused_for_now() -> None:
    bodies = BodyLimiter(in_hand_bytes_max=1000, room_within_s=0.03)
    async with bodies.body([(b"content-length", b"999")], sending(b"x" * 999), 1000):
        with pytest.raises(BodyRejected, match="at once") as refused:
            await read(bodies, sending(b"second"), content_length="6")
    assert refused.value.status == 503
    assert await read(bodies, sending(b"third"), content_length="5") == b"third"


async def test_large_bodies_leave_room_for_small_ones() -> None:
    bodies = BodyLimiter(in_hand_bytes_max=6 * MEBIBYTE, room_within_s=0.03)
    large = [(b"content-length", b"%d" % (2 * MEBIBYTE))]
    async with bodies.body(large, sending(bytes(2 * MEBIBYTE)), 4 * MEBIBYTE):
        with pytest.raises(BodyRejected, match="at once"):
            async with bodies.body(large, sending(bytes(2 * MEBIBYTE)), 4 * MEBIBYTE):
                raise AssertionError("there is no room for it")
        assert await read(bodies, sending(b"small"), content_length="5") == b"small"


async def test_bodies_that_were_refused_leave_their_room() -> None:
    bodies = BodyLimiter(in_hand_bytes_max=MEBIBYTE // 2, room_within_s=0.03)
    for _ in range(20):
        with pytest.raises(BodyRejected):
            await read(bodies, sending(b"x" * 1001))
    assert await read(bodies, sending(b"x" * 1000)) == b"x" * 1000


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_gzip_of_several_members_is_inflated_whole(members: list[bytes]) -> None:
    packed = b"".join(map(gzip.compress, members))
    assert inflated(packed, 10_000) == b"".join(members)


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    for body in (bomb, gzip.compress(b"a") * 3 + bomb, gzip.compress(bytes(600)) * 2):
        with pytest.raises(BodyRejected, match="1000 bytes"):
            inflated(body, 1000)


def test_of_damaged_gzip_what_is_whole_counts() -> None:
    packed = gzip.compress(b"whole") + gzip.compress(b"x" * 1000)[:20]
    assert inflated(packed, 10_000).startswith(b"whole")
    assert inflated(gzip.compress(b"whole") + b"junk", 10_000) == b"whole"
    assert inflated(b"junk", 10_000) == b"\x00"


async def test_other_endpoints_take_small_bodies_only() -> None:
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
