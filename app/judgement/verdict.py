"""What a judgement says: the state of an app, and the findings that make it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal[
    "unknown", "maintenance", "unreadable", "down", "silent", "degraded", "idle", "ok"
]  # by precedence: an app has the first of those that its findings have
STATES: tuple[State, ...] = (
    "unknown", "maintenance", "unreadable", "down", "silent", "degraded", "idle", "ok",
)  # fmt: skip

# What each kind of finding is about. The state is what it makes of the app; "ok" for a mere note.
FINDINGS = {
    "incomplete": "lines of this time were lost, or wait to be counted",
    "maintenance": "maintenance mode (H80)",
    "unreadable": "lines arrive, but none can be read",
    "failing": "requests fail",
    "no_dyno": "no dyno can answer: all have crashed, or every request ends with H10, H14, …",
    "slow": "responses take longer than usual",
    "memory_exceeded": "a dyno uses more memory than its quota (R14)",
    "memory_killed": "Heroku killed a dyno that used far more memory than its quota (R15)",
    "memory_high": "a dyno is close to its memory quota, or will be if memory goes on rising",
    "crash_loop": "a process type crashes again and again",
    "silent": "no lines, though they are expected",
    "fleet": "many apps have the same problem at the same time",
    "asleep": "no lines and no requests are expected: asleep, scaled to zero, or rarely used",
    "restart": "errors around a deploy or restart, which pass by themselves",
}

# What makes a finding, where its kind alone does not tell.
REASONS = {
    "sleep": "asleep: Eco dynos sleep without requests",
    "hours": "asleep: the account's Eco hours are used up",
    "scaled": "asleep: the formation was scaled to zero",
    "stopped": "asleep: every dyno went down, and no line says why",
    "quiet": "asleep: lines are rare at this time, and none came",
    "unseen": "asleep: no line came in all the time that is known",
    "new": "asleep, slow: the app is not known long enough to say what is usual",
    "start": "crash_loop: the process crashes before it is up",
    "crashed": "crash_loop, no_dyno: a process has crashed and does not come up again",
    "leak": "memory_high: memory rises steadily",
    "chronic": "memory_exceeded: it was so yesterday too",
    "delayed": "incomplete: lines wait to be counted",
}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that came shortly before a finding. It need not be the cause.

    at_s     Unix seconds
    kind     a key of parsers.samples.EVENTS
    detail   a version, a commit or names
    actions  (kind, detail) of other events of one action: the config change that made a release
    """

    at_s: int
    kind: str
    detail: str
    actions: tuple[tuple[str, str], ...] = ()


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem of an app, or a note about it. Times in Unix seconds.

    kind            a key of FINDINGS
    state           what it makes of the app; "ok" for a note
    since_s         the best estimate of its begin; it lies in [since_min_s, since_max_s]
    until_s         its end; 0 while it lasts
    process_type    the one affected; "" for the whole app, or if it is not known
    dynos           those that stand out; empty for all alike
    all_dynos       those of the type, if each is known to be affected
    who             everyone, process_type, dyno, or unsure
    code, metric    what was counted or measured: one of both, or neither
    value, usual, limit   in the unit of the metric; a share for failing requests. None: unknown
    worst           the value furthest from usual
    window_s        the length of the time that `value` is of; 0 if it is of none
    count           failed requests, crashes or lines with the code so far
    exit_status     with which processes end, for crashes; 0 if unknown
    after           the change before it
    not_reasons     what it is not: "memory", "load"
    certainty       certain, or likely where the data is thin or coarse
    occurrences     the number of its runs, with breaks of under 10 minutes
    resolution_s    the length of the intervals that it was judged by
    reason          a key of REASONS, for kinds that several things make; "" for the usual one
    full_s          when memory will be full, if it goes on rising; 0 if unknown
    up_s            since when all crashed dynos are up again; 0 while one is not
    latest_s        the end of the latest interval that showed it
    """

    kind: str
    state: State
    since_s: int
    since_min_s: int = 0
    since_max_s: int = 0
    until_s: int = 0
    process_type: str = ""
    dynos: tuple[str, ...] = ()
    who: Literal["everyone", "process_type", "dyno", "unsure"] = "everyone"
    code: str = ""
    metric: str = ""
    value: float | None = None
    usual: float | None = None
    limit: float | None = None
    worst: float | None = None
    count: int = 0
    exit_status: int = 0
    after: Change | None = None
    not_reasons: tuple[str, ...] = ()
    certainty: Literal["certain", "likely"] = "certain"
    occurrences: int = 1
    resolution_s: int = 60
    reason: str = ""
    full_s: int = 0
    latest_s: int = 0
    all_dynos: tuple[str, ...] = ()
    up_s: int = 0
    window_s: int = 0

    @property
    def id(self) -> str:
        """The same for one finding as long as it lasts."""
        return f"{self.kind}:{self.process_type}:{self.since_s}"


class Verdict(msgspec.Struct, frozen=True):
    """The judgement of an app at one time, or over a range. Times in Unix seconds.

    since_s      since when it has been in this state; 0 if that is not known
    until_s      until when, for a range in the past; 0 while it lasts
    judged_s     the end of the last minute judged
    summary      a sentence or two in plain English, for the worst findings
    findings     the worst first
    is_complete  whether all lines of the range are known
    """

    app: str
    state: State
    since_s: int
    until_s: int
    judged_s: int
    summary: str
    findings: tuple[Finding, ...] = ()
    is_complete: bool = True


class Episode(msgspec.Struct, frozen=True):
    """A finding that is over, as it is stored: with the words it was told in."""

    finding: Finding
    summary: str


def worst_state(states: Iterable[State]) -> State:
    """The first of these by precedence; "ok" if there are none."""
    return min(states, key=STATES.index, default="ok")
