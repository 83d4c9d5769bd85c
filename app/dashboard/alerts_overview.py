"""The view model of the page of alerts: what fires, mutes, rules, channels and the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.alerting.config import AlertConfig
from app.alerting.rule import Rule
from app.alerting.state import HistoryEntry, Mute
from app.alerting.status import AlertsOverview, ChannelState, Firing
from app.alerting.wording import app_in_words, describe_alert, describe_rule
from app.dashboard.alerts_panel import describe_entry


class FiringLine(NamedTuple):
    """A firing or pending alert. `note`: why nobody is told of it; "" if it was sent."""

    app: str
    name: str
    severity: str
    text: str
    since_s: int
    is_pending: bool
    mute: Mute | None
    note: str


class RuleLine(NamedTuple):
    """A rule. `origin`: built in, changed or your own."""

    name: str
    condition: str
    severity: str
    means: str
    is_enabled: bool
    is_custom: bool


class HistoryLine(NamedTuple):
    """An entry of the history."""

    at_s: int
    app: str
    name: str
    what: str
    text: str


class AlertsView(NamedTuple):
    """Everything on the page. `mutes`: (app, name, mute)."""

    firing: list[FiringLine]
    mutes: list[tuple[str, str, Mute]]
    rules: list[RuleLine]
    channels: list[ChannelState]
    history: list[HistoryLine]
    evaluated_s: int
    delay_reason: str
    unknown_reason: str


def describe_alerts(
    overview: AlertsOverview,
    history: Sequence[tuple[str, HistoryEntry]],
    app: str,
    now_s: float,
) -> AlertsView:
    """The view of the alerts of an app, or of all with app "". Rules and channels are for all."""
    config = overview.config
    firing = [
        _firing_line(entry, overview, now_s) for entry in overview.firing if app in ("", entry.app)
    ]
    firing.sort(key=lambda line: (line.is_pending, line.severity != "page", -line.since_s))
    return AlertsView(
        firing,
        [
            (muted, app_in_words(muted), mute)
            for muted, mute in sorted(config.mutes.items())
            if config.is_muted(muted, now_s) and app in ("", muted)
        ],
        [_rule_line(rule, config) for rule in config.rules.values()],
        overview.channels,
        [
            HistoryLine(entry.at_s, name, app_in_words(name), entry.what, describe_entry(entry))
            for name, entry in history
        ],
        overview.evaluated_s,
        overview.delay_reason,
        overview.unknown_reason,
    )


def _firing_line(entry: Firing, overview: AlertsOverview, now_s: float) -> FiringLine:
    alert, rule = entry.alert, entry.rule
    detail = f": {alert.detail}" if alert.detail and not alert.summary else ""
    mute = overview.config.mute_of(entry.app, now_s)
    note = ""
    if alert.phase == "pending":
        note = "not firing yet"
    elif not alert.is_notified:
        note = "not sent" if mute else _why_unsent(entry, overview)
    return FiringLine(
        entry.app,
        app_in_words(entry.app),
        rule.severity if rule else "",
        alert.summary or f"{describe_alert(alert, rule)}{detail}",
        alert.since_s,
        alert.phase == "pending",
        mute,
        note,
    )


def _why_unsent(entry: Firing, overview: AlertsOverview) -> str:
    severity = entry.rule.severity if entry.rule else "page"
    if not any(state.channel.accepts(entry.app, severity) for state in overview.channels):
        return "not sent: no channel takes it"
    explained_by = entry.rule.explained_by if entry.rule else ()
    rules = {other.alert.rule for other in overview.firing if other.app == entry.app}
    return "part of another alert, not sent by itself" if rules & {*explained_by} else "not sent"


def _rule_line(rule: Rule, config: AlertConfig) -> RuleLine:
    return RuleLine(
        rule.name,
        describe_rule(rule),
        rule.severity,
        rule.means,
        rule.enabled,
        rule.name in config.custom_names,
    )
