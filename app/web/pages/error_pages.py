"""Answers a browser with a page, where a program gets a problem of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.rollup.codec import NewerVersion
from app.web.pages.rendering import Pages

_PATHS_OF_PROGRAMS = ("/api/", "/static/")


def wants_html(request: Request) -> bool:
    """Whether a person asks, with a browser. Programs accept anything, or name another type."""
    return "text/html" in request.headers.get("accept", "")


def install_error_pages(app: FastAPI, pages: Pages) -> None:
    """Answer unknown paths, newer data and defects with pages.

    The error handlers of the API must be installed already.
    """

    def not_found(request: Request, error: Exception) -> Response | None:
        if isinstance(error, HTTPException) and error.status_code == 404:
            return pages.page(request, "not_found.html", status=404)
        return None

    def newer_version(request: Request, error: Exception) -> Response:
        return pages.page(request, "newer_version.html", status=503, reason=str(error))

    def defect(request: Request, error: Exception) -> Response:
        return pages.page(request, "defect.html", status=500)

    for kind, render in (
        (HTTPException, not_found),
        (NewerVersion, newer_version),
        (Exception, defect),
    ):
        app.add_exception_handler(kind, _for_browsers(render, app.exception_handlers[kind]))


def _for_browsers(
    render: Callable[[Request, Exception], Response | None],
    handle_for_programs: Callable[[Request, Exception], Response | Awaitable[Response]],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler that answers browsers with the page, if there is one for the error."""

    async def handle(request: Request, error: Exception) -> Response:
        is_for_programs = request.url.path.startswith(_PATHS_OF_PROGRAMS)
        if wants_html(request) and not is_for_programs:
            page = render(request, error)
            if page is not None:
                return page
        answer = handle_for_programs(request, error)
        return await answer if isawaitable(answer) else answer

    return handle
