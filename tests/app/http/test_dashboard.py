"""The page: the API's own figures, readable without scripts, safe whatever an app is called."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx2
import pytest

from app.http.dashboard import spark
from app.store.memory import MemoryStore
from app.store.redis import connect
from tests.support.lines import AT_S, frame, lost, memory, router
from tests.support.service import Clock, client_of, post


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


async def page(client: httpx2.AsyncClient) -> str:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def text_of(html: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_before_the_first_line_the_page_says_what_to_type(
    client: httpx2.AsyncClient,
) -> None:
    text = text_of(await page(client))
    for command in (
        "dynometer simulate --history 1h",
        "heroku logs -n 1500 --source heroku -a shop | dynometer replay - --app shop",
        "heroku labs:enable log-runtime-metrics -a shop",
        "dynometer drains add shop | sh",
    ):
        assert command in text


async def test_the_page_shows_what_the_api_answers(client: httpx2.AsyncClient) -> None:
    body = b"".join(router(AT_S + i * 0.1, service=f"{i}ms") for i in range(1, 101))
    body += router(AT_S, status="503", head='at=error code=H12 desc="x"', service="30000ms") * 20
    body += memory(AT_S, total="500.00") + frame("Error R14 (Memory quota exceeded)", at_s=AT_S)
    await post(client, body)
    answer = await client.get(
        "/api/v1/apps/shop/query?metric=service_time_ms&stat=p50&stat=p95&stat=p99&step=range"
    )
    html = await page(client)
    text = text_of(html)
    for name, series in zip(("p50", "p95", "p99"), answer.json()["series"], strict=True):
        assert f"{name} {series['values'][0]:,.0f} ms" in text
    assert "requests a minute 2 " in text
    assert "failed 17 %" in text
    assert "H12 20 Request timeout." in text
    assert "R14 1 Memory quota exceeded." in text
    assert "web 1 500 MB 98 %" in text
    assert html.count('class="bad"') == 1
    assert 'class="n bad"' in html


async def test_the_worst_app_comes_first(client: httpx2.AsyncClient) -> None:
    await post(client, router(), app="a-healthy-one")
    await post(client, router(status="503"), app="z-failing")
    html = await page(client)
    assert html.index("z-failing") < html.index("a-healthy-one")


async def test_an_app_without_runtime_metrics_is_told_how_to_get_them(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    assert "heroku labs:enable log-runtime-metrics -a shop" in await page(client)
    await post(client, memory())
    assert "labs:enable" not in await page(client)


async def test_the_books_are_quiet_when_they_balance_and_loud_when_lines_were_lost(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    assert '<p class="ledger">Log lines: 1 received, 1 counted, 0 ignored.</p>' in await page(
        client
    )
    await post(client, lost(7) + router() + b"nonsense")
    html = await page(client)
    assert 'class="ledger bad"' in html
    assert "7 lost by Heroku" in html
    assert "1 not readable (frame)" in html


async def test_no_script_and_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    await post(client, router())
    for path in ("/", "/docs"):
        html = (await client.get(path)).text
        assert "<script" not in html
        assert "style=" not in html
        assert re.findall(r'(?:src|href)="(?!/|data:,)([^"]*)"', html) == []
    assert (await client.get("/static/dynometer.css")).status_code == 200


async def test_what_a_code_holds_is_escaped(client: httpx2.AsyncClient) -> None:
    await post(client, router(head="at=error code=<b>x</b>", status="503"))
    assert "<b>x" not in await page(client)


async def test_the_reference_shows_every_route_with_a_call_that_works() -> None:
    clock = Clock()
    settings = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}
    async with client_of(MemoryStore(clock), clock, **settings) as client:
        await post(client, router())
        text = unescape((await client.get("/docs")).text)
        calls = re.findall(r"curl (?:-X (\w+) )?'([^']*)'(?:[^<]*? -d '([^']*)')?", text)
        assert len(calls) >= 16
        json = {"Content-Type": "application/json"}
        for method, url, body in calls:
            answer = await client.request(method or "GET", url, content=body, headers=json)
            known = answer.status_code < 300 or "/tokens/" in url  # that one is made up
            assert known, (method, url, answer.text)


async def test_when_the_store_is_away_the_page_says_so() -> None:
    clock = Clock()
    store = connect("unix:///nonexistent/store.sock")
    async with client_of(store, clock) as client:
        answer = await client.get("/")
        assert answer.status_code == 503
        assert "store does not answer" in answer.text
        assert (await client.get("/api/v1/apps")).status_code == 503
        metrics = (await client.get("/metrics")).text
        assert "dynometer_store_up 0.0" in metrics
        assert "heroku_" not in metrics
        assert (await client.get("/healthz")).status_code == 200


def test_a_gap_is_a_gap_in_the_line() -> None:
    assert spark([1, 1, None, 1]).count("M") == 2
    assert spark([None, None]) == ""
    assert spark([]) == ""
