"""The only place where the service is put together, top to bottom: settings, store, background
work, HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.access import ReadTokens, visible
from app.appender import Appender
from app.buffering import Buffering
from app.catch_up import CatchUp
from app.chores import Chores
from app.commit import Committer
from app.config import Settings
from app.enrolment import Enrolment
from app.fold import MARGIN_S, Folder
from app.health import Health
from app.http import problem
from app.http.add_apps import AddApps
from app.http.admin import Admin
from app.http.api import Api
from app.http.assets import mount_assets
from app.http.body import Bodies, SmallBodies
from app.http.dashboard import Dashboard
from app.http.door import Door
from app.http.drain import DrainEndpoint
from app.http.events import EventsApi
from app.http.gate import ASGIApp, LocalGate, Receive, Scope, Send, TokenGate
from app.http.openapi import document_of
from app.http.ops import Operations
from app.http.pages import Pages
from app.http.protocol import GuardedProtocol, limits_of_process
from app.http.reference import reference_router
from app.http.security import SecurityHeaders
from app.http.sign_in import SignIn
from app.ingest import Horizon
from app.parent import end_with
from app.refusals import Refusals
from app.registry import Drains, Sightings
from app.resolution import resolutions
from app.spool import Spool
from app.store.port import Store, StoreUnavailable
from app.store.redis import connect
from app.tasks import end_tasks
from app.version import version

log = logging.getLogger(__name__)

ID_MARGIN_S = 900  # ids outlive the longest stay in the spool by so much
FINISH_WITHIN_S = 5  # of the 10 s that a shutdown may take


class Background(NamedTuple):
    """What works beside the requests."""

    store: Store
    buffering: Buffering
    folder: Folder
    chores: Chores
    drains: Drains | None


def create() -> ASGIApp:
    """The service as the environment describes it; called by uvicorn in each worker."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and supervisor.pid is not None:
        end_with(supervisor.pid)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    GuardedProtocol.limits = limits_of_process()
    settings = Settings.from_environ(os.environ)
    return build(settings, connect(settings.redis_url), time.time)


def build(settings: Settings, store: Store, clock: Callable[[], float]) -> ASGIApp:
    """The service over a store, on a clock (Unix time in seconds)."""
    tiers = resolutions(settings.retention_1m_s, settings.retention_10m_s, settings.retention_1h_s)
    kept_s = tiers[-1].retention_s + MARGIN_S
    folder = Folder(
        store,
        tiers,
        name=str(os.getpid()),
        clock=clock,
        interval_s=settings.fold_interval_s,
        batches=settings.fold_batches,
        caps=settings.caps,
    )
    sightings = Sightings(store, ttl_s=kept_s)
    buffering = _buffering(settings, store, clock, sightings, folder.stored, kept_s)
    refusals = Refusals(store, clock, name=str(os.getpid()))
    drains = None if settings.local_mode else Drains(store, clock, settings.drains_copy)
    enrolment = Enrolment(store, clock, settings.public_url)
    chores = Chores(drains, refusals, enrolment)
    bodies = Bodies()
    horizon = Horizon(settings.horizon_past_s, settings.horizon_future_s)
    drain = DrainEndpoint(
        committer=buffering.committer,
        on_stored=sightings.note,
        drains=drains,
        refusals=refusals,
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
        lifespan=_lifespan(Background(store, buffering, folder, chores, drains)),
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
    health = Health(store, folder, buffering, clock)
    app.include_router(Operations(shown, health, buffering, clock, version()).router)
    app.include_router(reference_router(app.openapi, pages))
    app.include_router(AddApps(enrolment, pages).router)
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


def _buffering(
    settings: Settings,
    store: Store,
    clock: Callable[[], float],
    sightings: Sightings,
    on_stored: Callable[[str, int], None],
    kept_s: int,
) -> Buffering:
    """The way of an arrival into the store, with the spool beside it."""
    appender = Appender(
        store,
        id_ttl_s=settings.spool_age_max_s + ID_MARGIN_S,
        inbox_ttl_s=kept_s,
        verified_s=settings.spool_age_max_s,
        clock=clock,
        on_stored=on_stored,
    )
    if not settings.spool_bytes_max:
        return Buffering(
            appender, Committer(appender, None, wait_s=settings.commit_wait_s), None, None
        )
    spool = Spool(settings.spool_dir, bytes_max=settings.spool_bytes_max, clock=clock)
    committer = Committer(appender, spool, wait_s=settings.commit_wait_s)
    return Buffering(
        appender,
        committer,
        spool,
        CatchUp(spool, appender, on_stored=sightings.note, caps=settings.caps),
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
    background: Background,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store, buffering, folder, chores, drains = background
        await _report_problems(store)
        tasks = [
            asyncio.create_task(folder.run(), name="fold"),
            asyncio.create_task(chores.run(), name="chores"),
        ]
        if buffering.catch_up is not None:
            tasks.append(asyncio.create_task(buffering.catch_up.run(), name="catch up"))
        try:
            yield
        finally:
            await buffering.committer.drained()
            await end_tasks(tasks)
            finishing = asyncio.create_task(folder.finish(), name="finish")
            await asyncio.wait([finishing], timeout=FINISH_WITHIN_S)
            await end_tasks([finishing])  # what is left, the next start folds
            if drains is not None:
                await drains.close()
            if buffering.spool is not None:
                buffering.spool.close()
            await store.close()

    return lifespan


async def _report_problems(store: Store) -> None:
    try:
        problems = await store.check()
    except StoreUnavailable as error:
        problems = [str(error)]
    for sentence in problems:
        log.error("store: %s", sentence)
