"""Managing drains and tokens over the API: secrets are shown once, and changes take effect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import Clock, client_of, post

ADMIN_TOKEN = "the admin token of the test"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
ADD = re.compile(
    r'heroku drains:add "https://shop:([A-Za-z0-9_-]{43})@metrics\.example\.com/drain" -a shop'
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(clock: Clock, store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    settings = {
        "DYNOMETER_ADMIN_TOKEN": ADMIN_TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    async with client_of(store, clock, **settings) as client:
        client.headers["Host"] = "metrics.example.com"
        yield client


async def add_shop(client: httpx2.AsyncClient, clock: Clock) -> str:
    """The secret of a drain of shop, added a second ago."""
    answer = await client.post("/api/v1/drains", json={"apps": ["shop"]}, headers=ADMIN)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    (drain,) = answer.json()["drains"]
    match = ADD.fullmatch(drain["add"])
    assert match
    clock.now_s += 1
    return match[1]


async def deliver(client: httpx2.AsyncClient, secret: str, drain: str = "d.one") -> int:
    answer = await post(client, router(), secret=secret, Logplex_Drain_Token=drain)
    return answer.status_code


async def test_a_drain_that_was_added_may_send(clock: Clock, client: httpx2.AsyncClient) -> None:
    secret = await add_shop(client, clock)
    assert await deliver(client, secret) == 200

    (shop,) = (await client.get("/api/v1/drains", headers=ADMIN)).json()["drains"]
    assert shop["app"] == "shop"
    assert shop["active_drain"]["token"] == "d.one"
    assert secret not in str(shop)


async def test_adding_is_for_all_or_none(clock: Clock, client: httpx2.AsyncClient) -> None:
    await add_shop(client, clock)
    answer = await client.post("/api/v1/drains", json={"apps": ["blog", "shop"]}, headers=ADMIN)
    assert answer.status_code == 409
    assert "shop: already has a drain" in answer.json()["detail"]
    drains = (await client.get("/api/v1/drains", headers=ADMIN)).json()["drains"]
    assert [drain["app"] for drain in drains] == ["shop"]


NO_APPS = [{}, {"apps": []}, {"apps": ["A b"]}, {"apps": "shop"}, [], {"apps": ["a"] * 1_001}]


@pytest.mark.parametrize("body", NO_APPS)
async def test_a_body_without_valid_apps_is_a_bad_request(
    client: httpx2.AsyncClient, body: object
) -> None:
    answer = await client.post("/api/v1/drains", json=body, headers=ADMIN)
    assert answer.status_code == 400


async def test_after_a_rotation_both_secrets_hold_and_the_new_drain_takes_over(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    old = await add_shop(client, clock)
    assert await deliver(client, old, "d.old") == 200
    answer = await client.post("/api/v1/drains/shop/rotate", headers=ADMIN)
    assert answer.json()["remove"] == "heroku drains:remove d.old -a shop"
    match = ADD.fullmatch(answer.json()["add"])
    assert match
    clock.now_s += 5
    assert await deliver(client, old, "d.old") == 200
    assert await deliver(client, match[1], "d.new") == 200
    assert await deliver(client, old, "d.old") == 200

    (shop,) = (await client.get("/api/v1/drains", headers=ADMIN)).json()["drains"]
    assert shop["active_drain"]["token"] == "d.new"
    assert shop["other_drain"]["remove"] == "heroku drains:remove d.old -a shop"


async def test_rotating_at_once_ends_the_old_secret(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    old = await add_shop(client, clock)
    assert await deliver(client, old) == 200
    await client.post("/api/v1/drains/shop/rotate", json={"at_once": True}, headers=ADMIN)
    clock.now_s += 5
    assert await deliver(client, old) == 401


async def test_a_token_is_linked_to_one_app_and_unlinked(client: httpx2.AsyncClient) -> None:
    for app, status in (("shop", 204), ("shop", 204), ("blog", 409)):
        answer = await client.put(f"/api/v1/drains/{app}/links/d.one", headers=ADMIN)
        assert answer.status_code == status
    (shop,) = (await client.get("/api/v1/drains", headers=ADMIN)).json()["drains"]
    assert (shop["app"], shop["links"]) == ("shop", 1)
    for status in (204, 409):
        answer = await client.delete("/api/v1/drains/shop/links/d.one", headers=ADMIN)
        assert answer.status_code == status
    assert (await client.put("/api/v1/drains/shop/links/a%20b", headers=ADMIN)).status_code == 400
    assert (await client.put("/api/v1/drains/shop/links/d.one")).status_code == 401


async def test_a_drain_that_was_removed_may_not_send(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    secret = await add_shop(client, clock)
    assert await deliver(client, secret) == 200
    answer = await client.delete("/api/v1/drains/shop", headers=ADMIN)
    assert answer.json() == {"app": "shop", "remove": ["heroku drains:remove d.one -a shop"]}
    clock.now_s += 5
    assert await deliver(client, secret) == 401
    assert (await client.delete("/api/v1/drains/shop", headers=ADMIN)).status_code == 409


async def test_a_token_reads_what_it_names_until_it_is_removed(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    await deliver(client, await add_shop(client, clock))
    response = await client.post("/api/v1/tokens", json={"apps": ["shop"]}, headers=ADMIN)
    assert response.status_code == 201
    reader = {"Authorization": f"Bearer {response.json()['token']}"}
    assert len((await client.get("/api/v1/apps", headers=reader)).json()["apps"]) == 1

    (token,) = (await client.get("/api/v1/tokens", headers=ADMIN)).json()["tokens"]
    assert "token" not in token
    assert (token["id"], token["apps"]) == (response.json()["id"], ["shop"])

    removal = await client.delete(f"/api/v1/tokens/{token['id']}", headers=ADMIN)
    assert removal.status_code == 204
    clock.now_s += 5
    assert (await client.get("/api/v1/apps", headers=reader)).status_code == 401
    again = await client.delete(f"/api/v1/tokens/{token['id']}", headers=ADMIN)
    assert again.status_code == 404


async def test_a_token_for_no_apps_or_too_many_is_rejected(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    bodies: list[dict[str, object]] = [
        {"expires": int(clock.now_s) - 1},
        {"apps": []},
        {"apps": ["a"] * 101},
    ]
    for body in bodies:
        answer = await client.post("/api/v1/tokens", json=body, headers=ADMIN)
        assert answer.status_code == 400
    assert (await client.get("/api/v1/tokens", headers=ADMIN)).json() == {"tokens": []}


async def test_a_page_of_another_site_cannot_use_the_password_that_a_browser_remembers(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    await add_shop(client, clock)
    for origin in ("https://evil.example.com", "null", "https://metrics.example.com.evil.com"):
        answer = await client.delete("/api/v1/drains/shop", headers={**ADMIN, "Origin": origin})
        assert answer.status_code == 403, origin
    own = {**ADMIN, "Origin": "https://metrics.example.com"}
    assert (await client.delete("/api/v1/drains/shop", headers=own)).status_code == 200


async def test_refused_log_ins_are_shown_to_the_admin(
    clock: Clock, store: MemoryStore, client: httpx2.AsyncClient
) -> None:
    secret = await add_shop(client, clock)
    token = "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1"
    assert await deliver(client, "wrong", token) == 401
    assert (await post(client, router(), app="ghost", secret="x")).status_code == 401
    assert await deliver(client, secret) == 200

    async def refusal_keys() -> list[tuple[str, str, str]]:
        refusals = (await client.get("/api/v1/drains", headers=ADMIN)).json()["refusals"]
        return sorted(
            (refusal["user"], refusal["token"], refusal["reason"]) for refusal in refusals
        )

    async with asyncio.timeout(10):
        while len(await refusal_keys()) < 2:
            await asyncio.sleep(0.05)
    assert await refusal_keys() == [("ghost", "", "unknown app"), ("shop", token, "wrong secret")]
    page = await client.get("/", headers=ADMIN)
    assert "2 rejected logins at the drain" in page.text
    response = await client.post("/api/v1/tokens", json={}, headers=ADMIN)
    reader = {"Authorization": f"Bearer {response.json()['token']}"}
    assert "rejected" not in (await client.get("/", headers=reader)).text


async def test_the_page_names_the_command_that_removes_a_second_drain(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    secret = await add_shop(client, clock)
    await deliver(client, secret, "d.one")
    await deliver(client, secret, "d.two")
    page = await client.get("/", headers=ADMIN)
    assert "heroku drains:remove d.two -a shop" in page.text
