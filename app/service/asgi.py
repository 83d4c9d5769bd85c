"""Builds the ASGI app of a worker, top to bottom: settings, store, background tasks, HTTP."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.access.app_removal import AppRemoval
from app.access.read_tokens import ReadTokens
from app.access.visible_store import restrict
from app.alerting.admin import AlertAdmin
from app.config import Settings, pages_url
from app.dashboard.environments import Environments
from app.ingest.marked_post import MarkedCommitter
from app.monitoring.exposition import ServiceMetrics
from app.monitoring.health import HealthCheck
from app.monitoring.operator_notices import Notices
from app.receivers.connection_guard import ConnectionGuard, limits_of_process
from app.receivers.http_drain import DrainEndpoint
from app.receivers.http_fast_path import DrainConnection
from app.receivers.language_endpoint import PATH as LANGUAGE_PATH
from app.receivers.language_endpoint import LanguageEndpoint
from app.receivers.request_body import BodyLimiter, BodyLimitMiddleware
from app.receivers.syslog_listener import SyslogListener
from app.receivers.tls import has_certificates, reload_certificates
from app.service.archive_extra import hours_kept_s
from app.service.wiring import (
    Service,
    build_app_removal,
    build_earlier_hours,
    build_service,
    build_syslog_listener,
    running,
)
from app.storage.connect import connect
from app.storage.interface.store import Store
from app.support import logging as logs
from app.support.about import version
from app.support.asgi import ASGIApp, Receive, Scope, Send
from app.support.process import exit_with_parent, ignores_hangup
from app.support.rejections import Rejections
from app.verdicts.verdict_reader import VerdictReader
from app.web.api.alerts import AlertsApi
from app.web.api.apps import AppsApi
from app.web.api.autoscaling import AutoscalingApi
from app.web.api.custom import CustomApi
from app.web.api.drains_and_tokens import DrainsAndTokensApi
from app.web.api.events import EventsApi
from app.web.api.feed import FeedApi
from app.web.api.openapi import openapi_factory
from app.web.api.operations import Operations
from app.web.api.problems import install_error_handlers
from app.web.api.queries import QueriesApi
from app.web.api.verdicts import VerdictsApi
from app.web.authentication import LocalOnlyMiddleware, TokenAuthMiddleware, TokenLogin
from app.web.head_requests import HeadMiddleware
from app.web.pages.add_apps import AddApps
from app.web.pages.alerts_page import AlertsPage
from app.web.pages.api_reference import reference_router
from app.web.pages.apps_page import AppsPage, NamePatterns
from app.web.pages.assets import mount_assets
from app.web.pages.custom_switch import CustomSwitchPage
from app.web.pages.dashboard import Dashboard
from app.web.pages.demo_data import DemoData
from app.web.pages.error_pages import install_error_pages
from app.web.pages.removal_page import RemovalPage
from app.web.pages.rendering import Pages
from app.web.pages.sign_in import SignIn
from app.web.security_headers import SecurityHeadersMiddleware

GC_THRESHOLD_OBJECTS = 20_000
_DRAIN_PATHS = ("/drain", "/drain/")


def create_app() -> ASGIApp:
    """Build the service from the environment. Uvicorn calls it in each worker."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and supervisor.pid is not None:
        exit_with_parent(supervisor.pid)
    settings = Settings.from_environ(os.environ)
    logs.set_up(settings.log_format)
    store = connect(settings.redis_url, settings.redis_connections_max, settings.redis_replicas)
    rejections = Rejections()
    app = build_app(settings, store, time.time, rejections)
    DrainConnection.guard = ConnectionGuard(
        limits_of_process(), rejections, settings.trusted_proxies
    )
    _reduce_garbage_collection()
    return app


