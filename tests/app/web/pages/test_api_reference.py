"""The API reference: routes by task, each with an anchor."""

from __future__ import annotations

import json
import re

from app.storage.memory import MemoryStore
from app.web.pages.api_reference import documented_routes, format_answer
from tests.support.service import Clock, client_of


async def test_routes_are_grouped_by_task_and_each_is_reached_from_the_contents() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        html = (await client.get("/docs")).text
        paths = (await client.get("/openapi.json")).json()["paths"]
    links = re.findall(r'href="#([^"]+)" title=', html)
    assert len(links) == sum(len(methods) for methods in paths.values())
    assert len(set(links)) == len(links)
    assert all(f'id="{link}"' in html for link in links)
    order = [html.index(f'id="{anchor}"') for anchor in ("figures-over-time", "alerts", "drains")]
    verdict, query, alert, drain = (
        html.index(f'id="{anchor}"')
        for anchor in (
            "get-api-v1-apps-app-verdict",
            "get-api-v1-apps-app-query",
            "get-api-v1-alerts-history",
            "post-api-v1-drains",
        )
    )
    assert verdict < order[0] < query < order[1] < alert < order[2] < drain


async def test_each_route_has_a_call_to_copy_and_an_answer_beside_it() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        html = (await client.get("/docs")).text
        document = (await client.get("/openapi.json")).json()
    routes = list(documented_routes(document))
    assert html.count('class="copy scripted"') == len(routes)
    assert html.count('class="answer"') + html.count(", no content.") == len(routes)
    assert [route.path for route in routes if not route.answer and route.status == "200"] == []
    query = document["paths"]["/api/v1/apps/{app}/query"]["get"]["responses"]["200"]
    assert query["content"]["application/json"]["example"]["series"][0]["stat"] == "p95"


def test_an_answer_has_short_lists_in_one_line() -> None:
    answer = {"app": "shop", "values": [1, None, 2.5], "series": [{"labels": {"a": "b" * 60}}]}
    assert format_answer({"app": "shop"}) == '{"app": "shop"}'
    assert json.loads(format_answer(answer)) == answer
    assert format_answer(answer).splitlines()[:3] == [
        "{",
        '  "app": "shop",',
        '  "values": [1, null, 2.5],',
    ]
    assert format_answer("ok\n") == "ok\n"
