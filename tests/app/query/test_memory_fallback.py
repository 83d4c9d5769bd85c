"""Memory of dynos without runtime metrics: from the lines that report it while it is high."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import frame, memory
from tests.support.service import NOW_S, Clock, client_of, post

MB = 2**20


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


def running(at_s: float, text: str = "870M(170.1%)", dyno: str = "web.1") -> bytes:
    return frame(f"Process running mem={text}", procid=dyno, at_s=at_s)


async def series(client: httpx2.AsyncClient, query: str) -> dict[str, list[Any]]:
    answer = await client.get(f"/api/v1/apps/shop/query?start=now-3m&{query}")
    assert answer.status_code == 200, answer.text
    return {
        " ".join([*one["labels"].values(), one["stat"]]): one["values"]
        for one in answer.json()["series"]
    }


async def test_it_answers_queries_about_memory(client: httpx2.AsyncClient) -> None:
    await post(client, running(NOW_S - 60) + running(NOW_S - 40, "850M(166%)"))
    for metric in ("memory_total_bytes", "memory_running_bytes"):
        query = f"metric={metric}&step=range&by=dyno&stat=max&stat=min&stat=last&stat=avg&stat=sum"
        assert await series(client, query) == {
            "web.1 max": [870 * MB],
            "web.1 min": [850 * MB],
            "web.1 last": [850 * MB],
            "web.1 avg": [860 * MB],
            "web.1 sum": [860 * MB],
        }
    ratio = await series(client, "metric=memory_quota_used_ratio&step=range&stat=max")
    assert ratio == {"max": [pytest.approx(1.701)]}


async def test_it_is_not_added_to_runtime_metrics(client: httpx2.AsyncClient) -> None:
    await post(
        client,
        running(NOW_S - 60)
        + memory(NOW_S - 50, total="512.00")
        + running(NOW_S - 60, "700M(136.7%)", dyno="worker.1"),
    )
    for by in ("", "&by=process_type", "&by=dyno&dyno=*"):
        query = f"metric=memory_total_bytes&step=range&stat=sum{by}"
        values = [value for (value,) in (await series(client, query)).values()]
        assert sum(values) == (512 + 700) * MB


async def test_it_stands_in_where_an_interval_has_no_other(client: httpx2.AsyncClient) -> None:
    await post(client, memory(NOW_S - 110, total="400.00") + running(NOW_S - 40))
    values = await series(client, "metric=memory_total_bytes&step=1m&stat=max")
    assert [value for value in values["max"] if value] == [400 * MB, 870 * MB]


async def test_prometheus_shows_it(client: httpx2.AsyncClient) -> None:
    await post(
        client,
        running(NOW_S - 60)
        + running(NOW_S - 60, "700M(136.7%)", dyno="worker.1")
        + memory(NOW_S - 50, dyno="worker.1", total="512.00"),
    )
    text = (await client.get("/metrics")).text
    pattern = r'^heroku_dyno_memory_(total|running)_bytes\{.*dyno="(.*?)"\} (.*)$'
    values = {(name, dyno): float(value) for name, dyno, value in re.findall(pattern, text, re.M)}
    assert values == {
        ("total", "web.1"): 870 * MB,
        ("running", "web.1"): 870 * MB,
        ("total", "worker.1"): 512 * MB,
        ("running", "worker.1"): 700 * MB,
    }
