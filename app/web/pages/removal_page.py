"""GET and POST /apps/{app}/remove: removes an app and its data, after a confirmation.

app.web.authentication requires the admin token for POST, and a page of this service as its origin.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.app_removal import AppRemoval
from app.access.drain_admin import DrainAdminError
from app.access.drain_registry import valid_app
from app.storage.interface.errors import StoreUnavailable
from app.web.pages.rendering import Pages


class RemovalPage:
    """The routes."""

    def __init__(self, removal: AppRemoval, pages: Pages) -> None:
        self._removal = removal
        self._pages = pages
        self.router = APIRouter()
        for method, endpoint in (("GET", self.confirm), ("POST", self.remove)):
            self.router.add_api_route(
                "/apps/{app}/remove", endpoint, methods=[method], include_in_schema=False
            )

    async def confirm(self, request: Request, app: str) -> HTMLResponse:
        """What goes with the app, and a button."""
        name = app if valid_app(app) else ""
        return self._page(request, name)

    async def remove(self, request: Request, app: str) -> HTMLResponse:
        """Remove the app; the answer has the commands that remove its drains at Heroku."""
        try:
            if not valid_app(app) or await self._removal.unknown_apps([app]):
                problem = "There is no such app. Perhaps it has been removed already."
                return self._page(request, "", status=404, problem=problem)
            commands = await self._removal.remove(app)
        except DrainAdminError as error:
            return self._page(request, app, status=409, problem=str(error))
        except StoreUnavailable as error:
            return self._page(request, app, status=503, problem=str(error))
        return self._page(request, app, is_removed=True, commands=commands)

    def _page(
        self,
        request: Request,
        app: str,
        *,
        status: int = 200,
        problem: str = "",
        is_removed: bool = False,
        commands: Sequence[str] = (),
    ) -> HTMLResponse:
        return self._pages.page(
            request,
            "remove_app.html",
            status=status,
            app=app,
            problem=problem,
            is_removed=is_removed,
            commands=commands,
        )
