"""Security headers of every page and answer: load nothing from other hosts, show in no frame, guess
no content types, keep no copies.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from app.support.asgi import ASGIApp, Receive, Scope, Send
from app.web.authentication import STATIC_PATH

# Style sheet, scripts and form targets are the service's own. The empty favicon is a data: URL.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, forms would not send their Origin
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NO_STORE = (b"cache-control", b"no-store")
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeadersMiddleware:
    """Adds the security headers to every answer of an app."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        """`https`: the service is reached over https, so browsers are required to use it."""
        self._app = app
        self._headers = [*_HEADERS, *([_HTTPS_ONLY] if https else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_static = scope["path"].startswith(STATIC_PATH)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self._headers]
                names = {name for name, _ in message["headers"]}
                if not is_static and b"cache-control" not in names:
                    headers.append(_NO_STORE)
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)
