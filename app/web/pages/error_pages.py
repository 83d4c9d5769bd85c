"""Answers a browser that asks for an unknown page with a page, instead of a problem of the API."""

from __future__ import annotations

from inspect import isawaitable

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.web.pages.rendering import Pages

_PATHS_OF_PROGRAMS = ("/api/", "/static/")


def wants_html(request: Request) -> bool:
    """Whether a person asks, with a browser. Programs accept anything, or name another type."""
    return "text/html" in request.headers.get("accept", "")


def install_error_pages(app: FastAPI, pages: Pages) -> None:
    """Answer unknown paths with a page. The error handlers of the API must be installed already."""
    handle_for_programs = app.exception_handlers[HTTPException]

    async def handle(request: Request, error: Exception) -> Response:
        is_unknown = isinstance(error, HTTPException) and error.status_code == 404
        is_for_programs = request.url.path.startswith(_PATHS_OF_PROGRAMS)
        if is_unknown and wants_html(request) and not is_for_programs:
            return pages.page(request, "not_found.html", status=404)
        answer = handle_for_programs(request, error)
        return await answer if isawaitable(answer) else answer

    app.add_exception_handler(HTTPException, handle)
