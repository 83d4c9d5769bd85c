"""Dynometer's own app drains into Dynometer: it is found, and said with what to do."""

from __future__ import annotations

import asyncio
import time

from app.ingest.drain_loop import DrainLoopDetector, looping_apps
from app.storage.memory import MemoryStore
from tests.support.lines import counted, timestamp
from tests.support.service import NOW_S, Clock, client_of, post

PUBLIC = "https://metrics.example.com"


def line(path: str, host: str, at_s: float = NOW_S) -> bytes:
    text = (
        f'at=info method=POST path="{path}" host={host} request_id=0 fwd="192.0.2.1" '
        "dyno=web.1 connect=0ms service=2ms status=200 bytes=0 protocol=https"
    )
    return counted(f"<158>1 {timestamp(at_s)} host heroku router - {text}\n".encode())


async def test_a_router_line_about_our_own_drain_gives_it_away() -> None:
    store, clock = MemoryStore(time.time), Clock()
    async with client_of(store, clock, DYNOMETER_PUBLIC_URL=PUBLIC) as client:
        await post(client, line("/drain", "metrics.example.com"), app="acme-metrics")
        await post(client, line("/drain", "shop.example.com"), app="shop")
    own = DrainLoopDetector(store, clock, PUBLIC)
    own.inspect("acme-metrics", line("/drain", "metrics.example.com"))
    await own.refresh()
    assert await looping_apps(store) == ["acme-metrics"]
    assert "heroku drains:remove DRAIN -a acme-metrics" in own.notices()[0]


async def test_every_worker_says_so_on_its_pages() -> None:
    store, clock = MemoryStore(time.time), Clock()
    other = DrainLoopDetector(store, clock, PUBLIC)
    other.inspect("acme-metrics", line("/drain", "metrics.example.com"))
    await other.refresh()
    async with client_of(store, clock, DYNOMETER_PUBLIC_URL=PUBLIC) as client:
        await post(client, line("/", "shop.example.com"))
        said = "acme-metrics is this service&#39;s own app, and drains into it"
        async with asyncio.timeout(10):
            while said not in (await client.get("/")).text:
                await asyncio.sleep(0.05)


async def test_an_address_below_a_path_is_known_by_it_and_no_address_finds_nothing() -> None:
    store, clock = MemoryStore(time.time), Clock()
    below = DrainLoopDetector(store, clock, "https://example.com/metrics")
    below.inspect("a", line("/drain", "example.com"))
    below.inspect("b", line("/metrics/drain", "example.com"))
    unknown = DrainLoopDetector(store, clock, "")
    unknown.inspect("c", line("/drain", "None"))
    await below.refresh()
    await unknown.refresh()
    assert await looping_apps(store) == ["b"]
