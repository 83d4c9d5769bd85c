"""GET /docs: the API reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse


def reference_router(get_openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """The route."""
    router = APIRouter()

    async def docs() -> JSONResponse:
        return JSONResponse(get_openapi())

    router.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    return router
