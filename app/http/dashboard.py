"""GET /: one plain page without scripts: each app's last hour, worst first; with no app, what to
type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from app.buffering import Buffering
from app.drain_info import drain_infos, second_drains
from app.launcher import command
from app.overview import overview
from app.refusals import last_refusals
from app.resolution import Resolution
from app.stats import Value
from app.store.port import Reader, StoreUnavailable

SPARK_WIDTH, SPARK_HEIGHT = 240, 40
_MEBIBYTE = 2**20
_NOTHING = "–"

# Where a figure is marked as bad.
FAILED_SHARE_BAD = 0.02
MEMORY_USED_BAD = 0.95


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


def spark(values: Sequence[Value]) -> str:
    """The path of a small chart; a gap in the values is a gap in the line."""
    highest = max((value for value in values if value is not None), default=0) or 1
    step = SPARK_WIDTH / max(len(values) - 1, 1)
    points = [
        None if value is None else (index * step, SPARK_HEIGHT * (1 - value / highest))
        for index, value in enumerate(values)
    ]
    return " ".join(_strokes(points))


def _strokes(points: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    for known, run in groupby(points, key=lambda point: point is not None):
        if known:
            places = [f"{point[0]:.1f} {point[1]:.1f}" for point in run if point is not None]
            if len(places) == 1:
                places *= 2  # a dot, by the round end of a line of no length
            yield "M" + " L".join(places)


_templates = Environment(
    loader=PackageLoader("app.http"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    number=number, percent=percent, megabytes=megabytes, clock_time=clock_time, spark=spark
)
_templates.globals.update(failed_share_bad=FAILED_SHARE_BAD, memory_used_bad=MEMORY_USED_BAD)


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
        self._buffering = buffering
        self._clock = clock
        self._local_mode = local_mode
        self._public_url = public_url
        self.router = APIRouter()
        self.router.add_api_route("/", self.page, methods=["GET"], include_in_schema=False)

    def mount_static(self, app: FastAPI) -> None:
        """Serve the style sheet."""
        static = Path(__file__).parent / "static"
        app.mount("/static", StaticFiles(directory=static), name="static")

    async def page(self, request: Request) -> HTMLResponse:
        """The page"""
        now_s = self._clock()
        url = self._public_url or str(request.base_url).rstrip("/")
        common: dict[str, Any] = {
            "url": url,
            "now_s": int(now_s),
            "local_mode": self._local_mode,
            "command": command(),
            "buffering": self._buffering.sentence(),
        }
        try:
            seen = await self._store.seen_apps()
            apps = [await overview(self._store, each, self._resolutions, now_s) for each in seen]
            doubled = second_drains(await drain_infos(self._store), now_s)
            refusals = await last_refusals(self._store)
        except StoreUnavailable as error:
            return render("away.html", status=503, reason=str(error), **common)
        apps.sort(key=lambda each: each.severity, reverse=True)
        return render(
            "apps.html" if apps else "first.html",
            apps=apps,
            doubled={info.app: info for info in doubled},
            refusals=refusals,
            **common,
        )
