"""Detects that responses take longer than usual, by process type.

The share of requests above the usual p95 is 5 % on a usual day. It tells more than the p95 of a
few minutes does, which is the value of a handful of requests: so the share is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

from app.judgement.binomial import ALPHA, is_share_above
from app.judgement.facts import Interval, TypeFacts, Usual
from app.judgement.onset import Onset, estimate_onset
from app.judgement.present import find_present, length_of
from app.judgement.tallies import ShareTotal, collect_tallies, find_excused, sum_spans
from app.judgement.verdict import Finding
from app.judgement.window import Symptom, Window
from app.rollup.resolutions import HOUR_S
from app.rollup.sketch import count_within, quantile_ms

FACTOR = 1.8
P95_MIN_MS = 300
RISE_MIN_MS = 150
REQUESTS_MIN = 40
LONG_SPAN_REQUESTS_MIN = 10
LONG_SPAN_S = 900
LONG_SPAN_ALPHA = 1e-4  # long spans are few, so chance has fewer trials
LONG_SPAN_FACTOR = 1.6  # what lasts so long is less a matter of chance
SLOW_SHARE = 0.05  # above a p95, by its definition
SLOW_SHARE_BAD = 0.10  # an interval with more than that is slow
REFERENCE_S = 3600
REFERENCE_REQUESTS_MIN = 100
NEW_APP_S = 24 * 3600
ONSET_S = 45 * 60

_BLOCK_S = 600  # the reference hour moves in such steps, so that it is rarely computed
_SPAN_MAX_S = 1800
_JOB_MAX_S = 1800
_JOB_FACTOR = 2.5  # it may take so much longer, for its p95 is that of few requests
_JOB_RISE_MIN = 1.2  # times the usual p95, which the same jobs have raised
_JOB_SHIFT_S = 60  # a job begins so much earlier or later
_WORST_S = 300  # of which the highest p95 of a finding is
_KINDS = ("slow", "failing", "no_dyno")  # the times of such incidents are no reference
_NOTHING = TypeFacts()


def detect_slow(window: Window, usual: Usual) -> list[Symptom]:
    """Find the process types that respond more slowly than they usually do."""
    symptoms = []
    for process_type, facts in sorted(window.last.types.items()):
        if facts.times:
            finding = window.open_finding("slow", process_type)
            symptom = (
                _continue_finding(window, process_type, finding)
                if finding
                else _judge_type(window, usual, process_type)
            )
            if symptom:
                symptoms.append(symptom)
    return symptoms


def _judge_type(window: Window, usual: Usual, process_type: str) -> Symptom | None:
    past = usual.p95.get(process_type)
    past_ms = max(past.yesterday_ms or 0.0, past.last_week_ms or 0.0) if past else 0.0
    total, slow = _count(window.last, process_type, _limit_ms(past_ms, LONG_SPAN_S))
    if slow <= SLOW_SHARE_BAD / 4 * total:  # a cheap test, which most minutes fail
        return None
    hour_ms = _reference_ms(window, process_type)
    usual_ms = max(past_ms, hour_ms or 0.0)
    if not usual_ms:
        return None

    def count(interval: Interval) -> tuple[int, int]:
        return _count(interval, process_type, usual_ms)

    total, slow = count(window.last)
    excused_s = find_excused(window, count, SLOW_SHARE)
    if slow <= SLOW_SHARE_BAD * total or window.last.start_s in excused_s:
        return None
    tallies = collect_tallies(window, window.ended_s("slow", process_type), count)
    is_new = usual.history_s < NEW_APP_S or not past_ms
    for span in sum_spans(window, tallies, excused_s):
        if span.span_s > _SPAN_MAX_S:
            break
        if is_new and span.total < REQUESTS_MIN:
            continue  # what is usual is not known so well
        if not _is_slow(span, window, process_type, usual_ms):
            continue
        p95_ms = _p95_ms(window, process_type, span.span_s, excused_s)
        limit_ms = _limit_ms(usual_ms, span.span_s)
        if p95_ms and p95_ms >= limit_ms:
            if _is_hourly(window, process_type, span.span_s, p95_ms, usual_ms):
                return None
            onset = estimate_onset(tallies, SLOW_SHARE, window.end_s - ONSET_S)
            symptom = _symptom(window, process_type, onset, usual_ms, limit_ms, is_new)
            return msgspec.structs.replace(symptom, worst=p95_ms)
    return None


def _is_hourly(
    window: Window, process_type: str, span_s: int, p95_ms: float, usual_ms: float
) -> bool:
    """Whether it was slow an hour ago, too: a job that runs every hour is no incident."""
    last_s = window.end_s - HOUR_S
    for finding in window.findings:
        end_s = finding.until_s or window.end_s
        if finding.since_s <= last_s < end_s and end_s - finding.since_s > _JOB_MAX_S:
            return False  # that was no job
    hours_p95 = [
        _p95_between(window, process_type, end_s - span_s, end_s)
        for end_s in (last_s - _JOB_SHIFT_S, last_s, last_s + _JOB_SHIFT_S)
    ]
    job_ms = max(hours_p95)
    return job_ms > _JOB_RISE_MIN * usual_ms and _JOB_FACTOR * job_ms > p95_ms


def _p95_between(window: Window, process_type: str, start_s: int, end_s: int) -> float:
    """The p95 of a time in the past; 0 if it had too few requests."""
    times: dict[int, int] = {}
    for interval in window.over(window.end_s - start_s):
        if interval.end_s <= end_s:
            _merge(times, interval.types.get(process_type, _NOTHING).times)
    return (quantile_ms(times, 0.95) or 0.0) if sum(times.values()) >= REQUESTS_MIN else 0.0


def _continue_finding(window: Window, process_type: str, finding: Finding) -> Symptom | None:
    """Go on with the usual p95 of the finding's begin, unless the last interval kept to it."""
    is_excused = window.last.start_s in window.excused_s
    if finding.usual is None or finding.limit is None or is_excused:
        return None
    total, slow = _count(window.last, process_type, finding.usual)
    if slow <= SLOW_SHARE_BAD * total:
        return None
    p95_ms = _p95_ms(window, process_type, _WORST_S, window.excused_s)
    onset = Onset(finding.since_s, finding.since_min_s, finding.since_max_s)
    is_new = finding.reason == "new"
    symptom = _symptom(window, process_type, onset, finding.usual, finding.limit, is_new)
    return msgspec.structs.replace(symptom, worst=p95_ms)


