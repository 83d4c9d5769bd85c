"""Signing in with a browser: a token becomes a cookie, and there is no way around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import unescape

import httpx2
import pytest

from app.access.read_tokens import new_token, pack_token
from app.storage.memory import MemoryStore
from app.storage.redis.store import connect
from app.web import authentication
from tests.support.lines import router
from tests.support.registry import put_drain
from tests.support.service import LOCAL, Clock, client_of, post

TOKEN = 'the admin\'s; token="ü"'
PEOPLE = {"Accept": "text/html,application/xhtml+xml"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": LOCAL}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "FAILED_LOGIN_DELAY_S", 0.001)


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, Clock(), DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        yield client


async def sign_in(
    client: httpx2.AsyncClient, token: str, target: str = "/", *, scheme: str = "http"
) -> httpx2.Response:
    body = str(httpx2.QueryParams({"token": token, "next": target}))
    headers = {**FORM, "X-Forwarded-Proto": scheme}
    return await client.post("/sign-in", content=body, headers=headers)


async def test_a_browser_is_redirected_to_the_form_and_back(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get("/?app=sh*", headers=PEOPLE)
    assert answer.status_code == 303
    form = await client.get(answer.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/?app=sh*"' in form.text
    answer = await sign_in(client, TOKEN, "/?app=sh*")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?app=sh*")
    page = await client.get("/?app=sh*", headers=PEOPLE)
    assert page.status_code == 200
    assert "Sign out" in page.text


async def test_machines_get_401_and_no_form(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/apps")).status_code == 401
    assert (await client.get("/metrics", headers={"Accept": "*/*"})).status_code == 401


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: httpx2.AsyncClient,
) -> None:
    cookie = (await sign_in(client, TOKEN)).headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=2592000"):
        assert attribute in cookie
    assert "Secure" not in cookie
    behind_tls = await sign_in(client, TOKEN, scheme="https")
    assert "Secure" in behind_tls.headers["set-cookie"]


async def test_a_wrong_token_is_rejected(client: httpx2.AsyncClient) -> None:
    answer = await sign_in(client, "wrong")
    assert answer.status_code == 401
    assert "That token isn't valid here." in unescape(answer.text)
    assert "set-cookie" not in answer.headers
    client.cookies.set(authentication.COOKIE_NAME, "d3Jvbmc")
    assert (await client.get("/", headers=PEOPLE)).status_code == 303
    assert (await client.get("/api/v1/apps")).status_code == 401
    client.cookies.set(authentication.COOKIE_NAME, "not base64!")
    assert (await client.get("/api/v1/apps")).status_code == 401


async def test_guesses_are_slowed_by_form_and_by_cookie(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "DELAYED_LOGINS_MAX", 0)
    assert (await sign_in(client, "wrong")).status_code == 429
    client.cookies.set(authentication.COOKIE_NAME, "d3Jvbmc")
    assert (await client.get("/api/v1/apps")).status_code == 429


async def test_a_read_token_sees_its_apps_and_signs_out(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    for app in ("shop", "blog"):
        await put_drain(store, app, "x")
    token, token_id, record = new_token("wallboard", ["shop"], 0)
    await store.put_token(token_id, pack_token(record))
    await sign_in(client, token)
    assert (await client.get("/api/v1/apps/shop/ledger")).status_code == 200
    assert (await client.get("/api/v1/apps/blog/ledger")).status_code == 404
    assert "Your token can only read" in (await client.get("/add", headers=PEOPLE)).text
    assert (await client.post("/add", content="apps=x", headers=FORM)).status_code == 403
    answer = await client.post("/sign-out", headers=FORM)
    assert answer.status_code == 303
    assert (await client.get("/", headers=PEOPLE)).status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", ""])
async def test_with_a_cookie_only_our_own_pages_change_anything(
    client: httpx2.AsyncClient, origin: str
) -> None:
    await sign_in(client, TOKEN)
    headers = {**FORM, "Origin": origin} if origin else {"Content-Type": FORM["Content-Type"]}
    assert (await client.post("/add", content="apps=shop", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "target",
    ["//evil.example.com", "https://evil.example.com", "/\\evil", "/%2Fevil", "/\t/evil", "x", ""],
)
async def test_signing_in_redirects_only_to_this_service(
    client: httpx2.AsyncClient, target: str
) -> None:
    assert (await sign_in(client, TOKEN, target)).headers["location"] == "/"


async def test_while_the_store_is_unavailable_a_read_token_gets_503() -> None:
    store = connect("unix:///nonexistent/store.sock")
    token, _, _ = new_token("wallboard", ["*"], 0)
    async with client_of(store, Clock(), DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        assert (await sign_in(client, token)).status_code == 503
        assert (await sign_in(client, TOKEN)).status_code == 303


async def test_local_mode_has_no_sign_in() -> None:
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        await post(client, router())
        assert (await client.get("/sign-in")).status_code == 404
        assert "Sign out" not in (await client.get("/")).text
