"""Signing in with a browser: a form takes a token, and a cookie carries it from then on.

Nothing is kept of it here: the cookie holds the token, out of reach of scripts, and ends with it.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote_to_bytes

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.storage.interface import StoreUnavailable
from app.web.authentication import COOKIE, TokenLogin, as_cookie, came_over_https
from app.web.pages.rendering import Pages

KEPT_S = 30 * 86_400


class SignIn:
    """The routes, at the door."""

    def __init__(self, door: TokenLogin, pages: Pages, *, https: bool) -> None:
        """`https`: the service is reached over https, so the cookie goes nowhere else."""
        self._door = door
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
        """Ask for a token"""
        return self._pages.page(request, "sign_in.html", wanted=_ours(next), problem="")

    async def sign_in(self, request: Request) -> Response:
        """Take a token"""
        given = parse_qs((await request.body()).decode("latin-1"))
        token = given.get("token", [""])[0].strip()
        wanted = _ours(given.get("next", ["/"])[0])
        try:
            access = await self._door.access(token.encode())
        except StoreUnavailable as error:
            return self._again(request, wanted, 503, str(error))
        if access is None:
            if not await self._door.slow_down():
                return self._again(request, wanted, 429, "Too many wrong tokens: wait a minute.")
            return self._again(request, wanted, 401, "This token opens nothing here.")
        answer = RedirectResponse(wanted, 303)
        answer.set_cookie(
            COOKIE,
            as_cookie(token),
            max_age=KEPT_S,
            httponly=True,
            samesite="lax",
            secure=self._https or came_over_https(request.scope),
        )
        return answer

    async def sign_out(self) -> Response:
        """Forget it"""
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    def _again(self, request: Request, wanted: str, status: int, problem: str) -> Response:
        return self._pages.page(
            request, "sign_in.html", status=status, wanted=wanted, problem=problem
        )


def _ours(path: str) -> str:
    """A page of this service, whatever was written into the address."""
    plain = unquote_to_bytes(path)
    mine = path.startswith("/") and not plain.startswith((b"//", b"/\\"))
    return path if mine and path.isprintable() and path.isascii() else "/"
