"""The API and the pages reach back for years, through the archive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from app.archive.database import Database
from app.rollup.resolutions import DAY_S, HOUR_S, align
from app.storage.memory import MemoryStore
from tests.support.archive import archive_hour, busy_rollup, see_apps
from tests.support.lines import router
from tests.support.postgres import PostgresServer
from tests.support.service import NOW_S, Clock, client_of, post

TODAY_S = align(int(NOW_S), DAY_S)
DAYS_AGO = (100, 200, 450, 800)
REQUESTS_A_DAY = 13  # of busy_rollup(requests=12), which adds a WebSocket


@pytest.fixture
async def client(archive_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service whose store is new, and whose archive has four old days."""
    database = Database(archive_url)
    for days_ago in DAYS_AGO:
        start_s = TODAY_S - days_ago * DAY_S + 9 * HOUR_S
        rollup = busy_rollup(start_s, seed=days_ago, requests=REQUESTS_A_DAY - 1)
        await archive_hour(database, "shop", start_s, rollup)
    await database.close()
    store = MemoryStore(Clock())
    await see_apps(store, ["shop"], NOW_S)
    async with client_of(store, Clock(), DYNOMETER_ARCHIVE_URL=archive_url) as client:
        assert (await post(client, router(NOW_S - 60) * 2)).status_code == 200
        yield client


async def query(client: httpx2.AsyncClient, **parameters: str) -> httpx2.Response:
    return await client.get("/api/v1/apps/shop/query", params={"metric": "requests", **parameters})


async def test_days_of_years_are_added_to_what_the_store_holds(client: httpx2.AsyncClient) -> None:
    answer = (await query(client, start="now-730d", step="1d")).json()
    (series,) = answer["series"]
    assert sum(value or 0 for value in series["values"]) == 3 * REQUESTS_A_DAY + 2
    assert answer["step_s"] == DAY_S
    assert answer.get("warnings", []) == []
    at_s = TODAY_S - 200 * DAY_S
    assert series["values"][(at_s - answer["start"]) // DAY_S] == REQUESTS_A_DAY


async def test_weeks_and_a_whole_range_count_the_same(client: httpx2.AsyncClient) -> None:
    for step in ("1w", "range"):
        answer = (await query(client, start="now-900d", step=step)).json()
        values = answer["series"][0]["values"]
        assert sum(value or 0 for value in values) == len(DAYS_AGO) * REQUESTS_A_DAY + 2


async def test_hours_reach_back_over_a_year(client: httpx2.AsyncClient) -> None:
    start_s = TODAY_S - 200 * DAY_S
    answer = await query(client, start=str(start_s), end=str(start_s + DAY_S), step="1h")
    values = answer.json()["series"][0]["values"]
    assert values[9] == REQUESTS_A_DAY


async def test_pages_offer_a_year_and_compare_with_the_one_before(
    client: httpx2.AsyncClient,
) -> None:
    page = (await client.get("/apps/shop", params={"range": "1y", "compare": "year"})).text
    assert "a year before" in page
    assert "no data from a year before" not in page
    assert ">1y<" in page
    assert re.search(r"22 Nov 2025</time> to .*>23 Nov 2026</time> UTC", page)


async def test_a_day_of_last_year_has_events_and_a_verdict(client: httpx2.AsyncClient) -> None:
    start_s = TODAY_S - 200 * DAY_S
    period = {"start": str(start_s), "end": str(start_s + DAY_S)}
    events = (await client.get("/api/v1/apps/shop/events", params=period)).json()["events"]
    assert "v200" in {event["detail"] for event in events}
    verdict = await client.get("/api/v1/apps/shop/verdict", params=period)
    assert verdict.status_code == 200
    assert verdict.json()["complete"]


async def test_a_rule_may_compare_with_a_year_before_and_charts_show_its_limit(
    archive_url: str, client: httpx2.AsyncClient, postgres: PostgresServer
) -> None:
    database = Database(archive_url)
    for hours in (-1, 0):
        start_s = align(int(NOW_S), HOUR_S) - 52 * 7 * DAY_S + hours * HOUR_S
        rollup = busy_rollup(start_s, seed=1, requests=60 * 60 - 1)
        await archive_hour(database, "shop", start_s, rollup)
    await database.close()
    rule = {"metric": "requests", "stat": "sum", "compare": "year", "limit": 3}
    answer = await client.put("/api/v1/alerts/rules/much", json=rule)
    assert answer.status_code == 200, answer.text
    channel = {"kind": "slack", "name": "ops", "url": "https://hooks.example.com/x"}
    await client.post("/api/v1/alerts/channels", json=channel)
    assert await has_limit(client, 180)
    postgres.stop()
    try:
        assert await has_limit(client, 180)  # read once an hour
        await client.put("/api/v1/alerts/rules/much", json={"limit": 4})
        assert not await has_limit(client, 240)
    finally:
        postgres.start()


async def has_limit(client: httpx2.AsyncClient, limit: int) -> bool:
    """Whether the page names this limit of the rule."""
    page = await client.get("/apps/shop")
    assert page.status_code == 200
    return re.search(rf"alert above {limit}\b[^<]*\(much\)", page.text) is not None


async def test_without_the_database_old_ranges_say_what_to_do(
    client: httpx2.AsyncClient, postgres: PostgresServer
) -> None:
    postgres.kill()
    try:
        answer = await query(client, start="now-365d", step="1d")
        assert answer.status_code == 503
        assert "Ask for a start in the last 90 days" in answer.json()["detail"]
        page = await client.get("/apps/shop", params={"range": "1y"})
        assert page.status_code == 503
        assert (await query(client, start="now-30d", step="1d")).status_code == 200
        assert (await client.get("/apps/shop")).status_code == 200
    finally:
        postgres.start()
