"""HEAD is answered wherever GET is: the same status and headers, and no body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from app.config import Settings
from app.receivers.connection_guard import ConnectionLimits
from app.service.asgi import build_app
from app.storage.memory import MemoryStore
from tests.support.lines import memory, router
from tests.support.service import Clock, client_of, lifespan, post
from tests.support.wire import wire_to

PAGES = ["/", "/apps/shop", "/apps/none", "/add", "/docs", "/nothing", "/static/dynometer.css"]
PLAIN = ["/metrics", "/healthz", "/readyz", "/version", "/openapi.json", "/drain"]
PARAMETERS = {
    "/api/v1/query": "?metric=requests",
    "/api/v1/apps/{app}/query": "?metric=memory_total&format=csv",
}
VARYING = {"age"}  # with the time of the answer


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, (router() + memory()) * 50)
        yield client


async def api_paths(client: httpx2.AsyncClient) -> list[str]:
    document = (await client.get("/openapi.json")).json()
    return [
        path.replace("{app}", "shop") + PARAMETERS.get(path, "")
        for path, methods in document["paths"].items()
        if "get" in methods
    ]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_head_says_what_get_would_send(client: httpx2.AsyncClient, encoding: str) -> None:
    paths = await api_paths(client)
    assert len(paths) > 15
    for path in [*PAGES, *PLAIN, *paths]:
        async with client.stream("GET", path, headers={"Accept-Encoding": encoding}) as get:
            body = b"".join([part async for part in get.aiter_raw()])
        head = await client.head(path, headers={"Accept-Encoding": encoding})
        assert head.status_code == get.status_code, path
        if path != "/drain":  # uvicorn removes its body
            assert head.content == b"", path
        allowance = 100 if path == "/metrics" else 0  # the process uses CPU time in between
        assert abs(int(head.headers["content-length"]) - len(body)) <= allowance, path
        names = {*get.headers, *head.headers} - VARYING - {"content-length"}
        assert {name: head.headers.get(name) for name in names} == {
            name: get.headers.get(name) for name in names
        }, path


async def test_conditional_and_unknown_heads_are_answered_as_gets(
    client: httpx2.AsyncClient,
) -> None:
    style = await client.head("/static/dynometer.css")
    unchanged = {"If-None-Match": style.headers["etag"]}
    answer = await client.head("/static/dynometer.css", headers=unchanged)
    assert (answer.status_code, answer.content) == (304, b"")
    assert (await client.head("/api/v1/query?metric=nonsense")).status_code == 400


async def test_a_head_without_a_token_is_rejected_as_a_get_is() -> None:
    settings = {"DYNOMETER_ADMIN_TOKEN": "an-admin-token-of-some-length"}
    async with client_of(MemoryStore(Clock()), Clock(), **settings) as client:
        for path, status in (("/metrics", 401), ("/healthz", 200), ("/sign-in", 200)):
            answer = await client.head(path)
            assert (answer.status_code, answer.content) == (status, b"")
        to_page = await client.head("/", headers={"Accept": "text/html"})
        assert (to_page.status_code, to_page.headers["location"]) == (303, "/sign-in?next=/")


async def test_the_next_answer_on_the_connection_follows_directly(tmp_path: Path) -> None:
    """A body after the head would be read as the next answer."""
    clock = Clock()
    settings = Settings.from_environ({"DYNOMETER_DATA_DIR": str(tmp_path)})
    app = build_app(settings, MemoryStore(clock), clock)
    line = b"%b HTTP/1.1\r\nHost: localhost\r\n"
    ask = b"".join(
        line % target + b"\r\n"
        for target in (b"HEAD /metrics", b"HEAD /", b"HEAD /drain", b"HEAD /static/dynometer.css")
    )
    async with lifespan(app), wire_to(app, ConnectionLimits()) as wire:
        answers = await wire.ask(ask + line % b"GET /healthz" + b"Connection: close\r\n\r\n")
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 405, 200, 200]
    assert answers.count(b"\r\n\r\n") == 5
    assert answers.endswith(b"\r\n\r\nok\n")
