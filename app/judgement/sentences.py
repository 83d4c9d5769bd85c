"""Words for each kind of finding: a lead, and a clause with figures, of now or of the past."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from app.judgement.verdict import Finding
from app.support.quantities import (
    count_in_words,
    duration_in_words,
    names_in_words,
    share_in_words,
    time_in_words,
    times_in_words,
)
from parsers.error_codes import CODES

ALL_FROM = 0.995  # shares from here on are "every request"
_FACTOR_MIN = 1.05


class Clause(NamedTuple):
    """The parts of a sentence: "{lead} since 23:12 UTC (15 min): {details}".

    lead     begins with a small letter, in the tense that the finding needs
    details  "" if the lead says it all
    """

    lead: str
    details: str


def clause_of(finding: Finding) -> Clause:
    """The clause of a finding."""
    return _CLAUSES[finding.kind](finding)


def code_in_words(code: str) -> str:
    """H12 (request timeout); a code that is not listed stands alone."""
    entry = CODES.get(code)
    if entry is None:
        return code
    title = entry.title
    is_name = title[1:2].isupper() or title.startswith("HTTP")
    return f"{code} ({title if is_name else title[:1].lower() + title[1:]})"


def _is_over(finding: Finding) -> bool:
    return bool(finding.until_s)


def _tense(finding: Finding, present: str, past: str) -> str:
    return past if _is_over(finding) else present


def _adjective(finding: Finding, words: str) -> str:
    return _tense(finding, words, f"was {words}")


def _subject(finding: Finding, otherwise: str) -> str:
    if names := finding.dynos or finding.all_dynos:
        return names_in_words(names)
    return f"the {finding.process_type} process" if finding.process_type else otherwise


def _is_plural(finding: Finding) -> bool:
    return len(finding.dynos or finding.all_dynos) > 1


def _extreme(finding: Finding) -> float | None:
    """The value that a sentence names: that of now, or the worst of the past."""
    if _is_over(finding) and finding.worst is not None:
        return finding.worst
    return finding.value


def _measured(finding: Finding) -> str:
    """The time that the value is of: last 5 min."""
    return f"last {duration_in_words(finding.window_s)}"


def _who(finding: Finding) -> str:
    if finding.who == "dyno" and finding.dynos:
        return f", mostly on {names_in_words(finding.dynos)}"
    return ", not clear on which dynos" if finding.who == "unsure" else ""


def _requests(finding: Finding) -> str:
    """The share that fails, and the usual one: 9 % of requests (last 5 min; usually 0.4 %)."""
    share = _extreme(finding)
    is_worst = _is_over(finding) and finding.worst is not None
    of_type = f" of {finding.process_type}" if finding.process_type not in ("", "web") else ""
    usual = finding.usual
    is_usual_told = usual is not None and usual >= 0.001
    notes = [_measured(finding)] if finding.window_s and not _is_over(finding) else []
    notes += [f"usually {share_in_words(usual)}"] if is_usual_told and usual else []
    noted = f" ({'; '.join(notes)})" if notes else ""
    if share is None:
        return f"requests{of_type}"
    if share >= ALL_FROM:
        return f"every request{of_type}"
    return f"{'up to ' if is_worst else ''}{share_in_words(share)} of requests{of_type}{noted}"


def _fail(finding: Finding) -> str:
    """The verb: how requests fail."""
    share = _extreme(finding)
    is_singular = share is not None and share >= ALL_FROM
    code = finding.code
    if code.isdigit():
        verb = _tense(finding, "is" if is_singular else "are", "was" if is_singular else "were")
        return f"{verb} answered with {code}"
    if code:
        verb = _tense(finding, "ends" if is_singular else "end", "ended")
        return f"{verb} with {code_in_words(code)}"
    return _tense(finding, "fails" if is_singular else "fail", "failed")


def _failing(finding: Finding) -> Clause:
    share = _extreme(finding)
    count = ""
    if finding.count and (share is None or share < ALL_FROM):
        count = f", {finding.count:,} {_tense(finding, 'so far', 'in all')}"
    details = f"{_requests(finding)} {_fail(finding)}{count}{_who(finding)}"
    if finding.state == "down":
        return Clause(_adjective(finding, "down"), details)
    return Clause(_tense(finding, "failing", "failed"), details)


def _no_dyno(finding: Finding) -> Clause:
    if finding.code:
        verb = _tense(finding, "ends", "ended")
        details = f"every request {verb} with {code_in_words(finding.code)}"
    else:
        process_type = finding.process_type or "web"
        details = f"all {process_type} dynos {_tense(finding, 'have', 'had')} crashed"
        if finding.exit_status:
            details += f" (exit status {finding.exit_status})"
    return Clause(_adjective(finding, "down"), details)


def _slow(finding: Finding) -> Clause:
    lead = _adjective(finding, "slow")
    value = _extreme(finding)
    if value is None:
        return Clause(lead, f"responses {_tense(finding, 'take', 'took')} longer than usual")
    subject = "p95 of answered requests"  # timeouts are among the failed ones
    if finding.process_type not in ("", "web"):
        subject += f" to {finding.process_type}"
    if finding.window_s and not _is_over(finding):
        subject += f" ({_measured(finding)})"
    details = f"{subject} {_tense(finding, 'is', 'rose to')} {time_in_words(value)}"
    if finding.usual:
        usual = time_in_words(finding.usual)
        factor = value / finding.usual
        times = f", {factor:.1f} × " if factor < 10 else f", {factor:.0f} × "
        if factor < _FACTOR_MIN:
            times = ", about "
        if finding.reason == "new":
            details += f"{times}the {usual} of the hour before (no usual value yet)"
        else:
            details += f"{times}the usual {usual}"
    return Clause(lead, details + _who(finding))


def _memory_exceeded(finding: Finding) -> Clause:
    subject = _subject(finding, "a dyno")
    verb = _tense(finding, "swap" if _is_plural(finding) else "swaps", "swapped")
    details = f"{subject} {verb} (R14)"
    ratio = _extreme(finding)
    if ratio:
        up_to = "up to " if _is_over(finding) or _is_plural(finding) else ""
        details += f", at {up_to}{share_in_words(ratio)} of the quota"
    if finding.reason == "chronic":
        details += ", as on the day before"
    return Clause(_adjective(finding, "over the memory quota"), details)


def _memory_killed(finding: Finding) -> Clause:
    times = times_in_words(max(1, finding.count))
    lead = f"{_adjective(finding, 'killed for its memory')} {times}"
    return Clause(lead, f"{_subject(finding, 'a dyno')} used far more than its quota (R15)")


def _memory_high(finding: Finding) -> Clause:
    subject = _subject(finding, "a dyno")
    if finding.reason == "leak":
        lead = f"memory of {subject} {_tense(finding, 'has been rising', 'rose')}"
    else:
        have = "have" if _is_plural(finding) else "has"
        lead = f"{subject} {_tense(finding, f'{have} had', 'had')} little memory left"
    ratio = _extreme(finding)
    at = _tense(finding, "now at", "up to")
    return Clause(lead, f"{at} {share_in_words(ratio)} of the quota" if ratio else "")


def _crash_loop(finding: Finding) -> Clause:
    subject = _subject(finding, "a process")
    have = _tense(finding, "have " if _is_plural(finding) else "has ", "")
    status = f" (exit status {finding.exit_status})" if finding.exit_status else ""
    if finding.reason == "crashed":
        details = f"{subject} {have or 'had '}not come up again{status}"
        return Clause(_adjective(finding, "crashed"), details)
    at_start = " at start" if finding.reason == "start" else ""
    times = times_in_words(max(finding.count, 1))
    details = f"{subject} {have}crashed{at_start} {times}{status}"
    return Clause(_adjective(finding, "in a crash loop"), details)


def _silent(finding: Finding) -> Clause:
    details = f"no log lines {_tense(finding, 'arrive', 'arrived')}"
    if finding.limit:
        details += f"; more than {finding.limit:.0f} min without any is unusual"
    return Clause(_adjective(finding, "silent"), details)


def _fleet(finding: Finding) -> Clause:
    total = round(finding.count / finding.value) if finding.value else finding.count
    if finding.code:
        problem = f"{_tense(finding, 'have had', 'had')} {code_in_words(finding.code)}"
    else:
        problem = f"{_tense(finding, 'have been', 'were')} silent"
    return Clause(
        f"{finding.count} of {total} apps {problem}",
        "look at Heroku (status.heroku.com), at log delivery, or at Dynometer itself",
    )


_SLEEP = {
    "sleep": "Eco dynos sleep when no requests come",
    "hours": "the account's Eco dyno hours are used up",
}


def _asleep(finding: Finding) -> Clause:
    reason = finding.reason
    if reason in _SLEEP:
        return Clause(_adjective(finding, "asleep"), _SLEEP[reason])
    if reason == "scaled":
        size = f"{finding.process_type}=0" if finding.process_type else "zero"
        details = ""
        if finding.count:
            requests = count_in_words(finding.count, "request")
            details = f"{requests} ended with {code_in_words('H14')}"
        return Clause(_adjective(finding, f"scaled to {size}"), details)
    if reason == "stopped":
        return Clause(_adjective(finding, "stopped"), "every dyno went down")
    lead = _adjective(finding, "idle")
    if reason == "new":
        return Clause(lead, "no log lines, and the app is too new to say whether that is usual")
    if reason == "unseen":
        return Clause(lead, "no log lines in the hours that are known")
    return Clause(lead, "no log lines, as is usual at this time")


def _restart(finding: Finding) -> Clause:
    details = ""
    if finding.count:
        code = f" ({finding.code})" if finding.code else ""
        details = f"{count_in_words(finding.count, 'request')} failed meanwhile{code}"
    return Clause(_tense(finding, "restarting", "restarted"), details)


def _incomplete(finding: Finding) -> Clause:
    lead = "unknown" if finding.state == "unknown" else "incomplete"
    if finding.reason == "delayed":
        details = f"log lines {_tense(finding, 'still wait', 'waited')} to be counted"
    elif finding.count:
        verb = "was" if finding.count == 1 else "were"
        code = f" ({finding.code})" if finding.code else ""
        details = f"{count_in_words(finding.count, 'log line')} {verb} lost on the way{code}"
    else:
        details = "not all log lines have arrived"
    return Clause(_adjective(finding, lead), details)


def _maintenance(finding: Finding) -> Clause:
    answer = f"requests {_tense(finding, 'are', 'were')} answered with 503 (H80)"
    return Clause(_adjective(finding, "in maintenance"), answer)


def _unreadable(finding: Finding) -> Clause:
    lines = count_in_words(finding.count, "log line") if finding.count else "log lines"
    return Clause(_adjective(finding, "unreadable"), f"{lines} arrived, and none could be read")


_CLAUSES: dict[str, Callable[[Finding], Clause]] = {
    "incomplete": _incomplete,
    "maintenance": _maintenance,
    "unreadable": _unreadable,
    "failing": _failing,
    "no_dyno": _no_dyno,
    "slow": _slow,
    "memory_exceeded": _memory_exceeded,
    "memory_killed": _memory_killed,
    "memory_high": _memory_high,
    "crash_loop": _crash_loop,
    "silent": _silent,
    "fleet": _fleet,
    "asleep": _asleep,
    "restart": _restart,
}
