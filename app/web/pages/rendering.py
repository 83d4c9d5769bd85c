"""Renders pages from templates, and formats numbers and times for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.access.read_tokens import NOTHING, current_permissions
from app.dashboard.alerts_panel import describe_entry
from app.dashboard.verdict_view import STATE_SHAPES, STATE_WORDS
from app.monitoring.operator_notices import Notices
from app.query.stats import Value
from app.rollup.statuses import OUTCOMES
from app.support.about import command
from app.support.quantities import share_in_words, time_in_words
from app.web.authentication import COOKIE_NAME
from app.web.pages.assets import asset_url, script_urls
from app.web.pages.row_sparklines import row_bars, row_line
from app.web.pages.svg_charts import sparkline_path

MUTE_TIMES = (  # how long a mute lasts, as the value of a form and in words
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("24h", "1 day"),
    ("7d", "7 days"),
)
PERSON_COOKIE = "dynometer_person"  # the name of a person who mutes or acknowledges
_MEBIBYTE = 2**20
_LONGEST_WITH_TIMES = timedelta(days=60)  # a longer range is told without times of day
_NO_VALUE = "–"
_UNITS = re.compile(r"(?<=\d) (?=(?:%|×|s|ms|min|h|MB|UTC)(?!\w))")


def number(value: Value) -> str:
    """A number as 1,234 or 1.2 or 0.034, as numbers.js formats it; – for None."""
    if value is None:
        return _NO_VALUE
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 0.1 else 3}f}".rstrip("0").rstrip(".")


def number_cells(columns: Sequence[Sequence[Value]]) -> list[Markup]:
    """The cells of each row of a table of numbers, by its columns."""
    cells = [[f'<td class="n">{number(value)}</td>' for value in column] for column in columns]
    return [Markup("".join(row)) for row in zip(*cells, strict=True)]  # noqa: S704 - numbers


def as_percent(share: float) -> str:
    """A place on an axis, from 0 to 1, as SVG takes it."""
    return f"{100 * share:.2f}%"


def percent(value: Value) -> str:
    """A share as sentences tell it, 12 % or 1.2 %, but 0.04 % where they say less; – for None."""
    if value is None:
        return _NO_VALUE
    return f"{value * 100:.2f} %" if 0.00005 <= value < 0.001 else share_in_words(value)


def response_time(milliseconds: Value) -> str:
    """A response time as 240 ms or 1.24 s; – for None."""
    return _NO_VALUE if milliseconds is None else time_in_words(milliseconds)


def megabytes(value: Value) -> str:
    """Bytes as MB. Heroku's MB are 2^20 bytes. – for None."""
    return _NO_VALUE if value is None else f"{value / _MEBIBYTE:,.0f} MB"


def clock_time(unix_s: float) -> Markup:
    """A time as 2026-11-22 10:00:00 UTC."""
    return _time(unix_s, "clock", "%Y-%m-%d %H:%M:%S UTC")


def minute_time(unix_s: float) -> Markup:
    """A time as 22 Nov 10:00 UTC."""
    return _time(unix_s, "minute", "%d %b %H:%M UTC")


def _time(unix_s: float, form: str, pattern: str) -> Markup:
    """A <time> element; times.js adds the reader's own time as a title."""
    at = datetime.fromtimestamp(unix_s, UTC)
    text = at.strftime(f'<time datetime="%Y-%m-%dT%H:%M:%SZ" data-form="{form}">{pattern}</time>')
    return Markup(text)  # noqa: S704 - made of numbers and of our own words


def hour_time(unix_s: float) -> Markup:
    """A time of day as 10:00 UTC."""
    return _time(unix_s, "hour", "%H:%M UTC")


def time_span(start_s: float, end_s: float) -> Markup:
    """Two times as 22 Nov 10:00 to 11:00 UTC, with the second date if it is another one.

    Dates far apart, of different years: 1 Dec 2025 to 1 Dec 2026 UTC.
    """
    first_day, last_day = (
        datetime.fromtimestamp(unix_s, UTC).date() for unix_s in (start_s, end_s)
    )
    if first_day.year != last_day.year and last_day - first_day > _LONGEST_WITH_TIMES:
        first, last = (_time(unix_s, "date", "%-d %b %Y") for unix_s in (start_s, end_s))
        return Markup("{} to {} UTC").format(first, last)
    end = hour_time(end_s) if first_day == last_day else minute_time(end_s)
    return Markup("{} to {}").format(_time(start_s, "minute", "%d %b %H:%M"), end)


def ago(unix_s: float, now_s: float) -> Markup:
    """A time as its distance from now: 12 s ago. ago.js counts on."""
    at = datetime.fromtimestamp(unix_s, UTC)
    age_s = max(int(now_s - unix_s), 0)
    head = at.strftime('<time datetime="%Y-%m-%dT%H:%M:%SZ" title="%d %b %H:%M:%S UTC"')
    return Markup(f'{head} data-ago="{age_s}">{duration(age_s)} ago</time>')  # noqa: S704


def split_time(problem: str) -> tuple[str, str]:
    """A problem in a line as its time (Failing since 23:12 UTC (15 min):) and the rest."""
    head, colon, rest = problem.partition(": ")
    return (f"{head}:", rest) if colon and "UTC" in head else ("", problem)


def keep_units(text: str) -> str:
    """The text with no line break between a number and its unit."""
    return _UNITS.sub("\N{NO-BREAK SPACE}", text)


def duration(seconds: float) -> str:
    """A duration in its largest unit: 30 s, 1 min, 2 h, 3 d."""
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
    number_cells=number_cells,
    percent=percent,
    as_percent=as_percent,
    megabytes=megabytes,
    response_time=response_time,
    clock_time=clock_time,
    minute_time=minute_time,
    duration=duration,
    sparkline_path=sparkline_path,
    row_line=row_line,
    row_bars=row_bars,
    ago=ago,
    hour_time=hour_time,
    keep_units=keep_units,
    split_time=split_time,
    describe_entry=describe_entry,
)
_templates.globals.update(asset_url=asset_url, script_urls=script_urls, time_span=time_span)
_templates.globals.update(mute_times=MUTE_TIMES)
_templates.globals.update(outcomes=OUTCOMES, state_words=STATE_WORDS, state_shapes=STATE_SHAPES)


class Pages:
    """Renders pages, with the values that every page needs."""

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
        """A rendered template as a response. `values`: its own variables."""
        permissions = current_permissions.get(NOTHING)
        common = {
            "url": self._public_url or str(request.base_url).rstrip("/"),
            "now_s": int(self._clock()),
            "path": request.url.path,
            "local_mode": self._local_mode,
            "command": command(),
            "buffering": self._notices.spool_notice,
            "notices": self._notices.actions(permissions),
            "admin": permissions.admin,
            "person": unquote(request.cookies.get(PERSON_COOKIE, "")),
            "signed_in": not self._local_mode and COOKIE_NAME in request.cookies,
        }
        html = _templates.get_template(template).render({**common, **values})
        return HTMLResponse(html, status)
