"""Request and response bodies of /api/v1/alerts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.alerting.admin import MUTE_S_MAX, NAME_LENGTH_MAX
from app.alerting.channels.channel import URL_LENGTH_MAX
from app.alerting.channels.email import RECIPIENTS_MAX
from app.alerting.channels.kinds import KINDS, describe_options
from app.alerting.rule import NAME, Compare, Kind, Rule
from app.alerting.state import HistoryEntry, Mute
from app.alerting.status import AlertsOverview, ChannelState, Firing
from app.alerting.wording import describe_alert

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class AlertInfo(BaseModel):
    """An alert that is firing or pending. Times in Unix seconds."""

    app: str = Field(description="The app's name; - means Dynometer itself")
    rule: str
    key: str = Field(description="Value of the rule's label (`by`); empty if the rule has none")
    phase: str = Field(description="pending or firing")
    severity: str
    what: str = Field(description="The problem in words, with value and limit")
    since: int
    value: float
    limit: float
    worst: float
    unit: str
    dyno: str
    muted: bool
    told: bool = Field(description="Whether a notification was sent")


class MuteInfo(BaseModel):
    """A muted app: no new notifications about it are sent. Times in Unix seconds."""

    app: str
    since: int
    until: int
    until_resolved: bool = Field(
        description="An acknowledgement: it ends earlier, with the last firing alert of the app"
    )
    by: str = Field(description="The person who acted; empty if unknown")


class AlertsBody(BaseModel):
    """Active alerts, mutes, and the progress of evaluation."""

    evaluated_until: int | None = Field(
        description="Minutes before this time are evaluated; null while no worker evaluates"
    )
    waiting: str = Field(description="Reason why evaluation does not go on; empty if it does")
    unknown: str = Field(
        description="Reason why rules that compare with an earlier time are unknown; empty if known"
    )
    alerts: list[AlertInfo]
    mutes: list[MuteInfo]


class RuleBody(BaseModel):
    """A rule. docs/alerts.md describes its fields."""

    model_config = ConfigDict(extra="allow")

    name: str
    own: bool = Field(description="true if created or changed by you; false if built in")


class RulesBody(BaseModel):
    """Every rule in effect."""

    rules: list[RuleBody]


class NewRule(BaseModel):
    """A new rule, or the fields to change in an existing one. docs/alerts.md describes them."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = None
    kind: Kind | None = None
    apps: list[str] | None = None
    findings: list[str] | None = None
    states: list[str] | None = None
    metric: str | None = None
    stat: str | None = None
    filters: dict[str, list[str]] | None = None
    by: str | None = None
    told_by: str | None = None
    over_minutes: int | None = None
    below: bool | None = None
    limit: float | None = None
    limits: dict[str, float] | None = None
    compare: Compare | None = None
    floor: float | None = None
    count_min: int | None = None
    for_minutes: int | None = None
    resolve: float | None = None
    quiet_minutes: int | None = None
    severity: Literal["page", "warn"] | None = None
    explained_by: list[str] | None = None
    means: str | None = None
    look: str | None = None
    enabled: bool | None = None


