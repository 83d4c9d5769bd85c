"""The signal: a value over complete minutes, its trend, and whether a scaler may act on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.memory import MemoryStore
from app.verdicts.spooling import SPOOLING
from tests.support.lines import AT_S, router
from tests.support.service import Clock, client_of, post

WEB = "process_type=web"
NOW_S = AT_S + 630  # the last complete minute ends at AT_S + 540


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW_S)


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(clock: Clock, store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        yield client


async def send(client: httpx2.AsyncClient, minutes: range, service: str, **fields: str) -> None:
    body = b"".join(
        router(AT_S + 60 * minute + 1, service=service, dyno=f"web.{dyno}", **fields)
        for minute in minutes
        for dyno in (1, 2)
    )
    await post(client, body)


async def signal(client: httpx2.AsyncClient, query: str = WEB, metric: str = "") -> Any:
    metric_query = metric or "metric=service_time_ms&stat=p95"
    answer = await client.get(f"/api/v1/apps/shop/signal?{metric_query}&{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_value_trend_and_dynos_of_the_last_complete_minutes(
    client: httpx2.AsyncClient,
) -> None:
    await send(client, range(4), "20ms")
    await send(client, range(4, 9), "30ms")
    await send(client, range(9, 11), "5000ms")  # not complete yet

    answer = await signal(client, f"{WEB}&minutes=5")
    assert (answer["value"], answer["before"], answer["trend"]) == (30, 20, 0.5)
    assert (answer["dynos"], answer["complete"], answer["unit"]) == (2, True, "ms")
    assert (answer["start"], answer["end"]) == (AT_S + 240, AT_S + 540)


async def test_websockets_do_not_count(client: httpx2.AsyncClient) -> None:
    await send(client, range(9), "20ms")
    await send(client, range(9), "600000ms", status="101")

    assert (await signal(client))["value"] == 20
    rate = await signal(client, metric="metric=requests&stat=sum", query=f"{WEB}&minutes=2")
    assert rate["value"] == 4
    none = await signal(client, metric="metric=requests", query="process_type=worker")
    assert (none["value"], none["dynos"]) == (0, 0)
    assert none["warnings"] == ["process_type=worker matches nothing. There is: web"]
    assert rate["warnings"] == []


async def test_minutes_without_lines_make_it_incomplete(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await send(client, range(4, 8), "20ms")
    assert (await signal(client))["complete"] is False

    await send(client, range(8, 9), "20ms")
    assert (await signal(client))["complete"] is True

    since = {"since_s": str(int(AT_S) + 400)}
    await store.write_status(f"{SPOOLING}worker", since, ttl_ms=60_000)
    assert (await signal(client))["complete"] is False


async def test_unknown_values_are_null_not_zero(client: httpx2.AsyncClient) -> None:
    await send(client, range(1), "20ms")

    answer = await signal(client)
    assert (answer["value"], answer["before"], answer["trend"]) == (None, 20, None)


@pytest.mark.parametrize(
    "query", ["metric=none", "metric=service_time_ms&stat=bins", "metric=requests&minutes=61"]
)
async def test_bad_parameters_are_rejected(client: httpx2.AsyncClient, query: str) -> None:
    await send(client, range(1), "20ms")

    answer = await client.get(f"/api/v1/apps/shop/signal?{query}")
    assert answer.status_code == 400
