"""Custom metrics on an app's page: charts of what the app logs, or how to switch them on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx2
import pytest

from app.dashboard.open_charts import CHARTS_MAX
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, app_line, router
from tests.support.service import Clock, client_of, post

OFF = "Custom metrics are off."


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router(AT_S))
        yield client


async def page(client: httpx2.AsyncClient, query: str = "") -> str:
    answer = await client.get(f"/apps/shop{query}")
    assert answer.status_code == 200
    return answer.text


async def switch(client: httpx2.AsyncClient, value: int, app: str = "shop") -> httpx2.Response:
    return await client.post(f"/apps/{app}/custom", data={"on": str(value)})


async def log(client: httpx2.AsyncClient, *texts: str) -> None:
    """Log these texts with custom metrics on."""
    assert (await switch(client, 1)).status_code == 303
    await post(client, b"".join(app_line(text) for text in texts))


def charts_in(html: str) -> dict[str, Any]:
    """Charts of custom metrics by title, from the values for the script."""
    (data,) = re.findall('id="for-charts">(.*?)</script>', html, re.DOTALL)
    charts = json.loads(data)["charts"]
    return {chart["title"]: chart for chart in charts if chart["key"].startswith("custom-")}


def lines_of(chart: dict[str, Any]) -> dict[str, list[float]]:
    """The values of each line, without gaps."""
    return {
        line["name"]: [value for value in line["values"] if value is not None]
        for line in chart["lines"]
    }


async def test_the_switch_is_on_the_page_and_says_what_it_does(client: httpx2.AsyncClient) -> None:
    html = await page(client)
    assert OFF in html
    assert "custom on shop</pre>" in html
    answer = await switch(client, 1)
    assert (answer.status_code, answer.headers["location"]) == (303, "/apps/shop#custom")
    html = await page(client)
    assert OFF not in html
    assert "Custom metrics are on. No line in this range has marks" in html
    await switch(client, 0)
    assert OFF in await page(client)


async def test_an_unknown_app_cannot_be_switched(client: httpx2.AsyncClient) -> None:
    assert (await switch(client, 1, app="nowhere")).status_code == 404


async def test_each_name_and_unit_has_a_chart(client: httpx2.AsyncClient) -> None:
    await log(
        client,
        "count#signups=2 measure#db.query=10ms sample#queue.depth=42jobs",
        "count#signups measure#db.query=30ms measure#db.query=7 sample#queue.depth=40jobs",
        "measure#queue_time=8ms",
    )
    html = await page(client)
    charts = charts_in(html)
    assert [(title, chart["unit"]) for title, chart in charts.items()] == [
        ("Queue time", "ms"),
        ("signups, per minute", ""),
        ("db.query", "ms"),
        ("queue.depth", "jobs"),
    ]
    assert sum(lines_of(charts["signups, per minute"])["all"]) == 3
    assert lines_of(charts["queue.depth"]) == {"mean": [41], "max": [42]}
    assert lines_of(charts["Queue time"])["mean"] == [8]
    assert len(re.findall('<h3 id="chart-custom-[0-9]+">db.query', html)) == 2  # ms, and no unit


async def test_charts_lead_to_the_same_values_in_the_api(client: httpx2.AsyncClient) -> None:
    await log(client, "sample#cpu=40%", "measure#db.query=10ms measure#queue_time=8ms count#a")
    html = await page(client)
    links = re.findall('<a href="(/api/v1/apps/shop/query[^"]*)">JSON', html)
    answers = {}
    for link in links[-4:]:
        answer = await client.get(unescape(link))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        answers[body["metric"]] = [
            value for series in body["series"] for value in series["values"] if value
        ]
    assert answers == {
        "queue_time_ms": [8, 8],
        "custom.count.a": [1],
        "custom.measure.db.query": [10, 10],
        "custom.sample.cpu": [40, 40],
    }


async def test_sources_have_a_line_each(client: httpx2.AsyncClient) -> None:
    await log(client, "count#a=1 sample#b=2 source=eu", "count#a=3 sample#b=4 source=us")
    charts = charts_in(await page(client))
    counts = lines_of(charts["a, per minute"])
    assert {name: sum(values) for name, values in counts.items()} == {"eu": 1, "us": 3}
    assert lines_of(charts["b"]) == {"eu": [2], "us": [4]}


async def test_names_beyond_the_charts_are_links(client: httpx2.AsyncClient) -> None:
    names = [f"name{number:02}" for number in range(CHARTS_MAX + 3)]
    await log(client, *(f"count#{name}=1" for name in names))
    html = await page(client)
    assert len(charts_in(html)) == CHARTS_MAX
    assert "<summary>3 further metrics</summary>" in html
    for name in names[CHARTS_MAX:]:
        assert f">custom.count.{name}</a>" in html


async def test_dropped_values_are_reported(client: httpx2.AsyncClient) -> None:
    await log(client, "count#a=1 count#b=nonsense")
    assert "1 value in this range was dropped" in await page(client)


async def test_charts_of_a_dyno_say_that_measures_have_none(client: httpx2.AsyncClient) -> None:
    await log(client, "measure#a=1 count#b=1")
    html = await page(client, "?dyno=web.1")
    charts = charts_in(html)
    assert lines_of(charts["a"]) == {}
    assert sum(lines_of(charts["b, per minute"])["all"]) == 1
    assert html.count("show all dynos to see it") == 2  # and the heatmap
