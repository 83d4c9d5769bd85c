"""GET /apps/{app}: the page of one app. It works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.access_copy import AccessCopy
from app.access.drain_registry import valid_app
from app.access.drain_status import drain_statuses, second_drains
from app.alerting.earlier_hours import EarlierHours
from app.dashboard.app_page import AppView, build_app_view, stored_baselines, stored_ranges
from app.dashboard.app_switcher import list_other_apps
from app.dashboard.timeline import group_events, list_events
from app.query.planner import QueryError
from app.rollup.resolutions import Resolution
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Reader
from app.verdicts.verdict_reader import VerdictReader
from app.web.pages.assets import has_charts
from app.web.pages.dyno_table import arrange_dynos
from app.web.pages.event_lane import draw_lane
from app.web.pages.history_strip import draw_history
from app.web.pages.page_state import PageState, parse_state
from app.web.pages.range_links import link_ranges
from app.web.pages.rendering import Pages
from app.web.pages.svg_charts import draw_charts, draw_marks, script_data


class Dashboard:
    """The routes. `store` is restricted to the apps that the current request may see."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        pages: Pages,
        clock: Callable[[], float],
        verdicts: VerdictReader,
        earlier_hours: EarlierHours,
        access: AccessCopy,
    ) -> None:
        self._store = store
        self._verdicts = verdicts
        self._earlier_hours = earlier_hours
        self._access = access
        self._resolutions = resolutions
        self._page = pages.page
        self._clock = clock
        self.router = APIRouter()
        self.router.add_api_route("/apps/{app}", self.app, methods=["GET"], include_in_schema=False)

    async def app(self, request: Request, app: str) -> HTMLResponse:
        """One app."""
        now_s = self._clock()
        state = parse_state(dict(request.query_params))
        problem = ""
        try:
            sightings = await self._store.seen_apps()
            sighting = next((entry for entry in sightings if entry.app == app), None)
            if sighting is None and valid_app(app):
                sighting = await self._store.find_app(app)
            if sighting is None:
                name = app if valid_app(app) else ""  # the page shows it in a shell command
                return self._page(request, "unknown_app.html", status=404, app=name)
            try:
                view = await self._build_view(sighting, now_s, state)
            except QueryError as error:
                problem = f"Showing the last hour instead: {error}"
                state = state._replace(start="", end="")
                view = await self._build_view(sighting, now_s, state)
            drains = await drain_statuses(self._store, [app])
            other_apps = await list_other_apps(self._store, sightings, app)
        except StoreUnavailable as error:
            return self._store_unavailable(request, error)
        timeline = list_events(view.events, view.alerts.marks)
        groups = group_events(timeline, view.end_s - view.start_s)
        marks = draw_marks(timeline, view.start_s, view.end_s)
        return self._page(
            request,
            "app.html",
            view=view,
            state=state,
            problem=problem,
            dynos=arrange_dynos(view.dynos, state),
            event_groups=groups,
            lane=draw_lane(groups, view.start_s, view.end_s),
            drawings=draw_charts(view, view.charts),
            addon_drawings=draw_charts(view, view.addon_charts),
            custom_drawings=draw_charts(view, view.custom.charts),
            language_drawings=draw_charts(view, view.language.charts),
            columns=[
                line.values for chart in view.all_charts if not chart.bands for line in chart.lines
            ],
            is_custom=self._access.reads_marks(app),
            marks=marks,
            script_data=script_data(view, marks),
            has_charts=has_charts(),
            ranges=stored_ranges(self._resolutions),
            links=link_ranges(
                app, state, view.start_s, view.end_s, now_s, self._resolutions[-1].retention_s
            ),
            strip=draw_history([*view.judgement.findings, *view.judgement.history], int(now_s)),
            other_apps=other_apps,
            periods=stored_baselines(self._resolutions),
            second_drains=second_drains(drains, now_s),
        )

    async def _build_view(self, sighting: SeenApp, now_s: float, state: PageState) -> AppView:
        return await build_app_view(
            self._store,
            self._verdicts,
            self._earlier_hours,
            sighting,
            self._resolutions,
            now_s,
            state.page_request,
        )

    def _store_unavailable(self, request: Request, error: StoreUnavailable) -> HTMLResponse:
        return self._page(request, "store_unavailable.html", status=503, reason=str(error))
