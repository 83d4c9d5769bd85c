"""Access control: in local mode this machine only, otherwise requests with a valid token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from app.access.drain_secrets import hash_secret
from app.access.read_tokens import new_token, pack_token
from app.alerting.rule import Rule, pack_rule
from app.alerting.state import Alert, AppAlerts, HistoryEntry, Mute, pack_app_alerts, pack_json
from app.config import ConfigError, Settings
from app.storage.connect import connect
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from app.web import authentication
from app.web.authentication import ADMIN_PATHS
from tests.support.lines import frame, memory, router
from tests.support.registry import put_drain, remove_drain
from tests.support.service import Clock, client_of, post

TOKEN = "a-token-of-the-admin"
UNKNOWN_TOKEN = new_token("unknown", ["*"], 0)[0]
GUARDED = ("/", "/docs", "/metrics", "/version", "/api/v1/apps", "/openapi.json", "/nothing")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "FAILED_LOGIN_DELAY_S", 0.001)


@pytest.fixture
async def local_client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


@pytest.fixture
async def guarded_client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    store = MemoryStore(clock)
    await put_drain(store, "shop", hash_secret("the-drain-secret"))
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1", "127.1.2.3:80", "[::1]:8080", "LOCALHOST"]
)
async def test_in_local_mode_this_machine_is_answered(
    local_client: httpx2.AsyncClient, host: str
) -> None:
    assert (await local_client.get("/api/v1/apps", headers={"Host": host})).status_code == 200


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
async def test_in_local_mode_another_host_is_rejected_with_instructions(
    local_client: httpx2.AsyncClient, host: str
) -> None:
    for path in ("/", "/healthz", "/api/v1/apps"):
        answer = await local_client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "DYNOMETER_ADMIN_TOKEN" in answer.text
    answer = await local_client.post(
        "/drain", content=router(), headers={"Host": host}, auth=("a", "x")
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        *("https://example.com", "null", "http://localhost.evil", "x"),
        *("http://localhost:3000", "http://127.0.0.1:3000", "http://127.0.0.1"),
    ],
)
async def test_in_local_mode_a_page_of_another_origin_is_refused(
    local_client: httpx2.AsyncClient, origin: str
) -> None:
    answer = await local_client.get("/api/v1/apps", headers={"Origin": origin})
    assert answer.status_code == 403


async def test_every_rejection_is_a_problem_document(
    local_client: httpx2.AsyncClient, guarded_client: httpx2.AsyncClient
) -> None:
    elsewhere, wrong = {"Host": "example.com"}, {"Authorization": "Bearer wrong"}
    answers = [
        await local_client.get("/", headers=elsewhere),
        await local_client.post("/drain", headers=elsewhere),
        await local_client.get("/drain"),
        await local_client.post("/drain"),
        await local_client.get("/nothing"),
        await local_client.get("/static/nothing"),
        await local_client.put("/healthz"),
        await local_client.post("/api/v1/tokens", content=b"x" * 2_000_000),
        await guarded_client.get("/metrics"),
        await guarded_client.get("/nothing"),
        await guarded_client.get("/api/v1/apps", headers=wrong),
        await guarded_client.post("/drain", auth=("shop", "wrong")),
        await guarded_client.post(
            "/add", headers={"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}
        ),
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [403, 403, 405, 401, 404, 404, 405, 413, 401, 401, 401, 401, 403]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert answer.json()["detail"]


async def test_in_local_mode_the_services_own_page_is_answered(
    local_client: httpx2.AsyncClient,
) -> None:
    answer = await local_client.get("/api/v1/apps", headers={"Origin": "http://127.0.0.1:8080"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", GUARDED)
async def test_with_a_token_nothing_is_shown_without_it(
    guarded_client: httpx2.AsyncClient, path: str
) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic !"},
        {"Authorization": f"Token {TOKEN}"},
    ):
        answer = await guarded_client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert TOKEN not in answer.text
    assert (await guarded_client.get(path, auth=("shop", "the-drain-secret"))).status_code == 401


@pytest.mark.parametrize("path", ["/version", "/metrics", "/api/v1/apps"])
async def test_with_a_token_bearer_and_basic_open_everything(
    guarded_client: httpx2.AsyncClient, path: str
) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded_client.get(path, headers=bearer)).status_code == 200
    assert (await guarded_client.get(path, auth=("anyone", TOKEN))).status_code == 200
    other_host = await guarded_client.get(path, headers={**bearer, "Host": "metrics.example.com"})
    assert other_host.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_open(guarded_client: httpx2.AsyncClient, path: str) -> None:
    assert (await guarded_client.get(path)).status_code == 200


async def test_readyz_tells_everyone_the_identity_of_the_store() -> None:
    store = MemoryStore(Clock())
    async with client_of(store, Clock()) as client:
        body = (await client.get("/readyz")).json()
    identity = await store.identity()
    assert body["store"]["identity"] == {"id": identity.id, "epoch": identity.epoch_s}


async def test_concurrent_readiness_checks_share_one_check() -> None:
    store = MemoryStore(Clock())
    checks = 0
    original = store.problems

    async def counted() -> Any:
        nonlocal checks
        checks += 1
        await asyncio.sleep(0.01)
        return await original()

    store.problems = counted  # type: ignore[method-assign]
    async with client_of(store, Clock()) as client:
        checks = 0
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert checks == 1
        await client.get("/readyz")
        assert checks == 1


async def test_nobody_without_a_token_learns_the_address_of_the_store() -> None:
    store = connect("redis://127.0.0.1:1")
    async with client_of(store, Clock(), DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        for answer in (
            await client.get("/readyz"),
            await client.get("/api/v1/apps", headers={"Authorization": "Bearer " + UNKNOWN_TOKEN}),
            await client.post("/sign-in", data={"token": UNKNOWN_TOKEN}),
            await post(client, router()),
        ):
            assert answer.status_code in (200, 503)
            assert "127.0.0.1" not in answer.text
            assert "Redis is unavailable" in answer.text


async def test_with_a_token_a_drain_needs_its_secret(guarded_client: httpx2.AsyncClient) -> None:
    answers = [
        (await guarded_client.post("/drain", content=router(), auth=auth)).status_code
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
    assert (await guarded_client.post("/drain", content=router(), headers=token)).status_code == 401


async def test_a_wrong_secret_and_an_unknown_app_get_the_same_answer(
    guarded_client: httpx2.AsyncClient,
) -> None:
    wrong = await guarded_client.post("/drain", content=router(), auth=("shop", "wrong"))
    unknown = await guarded_client.post("/drain", content=router(), auth=("nobody", "wrong"))
    assert (wrong.text, wrong.headers) == (unknown.text, unknown.headers)


async def test_a_drain_added_or_removed_takes_effect_within_seconds() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        assert (await post(client, router())).status_code == 401
        await put_drain(store, "shop", hash_secret("any"))
        clock.now_s += 5
        assert (await post(client, router())).status_code == 200
        await remove_drain(store, "shop")
        clock.now_s += 5
        assert (await post(client, router())).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "metrics.example.com"])
def test_without_a_token_the_service_listens_only_here(host: str) -> None:
    with pytest.raises(ConfigError, match="echo DYNOMETER_ADMIN_TOKEN="):
        Settings.from_environ({"HOST": host})


async def reader(store: MemoryStore, *apps: str) -> dict[str, str]:
    """Headers with a new read token for these apps."""
    token, token_id, record = new_token("reader", apps, 0)
    await store.put_token(token_id, pack_token(record))
    return {"Authorization": f"Bearer {token}"}


async def put_alerts(store: MemoryStore, app: str) -> None:
    """A firing alert of the app, a mute, and a rule for this app alone."""
    alert = Alert("no-data", "", "firing", 1, detail=app)
    rule = Rule(name=f"of-{app}", title=app, kind="no_data", apps=(app,), limit=5)
    records = (
        (AlertTable.STATES, app, pack_app_alerts(AppAlerts(1, alerts=(alert,)))),
        (AlertTable.MUTES, app, pack_json(Mute(2**32, 1))),
        (AlertTable.RULES, rule.name, pack_rule(rule)),
    )
    entry = pack_json(HistoryEntry(1, "fired", app))
    await store.change_alerts([AlertChange(*record) for record in records], history={app: [entry]})


@asynccontextmanager
async def with_apps(*apps: str) -> AsyncIterator[tuple[httpx2.AsyncClient, MemoryStore]]:
    store = MemoryStore(Clock())
    for app in apps:
        await put_drain(store, app, hash_secret("any"))
    async with client_of(store, Clock(), DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        for app in apps:
            body = router() + memory() + frame("Error R14 (Memory quota exceeded)")
            assert (await post(client, body, app=app)).status_code == 200
            await put_alerts(store, app)
        yield client, store


def paths_of(openapi: dict[str, Any], app: str) -> list[str]:
    """Every path that a read token may read, with its required parameters."""
    questions = {"/query": "?metric=requests", "/signal": "?metric=requests"}
    paths = [
        path.replace("{app}", app)
        + next((more for end, more in questions.items() if path.endswith(end)), "")
        for path, methods in openapi["paths"].items()
        if "get" in methods and not path.startswith(ADMIN_PATHS)
    ]
    return [*paths, f"/apps/{app}"]


async def test_a_read_token_opens_its_app_everywhere() -> None:
    async with with_apps("shop") as (client, store):
        headers = await reader(store, "sh*")
        openapi = (await client.get("/openapi.json", headers=headers)).json()
        for path in ["/", *paths_of(openapi, "shop")]:
            assert (await client.get(path, headers=headers)).status_code == 200, path


async def test_an_app_that_a_read_token_does_not_name_is_invisible() -> None:
    async with with_apps("secretshop", "blog") as (client, store):
        headers = await reader(store, "blog")
        openapi = (await client.get("/openapi.json", headers=headers)).json()
        for path in ["/", "/docs", *paths_of(openapi, "blog")]:
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 200, path
            assert "secretshop" not in answer.text, path
        for path in paths_of(openapi, "secretshop"):
            if "secretshop" in path:
                existing = await client.get(path, headers=headers)
                unknown = await client.get(path.replace("secret", "nobody"), headers=headers)
                assert existing.status_code == unknown.status_code == 404
                assert existing.text.replace("secret", "nobody") == unknown.text


async def test_a_read_token_changes_nothing_and_sees_no_secrets() -> None:
    async with with_apps("shop") as (client, store):
        headers = await reader(store, "*")
        for path in ADMIN_PATHS:
            assert (await client.get(path, headers=headers)).status_code == 403
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await client.request(method, "/api/v1/apps", headers=headers)
            assert answer.status_code == 403


async def test_guesses_are_delayed_and_bounded_and_never_delay_valid_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "FAILED_LOGIN_DELAY_S", 5.0)
    monkeypatch.setattr(authentication, "DELAYED_LOGINS_MAX", 3)
    async with with_apps("shop") as (client, store):
        right = await reader(store, "*")
        wrong = {"Authorization": "Bearer wrong"}
        guesses = [asyncio.create_task(client.get("/version", headers=wrong)) for _ in range(4)]
        answered_tasks, delayed_tasks = await asyncio.wait(
            guesses, return_when=asyncio.FIRST_COMPLETED
        )
        assert [task.result().status_code for task in answered_tasks] == [429]
        assert (await client.get("/version", headers=right)).status_code == 200
        assert (
            await client.get("/version")
        ).status_code == 401  # without a token there is no delay
        assert (await post(client, router(), secret="wrong")).status_code == 401
        assert not any(task.done() for task in delayed_tasks)
        for task in delayed_tasks:
            task.cancel()


async def test_health_checks_answer_everyone_and_name_no_app() -> None:
    async with with_apps("secretshop") as (client, _):
        for path in ("/readyz", "/healthz"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "secretshop" not in answer.text
