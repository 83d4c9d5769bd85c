"""The list of apps: figures of now, marks, search, and apps that have sent nothing yet."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx2
import pytest

from app.alerting.channels.channel import Channel, pack_channel
from app.judgement.verdict import Change, Finding
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from app.web.pages.row_sparklines import row_bars, row_line
from tests.support.lines import AT_S, memory, router
from tests.support.service import LOCAL, Clock, client_of, post
from tests.support.verdicts import store_verdict, verdict

MINUTE_S = int(AT_S) // 60 * 60
TOKEN = "an-admin-token-of-some-length"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(store: MemoryStore, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        yield client


async def text(client: httpx2.AsyncClient, path: str = "/") -> str:
    html = (await client.get(path, headers={"Accept": "text/html"})).text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def names(html: str) -> list[str]:
    return re.findall(r'<tr data-app="([^"]*)"', html)


async def test_figures_are_those_of_the_last_five_complete_minutes(
    client: httpx2.AsyncClient,
) -> None:
    end_s = MINUTE_S - 60  # the minute after it is not complete
    earlier = [router(end_s - 301 - number, status="503") for number in range(200)]
    recent = [router(end_s - 1 - number, service="40ms") for number in range(300)]
    unfinished = router(end_s + 30, status="503", service="9000ms") * 50
    used = memory(end_s - 700, total="512.00") + memory(end_s - 10, total="256.00")
    await post(client, b"".join(earlier + recent) + unfinished + used)
    assert " 60 0 % 40 ms 50 % 1 min ago" in await text(client)


async def test_a_row_says_since_when_and_after_which_change(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, router())
    release = Change(MINUTE_S - 660, "release", "v57")
    failing = Finding("failing", "down", MINUTE_S - 600, code="H10", value=1.0, after=release)
    summary = "Down since 09:50 UTC (10 min): every request ends with H10. Right after v57."
    await store_verdict(store, verdict("shop", "down", MINUTE_S, summary, [failing]))
    html = (await client.get("/")).text
    html = html.replace("\N{NO-BREAK SPACE}", " ")
    assert "<b>since 09:50 UTC (10 min):</b> every request ends with H10" in html
    assert "after release v57" in await text(client)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("hop", ["shop", "shop-eu"]),
        ("SHOP", ["shop", "shop-eu"]),
        (" og ", ["blog"]),
        ("shop*", ["shop", "shop-eu"]),
        ("shop?eu", ["shop-eu"]),
        ("op*", []),
        ("nothing", []),
    ],
)
async def test_a_part_of_a_name_or_a_glob_finds_apps(
    client: httpx2.AsyncClient, pattern: str, found: list[str]
) -> None:
    for app in ("shop", "shop-eu", "blog"):
        await post(client, router(), app=app)
    html = (await client.get("/", params={"app": pattern})).text
    assert sorted(names(html)) == found
    assert ("Show all 3" in html) == (not found)


async def test_production_and_staging_apps_are_marked_as_the_settings_name_them(
    store: MemoryStore, clock: Clock
) -> None:
    settings = {"DYNOMETER_PRODUCTION_APPS": "shop", "DYNOMETER_STAGING_APPS": "*-eu"}
    async with client_of(store, clock, **settings) as client:
        for app in ("blog", "shop-eu", "shop"):
            await post(client, router(), app=app)
        html = (await client.get("/")).text
        assert names(html) == ["shop", "blog", "shop-eu"]
        page = await text(client)
        assert "shop production" in page
        assert "shop-eu staging" in page


async def test_a_registered_app_without_lines_is_listed_with_its_next_step(
    store: MemoryStore, clock: Clock
) -> None:
    settings = {
        "DYNOMETER_ADMIN_TOKEN": TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    admin = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    async with client_of(store, clock, **settings) as client:
        added = await client.post("/api/v1/drains", json={"apps": ["shop", "blog"]}, headers=admin)
        secret = re.findall(r"shop:([^@]*)@", added.text)[0]
        await client.post("/api/v1/drains", json={"space": "acme", "apps": ["crm"]}, headers=admin)
        clock.now_s += 3600
        await post(client, router(clock.now_s), app="shop", secret=secret)
        html = (await client.get("/", headers=admin)).text
        assert names(html) == ["shop"]
        assert re.findall(r'<li data-app="([^"]*)"', html) == ["blog"]
        assert "heroku drains -a blog" in html
        assert "1 h ago" in html
        assert 'data-app="blog"' not in (await client.get("/?app=shop", headers=admin)).text


async def test_an_app_is_muted_and_unmuted_from_its_row(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, router())
    assert "Mute" not in await text(client)  # nobody is notified anyway
    channel = Channel(name="ops", kind="slack", url="https://example.com/SECRET", added_s=1)
    change = AlertChange(AlertTable.CHANNELS, "ops", pack_channel(channel))
    await store.change_alerts([change])
    assert "30 s ago Mute" in await text(client)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": LOCAL}
    body = "mute=shop&for=4h&next=/%3Fapp%3Dshop"
    answer = await client.post("/alerts/mutes", content=body, headers=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?app=shop")
    assert "muted until 14:00 UTC" in await text(client)
    (mute,) = (await client.get("/api/v1/alerts")).json()["mutes"]
    assert mute["until"] - mute["since"] == 4 * 3600
    await client.post("/alerts/mutes", content="unmute=shop", headers=form)
    assert "muted until" not in await text(client)
    assert "30 s ago Mute" in await text(client)


async def test_other_sites_and_readers_mute_nothing(store: MemoryStore, clock: Clock) -> None:
    async with client_of(store, clock) as client:
        await post(client, router())
        evil = {"Origin": "https://evil.example"}
        answer = await client.post("/alerts/mutes", content="mute=shop", headers=evil)
        assert answer.status_code == 403
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        admin = {"Authorization": f"Bearer {TOKEN}"}
        made = {"name": "reader", "apps": ["*"]}
        token = (await client.post("/api/v1/tokens", json=made, headers=admin)).json()["token"]
        reader = {"Authorization": f"Bearer {token}"}
        assert "Mute" not in (await client.get("/", headers=reader)).text
        answer = await client.post("/alerts/mutes", content="mute=shop", headers=reader)
        assert answer.status_code == 403


def test_a_sparkline_begins_at_0_and_has_gaps_and_dots() -> None:
    assert row_line([1, 2, None, 2]) == "M9 10L27 0M63 0L63 0"
    assert row_line([None, None]) == ""
    assert row_line([0, 0]) == ""


def test_a_few_failures_are_no_tall_bar() -> None:
    assert "v-1h" in row_bars([0.001])
    assert "v-20h" in row_bars([0.5])
    assert row_bars([0, None]) == ""
