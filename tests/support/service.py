"""The whole service in this process, on any store and with a test clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from app.config import Settings
from app.service.asgi import build_app
from app.storage.interface.store import Store
from app.support.asgi import ASGIApp

LOCAL = "http://127.0.0.1:8080"
NOW_S = 1_795_341_630.0  # 2026-11-22T10:00:30Z


class Clock:
    """Unix time that only changes when the test sets it."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start up an ASGI app, and shut it down at the end."""
    to_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}}

    async def run() -> None:
        await app(scope, to_app.get, from_app.put)

    task = asyncio.create_task(run())
    await to_app.put({"type": "lifespan.startup"})
    event = await from_app.get()
    assert event["type"] == "lifespan.startup.complete", event
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await task


@contextmanager
def private_settings(**environ: str) -> Iterator[Settings]:
    """Settings with a data directory of their own. `environ` is as for `client_of`."""
    with TemporaryDirectory(prefix="dynometer-") as data_dir:
        yield Settings.from_environ({"DYNOMETER_DATA_DIR": data_dir, **environ})


@asynccontextmanager
async def client_of(
    store: Store, clock: Clock, **environ: str
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a running service. `environ` are its settings as environment variables."""
    with TemporaryDirectory(prefix="dynometer-") as data_dir:
        environ.setdefault("DYNOMETER_DATA_DIR", data_dir)
        async with client_in(store, clock, **environ) as client:
            yield client


@asynccontextmanager
async def client_in(
    store: Store, clock: Clock, **environ: str
) -> AsyncIterator[httpx2.AsyncClient]:
    """The same for settings that include a data directory."""
    app = build_app(Settings.from_environ(environ), store, clock, monotonic=clock)
    async with lifespan(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:
            yield client


async def post(
    client: httpx2.AsyncClient,
    body: bytes,
    *,
    app: str = "shop",
    secret: str = "any",
    **headers: str,
) -> httpx2.Response:
    """POST a body as Logplex does, with a new Frame-Id unless `Logplex_Frame_Id` is passed."""
    header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
    header_fields.setdefault("Logplex-Frame-Id", os.urandom(16).hex().upper())
    return await client.post(
        "/drain",
        content=body,
        auth=(app, secret),
        headers={"Content-Type": "application/logplex-1", **header_fields},
    )
