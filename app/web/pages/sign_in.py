"""/sign-in and /sign-out: a browser exchanges a token for a cookie.

The service stores no session. The cookie holds the token itself, scripts cannot read it, and it is
valid as long as the token.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote_to_bytes

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.storage.interface.errors import StoreUnavailable, without_addresses
from app.web.authentication import COOKIE_NAME, TokenLogin, encode_cookie, is_https
from app.web.pages.rendering import Pages

COOKIE_MAX_AGE_S = 30 * 86_400


class SignIn:
    """The routes."""

    def __init__(self, login: TokenLogin, pages: Pages, *, https: bool) -> None:
        """`https`: the service is reached over https, so the cookie is never sent over http."""
        self._login = login
        self._pages = pages
        self._https = https
        self.router = APIRouter()
        for method, path, endpoint in (
            ("GET", "/sign-in", self.form),
            ("POST", "/sign-in", self.sign_in),
            ("POST", "/sign-out", self.sign_out),
        ):
            self.router.add_api_route(
                path, endpoint, methods=[method], include_in_schema=False, response_model=None
            )

    async def form(self, request: Request, next: str = "/") -> Response:  # noqa: A002
        """The empty form. `next`: the page to return to."""
        return self._form(request, local_path(next))

    async def sign_in(self, request: Request) -> Response:
        """Check the token, set the cookie, and return to the page that was requested."""
        form = parse_qs((await request.body()).decode("latin-1"))
        token = form.get("token", [""])[0].strip()
        target = local_path(form.get("next", ["/"])[0])
        try:
            permissions = await self._login.authenticate(token.encode())
        except StoreUnavailable as error:
            return self._form(request, target, 503, without_addresses(str(error)))
        if permissions is None:
            if not await self._login.delay_failed_login():
                problem = "Too many failed logins. Try again in a minute."
                return self._form(request, target, 429, problem)
            problem = "That token isn't valid here. It may have expired."
            return self._form(request, target, 401, problem)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            COOKIE_NAME,
            encode_cookie(token),
            max_age=COOKIE_MAX_AGE_S,
            httponly=True,
            samesite="lax",
            secure=self._https or is_https(request.scope),
        )
        return response

    async def sign_out(self) -> Response:
        """Delete the cookie."""
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE_NAME, httponly=True, samesite="lax")
        return response

    def _form(
        self, request: Request, target: str, status: int = 200, problem: str = ""
    ) -> Response:
        return self._pages.page(
            request, "sign_in.html", status=status, target=target, problem=problem
        )


def local_path(path: str) -> str:
    """The path if it belongs to this service, otherwise "/".

    Browsers read //host and /\\host as another host, so a crafted link could lead to another site.
    """
    decoded_path = unquote_to_bytes(path)
    is_local = path.startswith("/") and not decoded_path.startswith((b"//", b"/\\"))
    return path if is_local and path.isprintable() and path.isascii() else "/"
