"""GET /docs: the API reference, rendered on the server from the OpenAPI document.

The common viewers (Swagger UI, Redoc) load scripts from other hosts, which the security policy
forbids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.web.pages.rendering import Pages

OpenApi = dict[str, Any]

LINE_CHARACTERS = 60
NAMED_MAX = 8  # values of a field; more are for /openapi.json
_NO_WORD = re.compile(r"[^a-z0-9]+")

_QUERIES = {
    "/api/v1/query": "?metric=requests&stat=rate&by=app&step=10m",
    "/api/v1/apps/{app}": "?confirm=shop",
    "/api/v1/apps/{app}/query": "?metric=service_time_ms&stat=p95&stat=avg&by=process_type",
    "/api/v1/apps/{app}/ledger": "?start=now-1h",
    "/api/v1/apps/{app}/events": "?start=now-1h",
    "/api/v1/apps/{app}/signal": "?metric=service_time_ms&stat=p95&process_type=web",
    "/api/v1/alerts/history": "?app=shop",
    "/metrics": "?app=shop",
}
_BODIES = {
    ("POST", "/api/v1/drains"): '{"apps": ["shop"]}',
    ("POST", "/api/v1/drains/{app}/rotate"): '{"at_once": false}',
    ("POST", "/api/v1/apps/{app}/events"): '{"detail": "Sale begins"}',
    ("PUT", "/api/v1/apps/{app}/custom"): '{"on": true}',
    ("POST", "/api/v1/tokens"): '{"name": "wallboard", "apps": ["shop", "blog-*"]}',
    ("PUT", "/api/v1/alerts/rules/{name}"): '{"metric": "requests", "stat": "sum", "limit": 5000}',
    ("POST", "/api/v1/alerts/channels"): (
        '{"name": "ops", "kind": "slack", "url": "https://hooks.example.com/services/T0"}'
    ),
    ("PUT", "/api/v1/alerts/mutes/{app}"): '{"for_s": 7200}',
}
_PATH_PARAMETERS = {
    "{app}": "shop",
    "{space}": "acme-space",
    "{token_id}": "k3v9x2qa",
    "{token}": "d.475fd4b7-03da-4e45-8c89-5d8ac5fff61d",
    "{name}": "ops",
}


_GROUPS = (  # by task; a route belongs to the first group with an end or a begin of its path
    ("Is it all right?", ("/verdicts", "/verdict", "/episodes")),
    ("Figures over time", ("/query", "/metadata", "/ledger", "/signal")),
    ("Custom metrics", ("/custom",)),
    ("Alerts", ("/api/v1/alerts",)),
    ("Apps and events", ("/api/v1/apps",)),
    ("Drains", ("/api/v1/drains",)),
    ("Read tokens", ("/api/v1/tokens",)),
    ("Monitoring", ("/",)),
)


class DocumentedField(NamedTuple):
    """A parameter of a request, or a field of an answer."""

    name: str
    type: str
    is_required: bool
    description: str


class Route(NamedTuple):
    """A route as the page documents it."""

    method: str
    path: str
    summary: str
    example: str  # path and query of an example call
    body: str  # the JSON body of the example call; "" for none
    parameters: list[DocumentedField]
    fields: list[DocumentedField]
    status: str  # of a success
    answer: str  # to the example call; "" for none

    @property
    def anchor(self) -> str:
        """Its id on the page: get-api-v1-apps-app-query."""
        return _NO_WORD.sub("-", f"{self.method}{self.path}".lower()).strip("-")


class RouteGroup(NamedTuple):
    """The routes for one task."""

    title: str
    routes: list[Route]

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return _NO_WORD.sub("-", self.title.lower()).strip("-")


def reference_router(get_openapi: Callable[[], OpenApi], pages: Pages) -> APIRouter:
    """The route /docs."""
    router = APIRouter()

    async def docs(request: Request) -> HTMLResponse:
        url = str(request.base_url).rstrip("/")
        groups = group_routes(documented_routes(get_openapi()))
        return pages.page(request, "api_reference.html", groups=groups, url=url)

    router.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    return router


def group_routes(routes: Iterable[Route]) -> list[RouteGroup]:
    """The routes by task, in the order of _GROUPS."""
    groups = [RouteGroup(title, []) for title, _ in _GROUPS]
    for route in routes:
        number = next(
            number
            for number, (_, ends) in enumerate(_GROUPS)
            if any(route.path.endswith(end) or route.path.startswith(end) for end in ends)
        )
        groups[number].routes.append(route)
    return groups


def documented_routes(openapi: OpenApi) -> Iterator[Route]:
    """Every route of an OpenAPI document."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            example = path
            for placeholder, value in _PATH_PARAMETERS.items():
                example = example.replace(placeholder, value)
            request_body = operation.get("requestBody", {})
            status, success = _success(operation)
            content: OpenApi = next(iter(success.get("content", {}).values()), {})
            yield Route(
                method.upper(),
                path,
                operation.get("summary", ""),
                example + (_QUERIES.get(path, "") if method in ("get", "delete") else ""),
                _BODIES.get((method.upper(), path), ""),
                [*_parameters(openapi, operation), *_fields(openapi, request_body)],
                list(_fields(openapi, success)),
                status,
                format_answer(content.get("example", "")),
            )


def _parameters(openapi: OpenApi, operation: OpenApi) -> Iterator[DocumentedField]:
    for parameter in operation.get("parameters", ()):
        yield DocumentedField(
            parameter["name"],
            _type_name(openapi, parameter["schema"]),
            parameter.get("required", False),
            parameter.get("description") or parameter["schema"].get("description", ""),
        )


def _success(operation: OpenApi) -> tuple[str, OpenApi]:
    responses: dict[str, OpenApi] = operation["responses"]
    return next((status, response) for status, response in responses.items() if status[0] == "2")


def _fields(openapi: OpenApi, message: OpenApi) -> Iterator[DocumentedField]:
    """The JSON fields of a request body or an answer."""
    schema = message.get("content", {}).get("application/json", {}).get("schema", {})
    schema = next((option for option in schema.get("anyOf", ()) if "$ref" in option), schema)
    schema = _resolve(openapi, schema)
    required_names = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield DocumentedField(
            name, _type_name(openapi, field), name in required_names, field.get("description", "")
        )


def _resolve(openapi: OpenApi, schema: OpenApi) -> OpenApi:
    """The schema itself, or the one that it refers to."""
    if "$ref" not in schema:
        return schema
    target: OpenApi = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return target


def _type_name(openapi: OpenApi, schema: OpenApi) -> str:
    """A short name for a schema's type, such as "list of string"."""
    if len(schema.get("enum", ())) in range(1, NAMED_MAX + 1):
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        options = (option for option in schema["anyOf"] if option.get("type") != "null")
        return " or ".join(_type_name(openapi, option) for option in options)
    if schema.get("type") == "array":
        return f"list of {_type_name(openapi, schema['items'])}"
    target = _resolve(openapi, schema)
    if "properties" in target:
        return "{" + ", ".join(target["properties"]) + "}"
    return str(target.get("type", "object"))


def format_answer(value: Any, indent: str = "") -> str:
    """JSON in few lines of up to LINE_CHARACTERS, where they can be so short. Text as it is."""
    if isinstance(value, str) and not indent:
        return value
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= LINE_CHARACTERS:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        members = [
            f"{json.dumps(key)}: {format_answer(part, inner)}" for key, part in value.items()
        ]
    else:
        members = [format_answer(part, inner) for part in value]
    begin, end = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{begin}\n{inner}" + f",\n{inner}".join(members) + f"\n{indent}{end}"
