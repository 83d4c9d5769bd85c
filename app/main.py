"""The only place where the service is put together, top to bottom: settings, store, background
work, HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.access import ReadTokens, visible
from app.config import Settings
from app.core import Core, core, pages_url, working
from app.health import Health
from app.http import problem
from app.http.add_apps import AddApps
from app.http.admin import Admin
from app.http.alerts import AlertsApi
from app.http.api import Api
from app.http.assets import mount_assets
from app.http.body import Bodies, SmallBodies
from app.http.dashboard import Dashboard
from app.http.door import Door
from app.http.drain import DrainEndpoint
from app.http.events import EventsApi
from app.http.feed import FeedApi
from app.http.gate import ASGIApp, LocalGate, Receive, Scope, Send, TokenGate
from app.http.openapi import document_of
from app.http.ops import Operations
from app.http.pages import Pages
from app.http.protocol import GuardedProtocol, limits_of_process
from app.http.reference import reference_router
from app.http.scaling import ScalingApi
from app.http.security import SecurityHeaders
from app.http.sign_in import SignIn
from app.parent import end_with
from app.store.port import Store
from app.store.redis import connect
from app.syslog import SyslogListener
from app.tls import reload_certificates
from app.version import version

log = logging.getLogger(__name__)


def create() -> ASGIApp:
    """The service as the environment describes it; called by uvicorn in each worker."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and supervisor.pid is not None:
        end_with(supervisor.pid)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    GuardedProtocol.limits = limits_of_process()
    settings = Settings.from_environ(os.environ)
    store = connect(settings.redis_url, settings.redis_connections_max)
    return build(settings, store, time.time)


def build(settings: Settings, store: Store, clock: Callable[[], float]) -> ASGIApp:
    """The service over a store, on a clock (Unix time in seconds)."""
    parts = core(settings, store, clock)
    buffering, tiers, horizon = parts.buffering, parts.tiers, parts.horizon
    bodies = Bodies()
    drain = DrainEndpoint(
        committer=buffering.committer,
        on_stored=parts.sightings.note,
        drains=None if settings.local_mode else parts.drains,
        refusals=parts.refusals,
        horizon=horizon,
        caps=settings.caps,
        bodies=bodies,
        body_bytes_max=settings.body_bytes_max,
        clock=clock,
    )
    app = FastAPI(
        title="Dynometer",
        summary="Metrics from the log stream of Heroku apps",
        version=version(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(parts, SyslogListener(parts, settings, clock)),
    )
    app.openapi = document_of(app)  # type: ignore[method-assign]  # as FastAPI documents it
    problem.install(app, buffering)
    shown = visible(store)
    pages = Pages(buffering, clock, local_mode=settings.local_mode, public_url=settings.public_url)
    dashboard = Dashboard(shown, tiers, pages, clock)
    mount_assets(app)
    app.include_router(dashboard.router)
    app.include_router(Api(shown, tiers, settings.caps, horizon, clock).router)
    app.include_router(EventsApi(shown, buffering.committer, tiers, horizon, clock).router)
    app.include_router(Admin(store, clock, settings.public_url).router)
    app.include_router(AlertsApi(shown, store, clock, pages_url(settings)).router)
    app.include_router(FeedApi(shown, tiers, clock, pages_url(settings)).router)
    app.include_router(ScalingApi(shown, tiers[0], clock).router)
    health = Health(store, parts.folder, buffering, clock)
    app.include_router(Operations(shown, health, buffering, clock, version()).router)
    app.include_router(reference_router(app.openapi, pages))
    app.include_router(AddApps(parts.enrolment, pages).router)
    https = settings.public_url.startswith("https:")
    bounded = GZipMiddleware(SmallBodies(app, bodies), minimum_size=2_000, compresslevel=1)
    gated: ASGIApp = LocalGate(bounded)
    if not settings.local_mode:
        door = Door(settings.admin_token, ReadTokens(store, clock))
        app.include_router(SignIn(door, pages, https=https).router)
        gated = TokenGate(bounded, door)
    return _routed(
        LocalGate(drain) if settings.local_mode else drain, SecurityHeaders(gated, https=https)
    )


def _routed(drain: ASGIApp, app: ASGIApp) -> ASGIApp:
    """The drain at /drain, everything else (and the lifespan) in the other app."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/drain":
            await drain(scope, receive, send)
        else:
            await app(scope, receive, send)

    return route


def _lifespan(
    parts: Core, syslog: SyslogListener
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with working(parts), syslog.listening():
            if threading.current_thread() is threading.main_thread():  # signals go there alone
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGHUP, reload_certificates)
            yield

    return lifespan
