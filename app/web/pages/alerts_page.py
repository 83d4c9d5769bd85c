"""/alerts: what fires, the rules, mutes, channels and the history; and POST /alerts/mutes.

app.web.authentication requires the admin token for POST, and a page of this service as its origin.
A cookie keeps the person's name for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.alerting import status
from app.alerting.admin import AlertAdmin, AlertAdminError
from app.dashboard.alerts_overview import describe_alerts
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Reader
from app.support.durations import parse_duration
from app.web.pages.rendering import MUTE_TIMES, PERSON_COOKIE, Pages
from app.web.pages.sign_in import local_path

HISTORY_SHOWN = 100
_DEFAULT_TIME = MUTE_TIMES[0][0]
_YEAR_S = 365 * 86_400


class AlertsPage:
    """The routes. `reader` is restricted to the apps that the current request may see."""

    def __init__(
        self,
        reader: Reader,
        admin: AlertAdmin,
        pages: Pages,
        clock: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._admin = admin
        self._pages = pages
        self._clock = clock
        self.router = APIRouter()
        for method, path, endpoint in (
            ("GET", "/alerts", self.alerts),
            ("POST", "/alerts/mutes", self.change_mute),
        ):
            self.router.add_api_route(
                path, endpoint, methods=[method], include_in_schema=False, response_model=None
            )

    async def alerts(self, request: Request, app: str = "") -> HTMLResponse:
        """The page. `app`: only the alerts, mute and history of this one."""
        return await self._page(request, app)

    async def change_mute(self, request: Request) -> Response:
        """Mute or unmute an app, and return to the page that it was asked on."""
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        form = {name: values[-1] for name, values in fields.items()}
        by = form.get("by", "").strip()
        try:
            if app := form.get("unmute"):
                await self._admin.unmute(app)
            elif app := form.get("acknowledge"):
                await self._admin.acknowledge(app, by)
            else:
                for_s = parse_duration(form.get("for", _DEFAULT_TIME))
                await self._admin.mute(form.get("mute", "").strip(), for_s, by)
        except AlertAdminError as error:
            return await self._page(request, "", status_code=409, problem=str(error))
        except ValueError as error:
            problem = f"“{form.get('for', '')}” is no duration. Expected {error}."
            return await self._page(request, "", status_code=400, problem=problem)
        except StoreUnavailable as error:
            return self._store_unavailable(request, error)
        response = RedirectResponse(local_path(form.get("next", "/alerts")), 303)
        if by:
            response.set_cookie(PERSON_COOKIE, quote(by), _YEAR_S, httponly=True, samesite="lax")
        return response

    async def _page(
        self, request: Request, app: str, *, status_code: int = 200, problem: str = ""
    ) -> HTMLResponse:
        now_s = self._clock()
        try:
            overview = await status.read_overview(self._reader)
            apps = [app] if app else []
            history = await status.read_history(self._reader, apps, HISTORY_SHOWN)
            names = [sighting.app for sighting in await self._reader.seen_apps()]
        except StoreUnavailable as error:
            return self._store_unavailable(request, error)
        return self._pages.page(
            request,
            "alerts.html",
            status=status_code,
            app=app,
            app_names=names,
            view=describe_alerts(overview, history, app, now_s),
            problem=problem,
        )

    def _store_unavailable(self, request: Request, error: StoreUnavailable) -> HTMLResponse:
        return self._pages.page(request, "store_unavailable.html", status=503, reason=str(error))
