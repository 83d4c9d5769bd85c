"""Alerts over the API: settings take effect, secrets stay hidden, readers see only their apps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.access.read_tokens import new_token, pack_token
from app.alerting.state import Alert, AppAlerts, HistoryEntry, pack_app_alerts, pack_json
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import NOW_S, Clock, client_of, post

ADMIN_TOKEN = "the admin token of the test"
SLACK = {"name": "ops", "kind": "slack", "url": "https://hooks.example.com/SECRET"}
URL = "/api/v1/alerts"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(clock: Clock, store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=ADMIN_TOKEN) as client:
        client.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
        yield client


async def reader(store: MemoryStore, *apps: str) -> dict[str, str]:
    token, token_id, record = new_token("", apps, 1)
    await store.put_token(token_id, pack_token(record))
    return {"Authorization": f"Bearer {token}"}


async def fetch(client: httpx2.AsyncClient, path: str = "", **more: Any) -> Any:
    answer = await client.get(URL + path, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fire(store: MemoryStore, *apps: str) -> None:
    """An alert fires for each of these apps."""
    alert = Alert(
        "app-broken", "", "firing", int(NOW_S) - 60, value=14, detail="web.1", parts=("H12",)
    )
    entry = HistoryEntry(int(NOW_S), "fired", "H12", rule="app-broken", told=True)
    for app in apps:
        state = pack_app_alerts(AppAlerts(int(NOW_S), alerts=(alert,)))
        await store.change_alerts(
            [AlertChange(AlertTable.STATES, app, state)], history={app: [pack_json(entry)]}
        )


async def test_a_channel_never_shows_its_secrets(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{URL}/channels", json=SLACK)
    assert answer.status_code == 201
    assert "SECRET" not in answer.text
    hook = {**SLACK, "name": "hook", "kind": "webhook"}
    key = (await client.post(f"{URL}/channels", json=hook)).json()["key"]
    assert len(key) == 43

    text = (await client.get(f"{URL}/channels")).text
    assert "hooks.example.com" in text
    assert "SECRET" not in text
    assert key not in text
    assert (await client.post(f"{URL}/channels", json=SLACK)).status_code == 409
    assert (await client.post(f"{URL}/channels/ops/test")).status_code == 202
    assert (await fetch(client, "/channels"))["channels"][1]["waiting"] == 1
    assert (await client.delete(f"{URL}/channels/ops")).status_code == 204
    assert (await client.delete(f"{URL}/channels/ops")).status_code == 409


async def test_a_bad_channel_is_refused_without_repeating_it(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{URL}/channels", json={**SLACK, "url": "http://x.com/SECRET"})

    assert answer.status_code == 400
    assert "must begin with https://" in answer.json()["detail"]
    assert "SECRET" not in answer.text


async def test_rules_are_made_changed_and_removed(client: httpx2.AsyncClient) -> None:
    response = await client.put(
        f"{URL}/rules/busy", json={"metric": "requests", "stat": "rate", "limit": 50}
    )
    assert response.status_code == 200, response.text
    assert (await client.put(f"{URL}/rules/slow", json={"floor": 900})).json()["limit"] == 2

    rules = {rule["name"]: rule for rule in (await fetch(client, "/rules"))["rules"]}
    assert (rules["busy"]["own"], rules["slow"]["floor"]) == (True, 900)
    assert rules["no-data"]["own"] is False
    assert (await client.put(f"{URL}/rules/busy", json={"stat": "p95"})).status_code == 400
    assert (await client.delete(f"{URL}/rules/slow")).status_code == 204
    assert (await client.delete(f"{URL}/rules/slow")).status_code == 409


async def test_firing_alerts_are_acknowledged(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    kim = {"until_resolved": True, "by": "kim"}
    assert (await client.put(f"{URL}/mutes/shop", json=kim)).status_code == 409
    await fire(store, "shop")
    expected = {"app": "shop", "since": NOW_S, "until": NOW_S + 86_400, **kim}
    assert (await client.put(f"{URL}/mutes/shop", json=kim)).json() == expected
    body = await fetch(client)
    assert body["mutes"] == [expected]
    assert body["alerts"][0]["muted"] is True
    assert (await client.delete(f"{URL}/mutes/shop")).status_code == 204
    assert (await fetch(client))["mutes"] == []


@pytest.mark.parametrize("body", [{}, {"for_s": 60, "until_resolved": True}, {"by": "kim"}])
async def test_a_mute_has_one_end(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.put(f"{URL}/mutes/-", json=body)
    assert answer.status_code == 400
    assert "expected for_s, or until_resolved=true, and not both" in answer.text


async def test_firing_alerts_are_listed_with_mutes_and_history(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, router(), secret="none")
    await fire(store, "shop")
    await store.record_sightings([], ttl_ms=10**9)
    assert (await client.put(f"{URL}/mutes/shop", json={"for_s": 60})).status_code == 409
    (alert,) = (await fetch(client))["alerts"]
    assert alert["what"] == "H12 Request timeout: 14 in a minute"
    assert (alert["phase"], alert["dyno"], alert["muted"]) == ("firing", "web.1", False)

    mute = await client.put(f"{URL}/mutes/-", json={"for_s": 60})
    assert mute.json()["until"] == int(NOW_S) + 60
    shop_reader = await reader(store, "shop")

    assert [entry["app"] for entry in (await fetch(client, headers=shop_reader))["alerts"]] == [
        "shop"
    ]
    names = {
        entry["name"] for entry in (await fetch(client, "/rules", headers=shop_reader))["rules"]
    }
    assert "slow" in names
    assert "blogs" not in names
    history = (await fetch(client, "/history?app=shop&app=blog", headers=shop_reader))["history"]
    assert {entry["app"] for entry in history} == {"shop"}
    for method, path in (
        ("GET", "/channels"),
        ("POST", "/channels/ops/test"),
        ("PUT", "/mutes/shop"),
        ("PUT", "/rules/slow"),
        ("DELETE", "/rules/blogs"),
    ):
        answer = await client.request(method, URL + path, json={}, headers=shop_reader)
        assert answer.status_code == 403, path


async def test_a_reader_sees_no_other_apps_in_the_rules(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    sightings = [SeenApp(app, 1, 2, 0) for app in ("shop", "blog", "secret-project")]
    await store.record_sightings(sightings, ttl_ms=10**9)
    rule = {"metric": "requests", "stat": "rate", "limit": 50}
    for name, apps in {
        "some": ["shop", "secret-project"],
        "globs": ["sh*", "secret-*"],
        "others": ["secret-project"],
        "all": ["*"],
    }.items():
        await client.put(f"{URL}/rules/{name}", json={**rule, "apps": apps})
    shop_reader = await reader(store, "shop")

    answer = await client.get(f"{URL}/rules", headers=shop_reader)
    apps_of = {entry["name"]: entry["apps"] for entry in answer.json()["rules"]}
    assert "secret" not in answer.text
    assert (apps_of["some"], apps_of["globs"], apps_of["all"]) == (["shop"], ["shop"], ["*"])
    assert "others" not in apps_of
    rules = (await fetch(client, "/rules"))["rules"]
    assert {"shop", "secret-project"} in [set(entry["apps"]) for entry in rules]
