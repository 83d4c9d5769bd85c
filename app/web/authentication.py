"""Access control of the API and the pages.

Local mode (no admin token): the service listens on loopback only. A tunnel, a DNS name that points
at 127.0.0.1, or a web page open in a browser could still reach it. So the service answers only
requests whose Host is localhost or a loopback address, and none from a page of another origin.

Token mode: every request needs the admin token or a read token, as Bearer or as the password of
Basic auth. A browser that signed in sends the token as a cookie. Health checks, the sign-in page
and static files are public. The drain has credentials of its own and does not pass through here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
from urllib.parse import parse_qs, quote

from app.access.read_tokens import (
    ADMIN,
    ID_LENGTH,
    NOTHING,
    Permissions,
    ReadTokens,
    current_permissions,
)
from app.receivers.connection_guard import READER
from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.support.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    basic_credentials,
    header,
    recognize,
    respond,
)
from app.support.loopback import is_loopback

STATIC_PATH = "/static/"
ADMIN_PATHS = ("/api/v1/drains", "/api/v1/tokens", "/api/v1/alerts/channels")  # also for reading
COOKIE_NAME = "dynometer_token"
FAILED_LOGIN_DELAY_S = 1.0
DELAYED_LOGINS_MAX = 100  # per worker
_PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/sign-in", "/sign-out"})
_FEED_PATH = re.compile(r"/api/v1/apps/[^/]+/feed")
_READ_TOKEN_PREFIX = b"dyno_"
_TOKEN_ID_BYTES = len(_READ_TOKEN_PREFIX) + ID_LENGTH
_SAFE_METHODS = ("GET", "HEAD")


class TokenLogin:
    """Checks access tokens. Failed attempts are delayed by FAILED_LOGIN_DELAY_S.

    Only DELAYED_LOGINS_MAX failed attempts are held at a time, so guessing cannot exhaust a worker.
    A valid token is never delayed.
    """

    def __init__(self, admin_token: str, tokens: ReadTokens) -> None:
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._delayed_logins = 0

    async def authenticate(self, secret: bytes) -> Permissions | None:
        """The permissions of a token, or None for an invalid one.

        Raises:
            StoreUnavailable: the cached tokens do not contain it, and the store is unavailable.
        """
        if hmac.compare_digest(secret, self._admin_token):
            return ADMIN
        return await self._tokens.permissions_of(secret.decode("latin-1"))

    async def delay_failed_login(self) -> bool:
        """Wait before the answer to an invalid token. Returns False immediately if too many
        attempts are waiting already; the caller then rejects this one.
        """
        if self._delayed_logins >= DELAYED_LOGINS_MAX:
            return False
        self._delayed_logins += 1
        try:
            await asyncio.sleep(FAILED_LOGIN_DELAY_S)
        finally:
            self._delayed_logins -= 1
        return True


class LocalOnlyMiddleware:
    """Passes on requests from this machine, with admin permissions, and rejects all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = header(scope["headers"], b"host").decode("latin-1")
        origin = header(scope["headers"], b"origin").decode("latin-1")
        if not is_loopback(host):
            await respond(send, 403, _rejection(f"Host {host!r}"))
        elif origin and not _is_same_origin(origin, host):
            await respond(send, 403, _rejection(f"Origin {origin!r}"))
        else:
            current_permissions.set(ADMIN)
            await self._app(scope, receive, send)


class TokenAuthMiddleware:
    """Passes on requests with a valid token and sets their permissions. A browser that asks for a
    page without a token is redirected to the sign-in page.
    """

    def __init__(self, app: ASGIApp, login: TokenLogin) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in _PUBLIC_PATHS or scope["path"].startswith(STATIC_PATH):
            await self._forward(NOTHING, scope, receive, send)
            return
        authorization = header(scope["headers"], b"authorization")
        cookie = b"" if authorization else _token_of_cookie(scope)
        secret = _token_of_authorization(authorization) or cookie or _token_of_feed_url(scope)
        try:
            permissions = await self._login.authenticate(secret)
        except StoreUnavailable as error:
            text = without_addresses(str(error))
            await respond(send, 503, text, [(b"retry-after", b"5")])
            return
        if permissions is None and not authorization and _wants_html(scope):
            if cookie:
                await self._login.delay_failed_login()
            await respond(send, 303, "", [(b"location", _sign_in_url(scope))])
        elif permissions is None:
            await self._reject(send, has_token=bool(secret))
        elif _is_cross_site_write(scope, by_cookie=bool(cookie)):
            await respond(send, 403, "Pages of other sites cannot make changes here.")
        elif not permissions.admin and _needs_admin(scope):
            await respond(send, 403, "A read token cannot do this. Use the admin token.")
        else:
            recognize(scope, READER, _caller_name(permissions, secret))
            await self._forward(permissions, scope, receive, send)

    async def _forward(
        self, permissions: Permissions, scope: Scope, receive: Receive, send: Send
    ) -> None:
        current_permissions.set(permissions)
        await self._app(scope, receive, send)

    async def _reject(self, send: Send, *, has_token: bool) -> None:
        # A client without a token is not guessing, so it is answered immediately.
        if has_token and not await self._login.delay_failed_login():
            text = "Too many failed logins. Try again in 10 seconds."
            await respond(send, 429, text, [(b"retry-after", b"10")])
            return
        await respond(
            send,
            401,
            "The token is missing or not valid. Send the admin token (DYNOMETER_ADMIN_TOKEN) or a "
            "read token ('dynometer tokens add') as 'Authorization: Bearer …', or as the password "
            "of Basic auth with any user name.",
            [(b"www-authenticate", b'Basic realm="Dynometer", charset="UTF-8"')],
        )


