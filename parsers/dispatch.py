"""Chooses the parser of a message. APPNAME and PROCID decide whether it is parsed at all.

Only Heroku writes these two header fields. Application output (APPNAME app, PROCID a dyno) is
never parsed as if Heroku had written it, because an app can print anything, router lines included.
If custom metrics are on for the app, its output is searched for their marks, and nothing else.

The compiled aggregator takes its routes from these tables: it leaves each line that they name, and
that it cannot read itself, to `parse`.
"""

from __future__ import annotations

from collections.abc import Callable

from parsers import addons, api_events, custom_marks, dyno, router, runtime_metrics
from parsers.samples import Sample, source_of
from parsers.syslog_header import Message, without_structured_data

_PLATFORM = b"heroku"
APP = b"app"
_API_ORIGINS = (
    (APP, b"api"),
    # until 2015
    (_PLATFORM, b"api"),
    (_PLATFORM, b"slug-compiler"),
    (_PLATFORM, b"slugc"),
)

# By APPNAME and PROCID.
BY_ORIGIN: dict[tuple[bytes, bytes], Callable[[bytes], Sample | None]] = {
    (_PLATFORM, b"router"): router.parse,
    (_PLATFORM, b"logplex"): dyno.parse_stream_error,
    (APP, b"log-shuttle"): dyno.parse_stream_error,
    (APP, b"heroku-postgres"): addons.parse_postgres,
    (APP, b"heroku-redis"): addons.parse_redis,
    (APP, b"heroku-pgbouncer"): addons.parse_pgbouncer,
    **dict.fromkeys(_API_ORIGINS, api_events.parse),
}

# Lines of heroku[web.1] and the like, by how they begin.
BY_BEGINNING: tuple[tuple[bytes, Callable[[str, bytes], Sample | None]], ...] = (
    (b"source=", runtime_metrics.parse),
    (b"Error ", dyno.parse_error),
    (b"State changed ", dyno.parse_state),
    (b"Process exited ", dyno.parse_exit),
    (b"Process running mem=", runtime_metrics.parse_running),
    (b"Stopping ", dyno.parse_signal),
    (b"Client connection closed", dyno.parse_signal),
    (b"Cycling", dyno.parse_lifecycle),
    (b"Relocating ", dyno.parse_lifecycle),
    (b"Idling", dyno.parse_lifecycle),
    (b"Unidling", dyno.parse_lifecycle),
)


def parse(message: Message, reads_marks: bool = False) -> Sample | None:
    """The sample of a message; None for application output and for lines without a metric.

    `reads_marks`: whether custom metrics are on for the app.

    Raises:
        ParseError: the line is of a kind that is measured, but cannot be read.
    """
    _, app_name, procid, text = message
    parse_text = BY_ORIGIN.get((app_name, procid))
    if parse_text is None and app_name != _PLATFORM:
        return custom_marks.parse(procid, text) if reads_marks and app_name == APP else None
    if not text[:1].isalpha():  # the platform begins its messages with a letter
        text = without_structured_data(text)
    if parse_text is not None:
        return parse_text(text)
    for beginning, parse_dyno_line in BY_BEGINNING:
        if text.startswith(beginning):
            return parse_dyno_line(source_of(procid), text)
    return None
