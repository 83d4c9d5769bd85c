"""The pages: GET / with all apps, the worst first, or with none of them what to type; GET
/apps/{app} with one. They are whole without any script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.drain_registry import valid_app
from app.access.drain_status import drain_statuses, second_drains
from app.access.rejected_logins import recent_rejected_logins
from app.alerting import status as look
from app.dashboard.app_page import PAST, RANGES, DynoRow, app_view
from app.dashboard.apps_overview import AppsOverviewCache
from app.query.engine import matching
from app.query.planner import QueryError
from app.rollup.resolutions import Resolution
from app.storage.interface import Reader, StoreUnavailable
from app.web.pages.assets import has_charts
from app.web.pages.page_state import SORTED_BY, page_state
from app.web.pages.rendering import Pages
from app.web.pages.svg_charts import drawings, for_script


class Dashboard:
    """The page, over a store."""

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
        """All apps, the worst first; `app`: only those with such a name"""
        now_s = self._clock()
        try:
            seen = await self._store.seen_apps()
            shown = matching([each.app for each in seen], [app] if app else [])
            reachable = set(await self._store.reachable_apps(shown))
            apps = [
                await self._overviews.of(self._store, each, now_s)
                for each in seen
                if each.app in reachable
            ]
            infos = await drain_statuses(self._store, reachable)
            refusals = await recent_rejected_logins(self._store)
            alerts = await look.overview(self._store)
        except StoreUnavailable as error:
            return self._page(request, "away.html", status=503, reason=str(error))
        apps.sort(key=lambda each: each.severity, reverse=True)
        return self._page(
            request,
            "apps.html" if seen else "first.html",
            apps=apps,
            known=len(seen),
            away=[each for each in shown if each not in reachable],
            pattern=app,
            doubled=second_drains(infos, now_s),
            refusals=refusals,
            firing=Counter(each.app for each in alerts.firing if each.alert.phase == "firing"),
            failing=[each for each in alerts.channels if each.health.failing_since_s],
        )

    async def app(self, request: Request, app: str) -> HTMLResponse:
        """One app"""
        now_s = self._clock()
        state = page_state(dict(request.query_params))
        problem = ""
        try:
            seen = [each for each in await self._store.seen_apps() if each.app == app]
            if not seen:
                name = app if valid_app(app) else ""  # what is no name is not shown in a command
                return self._page(request, "unknown.html", status=404, app=name)
            try:
                view = await app_view(self._store, seen[0], self._resolutions, now_s, state.wanted)
            except QueryError as error:
                problem = f"The last hour is shown instead: {error}"
                state = state._replace(start="", end="")
                view = await app_view(self._store, seen[0], self._resolutions, now_s, state.wanted)
            infos = await drain_statuses(self._store, [app])
        except StoreUnavailable as error:
            return self._page(request, "away.html", status=503, reason=str(error))
        return self._page(
            request,
            "app.html",
            view=view,
            state=state,
            problem=problem,
            dynos=_sorted(view.dynos, state.sort),
            drawings=drawings(view),
            for_script=for_script(view),
            has_charts=has_charts(),
            ranges=list(RANGES),
            past={name: words for name, (words, _) in PAST.items()},
            doubled=second_drains(infos, now_s),
        )


def _sorted(dynos: Sequence[DynoRow], order: str) -> list[DynoRow]:
    """The largest first, what is unknown last; by name as they are."""
    field = SORTED_BY[order]
    if not field:
        return list(dynos)
    return sorted(dynos, key=lambda dyno: -(getattr(dyno, field) or 0))
