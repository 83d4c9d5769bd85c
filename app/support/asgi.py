"""Types and helpers for plain ASGI apps: headers, Basic credentials, answers, problems."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

PROBLEM_TYPE = b"application/problem+json"
DEFECT = "This is a defect of Dynometer; the service's log has the details. Please report it."
ON_RECOGNIZED = "dynometer.on_recognized"  # an extension in the scope, of our own protocol

_EMPTY_200 = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"0")],
}
_EMPTY_BODY = {"type": "http.response.body"}


def header(headers: Headers, name: bytes) -> bytes:
    """The first header with this lower-case name, or b""."""
    for key, value in headers:
        if key == name:
            return value
    return b""


def client_host(scope: Scope) -> str:
    """The client's address; "" if it is unknown."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def recognize(scope: Scope, kind: str, name: str) -> None:
    """Tell the connection of a request which caller authenticated, such as an app or a token.

    Connections of callers have a budget of their own (app.receivers.connection_guard).
    """
    extension = scope.get("extensions", {}).get(ON_RECOGNIZED)
    if extension is not None:
        extension["call"](kind, name)


def basic_credentials(authorization: bytes) -> tuple[str, str] | None:
    """(user, password) of a Basic Authorization header (RFC 7617); None for any other header."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        credentials = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, _, password = credentials.partition(":")
    return user, password


def problem(status: int, detail: str, title: str = "", **extensions: Any) -> dict[str, Any]:
    """An error as problem details (RFC 9457). `title`: the status in words, if it is not given."""
    return {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **extensions,
    }


def pack_problem(status: int, detail: str) -> bytes:
    """The body of an answer of type PROBLEM_TYPE."""
    return json.dumps(problem(status, detail), ensure_ascii=False).encode() + b"\n"


async def respond(
    send: Send, status: int, detail: str = "", headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a complete answer with a Content-Length, which Logplex requires: empty, or a problem
    with this detail.
    """
    if status == 200 and not headers:  # by far the most frequent: no allocation
        await send(_EMPTY_200)
        await send(_EMPTY_BODY)
        return
    body = pack_problem(status, detail) if detail else b""
    content_type = [(b"content-type", PROBLEM_TYPE)] if body else []
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*content_type, length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
