"""GET / (all apps, or first steps while there is none) and GET /apps/{app} (one app).

The pages work without JavaScript.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.drain_registry import valid_app
from app.access.drain_status import drain_statuses, second_drains
from app.access.rejected_logins import recent_rejected_logins
from app.alerting import status
from app.dashboard.app_page import BASELINES, RANGES, build_app_view
from app.dashboard.apps_overview import AppsOverviewCache
from app.query.engine import match_apps
from app.query.planner import QueryError
from app.receivers.syslog_listener import NOT_LINKED
from app.rollup.resolutions import Resolution
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Reader
from app.web.pages.assets import has_charts
from app.web.pages.dyno_table import arrange_dynos
from app.web.pages.event_lane import draw_lane
from app.web.pages.page_state import parse_state
from app.web.pages.rendering import Pages
from app.web.pages.svg_charts import draw_charts, event_groups, script_data


class Dashboard:
    """The routes. `store` is restricted to the apps that the current request may see."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        pages: Pages,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._resolutions = resolutions
        self._overviews = AppsOverviewCache(resolutions)
        self._page = pages.page
        self._clock = clock
        self.router = APIRouter()
        for path, endpoint in (("/", self.apps), ("/apps/{app}", self.app)):
            self.router.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)

    async def apps(self, request: Request, app: str = "") -> HTMLResponse:
        """All apps, worst first. `app`: only names that match it, which may contain * and ?."""
        now_s = self._clock()
        try:
            sightings = await self._store.seen_apps()
            names = match_apps([sighting.app for sighting in sightings], [app] if app else [])
            reachable = set(await self._store.reachable_apps(names))
            listed = [sighting for sighting in sightings if sighting.app in reachable]
            overviews = await self._overviews.get_all(self._store, listed, now_s)
            drains = await drain_statuses(self._store, reachable)
            rejected_logins = await recent_rejected_logins(self._store)
            alerts = await status.read_overview(self._store)
        except StoreUnavailable as error:
            return self._store_unavailable(request, error)
        overviews.sort(key=lambda overview: overview.severity, reverse=True)
        return self._page(
            request,
            "apps.html" if sightings else "getting_started.html",
            apps=overviews,
            apps_total=len(sightings),
            unreachable=[name for name in names if name not in reachable],
            pattern=app,
            second_drains=second_drains(drains, now_s),
            rejected_logins=rejected_logins,
            has_unlinked_token=any(login.reason == NOT_LINKED for login in rejected_logins),
            alerts_by_app=Counter(
                firing.app for firing in alerts.firing if firing.alert.phase == "firing"
            ),
            failing_channels=[
                channel for channel in alerts.channels if channel.health.failing_since_s
            ],
        )

    async def app(self, request: Request, app: str) -> HTMLResponse:
        """One app."""
        now_s = self._clock()
        state = parse_state(dict(request.query_params))
        problem = ""
        try:
            sightings = await self._store.seen_apps()
            sighting = next((entry for entry in sightings if entry.app == app), None)
            if sighting is None:
                name = app if valid_app(app) else ""  # the page shows it in a shell command
                return self._page(request, "unknown_app.html", status=404, app=name)
            try:
                view = await build_app_view(
                    self._store, sighting, self._resolutions, now_s, state.page_request
                )
            except QueryError as error:
                problem = f"Showing the last hour instead: {error}"
                state = state._replace(start="", end="")
                view = await build_app_view(
                    self._store, sighting, self._resolutions, now_s, state.page_request
                )
            drains = await drain_statuses(self._store, [app])
        except StoreUnavailable as error:
            return self._store_unavailable(request, error)
        groups = event_groups(view)
        return self._page(
            request,
            "app.html",
            view=view,
            state=state,
            problem=problem,
            dynos=arrange_dynos(view.dynos, state),
            event_groups=groups,
            lane=draw_lane(groups, view.start_s, view.end_s),
            drawings=draw_charts(view),
            script_data=script_data(view),
            has_charts=has_charts(),
            ranges=list(RANGES),
            periods={name: words for name, (words, _) in BASELINES.items()},
            second_drains=second_drains(drains, now_s),
        )

    def _store_unavailable(self, request: Request, error: StoreUnavailable) -> HTMLResponse:
        return self._page(request, "store_unavailable.html", status=503, reason=str(error))
