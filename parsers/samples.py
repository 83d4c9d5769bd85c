"""The values that the parsers return.

A *sample* holds the measurable content of one log message. Its numbers are whole (milliseconds,
bytes, hundredths of a megabyte), so sums are exact in any order.

A *source* is one string that says which dyno a sample is about. Process type and dyno follow from
it:

    "web.1"  process type web, dyno web.1
    "web."   process type web, dyno unknown: the router answered for it (H10, H14, …)
    "run"    a one-off dyno (run.1234, scheduler.1234, release.1234), identified by its type only,
             because these numbers never repeat
    ""       neither: the log stream itself (L10)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from parsers.numbers import Quantity

# Why a message cannot be parsed. The ledger counts each reason on its own.
REASONS = {
    "frame": "bytes skipped up to the next frame, after a wrong, missing or truncated octet count",
    "header": "not a syslog header: <PRI>1 TIMESTAMP HOSTNAME APPNAME PROCID MSGID",
    "timestamp": "the header's timestamp is not a date and time with a zone",
    "dyno": "the dyno's name is not a name that Heroku assigns",
    "router": "a router line without a status, or with an unreadable number",
    "runtime": "a runtime-metrics line without a single readable value",
    "lifecycle": "a dyno's change of state, or the exit of its process, that is damaged",
    "addon": "a line of a database or a cache without a single readable value",
    "custom": "a line with marks of custom metrics, none of which is readable",
    "hostname": "a line of a space drain whose HOSTNAME is none of the allowed apps",
}


class ParseError(ValueError):
    """A message cannot be parsed. `reason` is a key of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Request(NamedTuple):
    """A finished request, from one router line.

    None means that the router logged no value, which is not 0.
    """

    source: str
    status: int  # 100 to 599; 0 when the router logged none
    code: str  # H12, …; "" when there was no error
    connect_ms: int | None
    service_ms: int | None
    response_bytes: int | None


class RuntimeMetrics(NamedTuple):
    """One runtime-metrics line: (name of a gauge, value in its stored unit) pairs.

    The names and units are those of app.rollup.schema.METRICS.
    """

    source: str
    values: tuple[tuple[str, int], ...]


class Measurements(NamedTuple):
    """Values of metrics that have no sample type of their own: (name, whole number) pairs.

    A counter adds the number, a gauge records it, in the unit of app.rollup.schema.METRICS.
    """

    source: str
    values: tuple[tuple[str, int], ...]


class AddonSamples(NamedTuple):
    """The samples of a database or a cache, from one line.

    Attributes:
        addon: its name, such as postgresql-curved-12345; "" in lines before 2016.
        attachment: the name that the app knows it by, such as DATABASE.
        values: (SERVICE.SAMPLE, the number and its unit) pairs.
    """

    addon: str
    attachment: str
    values: tuple[tuple[str, Quantity], ...]


class CustomMark(NamedTuple):
    """One `count#name=value`, `measure#name=value` or `sample#name=value` of an app's own line."""

    kind: str  # count, measure or sample
    name: str
    value: Quantity


class CustomMarks(NamedTuple):
    """The marks of an app's own line.

    `origin` is its `source=`, "" for none. `unread` is how many more marks it has, which are
    unreadable or too many.
    """

    source: str
    origin: str
    marks: tuple[CustomMark, ...]
    unread: int = 0


class LanguageMetrics(NamedTuple):
    """What the language runtime of a dyno reports: marks of the kinds count and sample.

    `unread` is how many more metrics it reports, which are unreadable or too many.
    """

    source: str
    marks: tuple[CustomMark, ...]
    unread: int = 0


class HerokuError(NamedTuple):
    """One line with an R or L error code.

    `lost_messages` is the number of messages that an L10, L12 or L13 reports as lost for this
    drain, otherwise 0.
    """

    source: str
    code: str
    lost_messages: int


class StateChange(NamedTuple):
    """A dyno changed from one state (starting, up, crashed, down, …) to another."""

    source: str
    before: str
    after: str


