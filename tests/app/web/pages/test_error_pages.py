"""What a browser gets where a program gets a problem of the API."""

from __future__ import annotations

from pathlib import Path

import httpx2
import msgspec
import pytest

from app.config import Settings
from app.service.asgi import build_app
from app.storage.interface.batches import Batch
from app.storage.memory import MemoryStore
from tests.support.batches import append, batch
from tests.support.lines import AT_S, router
from tests.support.service import LOCAL, Clock, lifespan, post

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OF_A_NEWER_VERSION = batch(msgspec.msgpack.encode([99, 1, [], *[[]] * 8, {}]))
DAMAGED = batch(b"\xc1")


@pytest.mark.parametrize(
    ("element", "status", "words"),
    [
        (OF_A_NEWER_VERSION, 503, "This page needs a newer version of Dynometer"),
        (DAMAGED, 500, "Dynometer could not show this page"),
    ],
)
async def test_a_page_that_cannot_be_shown_is_a_page_for_a_browser(
    element: Batch, status: int, words: str, tmp_path: Path
) -> None:
    store = MemoryStore(Clock())
    settings = Settings.from_environ({"DYNOMETER_DATA_DIR": str(tmp_path)})
    app = build_app(settings, store, Clock(), monotonic=Clock())
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with lifespan(app), httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:
        await post(client, router(AT_S))
        await append(store, "shop", element)
        page = await client.get("/apps/shop", headers=HTML)
        assert page.status_code == status
        assert page.headers["content-type"].startswith("text/html")
        assert words in page.text
        for path, headers in (("/apps/shop", {}), ("/api/v1/apps/shop/query", HTML)):
            problem = await client.get(path, params={"metric": "requests"}, headers=headers)
            assert problem.status_code == status
            assert problem.headers["content-type"] == "application/problem+json"
