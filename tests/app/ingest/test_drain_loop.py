"""Log loops are detected, and reported with the commands that end them."""

from __future__ import annotations

import asyncio
import time

import httpx2

from app.access.read_tokens import ADMIN, Permissions, new_token, pack_token
from app.ingest.drain_loop import DrainLoopDetector, looping_apps
from app.storage.memory import MemoryStore
from tests.support.lines import counted, timestamp
from tests.support.service import NOW_S, Clock, client_of, post

PUBLIC = "https://metrics.example.com"
ADMIN_TOKEN = "the admin token of the test"


def line(path: str, host: str, at_s: float = NOW_S) -> bytes:
    text = (
        f'at=info method=POST path="{path}" host={host} request_id=0 fwd="192.0.2.1" '
        "dyno=web.1 connect=0ms service=2ms status=200 bytes=0 protocol=https"
    )
    return counted(f"<158>1 {timestamp(at_s)} host heroku router - {text}\n".encode())


async def test_a_router_line_about_our_own_drain_reveals_a_loop() -> None:
    store, clock = MemoryStore(time.time), Clock()
    async with client_of(store, clock, DYNOMETER_PUBLIC_URL=PUBLIC) as client:
        await post(client, line("/drain", "metrics.example.com"), app="acme-metrics")
        await post(client, line("/drain", "shop.example.com"), app="shop")
    detector = DrainLoopDetector(store, clock, PUBLIC)
    detector.inspect("acme-metrics", line("/drain", "metrics.example.com"))
    await detector.refresh()
    assert await looping_apps(store) == ["acme-metrics"]
    assert "heroku drains:remove DRAIN -a acme-metrics" in detector.notices(ADMIN.allows)[0]
    assert detector.notices(Permissions(("shop",)).allows) == []


async def test_every_worker_shows_the_notice_on_its_pages() -> None:
    store, clock = MemoryStore(time.time), Clock()
    detector = DrainLoopDetector(store, clock, PUBLIC)
    detector.inspect("acme-metrics", line("/drain", "metrics.example.com"))
    await detector.refresh()
    async with client_of(store, clock, DYNOMETER_PUBLIC_URL=PUBLIC) as client:
        await post(client, line("/", "shop.example.com"))
        notice = "Log loop: app acme-metrics runs Dynometer and also drains to it."
        async with asyncio.timeout(10):
            while notice not in (await client.get("/")).text:
                await asyncio.sleep(0.05)


async def test_the_path_of_the_public_url_counts_and_without_one_nothing_is_detected() -> None:
    store, clock = MemoryStore(time.time), Clock()
    below = DrainLoopDetector(store, clock, "https://example.com/metrics")
    below.inspect("a", line("/drain", "example.com"))
    below.inspect("b", line("/metrics/drain", "example.com"))
    below.inspect("d", line("/metrics/drain/", "example.com"))
    unknown = DrainLoopDetector(store, clock, "")
    unknown.inspect("c", line("/drain", "None"))
    await below.refresh()
    await unknown.refresh()
    assert await looping_apps(store) == ["b", "d"]


async def test_a_stranger_and_a_reader_of_other_apps_learn_nothing_of_a_loop() -> None:
    store, clock = MemoryStore(time.time), Clock()
    detector = DrainLoopDetector(store, clock, PUBLIC)
    detector.inspect("acme-metrics", line("/drain", "metrics.example.com"))
    await detector.refresh()
    token, token_id, record = new_token("", ["shop"], 1)
    await store.put_token(token_id, pack_token(record))
    settings = {"DYNOMETER_PUBLIC_URL": PUBLIC, "DYNOMETER_ADMIN_TOKEN": ADMIN_TOKEN}
    async with client_of(store, clock, **settings) as client:
        while "acme-metrics" not in (await page(client, ADMIN_TOKEN)):
            await asyncio.sleep(0.01)
        assert "acme-metrics" not in await page(client, token)
        assert "acme-metrics" not in (await client.get("/sign-in")).text


async def page(client: httpx2.AsyncClient, token: str) -> str:
    headers = {"Accept": "text/html", "Authorization": f"Bearer {token}"}
    return (await client.get("/", headers=headers)).text
