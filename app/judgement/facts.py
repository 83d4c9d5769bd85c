"""What a judgement knows of an app in one interval: figures by process type and by dyno.

An interval is usually a minute. Of the past, it may be 10 minutes or an hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from app.rollup.events import EventKey
from app.rollup.rollup import Rollup


class TypeFacts(NamedTuple):
    """The requests of one process type.

    requests  without those that became WebSockets (101) and those in maintenance (H80)
    failed    of these: status 500 and above, or none
    times     response times of those that succeeded: a sketch (counts by bin, app.rollup.sketch)
    websockets  requests with status 101
    statuses  failed requests by status; 0 for none
    """

    requests: int = 0
    failed: int = 0
    times: Mapping[int, int] = {}
    websockets: int = 0
    statuses: Mapping[int, int] = {}


class DynoFacts(NamedTuple):
    """One dyno. None where nothing was logged.

    time_mean_ms   mean and maximum of the response times of requests that succeeded
    memory_ratio   highest share of its memory quota
    load           highest load_avg_1m
    """

    requests: int = 0
    failed: int = 0
    time_mean_ms: float | None = None
    time_max_ms: int | None = None
    memory_ratio: float | None = None
    load: float | None = None


class Interval(NamedTuple):
    """An app from `start_s` (Unix seconds) on, for `length_s` seconds.

    messages     log lines with a time in this interval, those without metrics too
    unparsed     lines that arrived in it and could not be parsed
    counted      lines that arrived in it and yielded a sample
    lost         lines that Heroku lost before delivery
    maintenance  requests answered with H80
    types        by process type; "" if the router names none
    dynos        by dyno, such as "web.1"
    codes        lines by (source, code): source is "web.1", "web." or ""
    exits        processes that ended by themselves, by (source, status)
    events       in order of time, each as its own line says it
    is_complete  whether all lines that arrived are counted here
    rollup       what the interval was made of, until it is packed
    """

    start_s: int
    length_s: int = 60
    messages: int = 0
    unparsed: int = 0
    counted: int = 0
    lost: int = 0
    maintenance: int = 0
    types: Mapping[str, TypeFacts] = {}
    dynos: Mapping[str, DynoFacts] = {}
    codes: Mapping[tuple[str, str], int] = {}
    exits: Mapping[tuple[str, int], int] = {}
    events: tuple[EventKey, ...] = ()
    is_complete: bool = True
    rollup: Rollup | None = None

    @property
    def is_heard(self) -> bool:
        """Whether any line came, a readable one or not."""
        return bool(self.messages or self.unparsed or self.counted)

    @property
    def dyno_names(self) -> Collection[str]:
        """The names of its dynos."""
        return self.dynos

    @property
    def end_s(self) -> int:
        """The end of the interval, Unix seconds."""
        return self.start_s + self.length_s


class PastP95(NamedTuple):
    """The highest p95 of a process type around the same time of another day. None: unknown."""

    yesterday_ms: float | None = None
    last_week_ms: float | None = None


class Usual(NamedTuple):
    """What is usual for an app at this time, from the past without its incidents.

    history_s           for how long the app has been known
    p95                 by process type
    failed_share        mean share of failed requests in the last 24 hours, by process type
    failed_share_max    highest share of 5 minutes in the last 24 hours, by process type
    heard_share         lowest share of minutes with lines, at these hours of past days
    quota_minutes       minutes with R14 in the same hours of yesterday, by process type
    """

    history_s: int = 0
    p95: Mapping[str, PastP95] = {}
    failed_share: Mapping[str, float] = {}
    failed_share_max: Mapping[str, float] = {}
    heard_share: float | None = None
    quota_minutes: Mapping[str, int] = {}


class AppProfile(NamedTuple):
    """What does not change from minute to minute.

    first_seen_s   when its first line came, Unix seconds
    is_live        whether its lines come from a drain: a replayed file has an end
    is_review_app  it comes and goes with a pull request: never silent
    """

    app: str
    first_seen_s: int = 0
    is_live: bool = True
    is_review_app: bool = False
