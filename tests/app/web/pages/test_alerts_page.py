"""The page of alerts: what fires, mutes, channels, history and rules."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx2
import msgspec
import pytest

from app.alerting.channels.channel import Channel, ChannelHealth, pack_channel
from app.alerting.state import Alert, AppAlerts, HistoryEntry, pack_app_alerts, pack_json
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, router
from tests.support.service import LOCAL, Clock, client_of, post

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": LOCAL}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, Clock()) as client:
        for app in ("shop", "blog"):
            await post(client, router(), app=app)
        yield client


async def text(client: httpx2.AsyncClient, path: str = "/alerts") -> str:
    html = (await client.get(path)).text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


async def put(store: MemoryStore, table: AlertTable, field: str, record: bytes) -> None:
    await store.change_alerts([AlertChange(table, field, record)])


async def test_without_a_channel_the_page_says_that_nobody_is_notified(
    client: httpx2.AsyncClient,
) -> None:
    page = await text(client)
    assert "Nothing fires." in page
    assert "Nobody is notified: there is no channel." in page
    assert "dynometer alerts channel add slack" in page


async def test_firing_alerts_come_before_pending_ones_and_say_why_nobody_is_told(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    since_s = int(AT_S) - 300
    down = Alert("app-broken", "", "firing", since_s, is_notified=True, summary="Down. All fail.")
    part = Alert("slow", "web", "firing", since_s, summary="Slow since 09:55.")
    pending = Alert("crash-loop", "web", "pending", since_s, summary="In a crash loop.")
    records = {"blog": AppAlerts(1, alerts=(pending,)), "shop": AppAlerts(1, alerts=(part, down))}
    for app, alerts in records.items():
        await put(store, AlertTable.STATES, app, pack_app_alerts(alerts))
    page = await text(client)
    assert "2 firing" in page
    order = [page.index(words) for words in ("Down. All fail.", "Slow since", "In a crash loop.")]
    assert order == sorted(order)
    assert "Slow since 09:55. 6 min ago · not sent: no channel takes it" in page
    assert "not firing yet" in page
    assert "Down. All fail." not in await text(client, "/alerts?app=blog")
    channel = Channel(name="ops", kind="slack", url="https://example.com/SECRET", added_s=1)
    await put(store, AlertTable.CHANNELS, "ops", pack_channel(channel))
    page = await text(client)
    assert "Slow since 09:55. 6 min ago · part of another alert, not sent by itself" in page


async def test_rules_have_their_conditions_and_say_which_are_off(
    client: httpx2.AsyncClient,
) -> None:
    rule = {"metric": "requests", "stat": "rate", "limit": 50, "for_minutes": 3}
    await client.put("/api/v1/alerts/rules/busy", json=rule)
    await client.put("/api/v1/alerts/rules/slow", json={"enabled": False})
    page = await text(client)
    assert "busy yours rate of requests above 50, for 3 min warn" in page
    assert "slow yours off slow responses" in page
    assert "buffering Redis unavailable: lines wait on disk, for 2 min page" in page


async def test_channels_show_their_health_and_no_secret(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    channel = Channel("ops", "slack", "https://hooks.slack.com/services/T/B/secret", int(AT_S))
    health = ChannelHealth(failing_since_s=int(AT_S) - 600, error="status 404")
    await put(store, AlertTable.CHANNELS, "ops", pack_channel(channel))
    await put(store, AlertTable.HEALTH, "ops", msgspec.json.encode(health))
    page = await text(client)
    assert "failing since 22 Nov 09:50 UTC : status 404" in page
    assert "secret" not in page


async def test_the_history_is_that_of_all_apps_or_of_one(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    for app in ("shop", "blog"):
        entry = HistoryEntry(int(AT_S) - 60, "fired", f"{app} is down", told=True)
        await store.change_alerts([], history={app: [pack_json(entry)]})
    assert "22 Nov 09:59 UTC shop fired: shop is down" in await text(client)
    assert "shop is down" not in await text(client, "/alerts?app=blog")


@pytest.mark.parametrize(
    ("form", "status", "problem"),
    [
        ("mute=nobody&for=1h", 409, "no lines were ever received from nobody"),
        ("mute=shop&for=soon", 400, "“soon” is no duration. Expected a duration such as 30s"),
        ("mute=shop&for=90d", 409, "up to 30 days"),
        ("unmute=shop", 409, "shop is not muted"),
        ("acknowledge=shop", 409, "no alert of shop is firing"),
    ],
)
async def test_a_mute_that_is_not_possible_is_explained(
    client: httpx2.AsyncClient, form: str, status: int, problem: str
) -> None:
    answer = await client.post("/alerts/mutes", content=form, headers=FORM)
    assert answer.status_code == status
    assert problem in unescape(answer.text)


async def test_alerts_are_acknowledged_by_a_person_whose_name_is_kept(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    alert = Alert("slow", "web", "firing", int(AT_S) - 300, is_notified=True, summary="Slow.")
    await put(store, AlertTable.STATES, "shop", pack_app_alerts(AppAlerts(1, alerts=(alert,))))
    assert re.search(r"Slow\. \d+ min ago Acknowledge", await text(client))
    assert "1 alert Acknowledge" in await text(client, "/")
    form = "acknowledge=shop&by=Kim+%26+Bo&next=/"
    answer = await client.post("/alerts/mutes", content=form, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")

    for path in ("/", "/alerts", "/apps/shop"):
        assert "acknowledged by Kim & Bo 0 s ago" in await text(client, path)
    assert "Acknowledge" not in re.findall(
        r"<button.*?>(.*?)</button>", (await client.get("/")).text
    )
    assert 'name="by" value="Kim &amp; Bo"' in (await client.get("/alerts")).text
    await client.post("/alerts/mutes", content="unmute=shop", headers=FORM)
    page = await text(client)
    assert "shop acknowledgement withdrawn" in page
    assert "shop acknowledged by Kim & Bo" in page
    assert "muted:" not in page


async def test_after_a_mute_the_reader_is_never_led_to_another_site(
    client: httpx2.AsyncClient,
) -> None:
    body = "mute=shop&for=1h&next=//evil.example"
    answer = await client.post("/alerts/mutes", content=body, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "shop muted until 11:00 UTC" in await text(client)
