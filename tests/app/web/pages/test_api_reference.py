"""The API reference: routes by task, each with an anchor."""

from __future__ import annotations

import re

from app.storage.memory import MemoryStore
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