class NewChannel(BaseModel):
    """A channel to add. `url` is stored for the service's use, and is never shown again."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]
    url: str = Field(
        max_length=URL_LENGTH_MAX, description="https://…; for e-mail smtp://USER:PASSWORD@HOST"
    )
    to: list[str] = Field(
        default_factory=list, max_length=RECIPIENTS_MAX, description="For e-mail: the recipients"
    )
    sender: str = Field("", description="For e-mail: the sender; default: the first of `to`")
    apps: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Notify about these apps only; names or patterns with * and ?",
    )
    least: Literal["warn", "page"] = Field("warn", description="Lowest severity to notify about")
    options: dict[str, str] = Field(default_factory=dict, description=describe_options())


class ChannelBody(BaseModel):
    """A channel, without its secrets. Times in Unix seconds."""

    name: str
    kind: str
    where: str = Field(description="The address without its secret part")
    apps: list[str]
    least: str
    added: int
    last_ok: int | None
    failing_since: int | None
    error: str
    waiting: int = Field(description="Number of notifications not accepted yet")


class CreatedChannel(BaseModel):
    """A new channel, with the signing key of a webhook."""

    name: str
    kind: str
    where: str = Field(description="The address without its secret part")
    key: str = Field(description="Signs a webhook's notifications; shown only here")


class ChannelsBody(BaseModel):
    """Every channel."""

    channels: list[ChannelBody]


class NewMute(BaseModel):
    """How long to mute: for some time, or until the alerts resolve."""

    model_config = ConfigDict(extra="forbid")

    for_s: int | None = Field(None, gt=0, le=MUTE_S_MAX, description="Seconds")
    until_resolved: bool = Field(
        False, description="Acknowledge the firing alerts: somebody is on it. Instead of `for_s`"
    )
    by: str = Field("", max_length=NAME_LENGTH_MAX, description="The person who acts")

    @model_validator(mode="after")
    def _has_one_end(self) -> NewMute:
        if (self.for_s is None) != self.until_resolved:
            raise ValueError("expected for_s, or until_resolved=true, and not both")
        return self


class HistoryEntryBody(BaseModel):
    """An entry of the history. Times in Unix seconds."""

    app: str
    at: int
    what: str = Field(
        description="fired, resolved, muted, unmuted, skipped (not evaluated) or undelivered"
    )
    text: str
    rule: str
    key: str
    since: int | None
    value: float | None
    limit: float | None
    severity: str
    told: bool = Field(description="Whether a notification was sent")


class HistoryBody(BaseModel):
    """The history, newest entry first."""

    history: list[HistoryEntryBody]


def alerts_body(overview: AlertsOverview, now_s: float) -> AlertsBody:
    """An overview of alerts as a response body."""
    config = overview.config
    return AlertsBody(
        evaluated_until=overview.evaluated_s or None,
        waiting=overview.delay_reason,
        unknown=overview.unknown_reason,
        alerts=[
            _alert(firing, is_muted=config.is_muted(firing.app, now_s))
            for firing in overview.firing
        ],
        mutes=[
            mute_info(app, mute)
            for app, mute in sorted(config.mutes.items())
            if config.is_muted(app, now_s)
        ],
    )


def mute_info(app: str, mute: Mute) -> MuteInfo:
    """A mute as a response body."""
    return MuteInfo(
        app=app,
        since=mute.since_s,
        until=mute.until_s,
        until_resolved=mute.until_resolved,
        by=mute.by,
    )


def _alert(firing: Firing, *, is_muted: bool) -> AlertInfo:
    app, alert, rule = firing
    return AlertInfo(
        app=app,
        rule=alert.rule,
        key=alert.key,
        phase=alert.phase,
        severity=rule.severity if rule is not None else "warn",
        what=describe_alert(alert, rule),
        since=alert.since_s,
        value=alert.value,
        limit=alert.limit,
        worst=alert.worst,
        unit=rule.unit if rule is not None else "",
        dyno=alert.detail,
        muted=is_muted,
        told=alert.is_notified,
    )


def rule_body(rule: Rule, *, is_own: bool) -> dict[str, Any]:
    """A rule with all its fields, as a response body. `is_own`: not a built-in rule's default."""
    fields = {name: getattr(rule, name) for name in rule.__struct_fields__}
    body: dict[str, Any] = msgspec.to_builtins(fields)
    return {**body, "own": is_own}


def channel_body(state: ChannelState) -> ChannelBody:
    """The state of a channel as a response body."""
    channel, health, queue_length = state
    return ChannelBody(
        name=channel.name,
        kind=channel.kind,
        where=state.masked_address,
        apps=list(channel.apps),
        least=channel.least,
        added=channel.added_s,
        last_ok=health.last_ok_s or None,
        failing_since=health.failing_since_s or None,
        error=health.error,
        waiting=queue_length,
    )


def history_entry_body(app: str, entry: HistoryEntry) -> HistoryEntryBody:
    """An entry of the history as a response body."""
    return HistoryEntryBody(
        app=app,
        at=entry.at_s,
        what=entry.what,
        text=entry.text,
        rule=entry.rule,
        key=entry.key,
        since=entry.since_s or None,
        value=entry.value,
        limit=entry.limit,
        severity=entry.severity,
        told=entry.told,
    )
