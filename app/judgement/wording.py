"""Says a judgement in plain English. The first sentence stands alone.

Down since 23:12 UTC (15 min): every request ends with H10 (app crashed); web.1 and web.2 have
crashed at start 8 times (exit status 1). One minute after release v57 and a config change
(STRIPE_KEY). Memory and load unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.judgement.facts import Interval
from app.judgement.sentences import clause_of
from app.judgement.verdict import Change, Finding, State
from app.rollup.resolutions import DAY_S, MINUTE_S
from app.rollup.sketch import Bins, quantile_ms
from app.support.quantities import (
    clock_time,
    count_in_words,
    duration_in_words,
    names_in_words,
    number_in_words,
    share_in_words,
    time_in_words,
)

_RECENT_S = 5 * MINUTE_S
_EXACT_S = 2 * MINUTE_S  # an onset within as much is told as one time
_PAUSING = frozenset({"failing", "no_dyno", "slow"})
_PAUSE_S = 2 * MINUTE_S  # without requests that fail, it is told of the past
_AT_ONCE_S = 30  # a change so shortly before is "right after"
_COMMIT_LENGTH = 7
_CHANGES = {"addon": "an add-on change", "stack": "a stack change", "restart": "a restart"}
_HEX_DIGITS = frozenset("0123456789abcdef")


def summarize(
    state: State,
    findings: Sequence[Finding],
    judged_s: int,
    intervals: Sequence[Interval] = (),
    *,
    start_s: int = 0,
) -> str:
    """Describe an app at `judged_s`, or over a range from `start_s` to then.

    The worst of `findings` is told in full, with the crashes that explain it; then the next one,
    and the number of the others. `intervals`, the latest of the app, give the figures of an app
    that is all right.
    """
    problems = [finding for finding in findings if finding.state != "ok"]
    if state == "ok" or not problems:
        return _describe_ok(findings, judged_s, intervals, start_s)
    worst, *rest = problems
    crashes = _crashes_of(worst, rest)
    if crashes:
        rest.remove(crashes)
    sentences = [_capitalize(_head(worst, judged_s, crashes)), *_context(worst)]
    if rest:
        sentences.append(f"Also {_head(rest[0], judged_s)}")
    if len(rest) > 1:
        sentences.append(f"{count_in_words(len(rest) - 1, 'more problem')}.")
    return " ".join(sentences)


def describe_finding(finding: Finding, judged_s: int) -> str:
    """Describe one finding in full. Once it is over, in the past tense.

    Times of another day than that of `judged_s` have a date; with 0, all have.
    """
    return " ".join([describe_brief(finding, judged_s), *_context(finding)])


def describe_brief(finding: Finding, judged_s: int) -> str:
    """The first sentence about a finding: its time, and its figures."""
    return _capitalize(_head(finding, judged_s))


def is_pausing(finding: Finding, judged_s: int) -> bool:
    """Whether a problem has not been seen for minutes, and has not ended for good either."""
    return (
        finding.kind in _PAUSING
        and not finding.until_s
        and 0 < finding.latest_s <= judged_s - max(_PAUSE_S, 2 * finding.resolution_s)
    )


def nearest_minute(at_s: int) -> int:
    """A time as sentences tell it: rounded, so that 12:54:57 is 12:55."""
    return (at_s + MINUTE_S // 2) // MINUTE_S * MINUTE_S


def describe_change(change: Change) -> str:
    """A change by name: release v57 and a config change (STRIPE_KEY)."""
    names = [_name_change(change.kind, change.detail)]
    names += [_name_change(kind, detail) for kind, detail in change.actions]
    return names_in_words(names)


def describe_after(change: Change, since_s: int) -> str:
    """The change before a finding, and how long before: One minute after release v57."""
    gap_s = since_s - change.at_s
    minutes = round(gap_s / MINUTE_S)
    if gap_s < _AT_ONCE_S:
        gap = "Right after"
    elif minutes <= 1:
        gap = "One minute after"
    else:
        gap = f"{minutes} minutes after"
    return f"{gap} {describe_change(change)}."


# --- sentences ----------------------------------------------------------------------------------


def _head(finding: Finding, judged_s: int, crashes: Finding | None = None) -> str:
    lead, details = clause_of(finding)
    pauses = is_pausing(finding, judged_s)
    if pauses:
        details = clause_of(msgspec.structs.replace(finding, until_s=finding.latest_s)).details
    if finding.certainty == "likely":
        is_past = lead.startswith("was ")
        lead = f"was probably {lead.removeprefix('was ')}" if is_past else f"probably {lead}"
    if finding.occurrences > 1:
        lead += f" {finding.occurrences} times"
    all_details = [details] if details else []
    if crashes is not None:
        crash_details = clause_of(crashes).details
        is_told_twice = finding.kind == "no_dyno" and not finding.code  # by its crashes alone
        all_details = [crash_details] if is_told_twice else [*all_details, crash_details]
    text = f"{lead} {_time_of(finding, judged_s)}"
    if pauses:
        text += f", last at {clock_time(finding.latest_s, judged_s)} UTC"
    if all_details:
        text += f": {'; '.join(all_details)}"
    if finding.full_s and not finding.until_s:
        is_soon = finding.full_s - judged_s < DAY_S  # then the date goes without saying
        full = clock_time(finding.full_s, finding.full_s if is_soon else judged_s)
        text += f", full at about {full} UTC"
    if finding.up_s and not finding.until_s:
        text += f", up again since {clock_time(finding.up_s, judged_s)} UTC"
    return f"{text}."


def _crashes_of(worst: Finding, rest: Sequence[Finding]) -> Finding | None:
    """The crashes that explain why requests fail."""
    if worst.kind not in ("failing", "no_dyno"):
        return None
    process_type = worst.process_type or "web"
    for finding in rest:
        is_same_time = bool(finding.until_s) == bool(worst.until_s)
        if finding.kind == "crash_loop" and finding.process_type == process_type and is_same_time:
            return finding
    return None


def _context(finding: Finding) -> list[str]:
    """The sentences after the first one: the change before it, and reasons that are ruled out."""
    sentences = []
    if finding.after is not None:
        sentences.append(describe_after(finding.after, finding.since_s))
    if finding.not_reasons:
        sentences.append(f"{_capitalize(names_in_words(finding.not_reasons))} unchanged.")
    return sentences


def _name_change(kind: str, detail: str) -> str:
    version = detail.partition(" ")[0]
    if kind == "release":
        return f"release {detail}"
    if kind == "rollback":
        return f"a rollback to {version}"
    if kind == "deploy":
        is_commit = len(version) > _COMMIT_LENGTH and _HEX_DIGITS.issuperset(version)
        return f"a deploy ({version[:_COMMIT_LENGTH] if is_commit else detail})"
    if kind == "config":
        verb, _, names = detail.partition(" ")
        return f"a config change ({names})" if verb == "set" else f"a config change ({detail})"
    if kind == "scale":
        sizes = ", ".join(size.partition(":")[0].replace("@", "=") for size in detail.split())
        return f"scaling to {sizes}"
    name = _CHANGES.get(kind, kind)
    if kind == "restart":
        return f"{name} of {detail}" if "." in detail else name
    return f"{name} ({detail})" if detail else name


def _capitalize(text: str) -> str:
    """With a capital letter, except for the name of a dyno: web.1 is written as Heroku does."""
    first = text.partition(" ")[0]
    return text if "." in first else text[:1].upper() + text[1:]


# --- times --------------------------------------------------------------------------------------


def _time_of(finding: Finding, judged_s: int) -> str:
    if finding.until_s:
        return _range_in_words(finding, judged_s)
    first_s, last_s = _onset(finding)
    duration_s = max(judged_s - nearest_minute(finding.since_s), 0)
    first, last = (clock_time(at_s, judged_s) for at_s in (first_s, last_s))
    if first == last:
        return f"since {first} UTC ({duration_in_words(duration_s)})"
    if judged_s - last_s < MINUTE_S:
        return f"since {first} UTC or later"
    return f"since some time between {first} and {last} UTC (about {duration_in_words(duration_s)})"


def _range_in_words(finding: Finding, judged_s: int) -> str:
    """When a finding was: from 23:12 to 23:40 UTC (28 min)."""
    first_s, last_s = _onset(finding)
    until_s = nearest_minute(finding.until_s)
    duration = duration_in_words(until_s - nearest_minute(finding.since_s))
    if first_s != last_s:
        first, last = clock_time(first_s, judged_s), clock_time(last_s, first_s)
        begin = f"from some time between {first} and {last}"
        return f"{begin} to {clock_time(until_s, last_s)} UTC (about {duration})"
    begin, end = clock_time(first_s, judged_s), clock_time(until_s, first_s)
    is_other_day = end == clock_time(until_s, until_s) and end != clock_time(until_s, judged_s)
    if is_other_day:
        date, _, clock = begin.rpartition(" ")
        return f"on {date} from {clock} to {end} UTC ({duration})"
    return f"from {begin} to {clock_time(until_s, judged_s)} UTC ({duration})"


def _onset(finding: Finding) -> tuple[int, int]:
    """Between which minutes it began; twice the same if that is known."""
    first_s, last_s = finding.since_min_s, finding.since_max_s
    if not first_s or not last_s:
        first_s = finding.since_s
        last_s = first_s + finding.resolution_s
    if last_s - first_s <= _EXACT_S:
        since_s = nearest_minute(finding.since_s)
        return since_s, since_s
    return first_s // MINUTE_S * MINUTE_S, -(-last_s // MINUTE_S) * MINUTE_S


# --- an app that is all right -------------------------------------------------------------------


def _describe_ok(
    notes: Sequence[Finding], judged_s: int, intervals: Sequence[Interval], start_s: int
) -> str:
    """The notes if there are any, and the figures."""
    if start_s:
        begin, end = clock_time(start_s, judged_s), clock_time(judged_s, judged_s)
        figures = f"from {begin} to {end} UTC"
        summary = f"All normal {figures}."
    else:
        figures = _describe_figures(judged_s, intervals)
        summary = f"All normal: {figures}." if figures else "All normal."
    if not notes:
        return summary
    sentences: list[str] = []
    for note in notes:
        begin = "Also" if sentences else "Fine, but"
        sentences += [f"{begin} {_head(note, judged_s)}", *_context(note)]
    return " ".join(sentences + ([f"{_capitalize(figures)}."] if figures and not start_s else []))


def _describe_figures(judged_s: int, intervals: Sequence[Interval]) -> str:
    """The figures of the last minutes, as far as something came; "" if nothing is known."""
    heard_s = next((found.end_s for found in reversed(intervals) if found.is_heard), 0)
    recent = [interval for interval in intervals if interval.start_s >= judged_s - _RECENT_S]
    if not intervals:
        return ""
    if not heard_s:
        return "no log lines lately, as is usual at this time"
    if judged_s - heard_s >= _RECENT_S:
        silence = duration_in_words(judged_s - heard_s)
        return f"no log lines for {silence}, which is not unusual"
    types = [facts for interval in recent for facts in interval.types.values()]
    requests = sum(facts.requests for facts in types)
    if not requests:
        return f"log lines arrive, no requests in {duration_in_words(_RECENT_S)}"
    failed = sum(facts.failed for facts in types)
    bins: Bins = {}
    for facts in types:
        for index, count in facts.times.items():
            bins[index] = bins.get(index, 0) + count
    p95_ms = quantile_ms(bins, 0.95)
    rate = requests * MINUTE_S / sum(interval.length_s for interval in recent)
    figures = [
        f"{number_in_words(round(rate))} requests a minute"
        if rate >= 2
        else f"{count_in_words(requests, 'request')} in {duration_in_words(_RECENT_S)}"
    ]
    figures += [f"p95 {time_in_words(p95_ms)}"] if p95_ms is not None else []
    figures.append(f"{share_in_words(failed / requests)} failed" if failed else "none failed")
    return ", ".join(figures)
