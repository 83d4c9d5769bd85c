"""Who may talk to the service at all, decided before anything else is.

Local mode (no admin token): the service binds loopback only, but a tunnel, a DNS name that points
at 127.0.0.1 or a web page open in a browser could still reach it. So only requests whose Host is
localhost or a loopback address are answered, and none that a page of another origin makes.

With an admin token: everything but the drain (which has credentials of its own) and the health
checks needs it or a read token, as Bearer or as the password of Basic auth.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
from urllib.parse import parse_qs, quote, urlsplit

from app.access.read_tokens import ADMIN, NOTHING, Permissions, ReadTokens, current_permissions
from app.storage.interface import StoreUnavailable
from app.support.asgi import ASGIApp, Receive, Scope, Send, basic_credentials, header, respond
from app.support.loopback import is_loopback

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/sign-in", "/sign-out"})
STATIC_PATH = "/static/"
FEED = re.compile(r"/api/v1/apps/[^/]+/feed")
READ_TOKEN = b"dyno_"
ADMIN_PATHS = ("/api/v1/drains", "/api/v1/tokens", "/api/v1/alerts/channels")
_READING = ("GET", "HEAD")


class LocalOnlyMiddleware:
    """Lets through what comes from this machine and was meant for this service."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = header(scope["headers"], b"host").decode("latin-1")
        origin = header(scope["headers"], b"origin").decode("latin-1")
        if not is_loopback(host):
            await respond(send, 403, _refusal(f"Host {host!r}"))
        elif origin and not _is_local_origin(origin):
            await respond(send, 403, _refusal(f"Origin {origin!r}"))
        else:
            current_permissions.set(ADMIN)
            await self._app(scope, receive, send)


def _is_local_origin(origin: str) -> bool:
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _refusal(what: str) -> str:
    return (
        f"{what} is not this machine. Without an admin token Dynometer answers only on localhost; "
        "to reach it from elsewhere set DYNOMETER_ADMIN_TOKEN to a secret of your own.\n"
    )


class TokenAuthMiddleware:
    """Lets through who knows the admin token or a read token, and notes what they may see. People
    with a browser and no token are sent to where they can show one.
    """

    def __init__(self, app: ASGIApp, door: TokenLogin) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(STATIC_PATH):
            await self._pass(NOTHING, scope, receive, send)
            return
        authorization = header(scope["headers"], b"authorization")
        cookie = b"" if authorization else _cookie(scope)
        secret = _shown(authorization) or cookie or _of_a_feed(scope)
        try:
            access = await self._door.access(secret)
        except StoreUnavailable as error:
            await respond(send, 503, f"{error}\n", [(b"retry-after", b"5")])
            return
        if access is None and not authorization and _is_for_people(scope):
            if cookie:
                await self._door.slow_down()
            await respond(send, 303, "", [(b"location", _sign_in(scope))])
        elif access is None:
            await self._refuse(send, slowly=bool(secret))
        elif _from_another_site(scope, by_cookie=bool(cookie)):
            await respond(send, 403, "A page of another site may change nothing here.\n")
        elif not access.admin and _is_for_admins(scope):
            await respond(send, 403, "This needs the admin token; yours may only read.\n")
        else:
            await self._pass(access, scope, receive, send)

    async def _pass(self, access: Permissions, scope: Scope, receive: Receive, send: Send) -> None:
        current_permissions.set(access)
        await self._app(scope, receive, send)

    async def _refuse(self, send: Send, *, slowly: bool) -> None:
        if slowly and not await self._door.slow_down():
            await respond(send, 429, "Too many wrong tokens: wait.\n", [(b"retry-after", b"10")])
            return
        await respond(
            send,
            401,
            "Send the admin token (DYNOMETER_ADMIN_TOKEN) or a read token ('dynometer tokens add') "
            "as 'Authorization: Bearer …', or as the password of Basic auth with any user.\n",
            [(b"www-authenticate", b'Basic realm="Dynometer", charset="UTF-8"')],
        )


def _cookie(scope: Scope) -> bytes:
    """The token of a browser that signed in; b"" for none."""
    for pair in header(scope["headers"], b"cookie").split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE.encode():
            return from_cookie(value)
    return b""


def _of_a_feed(scope: Scope) -> bytes:
    """The token in the address of a feed, since most readers of feeds can send no header; b"" for
    none. Only a read token counts: addresses get around.
    """
    if not FEED.fullmatch(scope["path"]):
        return b""
    (token, *_) = parse_qs(scope.get("query_string", b"")).get(b"token", [b""])
    return token if token.startswith(READ_TOKEN) else b""


def came_over_https(scope: Scope) -> bool:
    """Whether a proxy in front says so, or it did."""
    forwarded = header(scope["headers"], b"x-forwarded-proto")
    return forwarded == b"https" or scope["scheme"] == "https"


def _is_for_people(scope: Scope) -> bool:
    """Whether a browser asks for a page."""
    return scope["method"] == "GET" and b"text/html" in header(scope["headers"], b"accept")


def _sign_in(scope: Scope) -> bytes:
    wanted = scope.get("raw_path", scope["path"].encode())
    query = scope.get("query_string", b"")
    return f"/sign-in?next={quote(wanted + (b'?' + query if query else b''), safe='/')}".encode()


def _shown(authorization: bytes) -> bytes:
    """The secret of an Authorization header: a Bearer token or a Basic password; b"" for none."""
    scheme, _, bearer = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return bearer.strip()
    credentials = basic_credentials(authorization)
    return credentials[1].encode() if credentials is not None else authorization


def _from_another_site(scope: Scope, *, by_cookie: bool) -> bool:
    """Whether a page of another origin makes a browser, which adds password or cookie by itself,
    send what changes something. A browser says where such a request comes from.
    """
    if scope["method"] in _READING:
        return False
    origin, host = header(scope["headers"], b"origin"), header(scope["headers"], b"host")
    return (bool(origin) or by_cookie) and origin.partition(b"://")[2] != host


def _is_for_admins(scope: Scope) -> bool:
    return scope["method"] not in _READING or scope["path"].startswith(ADMIN_PATHS)


COOKIE = "dynometer_token"  # carries the token of whoever signed in with a browser
SLOW_S = 1.0  # until a wrong token is answered
SLOWED_MAX = 100  # per worker


def as_cookie(token: str) -> str:
    """A token as a cookie may hold it, whatever letters it has."""
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def from_cookie(value: bytes) -> bytes:
    """The token in a cookie; b"" when it is none of ours."""
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""


class TokenLogin:
    """Knows the admin token and the read tokens.

    Whoever shows a wrong one waits for the answer, and only so many wait at a time; whoever shows a
    right one never waits for them.
    """

    def __init__(self, admin_token: str, tokens: ReadTokens) -> None:
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._slowed = 0

    async def access(self, secret: bytes) -> Permissions | None:
        """What a token opens; None for a wrong one.

        Raises:
            StoreUnavailable: this cannot be told while the store is away.
        """
        if hmac.compare_digest(secret, self._admin_token):
            return ADMIN
        return await self._tokens.permissions_of(secret.decode("latin-1"))

    async def slow_down(self) -> bool:
        """Let somebody with a wrong token wait; False when too many do, who are turned away."""
        if self._slowed >= SLOWED_MAX:
            return False
        self._slowed += 1
        try:
            await asyncio.sleep(SLOW_S)
        finally:
            self._slowed -= 1
        return True