def encode_cookie(token: str) -> str:
    """A token as a cookie value. Base64, because cookies allow only some ASCII characters."""
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def decode_cookie(value: bytes) -> bytes:
    """The token in a cookie value; b"" if it is not valid."""
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""


def is_https(scope: Scope) -> bool:
    """Whether the client used https, to a proxy in front of the service or to the service."""
    scheme = header(scope["headers"], b"x-forwarded-proto")
    return scheme == b"https" or scope["scheme"] == "https"


def _is_same_origin(origin: str, host: str) -> bool:
    """Whether a page is the service's own: other programs serve pages on other ports."""
    return bool(host) and origin.partition("://")[2].lower() == host.strip().lower()


def _rejection(rejected_header: str) -> str:
    return (
        f"{rejected_header} is not this machine. Without an admin token, Dynometer answers only on "
        "localhost. To reach it from elsewhere, set DYNOMETER_ADMIN_TOKEN to a secret."
    )


def _token_of_authorization(authorization: bytes) -> bytes:
    """A Bearer token or a Basic password. A header of another kind is returned as it is, so that it
    counts as a failed login; b"" if there is no header.
    """
    scheme, _, bearer = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return bearer.strip()
    credentials = basic_credentials(authorization)
    return credentials[1].encode() if credentials is not None else authorization


def _token_of_cookie(scope: Scope) -> bytes:
    """The token of a browser that signed in; b"" if there is none."""
    for pair in header(scope["headers"], b"cookie").split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE_NAME.encode():
            return decode_cookie(value)
    return b""


def _token_of_feed_url(scope: Scope) -> bytes:
    """The read token in a feed's URL; b"" if there is none.

    Most feed readers cannot send headers. Only a read token is accepted: URLs are easily shared.
    """
    if not _FEED_PATH.fullmatch(scope["path"]):
        return b""
    (token, *_) = parse_qs(scope.get("query_string", b"")).get(b"token", [b""])
    return token if token.startswith(_READ_TOKEN_PREFIX) else b""


def _wants_html(scope: Scope) -> bool:
    """Whether a browser requests a page."""
    return scope["method"] == "GET" and b"text/html" in header(scope["headers"], b"accept")


def _sign_in_url(scope: Scope) -> bytes:
    """The sign-in page, which leads back to the requested page."""
    path = scope.get("raw_path", scope["path"].encode())
    query = scope.get("query_string", b"")
    return f"/sign-in?next={quote(path + (b'?' + query if query else b''), safe='/')}".encode()


def _is_cross_site_write(scope: Scope, *, by_cookie: bool) -> bool:
    """Whether a page of another origin makes the browser send a changing request.

    A browser adds the cookie or a remembered password by itself, and names the page's origin. With
    a cookie, a missing Origin counts as another origin. Without one it is a script, which is fine.
    """
    if scope["method"] in _SAFE_METHODS:
        return False
    origin, host = header(scope["headers"], b"origin"), header(scope["headers"], b"host")
    return (bool(origin) or by_cookie) and not _is_same_origin(
        origin.decode("latin-1"), host.decode("latin-1")
    )


def _caller_name(permissions: Permissions, secret: bytes) -> str:
    """A name for the bearer of a token, without its secret part."""
    return "admin" if permissions.admin else secret[:_TOKEN_ID_BYTES].decode("latin-1")


def _needs_admin(scope: Scope) -> bool:
    return scope["method"] not in _SAFE_METHODS or scope["path"].startswith(ADMIN_PATHS)
