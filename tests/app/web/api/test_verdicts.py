"""Verdicts over HTTP: of one app, of all that a token may read, and the episodes of a range."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.judgement.verdict import Episode, Finding
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, router
from tests.support.service import Clock, client_of, post
from tests.support.verdicts import crashed, store_verdict, verdict

JUDGED_S = int(AT_S) // 60 * 60
SINCE_S = JUDGED_S - 900
SUMMARY = "Down since 09:45 UTC (15 min): every request ends with H10 (app crashed)."
ADMIN = "the-token-of-the-admin"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def client(store: MemoryStore, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        await post(client, router())
        down = verdict("shop", "down", JUDGED_S, SUMMARY, [crashed(SINCE_S)])
        slow = Finding("slow", "degraded", SINCE_S - 9000, until_s=SINCE_S - 6000, value=900.0)
        await store_verdict(store, down, [Episode(slow, "Was slow from 07:15 to 08:05 UTC.")])
        yield client


async def test_the_verdict_of_an_app_says_what_since_when_who_and_after_what(
    client: httpx2.AsyncClient,
) -> None:
    body = (await client.get("/api/v1/apps/shop/verdict")).json()
    assert (body["app"], body["state"], body["since"]) == ("shop", "down", SINCE_S)
    assert body["until"] is None
    assert body["summary"] == SUMMARY
    assert body["complete"] is True
    (finding,) = body["findings"]
    assert body["who"] == finding["who"]
    assert body["who"]["dynos"] == ["web.1", "web.2"]
    assert body["cause"] == finding["after"]
    assert body["cause"]["detail"] == "v57"
    assert finding["what"]["code"] == "H10"
    assert finding["not"] == ["memory", "load"]
    assert finding["summary"].startswith("Down since 09:45 UTC (15 min)")


async def test_all_verdicts_come_the_worst_first(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    for app, state in (("blog", "ok"), ("hooks", "degraded")):
        await post(client, router(), app=app)
        await store_verdict(store, verdict(app, state, JUDGED_S, "…"))  # type: ignore[arg-type]
    verdicts = (await client.get("/api/v1/verdicts")).json()["verdicts"]
    assert [entry["app"] for entry in verdicts] == ["shop", "hooks", "blog"]
    assert verdicts[0] == (await client.get("/api/v1/apps/shop/verdict")).json()


async def test_episodes_of_a_range_keep_the_words_that_they_were_told_in(
    client: httpx2.AsyncClient,
) -> None:
    body = (await client.get("/api/v1/apps/shop/episodes?start=now-6h")).json()
    (episode,) = [entry for entry in body["episodes"] if entry["until"]]
    assert episode["summary"] == "Was slow from 07:15 to 08:05 UTC."
    assert (episode["since"], episode["until"]) == (SINCE_S - 9000, SINCE_S - 6000)
    body = (await client.get("/api/v1/apps/shop/episodes?start=now-10m")).json()
    assert [entry for entry in body["episodes"] if entry["until"]] == []


@pytest.mark.parametrize("path", ["verdict", "episodes"])
async def test_an_unknown_app_and_an_unreadable_time_are_problems(
    client: httpx2.AsyncClient, path: str
) -> None:
    assert (await client.get(f"/api/v1/apps/nobody/{path}")).status_code == 404
    answer = await client.get(f"/api/v1/apps/shop/{path}?start=yesterday")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "start"
    assert (await client.get(f"/api/v1/apps/shop/{path}?begin=now")).status_code == 400


async def test_a_token_sees_the_verdicts_of_its_apps_alone(
    client: httpx2.AsyncClient, store: MemoryStore, clock: Clock
) -> None:
    await post(client, router(), app="blog")
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=ADMIN) as private:
        admin, body = {"Authorization": f"Bearer {ADMIN}"}, {"name": "", "apps": ["blog"]}
        answer = await private.post("/api/v1/tokens", json=body, headers=admin)
        reader = {"Authorization": f"Bearer {answer.json()['token']}"}
        verdicts = (await private.get("/api/v1/verdicts", headers=reader)).json()["verdicts"]
        assert [entry["app"] for entry in verdicts] == ["blog"]
        assert (await private.get("/api/v1/apps/blog/verdict", headers=reader)).status_code == 200
        for path in ("verdict", "episodes"):
            answer = await private.get(f"/api/v1/apps/shop/{path}", headers=reader)
            assert answer.status_code == 404
