"""The pages show firing alerts, recent messages, thresholds, and failing channels."""

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
from app.alerting.state import Alert, AppAlerts, HistoryEntry, Mute, pack_app_alerts, pack_json
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, load, memory, router
from tests.support.service import Clock, client_of, post

NOW_S = AT_S + 330


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


def script_data(html: str) -> Any:
    (values,) = re.findall(r'id="for-charts">(.*?)</script>', html, re.DOTALL)
    return json.loads(values)


async def test_firing_alerts_and_recent_messages_are_on_the_page_of_the_app(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    alert = Alert(
        "app-broken", "", "firing", int(AT_S), value=14, detail="web.2: 12 of 14", parts=("H12",)
    )
    await put(store, AlertTable.STATES, "shop", pack_app_alerts(AppAlerts(1, alerts=(alert,))))
    entries = [
        HistoryEntry(int(AT_S) + 130, "fired", "H12 Request timeout: 14 in a minute", told=True),
        HistoryEntry(int(AT_S) + 200, "resolved", "H10 App crashed", told=False),
    ]
    await store.change_alerts([], history={"shop": [pack_json(event) for event in entries]})
    await put(store, AlertTable.MUTES, "shop", pack_json(Mute(int(AT_S) + 3600, 1)))

    html = await page(client)
    assert "H12 Request timeout: 14 in a minute, since 10:00 UTC: web.2: 12 of 14" in html
    assert "resolved: H10 App crashed (not sent)" in html
    assert "muted until" in html
    marks = {event["text"]: event["at"] for event in script_data(html)["marks"]}
    assert marks["alert: H12 Request timeout: 14 in a minute"] == AT_S + 130
    assert marks["resolved: H10 App crashed"] == AT_S + 200
    assert 'href="/alerts?app=shop">1 alert</a>' in await page(client, "/")


async def test_alerts_that_no_finding_tells_are_at_the_head_and_in_the_list(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    database = Alert("postgres-connections", "DATABASE", "firing", int(AT_S), value=0.99, limit=0.9)
    slow = Alert("slow", "web", "firing", int(AT_S), summary="Slow since 10:00 UTC.")
    alerts = AppAlerts(1, alerts=(database, slow))
    await put(store, AlertTable.STATES, "shop", pack_app_alerts(alerts))
    text = "DATABASE: Postgres connections 99 % over 5 min (limit 90 %), since 10:00 UTC"

    head = (await page(client)).partition('id="charts"')[0].replace("\N{NO-BREAK SPACE}", " ")
    assert f'<a class="bad" href="#alerts">alert</a> {text}' in head
    assert "Slow since 10:00 UTC" not in head  # the verdict says what holds of it now
    past = await page(client, f"/apps/shop?start={AT_S - 3600:.0f}&end={AT_S + 120:.0f}")
    assert '<a class="bad" href="#alerts">alert</a>' not in past

    row = (await page(client, "/")).replace("\N{NO-BREAK SPACE}", " ")
    assert text in row
    assert "all normal" not in row
    assert ">2 alerts</a>" in row


async def test_thresholds_are_lines_in_the_charts_if_values_come_near(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    rule = Rule(name="late", title="", metric="service_time_ms", stat="p95", limit=400)
    await put(store, AlertTable.RULES, "late", pack_rule(rule))
    full = Rule(name="full", title="", metric="memory_quota_used_ratio", stat="max", limit=0.95)
    await put(store, AlertTable.RULES, "full", pack_rule(full))
    failing = Rule(
        name="failing",
        title="",
        metric="requests",
        stat="share",
        filters={"outcome": ("failed",)},
        limit=0.02,
    )
    await put(store, AlertTable.RULES, "failing", pack_rule(failing))
    busy = Rule(name="busy", title="", metric="load_avg_1m", stat="avg", limit=8)
    await put(store, AlertTable.RULES, "busy", pack_rule(busy))

    html = await page(client)
    charts = {chart["key"]: chart["thresholds"] for chart in script_data(html)["charts"]}
    assert charts["response"] == [400]
    assert charts["memory"] == [0.95 * 512]
    assert charts["load"] == [8]
    assert charts["failed"] == [2]
    assert "alert above 400 ms (late)" in html
    assert html.count('class="threshold"') == 3  # of failed requests there are none: 2 % is far
    dyno_charts = script_data(await page(client, "/apps/shop?dyno=web.1"))["charts"]
    assert all(chart["thresholds"] == [] for chart in dyno_charts)


async def test_without_channels_there_are_no_thresholds() -> None:
    clock = Clock(NOW_S)
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router())

        assert "alert above" not in await page(client)


async def test_a_channel_that_fails_is_on_the_first_page(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    health = ChannelHealth(failing_since_s=int(AT_S), attempts=3, error="answers 404")
    await put(store, AlertTable.HEALTH, "ops", pack_health(health))

    html = await page(client, "/")
    assert "Alert channel ops (https://example.com/…) has been failing since" in html
    assert "answers 404" in html
    assert "SECRET" not in html
