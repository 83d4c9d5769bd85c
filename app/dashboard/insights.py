"""Finds the problems of an app's last hour and describes them in a few sentences.

Pure: figures go in, sentences come out. A rise of p95 compares the medians of several minutes
before and after, so a single slow minute is not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from app.query.maintenance_events import BEGAN, ENDED, MAINTENANCE
from app.query.stats import Value
from app.rollup.events import EventKey
from parsers.error_codes import explain
from parsers.samples import APP_EVENTS

BEFORE_STEPS = 10
AFTER_STEPS = 4
RECOVERED_STEPS = 3
RISE_RATIO = 1.8  # "doubled", with some tolerance
RISE_TO_MIN_MS = 100  # a rise from 2 to 4 ms is harmless
FAILED_SHARE_HIGH = 0.02
MEMORY_HIGH = 0.95
CAUSE_WITHIN_S = 300
SILENT_AFTER_S = 300
_MS = 1000
_RATIOS = ((4.6, "rose {:.0f}-fold"), (3.5, "quadrupled"), (2.6, "tripled"), (0.0, "doubled"))


class AppFacts(NamedTuple):
    """The figures of an app's last hour. Times in Unix seconds.

    p95_ms          a value per step, from `start_s` on
    codes           lines by error code in the last minutes
    highest_memory  (dyno, share of its memory quota), of the fullest dyno
    """

    now_s: float
    last_seen_s: int
    start_s: int
    step_s: int
    p95_ms: Sequence[Value]
    failed_share: Value
    codes: dict[str, int]
    highest_memory: tuple[str, float] | None
    events: Sequence[EventKey]


class LatencyRise(NamedTuple):
    """A rise of p95 at the start of a step. Times in Unix seconds.

    `until_s` is the time at which it was back to normal, 0 while it is not.
    """

    at_s: int
    before_ms: float
    after_ms: float
    until_s: int = 0


def find_insights(facts: AppFacts) -> list[str]:
    """Describe each problem in a sentence, the worst first; empty if there is none.

    For a silent app, nothing else is said: its other figures are out of date.
    """
    if facts.now_s - facts.last_seen_s > SILENT_AFTER_S:
        return [f"Silent since {_utc_time(facts.last_seen_s)}: no log lines received."]
    sentences = [
        _describe_maintenance(facts),
        _describe_latency(facts),
        _describe_failures(facts),
        _describe_codes(facts),
        _describe_memory(facts),
    ]
    return [sentence for sentence in sentences if sentence]


def find_latency_rise(values: Sequence[Value], start_s: int, step_s: int) -> LatencyRise | None:
    """The largest lasting rise of p95, or None."""
    best: LatencyRise | None = None
    for index in range(BEFORE_STEPS, len(values) - AFTER_STEPS + 1):
        before = [value for value in values[index - BEFORE_STEPS : index] if value is not None]
        after = [value for value in values[index : index + AFTER_STEPS] if value is not None]
        first = values[index]
        if first is None or len(before) < BEFORE_STEPS // 2 or len(after) < AFTER_STEPS:
            continue
        low, high = max(median(before), 1), median(after)
        has_risen = (
            high >= RISE_RATIO * low and high >= RISE_TO_MIN_MS and first >= RISE_RATIO * low
        )
        if has_risen and (best is None or high / low > best.after_ms / best.before_ms):
            recovery = _recovery_index(values, index, RISE_RATIO * low)
            until_s = start_s + recovery * step_s if recovery else 0
            best = LatencyRise(start_s + index * step_s, low, high, until_s)
    return best


def _recovery_index(values: Sequence[Value], start: int, limit: float) -> int:
    """The first step from which on no value reaches the limit; 0 if there is none."""
    slow_steps = [index for index in range(start, len(values)) if (values[index] or 0) >= limit]
    recovery = slow_steps[-1] + 1
    return recovery if len(values) - recovery >= RECOVERED_STEPS else 0


def _describe_latency(facts: AppFacts) -> str:
    rise = find_latency_rise(facts.p95_ms, facts.start_s, facts.step_s)
    if rise is None:
        return ""
    ratio = rise.after_ms / rise.before_ms
    how = next(words for least, words in _RATIOS if ratio >= least).format(ratio)
    when = f"at {_utc_time(rise.at_s)}"
    if rise.until_s:
        when = f"from {_utc_time(rise.at_s)[:5]} to {_utc_time(rise.until_s)}"
    levels = f"from {rise.before_ms:,.0f} to {rise.after_ms:,.0f} ms"
    return f"p95 {how} {when}, {levels}{_describe_cause(facts, rise.at_s)}."


def _describe_cause(facts: AppFacts, at_s: int) -> str:
    """Name the likely cause: the last change to the app shortly before, a release preferred."""
    until_s = at_s + facts.step_s  # a change within the step may precede the rise too
    candidates = [
        event
        for event in facts.events
        if event.kind in APP_EVENTS and until_s - CAUSE_WITHIN_S <= event.at_ms / _MS <= until_s
    ]
    if not candidates:
        return ""
    event = max(candidates, key=lambda event: (event.kind in ("release", "deploy"), event.at_ms))
    gap_s = at_s - event.at_ms // _MS
    when = f"{gap_s} s after" if gap_s > 0 else "together with"
    return f", {when} {event.kind} {event.detail}"


def _describe_maintenance(facts: AppFacts) -> str:
    """Say that maintenance mode is on, and since when if that is known."""
    events = [event for event in facts.events if event.kind == MAINTENANCE]
    began = [event for event in events if event.detail == BEGAN]
    if not events or events[-1].detail == ENDED:
        return ""
    since = f" since {_utc_time(began[-1].at_ms / _MS)}" if began else ""
    return f"Maintenance mode is on{since}: requests are answered with 503 (H80)."


def _describe_failures(facts: AppFacts) -> str:
    share = facts.failed_share or 0
    return f"{share:.1%} of requests failed in the last hour." if share > FAILED_SHARE_HIGH else ""


def _describe_codes(facts: AppFacts) -> str:
    if not facts.codes:
        return ""
    most_frequent = sorted(facts.codes.items(), key=lambda item: -item[1])[:3]
    counts = [f"{count:,} {code} ({explain(code).title})" for code, count in most_frequent]
    return f"{', '.join(counts)} in the last 5 minutes."


def _describe_memory(facts: AppFacts) -> str:
    if facts.highest_memory is None or facts.highest_memory[1] <= MEMORY_HIGH:
        return ""
    dyno, share = facts.highest_memory
    return f"{dyno} uses {share:.0%} of its memory quota."


def _utc_time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M} UTC"
