"""How Dynometer itself is, as its own rules judge it: folding, what waits on disk, channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.alerting.channel import Health
from app.alerting.evaluate import QUIET, Judged, evaluate_minute, judge_minutes
from app.alerting.evaluator import Evaluation, rules_about
from app.alerting.rule import SERVICE, Rule
from app.alerting.state import AppAlerts
from app.resolution import MINUTE_S
from app.store.port import FOLDING, Reader, Store

SPOOLING = "spool:"  # signs of life of workers whose lines wait on disk begin so


class Condition(NamedTuple):
    """What is known of the service. Times in Unix seconds; 0: nothing of that kind."""

    now_s: float
    folded_s: int
    inbox_batches: int
    spooling_since_s: int
    channels: Mapping[str, Health]


async def condition_of(
    store: Store, now_s: float, own_spool_since_s: int, channels: Mapping[str, Health]
) -> Condition:
    """
    Raises:
        StoreUnavailable: the store is away.
    """
    beats = await store.beats()
    folded = [int(beat["last_success_s"]) for name, beat in beats.items() if _folds(name, beat)]
    apps = [seen.app for seen in await store.seen_apps()]
    waiting = await store.inbox_lengths(apps)
    since = [each for each in (_spooling(beats), own_spool_since_s) if each]
    return Condition(
        now_s, max(folded, default=0), sum(waiting.values()), min(since, default=0), channels
    )


async def spooling_since(store: Reader) -> int:
    """Since when lines wait on disk, as workers say; Unix seconds, 0 when none do.

    Raises:
        StoreUnavailable: the store is away.
    """
    return _spooling(await store.beats())


def _spooling(beats: Mapping[str, Mapping[str, str]]) -> int:
    said = [int(beat["since_s"]) for name, beat in beats.items() if name.startswith(SPOOLING)]
    return min((each for each in said if each), default=0)


def _folds(name: str, beat: Mapping[str, str]) -> bool:
    return name.startswith(FOLDING) and "last_success_s" in beat


def evaluate_service(
    rules: Mapping[str, Rule], before: AppAlerts | None, condition: Condition
) -> Evaluation:
    """Its alerts over the minute that has just passed."""
    end_s = int(condition.now_s) - int(condition.now_s) % MINUTE_S
    mine = rules_about(SERVICE, rules)
    judged = {rule.name: _JUDGES[rule.kind](rule, condition) for rule in mine}
    alerts = before or AppAlerts(end_s)
    if before is not None and before.evaluated_s >= end_s:
        return Evaluation(before, [])
    alerts, changes = evaluate_minute(alerts, mine, judged, end_s, known=True)
    return Evaluation(
        AppAlerts(end_s, alerts.heard, 0, asleep=False, alerts=alerts.alerts), changes
    )


def _folding(rule: Rule, condition: Condition) -> dict[str, Judged]:
    stalled_s = condition.now_s - condition.folded_s
    if not condition.inbox_batches or not condition.folded_s:
        return {"": QUIET}
    return {"": judge_minutes(rule, stalled_s / MINUTE_S)}


def _buffering(rule: Rule, condition: Condition) -> dict[str, Judged]:
    if not condition.spooling_since_s:
        return {"": QUIET}
    waited_s = condition.now_s - condition.spooling_since_s
    return {"": judge_minutes(rule, waited_s / MINUTE_S)}


def _channels(rule: Rule, condition: Condition) -> dict[str, Judged]:
    return {
        name: judge_minutes(rule, (condition.now_s - health.failing_since_s) / MINUTE_S)
        for name, health in condition.channels.items()
        if health.failing_since_s
    }


_JUDGES = {"folding": _folding, "buffering": _buffering, "channel": _channels}
