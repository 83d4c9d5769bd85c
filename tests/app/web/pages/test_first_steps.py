"""The pages for people around the figures: first steps, demo data, removal, health, 404."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx2
import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import LOCAL, Clock, client_of, post

TOKEN = "an-admin-token-of-some-length"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


def commands(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<pre id=[^>]*>([^<]*)</pre>", html)]


async def test_each_command_has_a_button_that_copies_it(client: httpx2.AsyncClient) -> None:
    html = (await client.get("/")).text
    ids = re.findall(r'<pre id="([^"]*)"', html)
    assert re.findall(r'data-copy-of="([^"]*)"', html) == ids
    assert len(set(ids)) == len(ids) > 5


async def test_with_a_token_the_commands_name_it(clock: Clock) -> None:
    settings = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "DYNOMETER_PUBLIC_URL": "https://m.example.com"}
    async with client_of(MemoryStore(clock), clock, **settings) as client:
        html = (await client.get("/", headers=ADMIN)).text
        assert all(
            "Bearer $DYNOMETER_ADMIN_TOKEN" in line for line in commands(html) if "curl" in line
        )
        (simulate,) = [line for line in commands(html) if " simulate " in line]
        assert "drains add demo" in simulate  # its secret
        assert "/demo" not in re.findall(r'action="([^"]*)"', html)
        assert (await client.post("/demo", headers=ADMIN)).status_code == 404


async def test_demo_data_is_an_hour_of_an_app_marked_as_a_simulation(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    answer = await client.post("/demo", headers={"Origin": LOCAL})
    assert (answer.status_code, answer.headers["location"]) == (303, "/apps/demo")
    (app,) = (await client.get("/api/v1/apps")).json()["apps"]
    assert (app["origin"], app["notifies"]) == ("simulation", False)
    assert 3500 < app["last_seen"] - app["first_seen"] <= 3600
    query = "/api/v1/apps/demo/query?metric=requests&step=range&start=now-2h"
    requests = (await client.get(query)).json()["series"][0]["values"][0]
    assert requests > 5_000
    page = (await client.get("/apps/demo")).text
    assert "These lines come from a simulation" in page
    clock.now_s += 60
    await client.post("/demo", headers={"Origin": LOCAL})  # a second click adds nothing
    assert (await client.get(query)).json()["series"][0]["values"][0] == requests
    assert 'href="/apps/demo/remove"' in (await client.get("/")).text


async def test_an_app_is_removed_after_a_confirmation(client: httpx2.AsyncClient) -> None:
    for app in ("shop", "blog"):
        await post(client, router(), app=app)
    assert "Remove shop?" in (await client.get("/apps/shop/remove")).text
    assert len((await client.get("/api/v1/apps")).json()["apps"]) == 2
    answer = await client.post("/apps/shop/remove", headers={"Origin": LOCAL})
    assert "shop is removed" in answer.text
    assert [app["app"] for app in (await client.get("/api/v1/apps")).json()["apps"]] == ["blog"]
    again = await client.post("/apps/shop/remove", headers={"Origin": LOCAL})
    assert (again.status_code, "no such app" in again.text) == (404, True)
    evil = await client.get("/apps/x;curl%20evil/remove")
    assert "evil" not in evil.text


async def test_a_browser_gets_a_page_for_an_unknown_path_and_a_program_a_problem(
    client: httpx2.AsyncClient,
) -> None:
    page = await client.get("/nowhere/<b>", headers=HTML)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "There is no page /nowhere/" in page.text
    assert "<b>" not in page.text
    for path, headers in (("/nowhere", {}), ("/api/v1/nowhere", HTML)):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_browser_gets_a_page_about_health_and_a_program_json(
    client: httpx2.AsyncClient,
) -> None:
    page = await client.get("/readyz", headers=HTML)
    assert page.status_code == 200
    assert "Log lines are accepted." in page.text
    assert "Accept" in page.headers["vary"].split(", ")
    assert (await client.get("/readyz")).json()["ready"] is True
    assert (await client.get("/readyz", headers={"Accept": "*/*"})).json()["ready"] is True


async def test_pages_name_an_icon_that_is_there(client: httpx2.AsyncClient) -> None:
    (url,) = re.findall(r'rel="icon" href="([^"]*)"', (await client.get("/")).text)
    icon = await client.get(url)
    assert icon.headers["content-type"].startswith("image/svg+xml")
