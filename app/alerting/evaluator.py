"""Evaluates an app: minutes that are complete, each once, from where it stopped the last time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.conditions import Slots
from app.alerting.inputs import LastWeek, RuleQueries, heard_in, read_minutes
from app.alerting.rule import Rule
from app.alerting.state import AppAlerts
from app.alerting.state_machine import (
    UNKNOWN,
    JudgedMinute,
    MinuteActivity,
    Transition,
    Verdict,
    evaluate_minute,
    judge,
    judge_silence,
    listen,
)
from app.query.engine import SETTLED_AFTER_S
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.time_range import NEVER, TimeRange
from app.storage.interface import Reader

CATCH_UP_MINUTES = 120  # of what lies further back, nothing is told
LATE_S = 180  # a minute that is looked at so long after its time: we or the store were away
BEFORE_FIRST_MINUTES = 15  # of an app that is new to us, to know whether it usually speaks
_LOST = "lost_upstream"
_NOTHING = Rollup()


class Evaluation(NamedTuple):
    """An app after some minutes. `late`: those looked at long after their time; `skipped`: those
    not at all; `lost`: lines that Heroku lost in them.
    """

    after: AppAlerts
    changes: list[Transition]
    late: TimeRange = NEVER
    skipped: TimeRange = NEVER
    lost: int = 0


class Evaluator:
    """Reads and evaluates, and changes nothing."""

    def __init__(self, store: Reader, minutes: Resolution) -> None:
        self._store = store
        self._minutes = minutes
        self._last_week = LastWeek(store)

    async def evaluate(
        self,
        app: str,
        before: AppAlerts | None,
        questions: RuleQueries,
        until_s: int,
        now_s: float,
    ) -> Evaluation:
        """The app up to `until_s`, before which all minutes are complete.

        Raises:
            StoreUnavailable, PackError, TooManySeries
        """
        alerts = before or await self._first(app, until_s - MINUTE_S)
        earliest = until_s - CATCH_UP_MINUTES * MINUTE_S
        start = max(alerts.evaluated_s, earliest)
        skipped = TimeRange(alerts.evaluated_s, start)
        slots = await read_minutes(self._store, app, questions, start, until_s, self._minutes)
        changes: list[Transition] = []
        late_end, lost = start, 0
        for minute in range(start, until_s, MINUTE_S):
            end_s = minute + MINUTE_S
            rollup = slots.get(minute, _NOTHING)
            late = now_s > end_s + SETTLED_AFTER_S + LATE_S
            late_end = end_s if late else late_end
            lost += rollup.ledger.get(_LOST, 0)
            alerts = listen(alerts, _heard(rollup, end_s, late=late))
            judged = await self._judged(app, alerts, questions, slots, end_s)
            alerts, found = evaluate_minute(
                alerts, questions.rules, judged, end_s, known=bool(rollup.messages)
            )
            changes += found
        return Evaluation(alerts, changes, TimeRange(start, late_end), skipped, lost)

    async def _first(self, app: str, start: int) -> AppAlerts:
        """An app that was never evaluated, from `start` on. That it was silent just now may be
        because nobody listened.
        """
        first = start - BEFORE_FIRST_MINUTES * MINUTE_S
        heard = await heard_in(self._store, app, first, start, self._minutes)
        while heard and not heard[-1]:
            heard.pop()
        mask = sum(1 << index for index, each in enumerate(reversed(heard)) if each)
        return AppAlerts(start, heard=mask)

    async def _judged(
        self, app: str, alerts: AppAlerts, questions: RuleQueries, slots: Slots, end_s: int
    ) -> dict[str, dict[str, JudgedMinute]]:
        rollup = slots.get(end_s - MINUTE_S, _NOTHING)
        judged = {
            rule.name: {"": verdict}
            for rule in questions.rules
            if (verdict := _of_the_app(rule, alerts, rollup)) is not None
        }
        if rollup.messages:
            await self._last_week.of(app, questions, end_s - MINUTE_S)
            judged.update(self._answered(app, questions, slots, end_s))
        return judged

    def _answered(
        self, app: str, questions: RuleQueries, slots: Slots, end_s: int
    ) -> dict[str, dict[str, JudgedMinute]]:
        """What the metric rules say."""
        windows: dict[int, Slots] = {}
        judged: dict[str, dict[str, JudgedMinute]] = {}
        for question in questions.questions:
            rule = question.rule
            start = end_s - rule.over_minutes * MINUTE_S
            window = windows.get(start)
            if window is None:
                starts = range(start, end_s, MINUTE_S)
                window = windows[start] = {at: slots[at] for at in starts if at in slots}
            for key, measured in question.measure(window, start, end_s).items():
                week = self._last_week.measured(app, question, key)
                verdict = judge(rule, key, measured, week)
                if rule.below and not _is_whole(window, rule.over_minutes):
                    verdict = UNKNOWN
                if verdict.verdict is Verdict.BAD:
                    who = question.who(app, window, start, end_s, key)
                    parts = question.parts(app, window, start, end_s)
                    verdict = verdict._replace(detail=who, parts=parts)
                judged.setdefault(rule.name, {})[key] = verdict
        return judged


def _is_whole(window: Slots, minutes: int) -> bool:
    """Whether something was heard in each of so many minutes and Heroku lost nothing of them: else
    too little says nothing.
    """
    whole = [each for each in window.values() if each.messages and not each.ledger.get(_LOST)]
    return len(whole) == minutes


def _of_the_app(rule: Rule, alerts: AppAlerts, rollup: Rollup) -> JudgedMinute | None:
    """What rules say that are about no metric."""
    if rule.kind == "no_data":
        firing = any(each.rule == rule.name and each.phase == "firing" for each in alerts.alerts)
        return judge_silence(rule, alerts, firing=firing)
    if rule.kind == "lost":
        lost = rollup.ledger.get(_LOST, 0)
        bad = Verdict.BAD if lost > rule.limit else Verdict.QUIET
        return JudgedMinute(bad, lost, rule.limit)
    return None


def _heard(rollup: Rollup, end_s: int, *, late: bool) -> MinuteActivity:
    kinds = {event.kind for event in rollup.events}
    return MinuteActivity(
        end_s,
        heard=bool(rollup.messages),
        late=late,
        sleeps="idle" in kinds and "unidle" not in kinds,
        wakes="unidle" in kinds or bool(rollup.requests),
    )


def rules_about(app: str, rules: Mapping[str, Rule]) -> Sequence[Rule]:
    """Those that watch this app, and are not switched off."""
    return [rule for rule in rules.values() if rule.enabled and rule.is_about(app)]
