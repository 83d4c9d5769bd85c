"""Verdicts on the pages: the words of a state, findings as lines, and figures that they mark.

Nothing is judged here. A figure is marked because a finding is about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.judgement.sentences import clause_of
from app.judgement.verdict import Episode, Finding, State, Verdict
from app.judgement.wording import describe_brief, is_pausing, nearest_minute
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S

HISTORY_DAYS = 7
HISTORY_MAX = 20
STATE_WORDS: dict[State, str] = {
    "down": "Down",
    "silent": "Silent",
    "unreadable": "Unreadable",
    "unknown": "Unknown",
    "degraded": "Degraded",
    "maintenance": "Maintenance",
    "ok": "OK",
    "idle": "Idle",
}
STATE_SHAPES: dict[State, str] = {  # so that no state is told by its color alone
    "down": "■",
    "silent": "◆",
    "unreadable": "✕",
    "unknown": "?",
    "degraded": "▲",
    "maintenance": "‖",
    "ok": "●",
    "idle": "○",
}
ALL_NORMAL = "all normal"
_FIGURES = {  # kind of finding -> the figures that it is about
    "failing": ("failed", "errors"),
    "no_dyno": ("failed", "errors"),
    "slow": ("time",),
    "memory_exceeded": ("memory", "errors"),
    "memory_killed": ("memory", "errors"),
    "memory_high": ("memory",),
    "crash_loop": ("errors",),
}
_PRESENT_FIGURES = {"failing": "failed", "no_dyno": "failed", "slow": "time"}
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z0-9])")
_CONTEXT_S = 15 * MINUTE_S  # shown before and after a finding
_RANGE_S_MIN = HOUR_S


class FindingLine(NamedTuple):
    """A finding in a line. Times in Unix seconds, rounded to minutes as in its text.

    until_s         0 while it lasts
    start_s, end_s  the range of the page that shows it; `end_s` is 0 for now
    is_told         whether the sentence of the verdict tells it already
    """

    text: str
    state: State
    since_s: int
    until_s: int
    start_s: int
    end_s: int
    is_told: bool = False


class PresentValue(NamedTuple):
    """A figure of now, and the length of the time that it is of."""

    value: float | None
    window_s: int


class Judgement(NamedTuple):
    """The judgement at the head of a page.

    findings     those of the verdict, the worst first
    history      problems that are over, the latest first
    dynos_named  the dynos that findings name
    """

    verdict: Verdict
    findings: list[FindingLine]
    history: list[FindingLine]
    dynos_named: frozenset[str]


def build_judgement(verdict: Verdict, episodes: Sequence[Episode]) -> Judgement:
    """The view of a verdict and of the episodes of the last days."""
    dynos_named = frozenset(dyno for finding in verdict.findings for dyno in finding.dynos)
    return Judgement(verdict, _finding_lines(verdict), _history_lines(episodes), dynos_named)


def shorten_summary(verdict: Verdict) -> str:
    """The verdict in the words of one line, for a place that shows its state already."""
    if verdict.state == "ok" and not verdict.findings:
        return ALL_NORMAL
    text = verdict.summary
    if verdict.state == "ok":  # the summary begins with figures, which stand beside
        text = describe_brief(verdict.findings[0], verdict.judged_s)
    first = first_sentence(text)
    word = STATE_WORDS[verdict.state]
    return first.removeprefix(f"{word} ").removesuffix(".")


def marked_figures(findings: Iterable[Finding]) -> frozenset[str]:
    """The figures that these findings are about: failed, time, memory, errors."""
    return frozenset(figure for finding in findings for figure in _FIGURES.get(finding.kind, ()))


def present_values(verdict: Verdict) -> dict[str, PresentValue]:
    """The figures that the verdict tells of now, as `marked_figures` names them.

    What shows such a figure shows this value, so that it says the same as the sentence.
    """
    values: dict[str, PresentValue] = {}
    for finding in verdict.findings:
        figure = _PRESENT_FIGURES.get(finding.kind)
        is_whole = finding.process_type in ("", "web")  # only web dynos have requests
        is_now = not finding.until_s and not is_pausing(finding, verdict.judged_s)
        if figure and is_whole and is_now and finding.window_s and finding.value is not None:
            values.setdefault(figure, PresentValue(finding.value, finding.window_s))
    return values


def _finding_lines(verdict: Verdict) -> list[FindingLine]:
    """The findings of a verdict, the worst first. Those that its sentence tells come without words,
    and only the first of them.
    """
    headline = first_sentence(verdict.summary)
    lines: list[FindingLine] = []
    for finding in verdict.findings:
        details = clause_of(finding).details
        is_told = bool(details) and details in headline
        if not (is_told and lines):
            text = describe_brief(finding, verdict.judged_s)
            lines.append(_line(finding, text)._replace(is_told=is_told))
    return lines


def first_sentence(summary: str) -> str:
    """The first sentence of a summary."""
    return _SENTENCE_END.split(summary, maxsplit=1)[0]


def _history_lines(episodes: Sequence[Episode]) -> list[FindingLine]:
    """Problems that are over, the latest first; notes are left out."""
    problems = [
        episode
        for episode in episodes
        if episode.finding.until_s and episode.finding.state not in ("ok", "idle")
    ]
    problems.sort(key=lambda episode: -episode.finding.since_s)
    return [_line(episode.finding, episode.summary) for episode in problems[:HISTORY_MAX]]


def history_start(now_s: float) -> int:
    """The begin of the history that a page shows, Unix seconds."""
    return int(now_s) - HISTORY_DAYS * DAY_S


def _line(finding: Finding, text: str) -> FindingLine:
    since_s, until_s = nearest_minute(finding.since_s), nearest_minute(finding.until_s)
    start_s = since_s - _CONTEXT_S
    end_s = until_s + _CONTEXT_S if until_s else 0
    if end_s:
        start_s = min(start_s, end_s - _RANGE_S_MIN)
    return FindingLine(text, finding.state, since_s, until_s, start_s, end_s)
