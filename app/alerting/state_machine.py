"""Compares values with limits, and turns the results into alerts that fire and resolve.

Pure: takes one minute at a time and returns the transitions.

    ok ── beyond the limit ──▶ pending ── long enough ──▶ firing ── quiet, long enough ──▶ over
    ▲                             │                                                         │
    └──── back at the limit ──────┘           pending again; now takes longer to resolve ◀──┘

Between the limit and the resolve limit, no alert fires and none resolves (hysteresis). A minute
without data changes no alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Literal, NamedTuple

import msgspec

from app.alerting.conditions import Measurement
from app.alerting.rule import MINUTES_MAX, Rule
from app.alerting.state import ACTIVITY_MINUTES, Alert, AppAlerts
from app.rollup.resolutions import MINUTE_S, align

REPEAT_WINDOW_S = 3600  # a resolved alert is remembered this long, to recognize that it repeats
SILENCE_MAX_S = 24 * 3600  # after this silence, the alerts of an app end
PARTS_MAX = 8  # values of `told_by` that an alert names
# Silence is only news if this many of the minutes just before it had a line.
ACTIVITY_WINDOW_MINUTES = 10
ACTIVE_MINUTES_MIN = 8
_ACTIVITY_MASK = (1 << ACTIVITY_MINUTES) - 1


class Comparison(Enum):
    """How the value of one minute compares with the limits of a rule."""

    BREACH = "beyond the limit"
    BETWEEN_LIMITS = "between the limit and the resolve limit"
    QUIET = "back at the resolve limit"
    UNKNOWN = "no data"


class MinuteResult(NamedTuple):
    """The result of one minute, and the numbers compared, in the value's unit.

    `detail`, `parts` and `summary` are as in Alert. `since_s`: when the problem began, if that is
    known better than to the minute that is compared; 0 if not.
    """

    comparison: Comparison
    value: float = 0
    limit: float = 0
    detail: str = ""
    parts: tuple[str, ...] = ()
    since_s: int = 0
    summary: str = ""


UNKNOWN = MinuteResult(Comparison.UNKNOWN)
QUIET = MinuteResult(Comparison.QUIET)


class Transition(NamedTuple):
    """An alert that starts to fire or resolves in this minute."""

    kind: Literal["fired", "resolved"]
    alert: Alert
    reason: str = ""  # why it ended, if not because the value recovered


def judge_value(
    rule: Rule, key: str, measurement: Measurement, earlier: Measurement | None
) -> MinuteResult:
    """Compare a value with its limit, or with the earlier hour if the rule does."""
    value = measurement.value
    if value is None:
        return UNKNOWN if rule.below else QUIET
    limit, resolve = rule.limit_of(key), rule.resolve_limit_of(key)
    if rule.compare:
        if earlier is None or earlier.value is None or earlier.requests < rule.count_min:
            return UNKNOWN
        limit = max(limit * earlier.value, rule.floor)
        resolve = max(resolve * earlier.value, rule.floor * resolve / rule.limit_of(key))
    if rule.below:
        value, limit, resolve = -value, -limit, -resolve
    is_breach, is_quiet = value > limit, value <= resolve
    if is_breach and measurement.requests < rule.count_min:
        return UNKNOWN
    return MinuteResult(
        Comparison.BREACH
        if is_breach
        else Comparison.QUIET
        if is_quiet
        else Comparison.BETWEEN_LIMITS,
        abs(value),
        abs(limit),
    )


def judge_duration(rule: Rule, minutes: float) -> MinuteResult:
    """Judge a rule whose value is a duration."""
    comparison = Comparison.BREACH if minutes >= rule.limit else Comparison.QUIET
    return MinuteResult(comparison, minutes, rule.limit)


def advance(
    rule: Rule, key: str, alert: Alert | None, result: MinuteResult, end_s: int
) -> tuple[Alert | None, Transition | None]:
    """Move one alert on by the minute that ends at `end_s`."""
    comparison = result.comparison
    if alert is not None and alert.phase == "over":
        if comparison is not Comparison.BREACH:
            is_expired = end_s - alert.last_breach_s >= REPEAT_WINDOW_S and not alert.is_notified
            return (None if is_expired else alert), None
        if alert.is_notified:  # the resolution was not sent yet, so treat it as never resolved
            alert = msgspec.structs.replace(alert, phase="firing")
            return _extend_breach(rule, key, alert, result, end_s)
        alert = Alert(
            rule.name,
            key,
            "pending",
            _repeat_start(rule, alert, result, end_s),
            repeat_count=alert.repeat_count + 1,
        )
    if comparison is Comparison.BREACH:
        return _extend_breach(rule, key, alert, result, end_s)
    if alert is None or comparison is Comparison.UNKNOWN:
        return alert, None
    if alert.phase == "pending":
        return None, None
    quiet_minutes = alert.quiet_minutes + 1 if comparison is Comparison.QUIET else 0
    alert = msgspec.structs.replace(alert, quiet_minutes=quiet_minutes)
    if quiet_minutes < required_quiet_minutes(rule, alert):
        return alert, None
    alert = msgspec.structs.replace(alert, phase="over")
    return alert, Transition("resolved", alert)


def _breach_start(rule: Rule, result: MinuteResult, end_s: int) -> int:
    """The start of the breach. A value in minutes says how long ago it was."""
    if result.since_s:
        return result.since_s
    minutes = int(result.value) if rule.unit == "minutes" else 1
    return align(end_s - max(minutes, 1) * MINUTE_S, MINUTE_S)


def _repeat_start(rule: Rule, alert: Alert, result: MinuteResult, end_s: int) -> int:
    """The start of the breach after one that is over. A problem that goes on is a new alert."""
    start_s = _breach_start(rule, result, end_s)
    return start_s if start_s > alert.since_s else end_s - MINUTE_S


def required_quiet_minutes(rule: Rule, alert: Alert) -> int:
    """How long the alert must stay quiet to resolve: doubled each time that it fires again."""
    return min(rule.quiet_minutes << min(alert.repeat_count, 6), MINUTES_MAX)


def _extend_breach(
    rule: Rule, key: str, alert: Alert | None, result: MinuteResult, end_s: int
) -> tuple[Alert, Transition | None]:
    alert = alert or Alert(rule.name, key, "pending", _breach_start(rule, result, end_s))
    pick_worst = min if rule.below else max
    worst = (
        pick_worst(alert.worst, result.value)
        if alert.breach_minutes or alert.fired_s
        else result.value
    )
    alert = msgspec.structs.replace(
        alert,
        breach_minutes=alert.breach_minutes + 1,
        quiet_minutes=0,
        value=result.value,
        limit=result.limit,
        worst=worst,
        last_breach_s=end_s,
        detail=result.detail or alert.detail,
        parts=tuple(dict.fromkeys((*alert.parts, *result.parts)))[:PARTS_MAX],
        summary=result.summary or alert.summary,
    )
    if alert.phase == "firing" or alert.breach_minutes < rule.for_minutes:
        return alert, None
    alert = msgspec.structs.replace(alert, phase="firing", fired_s=end_s)
    return alert, Transition("fired", alert)


class MinuteActivity(NamedTuple):
    """The activity of one app in one minute.

    is_late       it was evaluated long after its end: a lack of lines may be our own outage
    falls_asleep  Heroku idled the app's dynos (Eco)
    wakes_up      Heroku started them again, or requests arrived
    """

    end_s: int
    has_lines: bool
    is_late: bool = False
    falls_asleep: bool = False
    wakes_up: bool = False


def record_activity(before: AppAlerts, minute: MinuteActivity) -> AppAlerts:
    """Add one minute to the activity of an app."""
    is_asleep = minute.falls_asleep or (before.is_asleep and not minute.wakes_up)
    if minute.is_late and not minute.has_lines:
        return msgspec.structs.replace(before, evaluated_s=minute.end_s, is_asleep=is_asleep)
    silent_minutes = 0 if minute.has_lines or is_asleep else before.silent_minutes + 1
    return msgspec.structs.replace(
        before,
        evaluated_s=minute.end_s,
        activity_mask=(before.activity_mask << 1 | minute.has_lines) & _ACTIVITY_MASK,
        silent_minutes=silent_minutes,
        is_asleep=is_asleep,
    )


def was_active_before(app: AppAlerts) -> bool:
    """Whether the app logged regularly before its present silence, so that the silence is news."""
    mask = app.activity_mask >> app.silent_minutes & ((1 << ACTIVITY_WINDOW_MINUTES) - 1)
    return mask.bit_count() >= ACTIVE_MINUTES_MIN


def judge_silence(rule: Rule, app: AppAlerts, *, is_firing: bool) -> MinuteResult:
    """Judge a rule about the silence of an app."""
    if app.silent_minutes and not is_firing and not was_active_before(app):
        return QUIET
    return judge_duration(rule, app.silent_minutes)


def evaluate_minute(
    app: AppAlerts,
    rules: Iterable[Rule],
    results: Mapping[str, Mapping[str, MinuteResult]],
    end_s: int,
    *,
    has_lines: bool,
) -> tuple[AppAlerts, list[Transition]]:
    """Move all alerts of an app on by one minute.

    Args:
        app: the state before, with the activity of this minute already recorded.
        rules: those that apply to the app.
        results: by rule and key. An alert without a result counts as quiet.
        end_s: the end of the minute.
        has_lines: whether the app logged anything. If not, alerts without a result do not change.
    """
    alerts_by_rule: dict[str, dict[str, Alert]] = {}
    for alert in app.alerts:
        alerts_by_rule.setdefault(alert.rule, {})[alert.key] = alert
    after: list[Alert] = []
    transitions: list[Transition] = []
    for rule in rules:
        rule_results, rule_alerts = results.get(rule.name, {}), alerts_by_rule.pop(rule.name, {})
        if not rule_results and not rule_alerts:
            continue
        for key in {**rule_alerts, **rule_results}:
            result = rule_results.get(key, QUIET if has_lines else UNKNOWN)
            if key not in rule_alerts and result.comparison is not Comparison.BREACH:
                continue
            alert_after, transition = advance(rule, key, rule_alerts.get(key), result, end_s)
            if alert_after is not None:
                after.append(alert_after)
            if transition is not None:
                transitions.append(transition)
    orphans = [alert for rule_alerts in alerts_by_rule.values() for alert in rule_alerts.values()]
    after, end_transitions = _end_unwatched(
        after, orphans, is_app_gone=app.silent_minutes * MINUTE_S >= SILENCE_MAX_S
    )
    return msgspec.structs.replace(app, alerts=tuple(after)), [*transitions, *end_transitions]


def fire_early(
    app: AppAlerts,
    rules: Iterable[Rule],
    results: Mapping[str, Mapping[str, MinuteResult]],
    end_s: int,
) -> tuple[AppAlerts, list[Transition]]:
    """Fire new alerts of a minute that is not final. It changes no others, and resolves none.

    The arguments are those of `evaluate_minute`.
    """
    alerts = {(alert.rule, alert.key): alert for alert in app.alerts}
    transitions: list[Transition] = []
    for rule in rules:
        for key, result in results.get(rule.name, {}).items():
            before = alerts.get((rule.name, key))
            is_new = before is None or (before.phase == "over" and not before.is_notified)
            if result.comparison is not Comparison.BREACH or not is_new:
                continue
            alert, transition = advance(rule, key, before, result, end_s)
            if alert is not None and transition is not None:
                alerts[rule.name, key] = alert
                transitions.append(transition)
    return msgspec.structs.replace(app, alerts=tuple(alerts.values())), transitions


def _end_unwatched(
    alerts: Sequence[Alert], orphans: Sequence[Alert], *, is_app_gone: bool
) -> tuple[list[Alert], list[Transition]]:
    """End alerts whose rule was removed, and all alerts of an app that is silent for too long.
    A notified alert is kept until its resolution was sent.
    """
    ended_alerts = [(alert, "its rule was removed") for alert in orphans]
    if is_app_gone:
        ended_alerts += [(alert, "the app has been silent for a day") for alert in alerts]
    remaining = [] if is_app_gone else list(alerts)
    transitions = []
    for alert, reason in ended_alerts:
        over = msgspec.structs.replace(alert, phase="over")
        if alert.phase == "firing":
            transitions.append(Transition("resolved", over, reason))
        if alert.is_notified:
            remaining.append(over)
    return remaining, transitions
