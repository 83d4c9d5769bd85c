"""The pages: GET / with all apps, the worst first, or with none of them what to type; GET
/apps/{app} with one. They are whole without any script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from app.app_view import RANGES, Dyno, app_view
from app.buffering import Buffering
from app.drain_info import drain_infos, second_drains
from app.http.chart import charts, spark
from app.launcher import command
from app.overview import Overviews
from app.query import matching
from app.refusals import last_refusals
from app.registry import valid_app
from app.resolution import Resolution
from app.stats import Value
from app.store.port import Reader, StoreUnavailable
from app.story import FAILED_SHARE_HIGH, MEMORY_HIGH

_MEBIBYTE = 2**20
_NOTHING = "–"

SORTED_BY = {  # columns of the table of dynos: what they are called in the address -> in Dyno
    "name": "",
    "memory": "memory_bytes",
    "used": "memory_used_ratio",
    "load": "load",
    "requests": "requests",
    "errors": "errors",
    "avg": "avg_ms",
    "max": "max_ms",
    "restarts": "restarts",
    "seen": "last_seen_s",
}


def number(value: Value) -> str:
    """1,234; 12.3; – for nothing."""
    if value is None:
        return _NOTHING
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def percent(value: Value) -> str:
    """A share as 12.3 %."""
    if value is None:
        return _NOTHING
    share = value * 100
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2f} %"


def megabytes(value: Value) -> str:
    """Bytes as MB of 2^20, Heroku's."""
    return _NOTHING if value is None else f"{value / _MEBIBYTE:,.0f} MB"


def clock_time(unix_s: int) -> str:
    """2026-11-22 10:00:00 UTC."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """1 min, 2 h, 3 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def minute_time(unix_s: float) -> str:
    """22 Nov 10:00 UTC."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%d %b %H:%M} UTC"


_templates = Environment(
    loader=PackageLoader("app.http"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    number=number,
    percent=percent,
    megabytes=megabytes,
    clock_time=clock_time,
    minute_time=minute_time,
    duration=duration,
    spark=spark,
)
_templates.globals.update(failed_share_bad=FAILED_SHARE_HIGH, memory_used_bad=MEMORY_HIGH)


def render(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as an answer."""
    return HTMLResponse(_templates.get_template(template).render(values), status)


class Dashboard:
    """The page, over a store."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        buffering: Buffering,
        clock: Callable[[], float],
        *,
        local_mode: bool,
        public_url: str,
    ) -> None:
        self._store = store
        self._resolutions = resolutions
        self._overviews = Overviews(resolutions)
        self._buffering = buffering
        self._clock = clock
        self._local_mode = local_mode
        self._public_url = public_url
        self.router = APIRouter()
        for path, endpoint in (("/", self.apps), ("/apps/{app}", self.app)):
            self.router.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)

    def mount_static(self, app: FastAPI) -> None:
        """Serve the style sheet."""
        static = Path(__file__).parent / "static"
        app.mount("/static", StaticFiles(directory=static), name="static")

    async def apps(self, request: Request, app: str = "") -> HTMLResponse:
        """All apps, the worst first; `app`: only those with such a name"""
        now_s = self._clock()
        common = self._common(request, now_s)
        try:
            seen = await self._store.seen_apps()
            shown = set(matching([each.app for each in seen], [app] if app else []))
            apps = [
                await self._overviews.of(self._store, each, now_s)
                for each in seen
                if each.app in shown
            ]
            infos = await drain_infos(self._store)
            refusals = await last_refusals(self._store)
        except StoreUnavailable as error:
            return render("away.html", status=503, reason=str(error), **common)
        apps.sort(key=lambda each: each.severity, reverse=True)
        return render(
            "apps.html" if seen else "first.html",
            apps=apps,
            known=len(seen),
            pattern=app,
            doubled=second_drains(infos, now_s),
            refusals=refusals,
            **common,
        )

    async def app(
        self,
        request: Request,
        app: str,
        range: str = "1h",  # noqa: A002  as it stands in the address
        sort: str = "name",
    ) -> HTMLResponse:
        """One app"""
        now_s = self._clock()
        common = self._common(request, now_s)
        chosen, order = (
            (range if range in RANGES else "1h"),
            (sort if sort in SORTED_BY else "name"),
        )
        try:
            seen = [each for each in await self._store.seen_apps() if each.app == app]
            if not seen:
                name = app if valid_app(app) else ""  # what is no name is not shown in a command
                return render("unknown.html", status=404, app=name, **common)
            view = await app_view(self._store, seen[0], self._resolutions, now_s, chosen=chosen)
            infos = await drain_infos(self._store)
        except StoreUnavailable as error:
            return render("away.html", status=503, reason=str(error), **common)
        return render(
            "app.html",
            view=view,
            dynos=_sorted(view.dynos, order),
            charts=charts(view),
            ranges=list(RANGES),
            chosen=chosen,
            order=order,
            doubled=[info for info in second_drains(infos, now_s) if info.app == app],
            **common,
        )

    def _common(self, request: Request, now_s: float) -> dict[str, Any]:
        return {
            "url": self._public_url or str(request.base_url).rstrip("/"),
            "now_s": int(now_s),
            "local_mode": self._local_mode,
            "command": command(),
            "buffering": self._buffering.sentence(),
        }


def _sorted(dynos: Sequence[Dyno], order: str) -> list[Dyno]:
    """The largest first, what is unknown last; by name as they are."""
    field = SORTED_BY[order]
    if not field:
        return list(dynos)
    return sorted(dynos, key=lambda dyno: -(getattr(dyno, field) or 0))
