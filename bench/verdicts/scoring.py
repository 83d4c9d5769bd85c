"""Compares verdicts with what is true: false alarms of healthy apps, and how incidents are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.judgement.facts import Interval, Usual
from app.judgement.verdict import Episode, Finding, Verdict
from bench.verdicts.app_model import HOUR_S, MINUTE_S
from bench.verdicts.history import History, Label
from bench.verdicts.response_times import p95_of

ALARMS = ("down", "silent", "degraded", "unreadable", "unknown")
CHANGE_NEAR_S = 90  # a deploy and its release are one change
CONTEXT_MINUTES = 12  # kept before a false alarm
RUN_BREAK_S = 600  # a finding that is back so soon is the same


@dataclass
class FalseAlarm:
    """A finding in a healthy time: one episode, whatever its number of minutes."""

    history: str
    group: str
    kind: str
    state: str
    at_s: int
    finding: Finding
    minutes: int = 1
    context: list[str] = field(default_factory=list)


@dataclass
class HealthyScore:
    """What was said of a healthy app."""

    group: str
    hours: float = 0.0
    deploys: int = 0
    alarms: list[FalseAlarm] = field(default_factory=list)


@dataclass
class IncidentScore:
    """How one incident was told.

    delay_s       from the end of the first whole bad minute to the first verdict; None: never
    onset_error_s, is_covered   of the last finding within the incident, as people read it
    naming        right, wrong, unsure (the judge says so) or none
    after         right, wrong, missed (there was a change), or none (rightly)
    end_error_s   from the true end; None: not closed
    oracle_delay_s  of the oracle, where there is one
    """

    group: str
    scenario: str
    history: str
    cell: tuple[float, float] = (0.0, 0.0)
    delay_s: int | None = None
    state: str = ""
    is_state_right: bool = False
    onset_error_s: int | None = None
    is_covered: bool = False
    naming: str = "none"
    after: str = "missed"
    end_error_s: int | None = None
    episodes: int = 0
    early_alarms: int = 0
    other_findings: list[str] = field(default_factory=list)
    oracle_delay_s: int | None = None
    summary: str = ""


class HealthyScorer:
    """Counts false alarms, minute after minute."""

    def __init__(self, history: History) -> None:
        self.score = HealthyScore(history.group, deploys=history.deploys)
        self._history = history
        self._last: dict[tuple[str, str], tuple[int, FalseAlarm]] = {}
        self._context: deque[tuple[Interval, Usual]] = deque(maxlen=CONTEXT_MINUTES)

    def observe(self, interval: Interval, usual: Usual, verdict: Verdict | None) -> None:
        """Count what the verdict at the end of this interval says. None: not judged yet."""
        self._context.append((interval, usual))
        if verdict is None:
            return
        self.score.hours += interval.length_s / HOUR_S
        for finding in verdict.findings:
            if finding.state in ALARMS and not finding.until_s:
                self._count(finding, verdict.judged_s)

    def _count(self, finding: Finding, at_s: int) -> None:
        key = finding.kind, finding.process_type
        last_s, alarm = self._last.get(key, (0, None))
        if alarm is None or at_s - last_s > RUN_BREAK_S:
            alarm = FalseAlarm(
                self._history.name, self._history.group, finding.kind, finding.state, at_s, finding
            )
            alarm.context = [describe(*minute) for minute in self._context]
            self.score.alarms.append(alarm)
        else:
            alarm.minutes += 1
            if ALARMS.index(finding.state) < ALARMS.index(alarm.state):
                alarm.state = finding.state
        self._last[key] = at_s, alarm


class IncidentScorer:
    """Compares what is said of an app with its label."""

    def __init__(self, history: History) -> None:
        assert history.label is not None
        label = self._label = history.label
        self.score = IncidentScore(history.group, label.name, history.name, history.cell)
        self._last: Finding | None = None
        self._ended: list[Finding] = []
        self._others: set[str] = set()
        self._early: set[tuple[str, str]] = set()

    def observe(self, verdict: Verdict, ended: Iterable[Episode]) -> None:
        """Take note of the verdict at the end of a minute, and of what has ended with it."""
        label = self._label
        self._ended += [episode.finding for episode in ended if self._matches(episode.finding)]
        alarms = [finding for finding in verdict.findings if not finding.until_s]
        if verdict.judged_s <= label.onset_s:
            for finding in alarms:
                if finding.state in ALARMS:
                    self._early.add((finding.kind, finding.process_type))
            return
        if verdict.judged_s > label.end_s + MINUTE_S:
            return
        matching = [finding for finding in alarms if self._matches(finding)]
        self._others |= {
            finding.kind
            for finding in alarms
            if finding.state in ALARMS and finding not in matching
        }
        if matching:
            finding = matching[0]
            if self.score.delay_s is None:
                self.score.delay_s = verdict.judged_s - label.first_bad_minute_end_s
            if verdict.judged_s <= label.end_s or self._last is None:
                self._last = finding
                self.score.summary = verdict.summary
            states = {found.state for found in matching}
            self.score.is_state_right |= bool(states & label.states)
            self.score.state = verdict.state

    def finish(self) -> IncidentScore:
        """The score, when all has been observed."""
        score, label, last = self.score, self._label, self._last
        score.early_alarms = len(self._early)
        score.other_findings = sorted(self._others)
        if last is None:
            return score
        score.onset_error_s = last.since_s - label.onset_s
        latest_s = last.since_max_s or last.since_s
        earliest_s = last.since_min_s or last.since_s
        score.is_covered = earliest_s <= label.onset_s <= latest_s
        score.naming = judge_naming(label, last)
        score.after = judge_change(label, last)
        score.episodes = len(self._ended)
        if self._ended:
            score.end_error_s = self._ended[-1].until_s - label.end_s
        return score

    def _matches(self, finding: Finding) -> bool:
        return finding.kind in self._label.kinds and finding.state in {
            "down",
            "degraded",
            *self._label.states,
        }


def judge_naming(label: Label, finding: Finding) -> str:
    """Whether the dynos that are named are those that are bad."""
    if finding.dynos:
        return "right" if set(finding.dynos) == set(label.dynos) else "wrong"
    if not label.dynos:
        return "right"
    return "unsure" if finding.who == "unsure" else "none"


def judge_change(label: Label, finding: Finding) -> str:
    """Whether the change before the incident is the right one, or rightly none."""
    if finding.after is None:
        return "missed" if label.change else "none"
    if label.change is None:
        return "wrong"
    is_near = abs(finding.after.at_s - label.change.at_s) <= CHANGE_NEAR_S
    return "right" if is_near else "wrong"


def describe(interval: Interval, usual: Usual) -> str:
    """A minute as a row: what a judge may have seen in it."""
    web = interval.types.get("web")
    counts = f"{web.requests:5} req {web.failed:4} failed" if web else "    - req    - failed"
    share = usual.failed_share.get("web", 0.0)
    highest = usual.failed_share_max.get("web", 0.0)
    past = usual.p95.get("web")
    events = " ".join(f"{found.kind}:{found.source or found.detail}" for found in interval.events)
    codes = " ".join(f"{source}/{code}×{count}" for (source, code), count in interval.codes.items())
    return (
        f"{interval.start_s} {counts} p95 {_p95(interval)} | {interval.messages} lines | usual"
        f" {share:.4f} max {highest:.4f} p95 {past} heard {usual.heard_share} | {codes} | {events}"
    )


def _p95(interval: Interval) -> str:
    web = interval.types.get("web")
    if not web or not web.times:
        return "-"
    return f"{p95_of(dict(web.times)):.0f}"
