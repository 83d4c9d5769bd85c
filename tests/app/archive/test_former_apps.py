"""An app that only the archive knows is found, listed and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.access.read_tokens import new_token, pack_token
from app.archive.database import Database
from app.rollup.resolutions import DAY_S, HOUR_S, align
from app.storage.memory import MemoryStore
from tests.support.archive import archive_hour, busy_rollup, see_apps
from tests.support.postgres import PostgresServer
from tests.support.service import NOW_S, Clock, client_of

LAST_S = align(int(NOW_S), DAY_S) - 200 * DAY_S + 9 * HOUR_S
PERIOD = {"start": str(LAST_S - DAY_S), "end": str(LAST_S + HOUR_S)}
TOKEN = "the admin token of the test"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
async def client(archive_url: str, store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service whose store knows shop, and whose archive knows blog and old, too."""
    database = Database(archive_url)
    for app in ("shop", "blog", "old"):
        await archive_hour(database, app, LAST_S, busy_rollup(LAST_S, seed=1, requests=12))
    await database.close()
    await see_apps(store, ["shop"], NOW_S)
    settings = {"DYNOMETER_ARCHIVE_URL": archive_url, "DYNOMETER_ADMIN_TOKEN": TOKEN}
    async with client_of(store, Clock(), **settings) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


async def requests_of(client: httpx2.AsyncClient, app: str) -> httpx2.Response:
    parameters = {"metric": "requests", "step": "1h", **PERIOD}
    return await client.get(f"/api/v1/apps/{app}/query", params=parameters)


async def test_the_api_answers_about_its_past(client: httpx2.AsyncClient) -> None:
    answer = await requests_of(client, "old")
    assert answer.json()["series"][0]["values"][-1] == 13
    for path in ("events", "verdict", "ledger", "episodes"):
        assert (await client.get(f"/api/v1/apps/old/{path}", params=PERIOD)).status_code == 200
    assert (await requests_of(client, "none")).status_code == 404


async def test_it_has_a_page_and_the_list_leads_to_its_last_days(
    client: httpx2.AsyncClient,
) -> None:
    page = (await client.get("/")).text
    link = f"/apps/old?start={LAST_S + HOUR_S - 7 * DAY_S}&amp;end={LAST_S + HOUR_S}"
    assert link in page
    assert "Only in the archive" in page
    assert (await client.get("/apps/old")).status_code == 200
    old_page = await client.get(link.replace("&amp;", "&"))
    assert old_page.status_code == 200
    assert "release v1" in old_page.text
    assert (await client.get("/apps/none")).status_code == 404
    assert "/apps/blog" not in (await client.get("/", params={"app": "ol"})).text


async def test_a_token_of_other_apps_does_not_find_it(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    token, token_id, record = new_token("", ["shop", "blog"], 1)
    await store.put_token(token_id, pack_token(record))
    client.headers["Authorization"] = f"Bearer {token}"
    assert (await requests_of(client, "blog")).status_code == 200
    assert (await requests_of(client, "old")).status_code == 404
    page = (await client.get("/")).text
    assert "/apps/blog" in page
    assert "/apps/old" not in page


async def test_after_its_removal_it_is_unknown(client: httpx2.AsyncClient) -> None:
    removed = await client.delete("/api/v1/apps/old", params={"confirm": "old"})
    assert removed.status_code == 200
    assert (await requests_of(client, "old")).status_code == 404
    assert (await client.get("/apps/old")).status_code == 404
    assert "/apps/old" not in (await client.get("/")).text


async def test_without_the_database_only_unknown_apps_are_an_error(
    client: httpx2.AsyncClient, postgres: PostgresServer
) -> None:
    postgres.stop()
    try:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/apps/shop")).status_code == 200
        assert (await client.get("/apps/old")).status_code == 503
        answer = await requests_of(client, "old")
        assert answer.status_code == 503
        assert "What only the archive knows" in answer.json()["detail"]
    finally:
        postgres.start()
