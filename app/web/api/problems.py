"""Errors of the API as problem details (RFC 9457): {"type", "title", "status", "detail", …}.

A problem with a parameter also has "parameter" (its name) and "accepted" (the accepted values).
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.ingest.pipeline import IngestPipeline
from app.query.planner import QueryError
from app.rollup.codec import NewerVersion
from app.storage.interface.errors import StoreUnavailable
from app.support.asgi import DEFECT, PROBLEM_TYPE, problem

MEDIA_TYPE = PROBLEM_TYPE.decode()


class Problem(Exception):
    """An error answer. `extensions`: fields besides type, title, status and detail."""

    def __init__(self, status: int, title: str, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.extensions = extensions


def bad_parameter(name: str, value: object, accepted: str) -> Problem:
    """The problem of a parameter value that is not accepted."""
    return query_problem(QueryError(name, str(value), accepted))


def query_problem(error: QueryError) -> Problem:
    """A planner's error as a problem."""
    return Problem(
        400, "Bad parameter", str(error), parameter=error.parameter, accepted=error.accepted_values
    )


def install_error_handlers(app: FastAPI, pipeline: IngestPipeline) -> None:
    """Answer every error of the app as a problem. While the store is unavailable, the problem also
    reports the data that waits on disk.
    """

    async def store_unavailable(request: Request, error: Exception) -> JSONResponse:
        detail = f"{str(error).rstrip('.')}. {pipeline.notice()}".strip()
        response = _response(503, "Store unavailable", detail, spool=pipeline.describe())
        response.headers["Retry-After"] = "5"
        return response

    app.add_exception_handler(Problem, _handle_problem)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(StoreUnavailable, store_unavailable)
    app.add_exception_handler(NewerVersion, _handle_newer_version)
    app.add_exception_handler(Exception, _handle_defect)


def _response(status: int, title: str, detail: str, **extensions: Any) -> JSONResponse:
    content = problem(status, detail, title, **extensions)
    return JSONResponse(content, status, media_type=MEDIA_TYPE)


async def _handle_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101  the app registers it for this type
    return _response(error.status, error.title, error.detail, **error.extensions)


async def _handle_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    name = str(first["loc"][-1])
    context = first.get("ctx", {})
    extensions = {"accepted": context["accepted"]} if "accepted" in context else {}
    return _response(400, "Bad parameter", f"{name}: {first['msg']}", parameter=name, **extensions)


async def _handle_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is no route {request.url.path}. /docs lists all routes."
    response = _response(error.status_code, "Request failed", detail)
    response.headers.update(error.headers or {})
    return response


async def _handle_newer_version(request: Request, error: Exception) -> JSONResponse:
    return _response(503, "Data of a newer version", str(error))


async def _handle_defect(request: Request, error: Exception) -> JSONResponse:
    """The server logs the exception, which is raised again after this answer."""
    return _response(500, "Internal Server Error", DEFECT)
