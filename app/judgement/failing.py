"""Detects that too many requests fail, by process type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from app.judgement.facts import Interval, TypeFacts, Usual
from app.judgement.onset import Onset, Tally, estimate_onset
from app.judgement.present import DOWN_SHARE, find_present, length_of
from app.judgement.steady_failures import BLOCK_S, find_steady_failures, least_share
from app.judgement.tallies import (
    ShareTotal,
    collect_tallies,
    find_excused,
    sum_spans,
)
from app.judgement.verdict import Finding, State
from app.judgement.window import HISTORY_S, Symptom, Window
from parsers.samples import labels_of

BURST_FACTOR = 1.3  # a burst that is a little higher than any of a day is just a burst
DOWN_REQUESTS = 17  # the fewest that prove a share above DOWN_SHARE, if all fail
RECOVERY_S = 180  # so long "down" goes on, while half of the requests fail
ONSET_S = 75 * 60  # a change is found within an hour
NEW_APP_S = 24 * 3600

# Of the client: evidence, but no failure of the app (app.judgement.observe).
CLIENT_CODES = frozenset({"H26", "H27", "H28", "H31", "H32", "H80"})
_IDLE_CODE = "H15"
_NOTHING = TypeFacts()


def detect_failing(window: Window, usual: Usual) -> list[Symptom]:
    """Find the process types that fail more requests than they usually do.

    The newest interval must be among the bad ones, so that a bump that is over is not told as
    present. A deploy or restart excuses it.
    """
    symptoms = []
    for process_type, facts in sorted(window.last.types.items()):
        if facts.failed:
            symptom = _judge_type(window, usual, process_type)
            if symptom:
                symptoms.append(symptom)
    return symptoms


def failed_limit(usual: Usual, process_type: str, span_s: int = BLOCK_S) -> float:
    """The share of failed requests in a time above which a process type is degraded.

    The highest usual share is one of BLOCK_S. Shorter times have higher ones, and longer times
    lower ones, as bursts average out.
    """
    share = usual.failed_share.get(process_type, 0.0)
    highest = max(usual.failed_share_max.get(process_type, 0.0), share)
    burst = share + (highest - share) * sqrt(BLOCK_S / span_s)
    return min(max(least_share(usual, process_type), BURST_FACTOR * burst), DOWN_SHARE)


def _judge_type(window: Window, usual: Usual, process_type: str) -> Symptom | None:
    is_idle_failed = _is_idle_failed(window, usual, process_type)

    def count(interval: Interval) -> tuple[int, int]:
        return _count(interval, process_type, is_idle_failed)

    finding = window.open_finding("failing", process_type)
    steady_limit = least_share(usual, process_type)
    total, failed = count(window.last)
    excused_s = find_excused(window, count, failed_limit(usual, process_type))
    if failed <= ((finding and finding.limit) or steady_limit) * total:
        return None
    if window.last.start_s in excused_s:
        return None
    floor_s = 0 if finding else _first_s(window, process_type)
    if window.last.start_s < floor_s:
        return None
    tallies = collect_tallies(window, floor_s, count)
    spans = list(sum_spans(window, tallies, excused_s))
    limits = [failed_limit(usual, process_type, span.span_s) for span in spans]
    span, limit = next(
        ((span, limit) for span, limit in zip(spans, limits, strict=True) if span.is_above(limit)),
        (None, limits[1]),
    )
    if span is None and finding is None:
        span = find_steady_failures(tallies, excused_s, usual, process_type)
        limit = steady_limit
        if span is None:
            return None
    span = span or spans[1]
    usual_share = usual.failed_share.get(process_type)
    onset = (
        Onset(finding.since_s, finding.since_min_s, finding.since_max_s)
        if finding
        else estimate_onset(tallies, usual_share or 0.0, window.end_s - ONSET_S)
    )
    code = _main_code(window.over(span.span_s), process_type, span.bad)
    state = _state(spans, tallies, finding)
    present = find_present(window, onset.since_s, count, is_down=state == "down")
    counts = [count(interval) for interval in present]
    # Of an app that is down, the newest minute tells more: those before it are partly from before.
    is_newest_worse = state == "down" and failed > span.share * total
    return Symptom(
        "failing",
        state,
        *onset,
        process_type=process_type,
        code=code,
        metric="" if code else "failed_share",
        value=sum(bad for _, bad in counts) / sum(requests for requests, _ in counts),
        window_s=length_of(present),
        worst=failed / total if is_newest_worse else span.share,
        usual=usual_share,
        limit=limit,
        count=_count_since(tallies, onset, finding, window.end_s),
    )


def _first_s(window: Window, process_type: str) -> int:
    """From when on failures count: after the last problem, and after the app was scaled to zero."""
    ended_s = [window.ended_s(kind, process_type) for kind in ("failing", "no_dyno")]
    outage = window.open_finding("no_dyno", process_type)
    if outage:  # it tells of these failures
        ended_s.append(outage.latest_s)
    awake_s = (
        finding.latest_s + window.last.length_s  # in which its dynos came up
        for finding in window.findings
        if finding.reason == "scaled" and finding.process_type in ("", process_type)
    )
    return max(*ended_s, *awake_s, 0)


def _count(interval: Interval, process_type: str, is_idle_failed: bool) -> tuple[int, int]:
    facts = interval.types.get(process_type, _NOTHING)
    if is_idle_failed or not facts.failed:
        return facts.requests, facts.failed
    idle = sum(
        count
        for (source, code), count in interval.codes.items()
        if code == _IDLE_CODE and labels_of(source)[0] == process_type
    )
    return facts.requests, max(facts.failed - idle, 0)


def _is_idle_failed(window: Window, usual: Usual, process_type: str) -> bool:
    """Whether connections that idle (H15) are failures.

    With WebSockets they are normal. After a day of history, they are part of the usual share.
    """
    return usual.history_s >= NEW_APP_S or not any(
        interval.types.get(process_type, _NOTHING).websockets for interval in window.over(HISTORY_S)
    )


def _state(spans: Sequence[ShareTotal], tallies: Sequence[Tally], finding: Finding | None) -> State:
    """Down if most requests fail, those of the newest interval too."""
    newest = tallies[-1]
    if newest.bad <= newest.total * DOWN_SHARE:
        is_down = False
    else:
        # The shortest span that tells decides: an hour still holds what is over.
        is_down = any(
            span.is_above(DOWN_SHARE)
            for span, shorter in zip(spans, _decided(spans), strict=True)
            if not shorter
        )
    if not is_down and finding and finding.state == "down":
        recent = [tally for tally in tallies if tally.start_s >= newest.start_s - RECOVERY_S + 60]
        is_down = sum(tally.bad for tally in recent) > DOWN_SHARE * sum(
            tally.total for tally in recent
        )
    return "down" if is_down else "degraded"


def _decided(spans: Sequence[ShareTotal]) -> list[bool]:
    """For each span, whether a shorter one shows that at most half of the requests fail."""
    decided = [False]
    for shorter, _ in pairwise(spans):
        is_enough = shorter.total >= DOWN_REQUESTS and shorter.share <= DOWN_SHARE
        decided.append(decided[-1] or is_enough)
    return decided


def _main_code(intervals: Sequence[Interval], process_type: str, failed: int) -> str:
    """The code, or else the status, of most of the failed requests; "" if there is none."""
    codes: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for interval in intervals:
        for (source, code), count in interval.codes.items():
            if (
                code[:1] == "H"
                and code not in CLIENT_CODES
                and labels_of(source)[0] == process_type
            ):
                codes[code] += count
        for status, count in interval.types.get(process_type, _NOTHING).statuses.items():
            statuses[str(status) if status else ""] += count
    # A code says more than its status, which is 503 for most of them.
    for counts in (codes, statuses):
        name, count = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
        if 2 * count > failed:
            return name
    return ""


def _count_since(
    tallies: Sequence[Tally], onset: Onset, finding: Finding | None, end_s: int
) -> int:
    """The number of requests that failed so far."""
    if finding and finding.since_s < end_s - HISTORY_S:
        return finding.count + tallies[-1].bad
    return sum(tally.bad for tally in tallies if tally.start_s + tally.length_s > onset.since_s)
