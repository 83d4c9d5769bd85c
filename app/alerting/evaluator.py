"""Judges one app and evaluates its rules: each complete minute once, from the last one on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.earlier_hours import EarlierHours, Measurements
from app.alerting.finding_rules import end_with_findings, judge_findings
from app.alerting.inputs import (
    Minute,
    RuleInputs,
    RuleQueries,
    read_activity,
    read_inputs,
)
from app.alerting.rule import Rule
from app.alerting.state import AppAlerts
from app.alerting.state_machine import (
    QUIET,
    UNKNOWN,
    Comparison,
    MinuteActivity,
    MinuteResult,
    Transition,
    evaluate_minute,
    judge_silence,
    judge_value,
    record_activity,
)
from app.alerting.wording import dyno_in_words
from app.judgement.verdict import Verdict
from app.query.rates import SETTLED_AFTER_S
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.rollup.time_range import NEVER, TimeRange
from app.storage.interface.apps import SeenApp
from app.storage.interface.rollups import RollupReader
from app.verdicts.app_judges import AppJudge
from app.verdicts.interval_reader import observe

CATCH_UP_MINUTES = 120  # older minutes are skipped: their problems no longer deserve an alert
LATE_S = 180  # a minute evaluated this long after its end is late: we or the store were down
BEFORE_FIRST_MINUTES = 15  # read of a new app, to learn whether it logs regularly


NO_RULES = RuleQueries(())


class Evaluation(NamedTuple):
    """The result of evaluating an app.

    late_range     minutes that were evaluated long after their end
    skipped_range  minutes that were too old to be evaluated
    lines_lost     lines that Heroku lost in the evaluated minutes
    """

    state: AppAlerts
    transitions: list[Transition]
    late_range: TimeRange = NEVER
    skipped_range: TimeRange = NEVER
    lines_lost: int = 0


class Evaluator:
    """Reads rollups and evaluates rules; writes nothing."""

    def __init__(
        self,
        store: RollupReader,
        earlier_hours: EarlierHours,
        minutes: Resolution,
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._earlier_hours = earlier_hours
        self._minutes = minutes
        self._limits = limits

    async def evaluate(
        self,
        seen_app: SeenApp,
        before: AppAlerts | None,
        queries: RuleQueries,
        judge: AppJudge | None,
        until_s: int,
        now_s: float,
    ) -> Evaluation:
        """Judge the app's minutes up to `until_s`, and evaluate them by the rules.

        All of them must be complete. A minute that was judged before, but not evaluated, changes
        no alert about findings.

        Args:
            seen_app: the app.
            before: its alerts; None if it was never evaluated.
            queries: its rules.
            judge: its judge; None if it is not ready.
            until_s: the end of the last minute.
            now_s: Unix seconds.

        Raises:
            StoreUnavailable, PackError, TooManySeries
        """
        app = seen_app.app
        alerts = before or await self._initial_state(app, until_s - MINUTE_S)
        earliest = until_s - CATCH_UP_MINUTES * MINUTE_S
        start = max(alerts.evaluated_s, earliest)
        skipped_range = TimeRange(alerts.evaluated_s, start)
        first = min(start, judge.judged_until_s) if judge else start
        inputs = await self._read_inputs(seen_app, queries, first, until_s)
        transitions: list[Transition] = []
        late_end, lines_lost = start, 0
        for end_s in range(first + MINUTE_S, until_s + MINUTE_S, MINUTE_S):
            await asyncio.sleep(0)
            is_late = now_s > end_s + SETTLED_AFTER_S + LATE_S
            verdict = await self._judge(judge, inputs, end_s, is_late=is_late)
            if end_s <= start:
                continue
            minute = await inputs.minute(end_s)
            late_end = end_s if is_late else late_end
            lines_lost += minute.lines_lost
            alerts = record_activity(alerts, _minute_activity(minute, is_late=is_late))
            results = await self._judge_minute(seen_app, alerts, queries, inputs, minute)
            results.update(judge_findings(queries.rules, alerts, verdict))
            alerts, minute_transitions = evaluate_minute(
                alerts, queries.rules, results, end_s, has_lines=minute.has_lines
            )
            findings = judge.open_findings if judge else ()
            alerts, minute_transitions = end_with_findings(
                alerts, minute_transitions, queries.rules_by_name, findings, end_s
            )
            transitions += minute_transitions
        return Evaluation(
            alerts, transitions, TimeRange(start, late_end), skipped_range, lines_lost
        )

    async def judge(self, seen_app: SeenApp, judge: AppJudge, until_s: int) -> None:
        """Judge the app's minutes up to `until_s` where no rule is evaluated.

        Raises:
            StoreUnavailable, PackError
        """
        first = judge.judged_until_s
        inputs = await self._read_inputs(seen_app, NO_RULES, first, until_s)
        for end_s in range(first + MINUTE_S, until_s + MINUTE_S, MINUTE_S):
            await self._judge(judge, inputs, end_s, is_late=False)

    async def _read_inputs(
        self, seen_app: SeenApp, queries: RuleQueries, start_s: int, until_s: int
    ) -> RuleInputs:
        return await read_inputs(
            self._store, seen_app, queries, start_s, until_s, self._minutes, self._limits
        )

    async def _judge(
        self, judge: AppJudge | None, inputs: RuleInputs, end_s: int, *, is_late: bool
    ) -> Verdict | None:
        minute_s = end_s - MINUTE_S
        if judge is None or minute_s < judge.judged_until_s:
            return judge.verdict if judge and end_s == judge.judged_until_s else None
        await judge.prepare(minute_s)
        interval = await observe(inputs.packed(minute_s), minute_s, limits=self._limits)
        if is_late and not interval.is_heard:  # a lack of lines may be our own outage
            interval = interval._replace(is_complete=False)
        return judge.advance(interval)

    async def _initial_state(self, app: str, start: int) -> AppAlerts:
        """The state of an app that was never evaluated, as of `start`."""
        first = start - BEFORE_FIRST_MINUTES * MINUTE_S
        activity = await read_activity(self._store, app, first, start, self._minutes)
        # Silence just before `start` does not count: Dynometer may not have been running.
        while activity and not activity[-1]:
            activity.pop()
        mask = sum(1 << index for index, is_active in enumerate(reversed(activity)) if is_active)
        return AppAlerts(start, activity_mask=mask)

    async def _judge_minute(
        self,
        seen_app: SeenApp,
        alerts: AppAlerts,
        queries: RuleQueries,
        inputs: RuleInputs,
        minute: Minute,
    ) -> dict[str, dict[str, MinuteResult]]:
        results = {
            rule.name: {"": result}
            for rule in queries.rules
            if (result := _judge_app_rule(rule, seen_app, alerts, minute)) is not None
        }
        app = seen_app.app
        if minute.has_lines:
            earlier = await self._earlier_hours.read(
                app, queries, minute.end_s - MINUTE_S, inputs.first_s
            )
            results.update(await self._judge_metric_rules(queries, inputs, minute, earlier))
        return results

    async def _judge_metric_rules(
        self,
        queries: RuleQueries,
        inputs: RuleInputs,
        minute: Minute,
        earlier: Mapping[bytes, Measurements],
    ) -> dict[str, dict[str, MinuteResult]]:
        results: dict[str, dict[str, MinuteResult]] = {}
        breaches = []
        for query, cells in zip(queries.metric_queries, minute.cells, strict=True):
            rule = query.rule
            observed_minutes = minute.observed_minutes(rule.over_minutes)
            for key, measurement in query.measure(cells, observed_minutes).items():
                result = judge_value(rule, key, measurement, earlier.get(query.key, {}).get(key))
                if rule.below and minute.complete < rule.over_minutes:
                    result = UNKNOWN
                if result.comparison is Comparison.BREACH:
                    breaches.append((query, key))
                results.setdefault(rule.name, {})[key] = result
        all_details = await inputs.details(breaches, minute)
        for (query, key), details in zip(breaches, all_details, strict=True):
            rule_results, parts = results[query.rule.name], details.get("parts", {})
            by_dyno = {dyno: value for dyno, value in details.get("dynos", {}).items() if dyno}
            rule_results[key] = rule_results[key]._replace(
                detail=dyno_in_words(by_dyno, query.metric),
                parts=tuple(sorted(parts, key=lambda name: (-parts[name], name))),
            )
        return results


def _judge_app_rule(
    rule: Rule, seen_app: SeenApp, alerts: AppAlerts, minute: Minute
) -> MinuteResult | None:
    """Judge a rule that is not about a metric; None for metric rules."""
    if rule.kind == "no_data":
        if not seen_app.origin.is_drain:  # a file that was replayed has an end
            return QUIET
        is_firing = any(
            alert.rule == rule.name and alert.phase == "firing" for alert in alerts.alerts
        )
        return judge_silence(rule, alerts, is_firing=is_firing)
    if rule.kind == "lost":
        comparison = Comparison.BREACH if minute.lines_lost > rule.limit else Comparison.QUIET
        return MinuteResult(comparison, minute.lines_lost, rule.limit)
    return None


def _minute_activity(minute: Minute, *, is_late: bool) -> MinuteActivity:
    kinds = minute.event_kinds
    return MinuteActivity(
        minute.end_s,
        has_lines=minute.has_lines,
        is_late=is_late,
        falls_asleep="idle" in kinds and "unidle" not in kinds,
        wakes_up="unidle" in kinds or minute.has_requests,
    )


def rules_for(app: str, rules: Mapping[str, Rule]) -> Sequence[Rule]:
    """The enabled rules that apply to this app."""
    return [rule for rule in rules.values() if rule.enabled and rule.applies_to(app)]
