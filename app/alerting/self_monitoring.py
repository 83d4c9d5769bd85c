"""How Dynometer itself is, as its own rules judge it: folding, what waits on disk, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from app.alerting.channels.channel import ChannelHealth
from app.alerting.evaluator import Evaluation, rules_about
from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert, AppAlerts
from app.alerting.state_machine import QUIET, JudgedMinute, evaluate_minute, judge_minutes
from app.rollup.resolutions import MINUTE_S, align
from app.storage.interface import FOLD_HEARTBEAT_PREFIX, Reader, Store

SPOOLING = "spool:"  # signs of life of workers whose lines wait on disk begin so
AWAY = "away:"  # and of machines that told that the store was away


class ServiceState(NamedTuple):
    """What is known of the service. Times in Unix seconds; 0: nothing of that kind. `away_since_s`:
    people were told that the store was away, since then.
    """

    now_s: float
    folded_s: int
    inbox_batches: int
    spooling_since_s: int
    away_since_s: int
    channels: Mapping[str, ChannelHealth]


async def condition_of(
    store: Store, now_s: float, own_spool_since_s: int, channels: Mapping[str, ChannelHealth]
) -> ServiceState:
    """
    Raises:
        StoreUnavailable: the store is away.
    """
    heartbeats = await store.heartbeats()
    folded = [
        int(beat["last_success_s"]) for name, beat in heartbeats.items() if _folds(name, beat)
    ]
    apps = [seen.app for seen in await store.seen_apps()]
    waiting = await store.inbox_lengths(await store.reachable_apps(apps))
    since = [each for each in (_since(heartbeats, SPOOLING), own_spool_since_s) if each]
    return ServiceState(
        now_s,
        max(folded, default=0),
        sum(waiting.values()),
        min(since, default=0),
        _since(heartbeats, AWAY),
        channels,
    )


async def spooling_since(store: Reader) -> int:
    """Since when lines wait on disk, as workers say; Unix seconds, 0 when none do.

    Raises:
        StoreUnavailable: the store is away.
    """
    return _since(await store.heartbeats(), SPOOLING)


def _since(heartbeats: Mapping[str, Mapping[str, str]], prefix: str) -> int:
    said = [int(beat["since_s"]) for name, beat in heartbeats.items() if name.startswith(prefix)]
    return min((each for each in said if each), default=0)


def _folds(name: str, beat: Mapping[str, str]) -> bool:
    return name.startswith(FOLD_HEARTBEAT_PREFIX) and "last_success_s" in beat


def evaluate_service(
    rules: Mapping[str, Rule], before: AppAlerts | None, condition: ServiceState
) -> Evaluation:
    """Its alerts over the minute that has just passed."""
    end_s = int(condition.now_s) - int(condition.now_s) % MINUTE_S
    mine = rules_about(SERVICE, rules)
    judged = {rule.name: _JUDGES[rule.kind](rule, condition) for rule in mine}
    alerts = before or AppAlerts(end_s)
    if before is not None and before.evaluated_s >= end_s:
        return Evaluation(before, [])
    alerts = _with_what_was_told(alerts, mine, condition, end_s)
    alerts, changes = evaluate_minute(alerts, mine, judged, end_s, known=True)
    return Evaluation(
        AppAlerts(end_s, alerts.heard, 0, asleep=False, alerts=alerts.alerts), changes
    )


def _with_what_was_told(
    before: AppAlerts, rules: Sequence[Rule], condition: ServiceState, end_s: int
) -> AppAlerts:
    """An alert that was told while the store was away fires here, too, so that its end is told."""
    rule = next((each for each in rules if each.kind == "buffering"), None)
    if rule is None or not condition.away_since_s:
        return before
    told = away_alert(rule, condition.away_since_s, end_s)
    mine = [each for each in before.alerts if each.rule == rule.name]
    if any(each.since_s == told.since_s and each.phase == "over" for each in mine):
        return before
    others = tuple(each for each in before.alerts if each.rule != rule.name)
    return msgspec.structs.replace(before, alerts=(*others, told))


def away_alert(rule: Rule, since_s: int, end_s: int) -> Alert:
    """That the store has been away since then, which people know."""
    minutes = (end_s - since_s) / MINUTE_S
    return Alert(
        rule.name,
        "",
        "firing",
        align(since_s, MINUTE_S),
        fired_s=end_s,
        bad=rule.for_minutes,
        value=minutes,
        limit=rule.limit,
        worst=minutes,
        last_bad_s=end_s,
        told=True,
    )


def _folding(rule: Rule, condition: ServiceState) -> dict[str, JudgedMinute]:
    stalled_s = condition.now_s - condition.folded_s
    if not condition.inbox_batches or not condition.folded_s:
        return {"": QUIET}
    return {"": judge_minutes(rule, stalled_s / MINUTE_S)}


def _spooling(rule: Rule, condition: ServiceState) -> dict[str, JudgedMinute]:
    if not condition.spooling_since_s:
        return {"": QUIET}
    waited_s = condition.now_s - condition.spooling_since_s
    return {"": judge_minutes(rule, waited_s / MINUTE_S)}


def _channels(rule: Rule, condition: ServiceState) -> dict[str, JudgedMinute]:
    return {
        name: judge_minutes(rule, (condition.now_s - health.failing_since_s) / MINUTE_S)
        for name, health in condition.channels.items()
        if health.failing_since_s
    }


_JUDGES = {"folding": _folding, "buffering": _spooling, "channel": _channels}
