"""What the parsers return, and METRICS: the one table of every metric's name, unit, kind and
labels.

A *sample* is what one log message says that can be measured. Values are whole numbers
(milliseconds, bytes, hundredths of a megabyte), so that adding them up is exact in any order.

A *source* names who a sample is about, in one string, from which process type and dyno follow:

    "web.1"  process type web, dyno web.1
    "web."   process type web, no dyno known (the router answered for it: H10, H14, …)
    "run"    a one-off dyno (run.1234, scheduler.1234, release.1234), kept by type: their numbers
             never repeat
    ""       neither (the log stream itself: L10)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class ParseError(ValueError):
    """A message that cannot be read. `reason` is one of REASONS and is what the ledger counts it
    under.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS = {
    "frame": "bytes skipped to find the next frame after a wrong, missing or cut octet count",
    "header": "not a syslog header: <PRI>1 TIMESTAMP HOSTNAME APPNAME PROCID MSGID",
    "timestamp": "the header's timestamp is not a date and time with a zone",
    "dyno": "the dyno's name is not one that Heroku gives",
    "router": "a router line without a readable status, connect, service or bytes",
    "runtime": "a runtime-metrics line none of whose values can be read",
}


class Request(NamedTuple):
    """One router line: a request that ended. None means that the router logged no value, which is
    not 0.
    """

    source: str
    status: int  # 100 to 599; 0 when the router logged none
    code: str  # H12, …; "" when there was no error
    connect_ms: int | None
    service_ms: int | None
    response_bytes: int | None


class RuntimeMetrics(NamedTuple):
    """One runtime-metrics line: (index in GAUGES, value in that gauge's stored unit) pairs."""

    source: str
    values: tuple[tuple[int, int], ...]


class HerokuError(NamedTuple):
    """One line of an R or L error. `lost_messages` is what an L10 says this drain has lost,
    otherwise 0.
    """

    source: str
    code: str
    lost_messages: int


class StateChange(NamedTuple):
    """A dyno went from one state (starting, up, crashed, down, …) to another."""

    source: str
    before: str
    after: str


class ProcessExit(NamedTuple):
    """A process of a dyno ended: status 0 to 255, 128 + the signal for one that was killed."""

    source: str
    status: int


class Event(NamedTuple):
    """Something that happened: `kind` is one of EVENTS, `source` the dyno it happened to or "" for
    the whole app, `detail` a version, a commit, names: never text that somebody wrote.
    """

    kind: str
    source: str
    detail: str


Sample = Request | RuntimeMetrics | HerokuError | StateChange | ProcessExit | Event

# Events by what happened. First those of the app, which explain the others; then those of a dyno.
EVENTS = {
    "deploy": "code was deployed: the commit",
    "release": "a new release: its version",
    "rollback": "back to an earlier release: its version",
    "build": "a build started, succeeded or failed",
    "scale": "the formation was changed: process types, numbers and sizes",
    "config": "config vars were set or removed: their names",
    "addon": "an add-on was attached, detached or changed: its name",
    "note": "what somebody wrote with POST …/events",
    "crash": "a dyno crashed",
    "exit": "a dyno's process ended by itself with a status other than 0: the status",
    "restart": "a dyno that had run is starting again",
    "cycle": "Heroku restarts a dyno as it does every day",
    "idle": "a dyno fell asleep for lack of requests",
    "unidle": "a dyno woke up",
}
APP_EVENTS = frozenset(
    {"deploy", "release", "rollback", "build", "scale", "config", "addon", "note"}
)


_DYNO_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}(?:\.[0-9]{1,9})?")
_ONE_OFF_TYPES = frozenset({"run", "scheduler", "release"})
ROUTER_SOURCE = (
    "web."  # only web dynos get requests, so a router line that names no dyno is about them
)
LOG_STREAM_SOURCE = ""


@lru_cache(maxsize=4096)  # an app has few dynos; the bound is for names that never repeat
def source_of(dyno: bytes) -> str:
    """The source for a dyno's name as logged ("web.1").

    Raises:
        ParseError: the name is not one that Heroku gives (reason "dyno").
    """
    name = dyno.decode("latin-1")
    if not _DYNO_NAME.fullmatch(name):
        raise ParseError("dyno")
    process_type = name.partition(".")[0]
    return process_type if process_type in _ONE_OFF_TYPES else name


@lru_cache(maxsize=4096)
def labels_of(source: str) -> tuple[str, str]:
    """(process type, dyno) of a source; "" where there is none."""
    process_type, dot, number = source.rpartition(".")
    if not dot:
        return source, source
    return process_type, source if number else ""
