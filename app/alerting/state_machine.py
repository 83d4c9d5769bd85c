"""From values to verdicts, and from verdicts to alerts that fire and end. Pure: a minute goes in,
what changed comes out.

    ok ── beyond the limit ──▶ pending ── long enough ──▶ firing ── quiet, long enough ──▶ over
    ▲                             │                                                         │
    └─────── not any more ────────┘             pending again, and then held for longer ◀───┘

Between the limit and the resolve limit nothing begins and nothing ends. A minute of which nothing
is known changes nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Literal, NamedTuple

import msgspec

from app.alerting.conditions import Measured
from app.alerting.rule import MINUTES_MAX, Rule
from app.alerting.state import HEARD_MINUTES, Alert, AppAlerts
from app.rollup.resolutions import MINUTE_S, align

REMEMBERED_S = 3600  # an alert that is over, so that it is known to come again
GIVEN_UP_S = 24 * 3600  # an app silent for so long
PARTS_MAX = 8  # that an alert names
SPOKE_OF = 10  # minutes before a silence, of which
SPOKE_MIN = 8  # so many must have had a line: else being silent is nothing new
_HEARD_MASK = (1 << HEARD_MINUTES) - 1


class Verdict(Enum):
    """About one minute."""

    BAD = "beyond the limit"
    BETWEEN = "neither"
    QUIET = "back at the resolve limit"
    UNKNOWN = "nothing known"


class JudgedMinute(NamedTuple):
    """A verdict, and what it compared, in the value's unit; `detail` and `parts` as in Alert."""

    verdict: Verdict
    value: float = 0
    limit: float = 0
    detail: str = ""
    parts: tuple[str, ...] = ()


UNKNOWN = JudgedMinute(Verdict.UNKNOWN)
QUIET = JudgedMinute(Verdict.QUIET)


class Transition(NamedTuple):
    """An alert that fires from now on, or is over."""

    what: Literal["fired", "resolved"]
    alert: Alert
    reason: str = ""  # why it is over, if not because it is well again


def judge(rule: Rule, key: str, measured: Measured, before: Measured | None) -> JudgedMinute:
    """Compare a value with its limit; `before`: what was measured in the same hour of last week."""
    value = measured.value
    if value is None:
        return UNKNOWN if rule.below else QUIET
    limit, resolve = rule.limit_of(key), rule.resolve_limit_of(key)
    if rule.compare:
        if before is None or before.value is None or before.requests < rule.count_min:
            return UNKNOWN
        limit = max(limit * before.value, rule.floor)
        resolve = max(resolve * before.value, rule.floor * resolve / rule.limit_of(key))
    if rule.below:
        value, limit, resolve = -value, -limit, -resolve
    bad, quiet = value > limit, value <= resolve
    shown = (abs(value), abs(limit))
    if bad and measured.requests < rule.count_min:
        return UNKNOWN
    return JudgedMinute(
        Verdict.BAD if bad else Verdict.QUIET if quiet else Verdict.BETWEEN,
        *shown,
    )


def judge_minutes(rule: Rule, minutes: float) -> JudgedMinute:
    """Of a rule whose value is how long something has lasted."""
    verdict = Verdict.BAD if minutes >= rule.limit else Verdict.QUIET
    return JudgedMinute(verdict, minutes, rule.limit)


def advance(
    rule: Rule, key: str, alert: Alert | None, judged: JudgedMinute, end_s: int
) -> tuple[Alert | None, Transition | None]:
    """One minute of one alert, which ends at `end_s`."""
    verdict = judged.verdict
    if alert is not None and alert.phase == "over":
        if verdict is not Verdict.BAD:
            gone = end_s - alert.last_bad_s >= REMEMBERED_S and not alert.told
            return (None if gone else alert), None
        if alert.told:  # its end was not told yet, so it never was over
            return _worse(rule, key, msgspec.structs.replace(alert, phase="firing"), judged, end_s)
        alert = Alert(rule.name, key, "pending", _begun(rule, judged, end_s), again=alert.again + 1)
    if verdict is Verdict.BAD:
        return _worse(rule, key, alert, judged, end_s)
    if alert is None or verdict is Verdict.UNKNOWN:
        return alert, None
    if alert.phase == "pending":
        return None, None
    quiet = alert.quiet + 1 if verdict is Verdict.QUIET else 0
    alert = msgspec.structs.replace(alert, quiet=quiet)
    if quiet < quiet_needed(rule, alert):
        return alert, None
    alert = msgspec.structs.replace(alert, phase="over")
    return alert, Transition("resolved", alert)


def _begun(rule: Rule, judged: JudgedMinute, end_s: int) -> int:
    """The start of the first minute that is meant: what is told of after it has lasted for some
    minutes began before them.
    """
    lasted = int(judged.value) if rule.unit == "minutes" else 1
    return align(end_s - max(lasted, 1) * MINUTE_S, MINUTE_S)


