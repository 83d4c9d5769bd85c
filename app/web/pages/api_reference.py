"""GET /docs: the API reference, rendered here from the OpenAPI document; no script, nothing from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.web.pages.rendering import Pages

OpenApi = dict[str, Any]

EXAMPLES = {
    "/api/v1/query": "?metric=requests&stat=rate&by=app&step=10m",
    "/api/v1/apps/{app}/query": "?metric=service_time_ms&stat=p95&stat=avg&by=process_type",
    "/api/v1/apps/{app}/ledger": "?start=now-1h",
    "/api/v1/apps/{app}/events": "?start=now-1h",
    "/api/v1/apps/{app}/signal": "?metric=service_time_ms&stat=p95&process_type=web",
    "/api/v1/alerts/history": "?app=shop",
}
BODIES = {
    ("POST", "/api/v1/drains"): '{"apps": ["shop"]}',
    ("POST", "/api/v1/drains/{app}/rotate"): '{"at_once": false}',
    ("POST", "/api/v1/apps/{app}/events"): '{"detail": "Sale begins"}',
    ("POST", "/api/v1/tokens"): '{"name": "wallboard", "apps": ["shop", "blog-*"]}',
    ("PUT", "/api/v1/alerts/rules/{name}"): '{"metric": "requests", "stat": "sum", "limit": 5000}',
    ("POST", "/api/v1/alerts/channels"): (
        '{"name": "ops", "kind": "slack", "url": "https://hooks.example.com/services/T0"}'
    ),
    ("PUT", "/api/v1/alerts/mutes/{app}"): '{"for_s": 7200}',
}
EXAMPLE_APP = "shop"
EXAMPLE_ID = "k3v9x2qa"
EXAMPLE_DRAIN = "d.475fd4b7-03da-4e45-8c89-5d8ac5fff61d"
EXAMPLE_NAME = "ops"


class Named(NamedTuple):
    """A parameter, or a field of an answer."""

    name: str
    type: str
    required: bool
    description: str


class Route(NamedTuple):
    """One route as the page shows it."""

    method: str
    path: str
    summary: str
    example: str  # as curl takes it, without the address before it
    body: str  # an example of what is sent; "" for nothing
    parameters: list[Named]
    fields: list[Named]


def reference_router(get_openapi: Callable[[], OpenApi], pages: Pages) -> APIRouter:
    """The route /docs."""
    router = APIRouter()

    async def docs(request: Request) -> HTMLResponse:
        url = str(request.base_url).rstrip("/")
        shown = list(routes(get_openapi()))
        return pages.page(request, "reference.html", routes=shown, url=url)

    router.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    return router


def routes(openapi: OpenApi) -> Iterator[Route]:
    """Every route of an OpenAPI document."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            example = path.replace("{app}", EXAMPLE_APP).replace("{token_id}", EXAMPLE_ID)
            example = example.replace("{token}", EXAMPLE_DRAIN)
            example = example.replace("{name}", EXAMPLE_NAME)
            sent = operation.get("requestBody", {})
            yield Route(
                method.upper(),
                path,
                operation.get("summary", ""),
                example + (EXAMPLES.get(path, "") if method == "get" else ""),
                BODIES.get((method.upper(), path), ""),
                [*_parameters(openapi, operation), *_fields(openapi, sent)],
                list(_fields(openapi, _success(operation))),
            )


def _parameters(openapi: OpenApi, operation: OpenApi) -> Iterator[Named]:
    for each in operation.get("parameters", ()):
        yield Named(
            each["name"],
            _type(openapi, each["schema"]),
            each.get("required", False),
            each.get("description") or each["schema"].get("description", ""),
        )


def _success(operation: OpenApi) -> OpenApi:
    answers: dict[str, OpenApi] = operation["responses"]
    return next(answer for status, answer in answers.items() if status.startswith("2"))


def _fields(openapi: OpenApi, message: OpenApi) -> Iterator[Named]:
    """The fields of the JSON of a request or an answer."""
    schema = message.get("content", {}).get("application/json", {}).get("schema", {})
    schema = next((each for each in schema.get("anyOf", ()) if "$ref" in each), schema)
    schema = _resolved(openapi, schema)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield Named(name, _type(openapi, field), name in required, field.get("description", ""))


def _resolved(openapi: OpenApi, schema: OpenApi) -> OpenApi:
    reference = schema.get("$ref", "")
    found: OpenApi = schema
    if reference:
        found = openapi["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _type(openapi: OpenApi, schema: OpenApi) -> str:
    """A schema's type in a few words."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        options = (each for each in schema["anyOf"] if each.get("type") != "null")
        return " or ".join(_type(openapi, each) for each in options)
    if schema.get("type") == "array":
        return f"list of {_type(openapi, schema['items'])}"
    resolved = _resolved(openapi, schema)
    if "properties" in resolved:
        return "{" + ", ".join(resolved["properties"]) + "}"
    return str(resolved.get("type", "object"))