def _symptom(
    window: Window,
    process_type: str,
    onset: Onset,
    usual_ms: float,
    limit_ms: float,
    is_new: bool,
) -> Symptom:
    def count(interval: Interval) -> tuple[int, int]:
        return _count(interval, process_type, limit_ms)

    present = find_present(window, onset.since_s, count)
    times: dict[int, int] = {}
    for interval in present:
        _merge(times, interval.types.get(process_type, _NOTHING).times)
    return Symptom(
        "slow",
        "degraded",
        *onset,
        process_type=process_type,
        metric="service_time_ms",
        value=quantile_ms(times, 0.95),
        window_s=length_of(present),
        usual=usual_ms,
        limit=limit_ms,
        certainty="likely" if is_new else "certain",
        reason="new" if is_new else "",
    )


def _limit_ms(usual_ms: float, span_s: int) -> float:
    factor = LONG_SPAN_FACTOR if span_s >= LONG_SPAN_S else FACTOR
    return max(factor * usual_ms, P95_MIN_MS, usual_ms + RISE_MIN_MS)


def _is_slow(span: ShareTotal, window: Window, process_type: str, usual_ms: float) -> bool:
    """Whether more requests than 5 % are above the usual p95, beyond doubt, in two minutes."""
    is_long = span.span_s >= LONG_SPAN_S
    requests_min = LONG_SPAN_REQUESTS_MIN if is_long else REQUESTS_MIN
    alpha = LONG_SPAN_ALPHA if is_long else ALPHA
    if span.total < requests_min or not is_share_above(span.bad, span.total, SLOW_SHARE, alpha):
        return False
    slow_time_s = 0
    for interval in window.over(span.span_s):
        total, slow = _count(interval, process_type, usual_ms)
        if slow > SLOW_SHARE_BAD * total:
            slow_time_s += interval.length_s
    return slow_time_s >= 120


def _count(interval: Interval, process_type: str, limit_ms: float) -> tuple[int, int]:
    """The requests that succeeded, and those that took longer than `limit_ms`."""
    times = interval.types.get(process_type, _NOTHING).times
    if not times:
        return 0, 0
    total = sum(times.values())
    return total, total - int(count_within(times, int(limit_ms)))


def _p95_ms(window: Window, process_type: str, span_s: int, excused_s: Set[int]) -> float | None:
    times: dict[int, int] = {}
    for interval in window.over(span_s):
        if interval.start_s not in excused_s:
            _merge(times, interval.types.get(process_type, _NOTHING).times)
    return quantile_ms(times, 0.95)


def _merge(times: dict[int, int], added: Mapping[int, int]) -> None:
    for index, count in added.items():
        times[index] = times.get(index, 0) + count


def _reference_ms(window: Window, process_type: str) -> float | None:
    """The p95 of the hour before, outside incidents; None if it had too few requests.

    The hour ends 30 to 40 minutes ago: a slow time that is tested now may have lasted as long.
    """
    last_s = (window.end_s - _SPAN_MAX_S) // _BLOCK_S * _BLOCK_S
    incidents = tuple(
        (finding.since_s, finding.until_s or window.end_s)
        for finding in window.findings
        if finding.kind in _KINDS and finding.process_type in ("", process_type)
    )
    key = "p95", process_type
    question = last_s, incidents
    answer: tuple[object, float | None] | None = window.memory.get(key)
    if answer is None or answer[0] != question:
        answer = question, _measure_reference(window, process_type, last_s, incidents)
        window.memory[key] = answer
    return answer[1]


def _measure_reference(
    window: Window, process_type: str, last_s: int, incidents: tuple[tuple[int, int], ...]
) -> float | None:
    times: dict[int, int] = {}
    for interval in window.over(window.end_s - last_s + REFERENCE_S):
        is_outside = all(
            interval.end_s <= since_s or interval.start_s >= until_s
            for since_s, until_s in incidents
        )
        if interval.end_s <= last_s and is_outside and interval.start_s not in window.excused_s:
            _merge(times, interval.types.get(process_type, _NOTHING).times)
    if sum(times.values()) < REFERENCE_REQUESTS_MIN:
        return None
    return quantile_ms(times, 0.95)
