"""Answers HEAD wherever GET is answered: the same status and headers, without the body.

RFC 9110, section 9.3.2. The routes only know GET, so the request is passed on as one.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from app.support.asgi import ASGIApp, Receive, Scope, Send, header

_NO_LENGTH_STATUSES = (204, 304)


class HeadMiddleware:
    """Passes HEAD on as GET, and removes the body of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; a body without a Content-Length is measured."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        start: MutableMapping[str, Any] = {}
        size = 0

        async def send_head(message: MutableMapping[str, Any]) -> None:
            nonlocal size
            if message["type"] == "http.response.start":
                start.update(message)
                return
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                await send(_with_length(start, size))
                await send({"type": "http.response.body"})

        await self._app({**scope, "method": "GET"}, receive, send_head)


def _with_length(start: MutableMapping[str, Any], size: int) -> MutableMapping[str, Any]:
    if start["status"] in _NO_LENGTH_STATUSES or header(start["headers"], b"content-length"):
        return start
    length = (b"content-length", str(size).encode())
    return {**start, "headers": [*start["headers"], length]}