def quiet_needed(rule: Rule, alert: Alert) -> int:
    """Minutes: the more, the more often it came again."""
    return min(rule.quiet_minutes << min(alert.again, 6), MINUTES_MAX)


def _worse(
    rule: Rule, key: str, alert: Alert | None, judged: JudgedMinute, end_s: int
) -> tuple[Alert, Transition | None]:
    alert = alert or Alert(rule.name, key, "pending", _begun(rule, judged, end_s))
    further = min if rule.below else max
    worst = further(alert.worst, judged.value) if alert.bad or alert.fired_s else judged.value
    alert = msgspec.structs.replace(
        alert,
        bad=alert.bad + 1,
        quiet=0,
        value=judged.value,
        limit=judged.limit,
        worst=worst,
        last_bad_s=end_s,
        detail=judged.detail or alert.detail,
        parts=tuple(dict.fromkeys((*alert.parts, *judged.parts)))[:PARTS_MAX],
    )
    if alert.phase == "firing" or alert.bad < rule.for_minutes:
        return alert, None
    alert = msgspec.structs.replace(alert, phase="firing", fired_s=end_s)
    return alert, Transition("fired", alert)


class MinuteActivity(NamedTuple):
    """What is known of one minute of one app. `late`: it was looked at long after its time, so that
    silence in it may be ours. `sleeps`, `wakes`: the app said so.
    """

    end_s: int
    heard: bool
    late: bool = False
    sleeps: bool = False
    wakes: bool = False


def listen(before: AppAlerts, minute: MinuteActivity) -> AppAlerts:
    """Note whether the app was heard."""
    asleep = minute.sleeps or (before.asleep and not minute.wakes)
    if minute.late and not minute.heard:
        return msgspec.structs.replace(before, evaluated_s=minute.end_s, asleep=asleep)
    silent = 0 if minute.heard or asleep else before.silent + 1
    return msgspec.structs.replace(
        before,
        evaluated_s=minute.end_s,
        heard=(before.heard << 1 | minute.heard) & _HEARD_MASK,
        silent=silent,
        asleep=asleep,
    )


def spoke_before(app: AppAlerts) -> bool:
    """Whether its present silence is news."""
    mask = app.heard >> app.silent & ((1 << SPOKE_OF) - 1)
    return mask.bit_count() >= SPOKE_MIN


def judge_silence(rule: Rule, app: AppAlerts, *, firing: bool) -> JudgedMinute:
    """Of a rule about an app's silence."""
    if app.silent and not firing and not spoke_before(app):
        return QUIET
    return judge_minutes(rule, app.silent)


def evaluate_minute(
    app: AppAlerts,
    rules: Iterable[Rule],
    judged: Mapping[str, Mapping[str, JudgedMinute]],
    end_s: int,
    *,
    known: bool,
) -> tuple[AppAlerts, list[Transition]]:
    """All alerts of an app over one minute.

    Args:
        app: as it was before, `listen` included.
        rules: that are about the app.
        judged: by rule and key; a key that fires and is not there is quiet.
        end_s: the end of the minute.
        known: whether anything was heard; if not, what is not judged does not change.
    """
    held: dict[str, dict[str, Alert]] = {}
    for alert in app.alerts:
        held.setdefault(alert.rule, {})[alert.key] = alert
    after: list[Alert] = []
    changes: list[Transition] = []
    for rule in rules:
        found, mine = judged.get(rule.name, {}), held.pop(rule.name, {})
        if not found and not mine:
            continue
        for key in {**mine, **found}:
            verdict = found.get(key, QUIET if known else UNKNOWN)
            if key not in mine and verdict.verdict is not Verdict.BAD:
                continue
            advanced, change = advance(rule, key, mine.get(key), verdict, end_s)
            if advanced is not None:
                after.append(advanced)
            if change is not None:
                changes.append(change)
    gone = [alert for mine in held.values() for alert in mine.values()]
    after, ended = _end(after, gone, given_up=app.silent * MINUTE_S >= GIVEN_UP_S)
    return msgspec.structs.replace(app, alerts=tuple(after)), [*changes, *ended]


def _end(
    alerts: Sequence[Alert], gone: Sequence[Alert], *, given_up: bool
) -> tuple[list[Alert], list[Transition]]:
    """End what nobody watches any more: their rule is gone, or the app has been silent for too
    long. What was told stays until its end is told, too.
    """
    leaving = [(alert, "its rule was removed") for alert in gone]
    if given_up:
        leaving += [(alert, "the app has been silent for a day") for alert in alerts]
    stay = [] if given_up else list(alerts)
    changes = []
    for alert, reason in leaving:
        ended = msgspec.structs.replace(alert, phase="over")
        if alert.phase == "firing":
            changes.append(Transition("resolved", ended, reason))
        if alert.told:
            stay.append(ended)
    return stay, changes
