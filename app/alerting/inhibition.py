"""Selects the alerts of an app that are sent now, in one notification. Pure.

Each alert is notified once. Alerts explained by another firing alert are inhibited: failed requests
need no notification of their own when Heroku reports that the app crashed. Alerts that resolve
within a few minutes of each other share a notification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.alerting.rule import Rule
from app.alerting.state import Alert, AppAlerts
from app.alerting.state_machine import required_quiet_minutes
from app.judgement.incidents import ENDING_AT_ONCE, JOIN_S

RESOLVE_TOGETHER_MINUTES = 5  # a resolution waits this long for others that are close


class NotificationPlan(NamedTuple):
    """The content of one notification.

    new_alerts    alerts that fire and were not notified yet
    ended_alerts  notified alerts that resolved
    other_alerts  firing alerts without a notification now: inhibited, muted, or notified before
    state         the app's alerts, with the notifications recorded
    """

    new_alerts: list[Alert]
    ended_alerts: list[Alert]
    other_alerts: list[Alert]
    state: AppAlerts

    def __bool__(self) -> bool:
        return bool(self.new_alerts or self.ended_alerts)


def select_notifications(
    app: AppAlerts, rules: Mapping[str, Rule], is_muted: Callable[[str], bool]
) -> NotificationPlan:
    """
    Args:
        app: its alerts after an evaluation.
        rules: by name.
        is_muted: whether notifications about a rule are suppressed now. A resolution is sent anyway
            if the firing was.
    """
    firing = [alert for alert in app.alerts if alert.phase == "firing"]
    firing_rules = {alert.rule for alert in firing}
    new_alerts = [
        alert
        for alert in firing
        if not alert.is_notified
        and not alert.quiet_minutes
        and not is_muted(alert.rule)
        and not _is_inhibited(alert, rules, firing_rules)
    ]
    # While an alert fires that explains one which is over, little has got better.
    ended_alerts = [
        alert
        for alert in app.alerts
        if alert.phase == "over"
        and alert.is_notified
        and not _is_inhibited(alert, rules, firing_rules)
    ]
    if any(_may_go_on(alert, rules, app.evaluated_s) for alert in ended_alerts):
        ended_alerts = []
    notified_alerts = [alert for alert in firing if alert.is_notified]
    if not new_alerts and any(_is_nearly_over(alert, rules) for alert in notified_alerts):
        ended_alerts = []
    notified_by_id = {id(alert): True for alert in new_alerts} | {
        id(alert): False for alert in ended_alerts
    }
    after = tuple(
        msgspec.structs.replace(alert, is_notified=notified_by_id[id(alert)])
        if id(alert) in notified_by_id
        else alert
        for alert in app.alerts
    )
    other_alerts = [
        alert for alert in firing if alert not in new_alerts and not alert.quiet_minutes
    ]
    return NotificationPlan(
        new_alerts, ended_alerts, other_alerts, msgspec.structs.replace(app, alerts=after)
    )


def _is_inhibited(alert: Alert, rules: Mapping[str, Rule], firing: set[str]) -> bool:
    rule = rules.get(alert.rule)
    return rule is not None and not firing.isdisjoint(rule.explained_by)


def _may_go_on(alert: Alert, rules: Mapping[str, Rule], now_s: int) -> bool:
    """Whether the finding would be the same one if its problem came again now."""
    rule = rules.get(alert.rule)
    return (
        rule is not None
        and rule.kind == "finding"
        and not ENDING_AT_ONCE.issuperset(rule.findings)
        and now_s - alert.last_breach_s < JOIN_S
    )


def _is_nearly_over(alert: Alert, rules: Mapping[str, Rule]) -> bool:
    rule = rules.get(alert.rule)
    return (
        rule is not None
        and alert.quiet_minutes > 0
        and required_quiet_minutes(rule, alert) - alert.quiet_minutes <= RESOLVE_TOGETHER_MINUTES
    )
