"""Requests a minute are one number on every surface: each is asked about the same lines."""

from __future__ import annotations

import json
import re

import httpx2
import pytest

from app.alerting.inputs import RuleQueries, read_inputs
from app.alerting.rule import Rule
from app.rollup.resolutions import HOUR_S, MINUTE_S, resolutions
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, frame, router
from tests.support.logtext import dynometer, router_text, text_line
from tests.support.service import Clock, client_of, post

# The app appears in the middle of minute 0. No line came in minute 4, and no request in minute 5.
# Minute 12 is not complete when somebody looks, and minute 13 has just begun.
REQUESTS = [10, 60, 40, 50, 0, 0, 30, 70, 40, 20, 50, 40, 5]
RECENT_PER_MINUTE = 44  # in the last 5 complete minutes, 7 to 11
PER_MINUTE = 40  # 400 requests in the 10 minutes from 1 to 11 in which a line came
FIRST_S, LAST_S = AT_S + 20, AT_S + 12 * 60 + 50
SILENT, WITHOUT_REQUESTS = 4, 5
TIMES_S = [
    AT_S + 60 * minute + 20 + number / 10
    for minute, requests in enumerate(REQUESTS)
    for number in range(requests)
] + [LAST_S]
OUTPUT_S = AT_S + 60 * WITHOUT_REQUESTS + 1
MINUTES = resolutions(24 * HOUR_S, 7 * 24 * HOUR_S, 90 * 24 * HOUR_S)[0]


@pytest.fixture
def clock() -> Clock:
    return Clock(LAST_S + 15)


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


async def rate_in(client: httpx2.AsyncClient, url: str) -> float:
    answer = (await client.get(url)).json()
    rate: float = answer["series"][0]["values"][-1] if "series" in answer else answer["value"]
    return rate


async def rule_value(store: MemoryStore, over_minutes: int) -> float | None:
    """The value that an alert rule on the rate compares with its limit."""
    rule = Rule("busy", "busy", metric="requests", stat="rate", over_minutes=over_minutes)
    queries, end_s = RuleQueries([rule]), int(AT_S) + 12 * MINUTE_S
    (seen_app,) = await store.seen_apps()
    inputs = await read_inputs(store, seen_app, queries, end_s - MINUTE_S, end_s, MINUTES)
    minute = await inputs.minute(end_s)
    (query,) = queries.metric_queries
    return query.measure(minute.cells[0], minute.observed_minutes(over_minutes))[""].value


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_every_surface_tells_the_same_requests_per_minute(
    clock: Clock, store: MemoryStore
) -> None:
    body = b"".join(map(router, TIMES_S)) + frame("hello", app_name="app", at_s=OUTPUT_S)
    text = "".join(router_text(at=at_s) for at_s in TIMES_S)
    text += text_line("app[web.1]", "hello", at=OUTPUT_S)
    report = json.loads(dynometer("report", "-", "--json", stdin=text.encode()).stdout)
    assert report["requests"]["per_minute"] == PER_MINUTE
    assert report["requests"]["complete_minutes"] == 10

    async with client_of(store, clock) as client:
        await post(client, body)
        app_row = text_of((await client.get("/")).text)
        assert f"● OK shop all normal {RECENT_PER_MINUTE} 0 %" in app_row
        recent = f"metric=requests&stat=rate&start={AT_S + 420}&end={AT_S + 720}&step=range"
        recent_rate = await rate_in(client, f"/api/v1/apps/shop/query?{recent}")
        assert 60 * recent_rate == RECENT_PER_MINUTE
        app_page = text_of((await client.get("/apps/shop")).text)
        assert f"requests/min {RECENT_PER_MINUTE} 1 h: {PER_MINUTE}" in app_page

        rate = "metric=requests&stat=rate"
        assert (
            60 * await rate_in(client, f"/api/v1/apps/shop/query?{rate}&step=range") == PER_MINUTE
        )
        assert 60 * await rate_in(client, f"/api/v1/query?{rate}&by=app&step=range") == PER_MINUTE
        assert 60 * await rate_in(client, f"/api/v1/apps/shop/query?{rate}&step=1h") == PER_MINUTE
        signal = f"/api/v1/apps/shop/signal?{rate}&minutes=60"
        assert 60 * await rate_in(client, signal) == PER_MINUTE
        assert 60 * (await rule_value(store, 60) or 0) == PER_MINUTE

        url = f"/api/v1/apps/shop/query?{rate}&step=1m&start={AT_S}"
        by_minute = (await client.get(url)).json()["series"][0]["values"]
    complete = [None, *(count / 60 for count in REQUESTS[1:12]), None, None]
    complete[SILENT] = None
    assert by_minute == complete


async def test_a_rate_of_the_last_minutes_leaves_out_the_one_without_lines(
    clock: Clock, store: MemoryStore
) -> None:
    async with client_of(store, clock) as client:
        await post(client, b"".join(map(router, TIMES_S)))
        signal = "/api/v1/apps/shop/signal?metric=requests&stat=rate&minutes=8"
        counts = [*REQUESTS[6:12]]  # minutes 4 and 5 have no line now
        expected = sum(counts) / len(counts)
        assert 60 * await rate_in(client, signal) == pytest.approx(expected)
        assert 60 * (await rule_value(store, 8) or 0) == pytest.approx(expected)


async def test_an_app_without_a_complete_minute_has_no_rate(
    clock: Clock, store: MemoryStore
) -> None:
    clock.now_s = AT_S + 55
    async with client_of(store, clock) as client:
        await post(client, router(FIRST_S) * 30)
        assert "● OK shop all normal – –" in text_of((await client.get("/")).text)
        assert "requests/min – " in text_of((await client.get("/apps/shop")).text)
        for url in ("query?step=range&", "query?step=1m&", "signal?"):
            rate = await rate_in(client, f"/api/v1/apps/shop/{url}metric=requests&stat=rate")
            assert rate is None
    report = json.loads(
        dynometer("report", "-", "--json", stdin=router_text(at=FIRST_S).encode()).stdout
    )
    assert report["requests"]["per_minute"] is None
