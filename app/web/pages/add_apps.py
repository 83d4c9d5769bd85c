"""GET /add, POST /add: names of apps in, the commands that make Heroku send their logs out."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.drain_admin import DrainAdmin, DrainAdminError, DrainCommands
from app.access.drain_registry import APP_NAME_RULE, valid_app
from app.storage.interface import StoreUnavailable
from app.web.pages.rendering import Pages

APPS_MAX = 1_000  # in one request
_BETWEEN = re.compile(r"[\s,;]+")


class AddApps:
    """The routes. The gate lets only the admin POST."""

    def __init__(self, enrolment: DrainAdmin, pages: Pages) -> None:
        self._enrolment = enrolment
        self._pages = pages
        self.router = APIRouter()
        for method, endpoint in (("GET", self.form), ("POST", self.add)):
            self.router.add_api_route(
                "/add", endpoint, methods=[method], include_in_schema=False, response_model=None
            )

    async def form(self, request: Request) -> HTMLResponse:
        """Ask for names"""
        return self._page(request)

    async def add(self, request: Request) -> HTMLResponse:
        """Give these apps their first secrets: all of them, or none"""
        given = parse_qs((await request.body()).decode("utf-8", "replace"))
        names = [name for name in _BETWEEN.split(given.get("apps", [""])[0]) if name]
        apps = list(dict.fromkeys(names))
        wrong = [name for name in apps if not valid_app(name)]
        try:
            if wrong:
                raise DrainAdminError(f"{', '.join(wrong)}: no name of an app ({APP_NAME_RULE}).")
            if not 0 < len(apps) <= APPS_MAX:
                raise DrainAdminError(f"1 to {APPS_MAX:,} names, please.")
            await self._enrolment.ensure_unregistered(apps)
            enrolled = [await self._enrolment.add(app) for app in apps]
        except DrainAdminError as error:
            return self._page(request, status=409, given=" ".join(names), problem=str(error))
        except StoreUnavailable as error:
            return self._page(request, status=503, given=" ".join(names), problem=str(error))
        return self._page(request, status=201, enrolled=enrolled)

    def _page(
        self,
        request: Request,
        *,
        status: int = 200,
        given: str = "",
        problem: str = "",
        enrolled: list[DrainCommands] | None = None,
    ) -> HTMLResponse:
        return self._pages.page(
            request, "add.html", status=status, given=given, problem=problem, enrolled=enrolled
        )
