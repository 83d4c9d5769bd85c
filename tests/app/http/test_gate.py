"""Who is let in: this machine alone in local mode, who knows the token otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.config import ConfigError, Settings
from app.drains import hash_secret
from app.store.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import Clock, client_of, post

TOKEN = "a-token-of-the-admin"
GUARDED = ("/", "/docs", "/metrics", "/version", "/api/v1/apps", "/openapi.json", "/nothing")


@pytest.fixture
async def local() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


@pytest.fixture
async def guarded() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    store = MemoryStore(clock)
    await store.put_drain("shop", hash_secret("the-drain-secret"))
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:8080", "LOCALHOST"]
)
async def test_in_local_mode_this_machine_is_answered(local: httpx2.AsyncClient, host: str) -> None:
    assert (await local.get("/api/v1/apps", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "10.0.0.1",
        "127.0.0.1.example.com",
        "x@localhost",
        "",
    ],
)
async def test_in_local_mode_another_host_is_refused_with_what_to_do(
    local: httpx2.AsyncClient, host: str
) -> None:
    for path in ("/", "/healthz", "/api/v1/apps"):
        answer = await local.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "DYNOMETER_ADMIN_TOKEN" in answer.text
    answer = await local.post("/drain", content=router(), headers={"Host": host}, auth=("a", "x"))
    assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost.evil", "x"])
async def test_in_local_mode_a_page_of_another_origin_is_refused(
    local: httpx2.AsyncClient, origin: str
) -> None:
    answer = await local.get("/api/v1/apps", headers={"Origin": origin})
    assert answer.status_code == 403


async def test_in_local_mode_a_page_of_this_machine_is_answered(local: httpx2.AsyncClient) -> None:
    answer = await local.get("/api/v1/apps", headers={"Origin": "http://localhost:3000"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", GUARDED)
async def test_with_a_token_nothing_is_shown_without_it(
    guarded: httpx2.AsyncClient, path: str
) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !"},
        {"Authorization": f"Token {TOKEN}"},
    ):
        answer = await guarded.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert TOKEN not in answer.text
    assert (await guarded.get(path, auth=("shop", "the-drain-secret"))).status_code == 401


@pytest.mark.parametrize("path", ["/version", "/metrics", "/api/v1/apps"])
async def test_with_a_token_bearer_and_basic_open_everything(
    guarded: httpx2.AsyncClient, path: str
) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded.get(path, headers=bearer)).status_code == 200
    assert (await guarded.get(path, auth=("anyone", TOKEN))).status_code == 200
    other_host = await guarded.get(path, headers={**bearer, "Host": "metrics.example.com"})
    assert other_host.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_open(guarded: httpx2.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 200


async def test_with_a_token_a_drain_needs_its_secret(guarded: httpx2.AsyncClient) -> None:
    answers = [
        (await guarded.post("/drain", content=router(), auth=auth)).status_code
        for auth in (
            ("shop", "the-drain-secret"),
            ("shop", "wrong"),
            ("blog", "the-drain-secret"),
            ("shop", TOKEN),
            ("", ""),
        )
    ]
    assert answers == [200, 401, 401, 401, 401]
    token = {"Logplex-Drain-Token": "d.0f0f"}
    assert (await guarded.post("/drain", content=router(), headers=token)).status_code == 401


async def test_a_wrong_secret_and_an_unknown_app_get_the_same_answer(
    guarded: httpx2.AsyncClient,
) -> None:
    wrong = await guarded.post("/drain", content=router(), auth=("shop", "wrong"))
    unknown = await guarded.post("/drain", content=router(), auth=("nobody", "wrong"))
    assert (wrong.text, wrong.headers) == (unknown.text, unknown.headers)


async def test_a_drain_added_or_removed_takes_effect_within_seconds() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        assert (await post(client, router())).status_code == 401
        await store.put_drain("shop", hash_secret("any"))
        clock.now_s += 5
        assert (await post(client, router())).status_code == 200
        await store.remove_drain("shop")
        clock.now_s += 5
        assert (await post(client, router())).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "metrics.example.com"])
def test_without_a_token_the_service_listens_only_here(host: str) -> None:
    with pytest.raises(ConfigError, match="export DYNOMETER_ADMIN_TOKEN="):
        Settings.from_environ({"HOST": host})
