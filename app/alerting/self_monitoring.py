"""Evaluates the rules about Dynometer itself: folding, lines that wait on disk, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.alerting.channels.channel import ChannelHealth
from app.alerting.evaluator import Evaluation, rules_for
from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert, AppAlerts
from app.alerting.state_machine import (
    QUIET,
    Comparison,
    MinuteResult,
    evaluate_minute,
    judge_duration,
)
from app.folding.fold_worker import FOLD_HEARTBEAT_PREFIX
from app.judgement.wording import describe_finding
from app.rollup.resolutions import MINUTE_S, align
from app.storage.interface.folding import BacklogReader
from app.storage.interface.status import StatusReader
from app.verdicts.fleet import Fleet
from app.verdicts.spooling import SPOOLING, earliest_start

APPS_NAMED_MAX = 5
OUTAGE = "away:"  # prefix of the heartbeats of machines that notified channels of an outage


class ServiceState(NamedTuple):
    """The condition of the service. Times in Unix seconds, 0 for none.

    spooling_since_s  the oldest lines that wait on a disk
    outage_since_s    the start of an outage of the store about which channels were notified
    fleet             a problem that many apps have
    """

    now_s: float
    last_fold_s: int
    inbox_batches: int
    spooling_since_s: int
    outage_since_s: int
    channel_health: Mapping[str, ChannelHealth]
    fleet: Fleet | None = None


class ServiceStateReader(BacklogReader, StatusReader, Protocol):
    """Reads the condition of the service."""


async def read_service_state(
    store: ServiceStateReader,
    now_s: float,
    own_spool_since_s: int,
    channel_health: Mapping[str, ChannelHealth],
) -> ServiceState:
    """
    Raises:
        StoreUnavailable
    """
    heartbeats = await store.statuses()
    fold_times_s = [
        int(fields["last_success_s"]) for name, fields in heartbeats.items() if _folds(name, fields)
    ]
    apps = [seen_app.app for seen_app in await store.seen_apps()]
    inbox_lengths = await store.inbox_lengths(await store.reachable_apps(apps))
    spool_starts_s = [
        start_s for start_s in (earliest_start(heartbeats, SPOOLING), own_spool_since_s) if start_s
    ]
    return ServiceState(
        now_s,
        max(fold_times_s, default=0),
        sum(inbox_lengths.values()),
        min(spool_starts_s, default=0),
        earliest_start(heartbeats, OUTAGE),
        channel_health,
    )


def _folds(name: str, fields: Mapping[str, str]) -> bool:
    return name.startswith(FOLD_HEARTBEAT_PREFIX) and "last_success_s" in fields


def evaluate_service(
    rules: Mapping[str, Rule], before: AppAlerts | None, service: ServiceState
) -> Evaluation:
    """Evaluate the service over the minute that has just passed."""
    end_s = int(service.now_s) - int(service.now_s) % MINUTE_S
    service_rules = rules_for(SERVICE, rules)
    results = {rule.name: _JUDGES[rule.kind](rule, service) for rule in service_rules}
    alerts = before or AppAlerts(end_s)
    if before is not None and before.evaluated_s >= end_s:
        return Evaluation(before, [])
    alerts = _adopt_outage_alert(alerts, service_rules, service, end_s)
    alerts, changes = evaluate_minute(alerts, service_rules, results, end_s, has_lines=True)
    return Evaluation(
        AppAlerts(end_s, alerts.activity_mask, 0, is_asleep=False, alerts=alerts.alerts), changes
    )


def _adopt_outage_alert(
    before: AppAlerts, rules: Sequence[Rule], service: ServiceState, end_s: int
) -> AppAlerts:
    """Add the alert that a machine sent during an outage of the store, so that its resolution is
    sent too.
    """
    rule = next((rule for rule in rules if rule.kind == "buffering"), None)
    if rule is None or not service.outage_since_s:
        return before
    outage = outage_alert(rule, service.outage_since_s, end_s)
    other_alerts = []
    for alert in before.alerts:
        if alert.rule != rule.name:
            other_alerts.append(alert)
        elif alert.since_s == outage.since_s and alert.phase == "over":
            return before
    return msgspec.structs.replace(before, alerts=(*other_alerts, outage))


def outage_alert(rule: Rule, since_s: int, end_s: int) -> Alert:
    """A firing, already notified alert about an outage of the store since `since_s`."""
    minutes = (end_s - since_s) / MINUTE_S
    return Alert(
        rule.name,
        "",
        "firing",
        align(since_s, MINUTE_S),
        fired_s=end_s,
        breach_minutes=rule.for_minutes,
        value=minutes,
        limit=rule.limit,
        worst=minutes,
        last_breach_s=end_s,
        is_notified=True,
    )


def _judge_fleet(rule: Rule, service: ServiceState) -> dict[str, MinuteResult]:
    if service.fleet is None or service.fleet.finding.count < rule.limit:
        return {"": QUIET}
    finding, apps, _ = service.fleet
    names = sorted(apps)
    more = f" and {len(names) - APPS_NAMED_MAX} more" if len(names) > APPS_NAMED_MAX else ""
    result = MinuteResult(
        Comparison.BREACH,
        finding.count,
        rule.limit,
        detail=", ".join(names[:APPS_NAMED_MAX]) + more,
        since_s=finding.since_s,
        summary=describe_finding(finding, int(service.now_s)),
    )
    return {"": result}


def _judge_folding(rule: Rule, service: ServiceState) -> dict[str, MinuteResult]:
    stalled_s = service.now_s - service.last_fold_s
    if not service.inbox_batches or not service.last_fold_s:
        return {"": QUIET}
    return {"": judge_duration(rule, stalled_s / MINUTE_S)}


def _judge_spooling(rule: Rule, service: ServiceState) -> dict[str, MinuteResult]:
    if not service.spooling_since_s:
        return {"": QUIET}
    waited_s = service.now_s - service.spooling_since_s
    return {"": judge_duration(rule, waited_s / MINUTE_S)}


def _judge_channels(rule: Rule, service: ServiceState) -> dict[str, MinuteResult]:
    return {
        name: judge_duration(rule, (service.now_s - health.failing_since_s) / MINUTE_S)
        for name, health in service.channel_health.items()
        if health.failing_since_s
    }


_JUDGES = {
    "fleet": _judge_fleet,
    "folding": _judge_folding,
    "buffering": _judge_spooling,
    "channel": _judge_channels,
}
