"""Security headers of every page and answer."""

from __future__ import annotations

import re

import httpx2
import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import Clock, client_of, post

PATHS = ["/", "/docs", "/metrics", "/api/v1/apps", "/openapi.json", "/nothing", "/readyz"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_forbids_what_no_page_needs(path: str) -> None:
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        headers = (await client.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control-")]


async def test_browsers_keep_static_files_until_their_content_changes() -> None:
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        html = (await client.get("/")).text
        (url,) = re.findall(r'"(/static/[0-9a-f]{12}/dynometer.css)"', html)
        current = await client.get(url)
        assert current.headers["cache-control"] == "public, max-age=31536000, immutable"
        for other in ("/static/dynometer.css", "/static/0123456789ab/dynometer.css"):
            answer = await client.get(other)
            assert answer.content == current.content
            assert answer.headers["cache-control"] == "no-cache"


async def test_another_origin_is_allowed_nothing() -> None:
    settings = {"DYNOMETER_ADMIN_TOKEN": "an-admin-token-of-some-length"}
    async with client_of(MemoryStore(Clock()), Clock(), **settings) as client:
        headers = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "GET"}
        answer: httpx2.Response = await client.options("/api/v1/apps", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_over_https_browsers_must_stay_there() -> None:
    settings = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}
    async with client_of(MemoryStore(Clock()), Clock(), **settings) as client:
        assert "strict-transport-security" in (await client.get("/")).headers
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        assert "strict-transport-security" not in (await client.get("/")).headers


async def test_the_drain_answers_with_nothing_more_than_logplex_reads() -> None:
    async with client_of(MemoryStore(Clock()), Clock()) as client:
        assert dict((await post(client, router())).headers) == {"content-length": "0"}
