"""The OpenAPI document: FastAPI's, with our errors instead of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.api.problems import MEDIA_TYPE

_PROBLEM = {
    "description": "Problem details (RFC 9457)",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEM_SCHEMA = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what would be right"},
        "parameter": {"type": "string", "description": "Which parameter is wrong"},
        "accepted": {"type": "string", "description": "What would have been accepted"},
    },
}
_REPLACED = ("HTTPValidationError", "ValidationError")


def document_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A function that makes an app's document, once."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return document


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    for methods in found["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            answers.pop("422", None)
            answers["4XX"] = _PROBLEM
            answers["5XX"] = _PROBLEM
            if operation.get("description") == operation.get("summary"):
                del operation["description"]
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in _REPLACED:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM_SCHEMA
    return found
