"""The OpenAPI document: FastAPI's, with problem details as its errors, and examples of answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.api.answers import example_answers
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
        "detail": {"type": "string", "description": "The error, and how to correct the request"},
        "parameter": {"type": "string", "description": "Name of the parameter that is wrong"},
        "accepted": {"type": "string", "description": "Values that the parameter accepts"},
    },
}
_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")  # of FastAPI's own errors


def openapi_factory(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A function that builds an app's document at its first call."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    return openapi


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            _add_example(responses, example_answers().get(f"{method.upper()} {path}"))
            responses.pop("422", None)
            responses["4XX"] = _PROBLEM
            responses["5XX"] = _PROBLEM
            # FastAPI takes both from the docstring.
            if operation.get("description") == operation.get("summary"):
                del operation["description"]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _UNUSED_SCHEMAS:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM_SCHEMA
    return document


def _add_example(responses: dict[str, Any], answer: Any) -> None:
    """Add an answer to the first response, which is that of a success, in its first format."""
    content = next(iter(responses.values())).get("content", {})
    if content and answer not in (None, ""):
        next(iter(content.values()))["example"] = answer
