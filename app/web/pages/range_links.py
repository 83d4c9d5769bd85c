"""Other ranges that the bar of an app's page leads to: earlier, later, twice as long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from app.query.time_syntax import parse_time
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S
from app.web.pages.page_state import PageState

_LENGTH_MAX_S = 5 * 365 * DAY_S
_UNITS = (("d", DAY_S), ("h", HOUR_S), ("m", MINUTE_S), ("s", 1))


class RangeLinks(NamedTuple):
    """Addresses of other ranges, each "" if it does not exist.

    permalink    the range as it is shown, also for a reader who opens it later
    first, last  its ends as a field for a date and time takes them, in UTC
    """

    earlier: str
    later: str
    longer: str
    permalink: str
    first: str
    last: str


def link_ranges(
    app: str, state: PageState, start_s: int, end_s: int, now_s: float, retention_s: int
) -> RangeLinks:
    """The links from the range [start_s, end_s). `retention_s`: how long anything is stored."""
    length_s = _chosen_length(state, now_s) or end_s - start_s
    is_past = end_s <= now_s

    def url(start_s: int, end_s: int) -> str:
        if end_s >= now_s:
            return state.url(app, start=_ago(end_s - start_s), end="")
        return state.url(app, start=str(start_s), end=str(end_s))

    longer_s = min(2 * length_s, retention_s, _LENGTH_MAX_S)
    longer_end_s = min(end_s + (longer_s - length_s) // 2, int(now_s)) if is_past else end_s
    return RangeLinks(
        earlier=url(start_s - length_s, start_s),
        later=url(end_s, end_s + length_s) if is_past else "",
        longer=url(longer_end_s - longer_s, longer_end_s) if longer_s > length_s else "",
        permalink=state.url(app, start=str(start_s), end=str(end_s)),
        first=_field_time(start_s),
        last=_field_time(end_s),
    )


def _chosen_length(state: PageState, now_s: float) -> int:
    """The length that the reader chose; the range shown is a step longer. 0 if it is unreadable."""
    start, end, _ = state.page_request.range_parameters(now_s)
    try:
        return max(round(parse_time(end, now_s) - parse_time(start, now_s)), 0)
    except (ValueError, OverflowError):
        return 0


def _ago(length_s: int) -> str:
    """A length before now, as the API takes it: now-90m."""
    unit, size_s = next((unit, size) for unit, size in _UNITS if length_s % size == 0)
    return f"now-{length_s // size_s}{unit}"


def _field_time(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M}"
