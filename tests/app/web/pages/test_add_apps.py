"""Adding apps with a browser: names in, commands out, once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx2
import pytest

from app.storage.memory import MemoryStore
from app.storage.redis.store import connect
from tests.support.lines import router
from tests.support.service import LOCAL, Clock, client_of, post

TOKEN = "a-token-of-the-admin"
URL = "https://metrics.example.com"
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Origin": LOCAL,
    "Authorization": f"Bearer {TOKEN}",
}
SETTINGS = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "DYNOMETER_PUBLIC_URL": URL}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(MemoryStore(clock), clock, **SETTINGS) as client:
        yield client


async def add(client: httpx2.AsyncClient, names: str) -> httpx2.Response:
    body = str(httpx2.QueryParams({"apps": names}))
    return await client.post("/add", content=body, headers=FORM)


async def test_the_commands_hold_secrets_that_open_the_drain(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    answer = await add(client, "shop, blog\nshop")
    assert answer.status_code == 201
    commands = re.findall(
        r'heroku drains:add "https://(\w+):(\S+)@metrics.example.com/drain" -a (\w+)',
        unescape(answer.text),
    )
    assert [(user, app) for user, _, app in commands] == [("shop", "shop"), ("blog", "blog")]
    clock.now_s += 1
    for app, secret, _ in commands:
        assert (await post(client, router(), app=app, secret=secret)).status_code == 200
    assert "heroku labs:enable log-runtime-metrics -a shop && heroku restart -a shop" in unescape(
        answer.text
    )
    assert commands[0][1] not in (await client.get("/", headers=FORM)).text


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("", "Got 0 app names. Enter 1 to 1,000."),
        ("Shop", "“Shop” can't be a Heroku app name: use lower-case letters"),
        ("ok ;rm%20-rf <b>", "<b>"),
        (" ".join(f"a{i}" for i in range(1_001)), "Got 1,001 app names. Enter 1 to 1,000."),
    ],
)
async def test_invalid_names_add_nothing_and_stay_in_the_form(
    client: httpx2.AsyncClient, names: str, problem: str
) -> None:
    answer = await add(client, names)
    assert answer.status_code == 409
    assert "<b>" not in answer.text
    assert problem in unescape(answer.text)
    assert (await client.get("/api/v1/drains", headers=FORM)).json()["drains"] == []


async def test_all_apps_are_added_or_none(client: httpx2.AsyncClient) -> None:
    await add(client, "shop")
    answer = await add(client, "blog shop")
    assert answer.status_code == 409
    assert "shop: already has a drain. Nothing was changed" in answer.text
    assert ">blog\nshop</textarea>" in answer.text
    drains = (await client.get("/api/v1/drains", headers=FORM)).json()["drains"]
    assert [drain["app"] for drain in drains] == ["shop"]


async def test_without_a_public_address_it_says_what_to_set() -> None:
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        assert "DYNOMETER_PUBLIC_URL is not set" in (await add(client, "shop")).text


async def test_while_the_store_is_unavailable_no_commands_are_shown() -> None:
    store = connect("unix:///nonexistent/store.sock")
    async with client_of(store, Clock(), **SETTINGS) as client:
        answer = await add(client, "shop")
        assert answer.status_code == 503
        assert "drains:add" not in answer.text
