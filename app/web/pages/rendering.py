"""How pages are made: from templates, with numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.access.read_tokens import NOTHING, current_permissions
from app.dashboard.alerts_panel import described
from app.dashboard.insights import FAILED_SHARE_HIGH, MEMORY_HIGH
from app.monitoring.operator_notices import Notices
from app.query.stats import Value
from app.rollup.resolutions import HOUR_S
from app.support.about import command
from app.web.authentication import COOKIE
from app.web.pages.svg_charts import spark

_MEBIBYTE = 2**20
_NOTHING = "–"


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


def clock_time(unix_s: float) -> Markup:
    """2026-11-22 10:00:00 UTC."""
    return _time(unix_s, "clock", "%Y-%m-%d %H:%M:%S UTC")


def minute_time(unix_s: float) -> Markup:
    """22 Nov 10:00 UTC."""
    return _time(unix_s, "minute", "%d %b %H:%M UTC")


def axis_time(unix_s: float, step_s: int) -> str:
    """10:00, or 22 Nov below a chart of days."""
    at = datetime.fromtimestamp(unix_s, UTC)
    return f"{at:%d %b}" if step_s >= HOUR_S else f"{at:%H:%M}"


def _time(unix_s: float, form: str, pattern: str) -> Markup:
    """A time that the page's script can show as the reader's own."""
    at = datetime.fromtimestamp(unix_s, UTC)
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", form, f"{at:{pattern}}"
    )


def duration(seconds: float) -> str:
    """1 min, 2 h, 3 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


_templates = Environment(
    loader=PackageLoader("app.web"),
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
    axis_time=axis_time,
    duration=duration,
    spark=spark,
    told=described,
)
_templates.globals.update(failed_share_bad=FAILED_SHARE_HIGH, memory_used_bad=MEMORY_HIGH)


class Pages:
    """Makes pages, each with what all of them say."""

    def __init__(
        self,
        notices: Notices,
        clock: Callable[[], float],
        *,
        local_mode: bool,
        public_url: str,
    ) -> None:
        self._notices = notices
        self._clock = clock
        self._local_mode = local_mode
        self._public_url = public_url

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A template as an answer."""
        common = {
            "url": self._public_url or str(request.base_url).rstrip("/"),
            "now_s": int(self._clock()),
            "local_mode": self._local_mode,
            "command": command(),
            "buffering": self._notices.buffered,
            "notices": self._notices.others,
            "admin": current_permissions.get(NOTHING).admin,
            "signed_in": not self._local_mode and COOKIE in request.cookies,
        }
        html = _templates.get_template(template).render({**common, **values})
        return HTMLResponse(html, status)
