"""The pages show what fires, what was told, where limits lie, and a channel that fails."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx2
import pytest

from app.alerting.channels.channel import Channel, ChannelHealth, pack_channel, pack_health
from app.alerting.rule import Rule, pack_rule
from app.alerting.state import Alert, AppAlerts, HistoryEntry, Mute, pack_app, pack_json
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, load, memory, router
from tests.support.service import Clock, client_of, post

NOW_S = AT_S + 300


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock(NOW_S))


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, Clock(NOW_S)) as client:
        lines = [router(AT_S + i, service="300ms") for i in range(60)]
        await post(client, b"".join([*lines, memory(total="480.00"), load(load_1m="4.00")]))
        await put(store, AlertTable.CHANNELS, "ops", pack_channel(CHANNEL))
        yield client


CHANNEL = Channel(name="ops", kind="slack", url="https://example.com/SECRET", added_s=1)


async def put(store: MemoryStore, table: AlertTable, field: str, record: bytes) -> None:
    await store.change_alerts([AlertChange(table, field, record)])


async def page(client: httpx2.AsyncClient, path: str = "/apps/shop") -> str:
    answer = await client.get(path)
    assert answer.status_code == 200
    return unescape(answer.text)


def for_script(html: str) -> Any:
    (values,) = re.findall(r'id="for-charts">(.*?)</script>', html, re.DOTALL)
    return json.loads(values)


async def test_what_fires_and_what_was_told_is_on_the_page_of_the_app(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    alert = Alert(
        "app-broken", "", "firing", int(AT_S), value=14, detail="web.2: 12 of 14", parts=("H12",)
    )
    await put(store, AlertTable.STATES, "shop", pack_app(AppAlerts(1, alerts=(alert,))))
    told = [
        HistoryEntry(int(AT_S) + 130, "fired", "H12 Request timeout: 14 in a minute", told=True),
        HistoryEntry(int(AT_S) + 200, "resolved", "H10 App crashed", told=False),
    ]
    await store.change_alerts([], history={"shop": [pack_json(each) for each in told]})
    await put(store, AlertTable.MUTES, "shop", pack_json(Mute(int(AT_S) + 3600, 1)))

    html = await page(client)
    assert "H12 Request timeout: 14 in a minute, since 10:00 UTC: web.2: 12 of 14" in html
    assert "resolved: H10 App crashed (not sent)" in html
    assert "muted until" in html
    marks = {each["text"]: each["at"] for each in for_script(html)["events"]}
    assert marks["alert: H12 Request timeout: 14 in a minute"] == AT_S + 130
    assert marks["resolved: H10 App crashed"] == AT_S + 200
    assert "1 alert</small>" in await page(client, "/")


async def test_limits_are_lines_in_the_charts_where_they_are_near(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    rule = Rule(name="late", title="", metric="service_time_ms", stat="p95", limit=400)
    await put(store, AlertTable.RULES, "late", pack_rule(rule))

    html = await page(client)
    charts = {each["key"]: each["thresholds"] for each in for_script(html)["charts"]}
    assert charts["response"] == [400]
    assert charts["memory"] == [95]
    assert charts["load"] == [8]
    assert charts["failed"] == [2]
    assert "told above 400 ms (late)" in html
    assert html.count('class="threshold"') == 3  # of failed requests there are none: 2 % is far
    only = for_script(await page(client, "/apps/shop?dyno=web.1"))["charts"]
    assert all(each["thresholds"] == [] for each in only)


async def test_without_anybody_to_tell_there_are_no_limits() -> None:
    clock = Clock(NOW_S)
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router())

        assert "told above" not in await page(client)


async def test_a_channel_that_fails_is_on_the_first_page(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    health = ChannelHealth(failing_since_s=int(AT_S), attempts=3, error="answers 404")
    await put(store, AlertTable.HEALTH, "ops", pack_health(health))

    html = await page(client, "/")
    assert "Nobody is told through ops (https://example.com/…)" in html
    assert "answers 404" in html
    assert "SECRET" not in html
