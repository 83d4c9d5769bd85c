"""Errors of the API as RFC 9457 problem details: {"type", "title", "status", "detail", …}.

A problem with a parameter names it ("parameter") and what would have been accepted ("accepted").
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.ingest.pipeline import IngestPipeline
from app.rollup.codec import NewerVersion
from app.storage.interface import StoreUnavailable

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that cannot be answered as it stands."""

    def __init__(self, status: int, title: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.more = more


def bad_parameter(name: str, given: object, accepted: str) -> Problem:
    """A query parameter that cannot be used."""
    return Problem(
        400,
        "Bad parameter",
        f"{name}={given}: accepted are {accepted}",
        parameter=name,
        accepted=accepted,
    )


def install(app: FastAPI, pipeline: IngestPipeline) -> None:
    """Answer every error of the app as a problem; while the store is away, with what waits on disk
    meanwhile.
    """

    async def away(request: Request, error: Exception) -> JSONResponse:
        detail = f"{error}. {pipeline.notice()}".strip()
        answer = _answer(503, "Store unavailable", detail, spool=pipeline.describe())
        answer.headers["Retry-After"] = "5"
        return answer

    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreUnavailable, away)
    app.add_exception_handler(NewerVersion, _newer)


def _answer(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, media_type=MEDIA_TYPE)


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101  by its registration
    return _answer(error.status, error.title, error.detail, **error.more)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    name = str(first["loc"][-1])
    more = {"accepted": first["ctx"]["accepted"]} if "accepted" in first.get("ctx", {}) else {}
    return _answer(400, "Bad parameter", f"{name}: {first['msg']}", parameter=name, **more)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"There is nothing at {request.url.path}; /docs lists what there is."
    answer = _answer(error.status_code, "Request failed", detail)
    answer.headers.update(error.headers or {})
    return answer


async def _newer(request: Request, error: Exception) -> JSONResponse:
    return _answer(503, "Data of a newer version", str(error))