class ProcessExit(NamedTuple):
    """A process of a dyno ended: status 0 to 255, or 128 + the signal that killed it."""

    source: str
    status: int


class Event(NamedTuple):
    """A change to an app or to one of its dynos.

    `kind` is a key of EVENTS. `source` is the dyno, "" for the whole app. `detail` is a version, a
    commit or names, never free text from a log line.
    """

    kind: str
    source: str
    detail: str


Sample = (
    Request
    | RuntimeMetrics
    | Measurements
    | AddonSamples
    | CustomMarks
    | LanguageMetrics
    | HerokuError
    | StateChange
    | ProcessExit
    | Event
)

# Kinds of events, and what their detail holds. First come those of the app, which often explain
# the others; then those of a dyno.
EVENTS = {
    "deploy": "code was deployed: the commit",
    "release": "a new release: its version, with the state of its release command",
    "rollback": "the app was rolled back to an earlier release: its version",
    "build": "a build started, succeeded or failed",
    "scale": "the formation was changed: process types, numbers and sizes",
    "config": "config vars were set or removed: their names",
    "addon": "an add-on was attached, detached, changed or provisioned: its name",
    "stack": "the stack was changed: the old and the new one",
    "maintenance": "maintenance mode, as the router's answers show it: began, ended, on, last seen",
    "note": "a note added with POST …/events: its text",
    "crash": "a dyno crashed",
    "exit": "a dyno's process ended by itself with a status other than 0: the status",
    "restart": "a dyno that had been running is starting again",
    "cycle": "Heroku restarts a dyno as it does every day, or moves it",
    "idle": "a dyno fell asleep for lack of requests, or because its hours are used up",
    "unidle": "a dyno woke up",
    "stop": "Heroku stopped a dyno: the signals, and the status unless it is 0 or 143",
    "down": "a dyno went down, because it is scaled away, asleep or being moved",
    "up": "a dyno came up",
}
APP_EVENTS = frozenset(
    {
        *("deploy", "release", "rollback", "build", "scale", "config", "addon", "stack"),
        *("maintenance", "note"),
    }
)
# Frequent events of dynos. Rollups store them on their own, so that they displace no others.
LIFECYCLE_EVENTS = frozenset({"stop", "down", "up"})
# Errors with which Heroku kills a dyno: Boot timeout, Exit timeout, Memory quota vastly exceeded
# (Heroku Dev Center, "Error Codes"). Each is stored as an event `stop`, too: errors have no times.
KILLING_ERRORS = frozenset({"R10", "R12", "R15"})

# Custom measures whose times are queue times; `[hirefire:router] queue=` gives the first name.
QUEUE_TIME_NAMES = frozenset({"queue_time", "request.queue_time"})

ROUTER_SOURCE = "web."  # only web dynos get requests, also those whose line names no dyno
LOG_STREAM_SOURCE = ""
PROCESS_TYPE = "[-A-Za-z0-9_]{1,128}"  # as the schema of Heroku's Platform API says
_DYNO_NAME = re.compile(rf"{PROCESS_TYPE}(?:\.[0-9]{{1,9}})?")
_ONE_OFF_TYPES = frozenset({"run", "scheduler", "release"})


@lru_cache(maxsize=4096)  # an app has few dynos; the bound is for names that never repeat
def source_of(dyno: bytes) -> str:
    """The source for a dyno's name as logged ("web.1").

    Raises:
        ParseError: the name is not one that Heroku assigns (reason "dyno").
    """
    name = dyno.decode("latin-1")
    if not _DYNO_NAME.fullmatch(name):
        raise ParseError("dyno")
    process_type = name.partition(".")[0]
    return process_type if process_type in _ONE_OFF_TYPES else name


@lru_cache(maxsize=4096)
def labels_of(source: str) -> tuple[str, str]:
    """(process type, dyno) of a source; "" for a part that is unknown."""
    process_type, dot, number = source.rpartition(".")
    if not dot:
        return source, source
    return process_type, source if number else ""