def _reduce_garbage_collection() -> None:
    """Make the cyclic garbage collector run less often.

    Objects built at the start live for ever, and those of a batch are freed by reference counting.
    So a search for cycles every 700 objects costs 8 % and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD_OBJECTS)


def build_app(
    settings: Settings,
    store: Store,
    clock: Callable[[], float],
    rejections: Rejections | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """Build the service over a store; the arguments are those of build_service."""
    service = build_service(settings, store, clock, rejections, monotonic)
    pipeline, acceptance, history = service.pipeline, service.acceptance, service.history
    body_limiter = BodyLimiter(service.rejections)
    drain = DrainEndpoint(
        committer=pipeline.committer,
        marked_committer=MarkedCommitter(pipeline.committer, settings.limits, clock),
        drains=None if settings.local_mode else service.drains,
        rejected_logins=service.rejected_logins,
        loop_detector=service.loop_detector,
        acceptance=acceptance,
        reads_marks=service.access.reads_marks,
        body_limiter=body_limiter,
        body_bytes_max=settings.body_bytes_max,
    )
    app = _build_fastapi(service, settings)
    visible_store = restrict(store, history.rollups, history.archive)
    notices = _build_notices(service, settings)
    pages = Pages(notices, clock, local_mode=settings.local_mode, public_url=settings.public_url)
    verdicts = VerdictReader(visible_store, history.hours, settings.review_apps, settings.limits)
    removal = build_app_removal(settings, store, clock, history.archive)
    mount_assets(app)
    admin = AlertAdmin(store, clock, hours_kept_s(settings))
    for router in _page_routers(service, settings, clock, pages, verdicts, removal, admin):
        app.include_router(router)
    for router in _api_routers(service, settings, clock, verdicts, admin):
        app.include_router(router)
    install_error_pages(app, pages)
    health = _build_health(service, clock)
    metrics = _build_metrics(service, settings)
    app.include_router(Operations(visible_store, health, metrics, clock, version(), pages).router)
    app.include_router(AppsApi(removal).router)
    app.include_router(CustomApi(visible_store, store, service.access).router)
    app.include_router(reference_router(app.openapi, pages))
    is_https = settings.public_url.startswith("https:")
    limited_app = GZipMiddleware(
        BodyLimitMiddleware(app, body_limiter), minimum_size=2_000, compresslevel=1
    )
    protected_app: ASGIApp = LocalOnlyMiddleware(limited_app)
    if not settings.local_mode:
        login = TokenLogin(settings.admin_token, ReadTokens(service.access, clock))
        app.include_router(SignIn(login, pages, https=is_https).router)
        protected_app = TokenAuthMiddleware(limited_app, login)
    language = LanguageEndpoint(
        drain, pipeline.committer, body_limiter, acceptance, settings.limits, clock
    )
    return DrainRouter(
        drain,
        LocalOnlyMiddleware(drain) if settings.local_mode else drain,
        LocalOnlyMiddleware(language) if settings.local_mode else language,
        HeadMiddleware(SecurityHeadersMiddleware(protected_app, https=is_https)),
    )


def _api_routers(
    service: Service,
    settings: Settings,
    clock: Callable[[], float],
    verdicts: VerdictReader,
    admin: AlertAdmin,
) -> Iterator[APIRouter]:
    """The routes that read, and those of drains, tokens and alerts."""
    store, history, tiers = service.store, service.history, service.history.tiers
    visible_store = restrict(store, history.rollups, history.archive)
    acceptance, committer = service.acceptance, service.pipeline.committer
    yield QueriesApi(visible_store, tiers, settings.limits, acceptance, clock).router
    yield EventsApi(visible_store, committer, tiers, acceptance, clock).router
    yield DrainsAndTokensApi(store, service.drain_admin, clock).router
    yield AlertsApi(visible_store, admin, clock).router
    yield VerdictsApi(visible_store, verdicts, tiers, clock).router
    yield FeedApi(visible_store, tiers, clock, pages_url(settings)).router
    yield AutoscalingApi(visible_store, service.tiers[0], clock).router


def _build_fastapi(service: Service, settings: Settings) -> FastAPI:
    """The app of API and pages, without routes."""
    app = FastAPI(
        title="Dynometer",
        summary="Metrics from the log stream of Heroku apps",
        version=version(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(service, build_syslog_listener(service, settings)),
    )
    app.openapi = openapi_factory(app)  # type: ignore[method-assign]  # as FastAPI documents it
    install_error_handlers(app, service.pipeline)
    return app


def _page_routers(
    service: Service,
    settings: Settings,
    clock: Callable[[], float],
    pages: Pages,
    verdicts: VerdictReader,
    removal: AppRemoval,
    admin: AlertAdmin,
) -> Iterator[APIRouter]:
    """The pages, except those about signing in and the API."""
    store, history = service.store, service.history
    visible_store, tiers = restrict(store, history.rollups, history.archive), history.tiers
    environments = Environments(settings.production_apps, settings.staging_apps)
    names = NamePatterns(settings.review_apps, environments)
    yield AppsPage(visible_store, tiers, pages, clock, verdicts, names).router
    yield AlertsPage(visible_store, admin, pages, clock).router
    earlier_hours = build_earlier_hours(settings, history)
    yield Dashboard(
        visible_store, tiers, pages, clock, verdicts, earlier_hours, service.access
    ).router
    yield CustomSwitchPage(visible_store, store, service.access, pages).router
    yield RemovalPage(removal, pages).router
    yield AddApps(service.drain_admin, pages).router
    if settings.local_mode:
        committer = MarkedCommitter(service.pipeline.committer, settings.limits, clock)
        yield DemoData(store, committer, service.acceptance, clock).router


def _build_health(service: Service, clock: Callable[[], float]) -> HealthCheck:
    return HealthCheck(
        service.store,
        service.access,
        service.fold_worker,
        service.pipeline,
        clock,
        service.plugins,
    )


def _build_metrics(service: Service, settings: Settings) -> ServiceMetrics:
    return ServiceMetrics(
        service.pipeline,
        service.access,
        service.memory_guard,
        str(os.getpid()),
        service.rejections,
        service.plugins,
        settings.limits,
    )


def _build_notices(service: Service, settings: Settings) -> Notices:
    return Notices(
        service.pipeline,
        service.access,
        service.clock_watch,
        service.store_warnings,
        service.memory_guard,
        service.loop_detector,
        settings.data_dir,
        service.plugins,
    )


class DrainRouter:
    """Routes _DRAIN_PATHS to the drain, metrics of languages to their endpoint, and everything else
    (and the lifespan) to the other app.
    """

    def __init__(
        self, drain: DrainEndpoint, protected_drain: ASGIApp, language: ASGIApp, app: ASGIApp
    ) -> None:
        self.drain = drain  # app.receivers.http_fast_path calls it directly
        self._protected_drain = protected_drain
        self._language = language
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in _DRAIN_PATHS:
            await self._protected_drain(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(LANGUAGE_PATH):
            await self._language(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _lifespan(
    service: Service, syslog: SyslogListener
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(service), syslog.listening():
            if threading.current_thread() is threading.main_thread():  # only it handles signals
                _handle_hangup(asyncio.get_running_loop())
            yield

    return lifespan


def _handle_hangup(loop: asyncio.AbstractEventLoop) -> None:
    """On SIGHUP, reload the certificates. Without any, the terminal closed: end as on SIGTERM."""
    if has_certificates():
        loop.add_signal_handler(signal.SIGHUP, reload_certificates)
    elif multiprocessing.parent_process() is not None:  # the supervisor ends its workers
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    elif not ignores_hangup():
        loop.add_signal_handler(signal.SIGHUP, signal.raise_signal, signal.SIGTERM)
