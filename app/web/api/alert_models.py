"""Bodies of /api/v1/alerts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from app.alerting.rule import NAME, Rule
from app.alerting.state import HistoryEntry
from app.alerting.status import AlertsOverview, ChannelState, Firing
from app.alerting.wording import describe_alert

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class AlertInfo(BaseModel):
    """An alert that fires, or is about to. Times in Unix seconds."""

    app: str = Field(description="- is Dynometer itself")
    rule: str
    key: str = Field(description="The value of the rule's label; empty where it has none")
    phase: str = Field(description="pending or firing")
    severity: str
    what: str = Field(description="In words, with value and limit")
    since: int
    value: float
    limit: float
    worst: float
    unit: str
    dyno: str
    muted: bool
    told: bool


class MuteInfo(BaseModel):
    """An app of which nothing new is told."""

    app: str
    since: int
    until: int


class AlertsBody(BaseModel):
    """What there is to know at a glance."""

    evaluated_until: int | None = Field(description="Minutes before it; null: nobody evaluates")
    waiting: str = Field(description="Why it goes no further; empty when nothing is in the way")
    alerts: list[AlertInfo]
    mutes: list[MuteInfo]


class RuleBody(BaseModel):
    """A rule; which fields there are, and what they mean, is in docs/alerts.md."""

    model_config = ConfigDict(extra="allow")

    name: str
    own: bool = Field(description="Made or changed here; false: built in")


class RulesBody(BaseModel):
    """Every rule that holds."""

    rules: list[RuleBody]


class NewRule(BaseModel):
    """A rule, or those of its fields that change."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = None
    kind: Literal["metric", "no_data", "lost", "folding", "buffering", "channel"] | None = None
    apps: list[str] | None = None
    metric: str | None = None
    stat: str | None = None
    filters: dict[str, list[str]] | None = None
    by: str | None = None
    told_by: str | None = None
    over_minutes: int | None = None
    below: bool | None = None
    limit: float | None = None
    limits: dict[str, float] | None = None
    compare: Literal["", "week"] | None = None
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
    """A channel. `url` is kept for the service alone, and never shown again."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    kind: Literal["slack", "webhook", "email"]
    url: str = Field(max_length=2_000, description="https://…; of e-mail smtp://USER:PASSWORD@HOST")
    to: list[str] = Field(default_factory=list, max_length=20, description="Of e-mail: who gets it")
    sender: str = Field("", description="Of e-mail: from whom; default: the first of `to`")
    apps: list[str] = Field(default_factory=lambda: ["*"], description="Only of these; * and ?")
    least: Literal["warn", "page"] = "warn"


class ChannelBody(BaseModel):
    """A channel, without what opens it. Times in Unix seconds."""

    name: str
    kind: str
    where: str
    apps: list[str]
    least: str
    added: int
    last_ok: int | None
    failing_since: int | None
    error: str
    waiting: int = Field(description="Messages that it has not taken yet")


class CreatedChannel(BaseModel):
    """`key`: with which a webhook's messages are signed; shown only here."""

    name: str
    kind: str
    where: str
    key: str


class ChannelsBody(BaseModel):
    """Every channel."""

    channels: list[ChannelBody]


class NewMute(BaseModel):
    """For how long."""

    model_config = ConfigDict(extra="forbid")

    for_s: int = Field(gt=0, le=30 * 86_400)


class ToldBody(BaseModel):
    """An entry of the history. Times in Unix seconds."""

    app: str
    at: int
    what: str
    text: str
    rule: str
    key: str
    since: int | None
    value: float | None
    limit: float | None
    severity: str
    told: bool


class HistoryBody(BaseModel):
    """What was told, the newest first."""

    history: list[ToldBody]


def alerts_body(found: AlertsOverview, now_s: float) -> AlertsBody:
    """The overview as it is answered."""
    config = found.config
    return AlertsBody(
        evaluated_until=found.evaluated_s or None,
        waiting=found.delay_reason,
        alerts=[_alert(each, muted=config.is_muted(each.app, now_s)) for each in found.firing],
        mutes=[
            MuteInfo(app=app, since=mute.since_s, until=mute.until_s)
            for app, mute in sorted(config.mutes.items())
            if now_s < mute.until_s
        ],
    )


def _alert(firing: Firing, *, muted: bool) -> AlertInfo:
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
        muted=muted,
        told=alert.is_notified,
    )


def rule_body(rule: Rule, *, own: bool) -> dict[str, Any]:
    """A rule with all of its fields."""
    fields = {name: getattr(rule, name) for name in rule.__struct_fields__}
    found: dict[str, Any] = msgspec.to_builtins(fields)
    return {**found, "own": own}


def channel_body(state: ChannelState) -> ChannelBody:
    """A channel as it is answered."""
    channel, health, waiting = state
    return ChannelBody(
        name=channel.name,
        kind=channel.kind,
        where=channel.masked_address,
        apps=list(channel.apps),
        least=channel.least,
        added=channel.added_s,
        last_ok=health.last_ok_s or None,
        failing_since=health.failing_since_s or None,
        error=health.error,
        waiting=waiting,
    )


def told_body(app: str, told: HistoryEntry) -> ToldBody:
    """An entry of the history as it is answered."""
    return ToldBody(
        app=app,
        at=told.at_s,
        what=told.what,
        text=told.text,
        rule=told.rule,
        key=told.key,
        since=told.since_s or None,
        value=told.value,
        limit=told.limit,
        severity=told.severity,
        told=told.told,
    )
