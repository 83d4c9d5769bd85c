"""What of an app's alerts is to be told now, in one message. Pure.

Nobody is told twice, and nobody of what another alert explains: that its requests fail, when Heroku
says that the app crashed. What becomes well within minutes of each other is told together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.alerting.rule import Rule
from app.alerting.state import Alert, AppAlerts
from app.alerting.state_machine import quiet_needed

TOGETHER_MINUTES = 5  # an end waits so long for others that are near


class NotificationPlan(NamedTuple):
    """What is told: alerts that fire, those that are over, and what else fires, explained or told
    before. `after`: the app with that noted.
    """

    fired: list[Alert]
    resolved: list[Alert]
    besides: list[Alert]
    after: AppAlerts

    def __bool__(self) -> bool:
        return bool(self.fired or self.resolved)


def select_notifications(
    app: AppAlerts, rules: Mapping[str, Rule], muted: Callable[[str], bool]
) -> NotificationPlan:
    """`muted`: whether nothing is to be told of a rule at present. That it is over is told all the
    same, to those who were told that it fires.
    """
    firing = [alert for alert in app.alerts if alert.phase == "firing"]
    names = {alert.rule for alert in firing}
    fired = [
        alert
        for alert in firing
        if not alert.told
        and not alert.quiet
        and not muted(alert.rule)
        and not _is_explained(alert, rules, names)
    ]
    resolved = [alert for alert in app.alerts if alert.phase == "over" and alert.told]
    told = [alert for alert in firing if alert.told]
    if not fired and any(_is_nearly_over(alert, rules) for alert in told):
        resolved = []
    changed = {id(alert): True for alert in fired} | {id(alert): False for alert in resolved}
    after = tuple(
        msgspec.structs.replace(alert, told=changed[id(alert)]) if id(alert) in changed else alert
        for alert in app.alerts
    )
    besides = [alert for alert in firing if alert not in fired and not alert.quiet]
    return NotificationPlan(fired, resolved, besides, msgspec.structs.replace(app, alerts=after))


def _is_explained(alert: Alert, rules: Mapping[str, Rule], firing: set[str]) -> bool:
    rule = rules.get(alert.rule)
    return rule is not None and not firing.isdisjoint(rule.explained_by)


def _is_nearly_over(alert: Alert, rules: Mapping[str, Rule]) -> bool:
    rule = rules.get(alert.rule)
    return (
        rule is not None
        and alert.quiet > 0
        and quiet_needed(rule, alert) - alert.quiet <= TOGETHER_MINUTES
    )
