"""DELETE /api/v1/apps/{app}: removes an app, after confirmation and for admins only."""

from __future__ import annotations

import pytest

from app.storage.interface.apps import SeenApp
from app.storage.memory import MemoryStore
from tests.support.lines import memory, router
from tests.support.service import NOW_S, Clock, client_of, post

TOKEN = "0123456789abcdef"


async def test_a_removed_app_has_no_data_left_and_can_come_back() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router() * 3 + memory(), Logplex_Frame_Id="F1")
        await post(client, router(), app="blog")

        answer = await client.delete("/api/v1/apps/shop?confirm=shop")

        assert (answer.status_code, answer.json()) == (200, {"app": "shop", "remove": []})
        apps = (await client.get("/api/v1/apps")).json()["apps"]
        assert [app["app"] for app in apps] == ["blog"]
        assert (await client.get("/api/v1/apps/shop/ledger")).status_code == 404
        assert "shop" not in (await client.get("/metrics")).text

        clock.now_s += 5
        await post(client, router(clock.now_s) * 2, Logplex_Frame_Id="F1")
        ledger = (await client.get("/api/v1/apps/shop/ledger")).json()
        assert (ledger["received"], ledger["duplicate"]) == (2, 0)


async def test_a_replayed_app_is_listed_again_directly_after_its_removal() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        for _ in range(2):
            await post(client, router(), Dynometer_Replay="1")
            [app] = (await client.get("/api/v1/apps")).json()["apps"]
            assert (app["app"], app["origin"]) == ("shop", "replay")
            await client.delete("/api/v1/apps/shop?confirm=shop")


async def test_the_drain_command_of_a_removed_app_is_told() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router(), Logplex_Drain_Token="d.1")
        answer = await client.delete("/api/v1/apps/shop?confirm=shop")
    assert answer.json()["remove"] == ["heroku drains:remove d.1 -a shop"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("shop", 400), ("shop?confirm=blog", 400), ("none?confirm=none", 404), ("A?confirm=A", 400)],
)
async def test_a_removal_that_is_not_confirmed_or_has_no_app_changes_nothing(
    path: str, status: int
) -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router())
        answer = await client.delete(f"/api/v1/apps/{path}")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert len((await client.get("/api/v1/apps")).json()["apps"]) == 1


async def test_only_the_admin_token_can_remove_an_app() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.record_sightings([SeenApp("shop", int(NOW_S), int(NOW_S), 0)], ttl_ms=10**9)
    url = "/api/v1/apps/shop?confirm=shop"
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        created = await client.post("/api/v1/tokens", json={"name": "x"}, headers=headers)
        reader = {"Authorization": f"Bearer {created.json()['token']}"}
        assert (await client.delete(url, headers=reader)).status_code == 403
        assert (await client.delete(url, headers=headers)).status_code == 200
        assert await store.seen_apps() == []
