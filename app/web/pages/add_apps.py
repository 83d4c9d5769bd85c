"""GET and POST /add: takes app names, answers with the commands that add their drains at Heroku."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.drain_admin import DrainAdmin, DrainAdminError, DrainCommands
from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.storage.interface.errors import StoreUnavailable
from app.web.pages.rendering import Pages

APPS_MAX = 1_000  # in one request
_SEPARATORS = re.compile(r"[\s,;]+")


class AddApps:
    """The routes. app.web.authentication requires the admin token for POST."""

    def __init__(self, drain_admin: DrainAdmin, pages: Pages) -> None:
        self._drain_admin = drain_admin
        self._pages = pages
        self.router = APIRouter()
        for method, endpoint in (("GET", self.form), ("POST", self.add)):
            self.router.add_api_route(
                "/add", endpoint, methods=[method], include_in_schema=False, response_model=None
            )

    async def form(self, request: Request) -> HTMLResponse:
        """The empty form."""
        return self._page(request)

    async def add(self, request: Request) -> HTMLResponse:
        """Give apps their first drain secret: all of them, or none."""
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        names = [name for name in _SEPARATORS.split(form.get("apps", [""])[0]) if name]
        apps = list(dict.fromkeys(names))
        invalid_names = [name for name in apps if not valid_app(name)]
        try:
            if invalid_names:
                raise DrainAdminError(_invalid(invalid_names))
            if not 0 < len(apps) <= APPS_MAX:
                raise DrainAdminError(f"Got {len(apps):,} app names. Enter 1 to {APPS_MAX:,}.")
            await self._drain_admin.ensure_unregistered(apps)
            commands = [await self._drain_admin.add(app) for app in apps]
        except DrainAdminError as error:
            return self._page(request, status=409, names=names, problem=str(error))
        except StoreUnavailable as error:
            return self._page(request, status=503, names=names, problem=str(error))
        return self._page(request, status=201, commands=commands)

    def _page(
        self,
        request: Request,
        *,
        status: int = 200,
        names: Sequence[str] = (),
        problem: str = "",
        commands: Sequence[DrainCommands] = (),
    ) -> HTMLResponse:
        return self._pages.page(
            request,
            "add_apps.html",
            status=status,
            names="\n".join(names),
            problem=problem,
            commands=commands,
        )


def _invalid(names: Sequence[str]) -> str:
    listing = ", ".join(f"“{name}”" for name in names)
    kind = "a Heroku app name" if len(names) == 1 else "Heroku app names"
    return f"{listing} can't be {kind}: use {APP_NAME_RULE}."
