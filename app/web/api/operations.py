"""Routes for operators and monitoring systems: /metrics, /healthz, /readyz, /version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from app.monitoring.exposition import ServiceMetrics, expose, in_blocks
from app.monitoring.health import HealthCheck
from app.monitoring.text_format import negotiate_format
from app.query import engine as queries
from app.storage.interface.store import Reader
from app.support.compiled import FORM
from app.web.pages.error_pages import wants_html
from app.web.pages.rendering import Pages

_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "A POST would be rejected now", "content": {"application/json": {}}}
}


class Operations:
    """The routes."""

    def __init__(
        self,
        store: Reader,
        health: HealthCheck,
        service_metrics: ServiceMetrics,
        clock: Callable[[], float],
        version: str,
        pages: Pages,
    ) -> None:
        self._store = store
        self._health = health
        self._service_metrics = service_metrics
        self._clock = clock
        self._version = version
        self._pages = pages
        self.router = APIRouter()
        for path, endpoint, response_class in (
            ("/metrics", self.metrics, PlainTextResponse),
            ("/healthz", self.healthz, PlainTextResponse),
            ("/readyz", self.readyz, JSONResponse),
            ("/version", self.version, JSONResponse),
        ):
            self.router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                summary=endpoint.__doc__,
                response_class=response_class,
                responses=_NOT_READY if path == "/readyz" else None,
            )

    async def metrics(
        self,
        app: Annotated[
            list[str] | None, Query(description="App names, may contain * and ?; repeatable")
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        """Prometheus metrics of all apps, or of the given apps"""
        content_type = negotiate_format(accept)
        texts = await expose(
            self._store,
            lambda names: queries.match_apps(names, app or []),
            self._service_metrics,
            self._clock(),
            content_type,
        )
        headers = {"Content-Type": content_type, "Vary": "Accept"}
        return StreamingResponse(in_blocks(texts), headers=headers)

    async def healthz(self) -> Response:
        """Liveness: the process answers"""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Readiness: whether a POST would be accepted now, and the state of store and folding"""
        report = await self._health.report()
        status = 200 if report.ready else 503
        if wants_html(request):
            response: Response = self._pages.page(
                request, "health.html", status=status, report=report.body, version=self._version
            )
        else:
            response = JSONResponse(report.body, status)
        response.headers["Vary"] = "Accept"
        return response

    async def version(self) -> dict[str, str]:
        """The release, and whether its hot paths are compiled"""
        return {"name": "dynometer", "version": self._version, "path": FORM}
