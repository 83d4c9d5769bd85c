"""Turns symptoms into findings: when they begin and end, and which are one.

A finding lasts while its symptom comes. Without it, it ends at the end of the last interval that
showed it, as soon as one of these is true:

- For some kinds, the newest interval tells: lines come again after silence, for instance.
- The symptom stayed away for QUIET_S, and meanwhile came as many requests as QUIET_REQUESTS. Too
  few requests prove nothing.
- It stayed away for QUIET_MAX_S.

A symptom that comes again less than JOIN_S later is another run of the same finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from app.judgement.facts import TypeFacts
from app.judgement.verdict import Finding
from app.judgement.window import Symptom, Window

QUIET_S = 5 * 60
QUIET_REQUESTS = 20
QUIET_MAX_S = 60 * 60
JOIN_S = 10 * 60
FINAL_S = QUIET_S + JOIN_S  # after its end, a finding does not go on
REMEMBERED_S = 2 * 3600  # its time is no reference for what is usual

# Kinds that are over with the first interval that does not show them.
ENDING_AT_ONCE = frozenset(
    {"incomplete", "silent", "asleep", "unreadable", "restart", "fleet", "maintenance"}
)
# Kinds of which each run is a finding of its own, for they come again and mean nothing.
_APART = frozenset({"asleep", "restart"})
# Kinds that no number of requests proves to be over: after QUIET_S they are.
_BY_TIME = frozenset({"memory_exceeded", "memory_killed", "memory_high", "crash_loop"})
_NOTHING = TypeFacts()


class Incidents:
    """The findings of one app: those that last, and those of the last hours.

    findings  the open ones, those that ended within REMEMBERED_S, and the last that ended
    """

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        self.findings = tuple(findings)
        self._ended: list[Finding] = []

    def advance(self, symptoms: Iterable[Symptom], window: Window) -> None:
        """Continue, begin and end findings by the symptoms of the newest interval."""
        findings = list(self.findings)
        for symptom in symptoms:
            position = _position_of(findings, symptom, window)
            if position is None:
                findings.append(_begin(symptom, window))
            else:
                findings[position] = _continue(findings[position], symptom, window)
        findings = [_end(finding, window) for finding in findings]
        before_s = window.last.start_s
        self._ended += [
            finding
            for finding in findings
            if finding.until_s
            and _is_final(finding, window.end_s)
            and not _is_final(finding, before_s)
        ]
        self.findings = tuple(_remember(findings, window.end_s))

    def complete(self, add: Callable[[Finding], Finding]) -> None:
        """Let `add` say more about each finding that lasts."""
        self.findings = tuple(
            finding if finding.until_s else add(finding) for finding in self.findings
        )

    def begin_earlier(self, earlier: Iterable[Finding]) -> None:
        """Let each finding that lasts begin with that of `earlier` which it goes on from."""
        begins = {(finding.kind, finding.process_type): finding for finding in earlier}

        def begin(finding: Finding) -> Finding:
            before = begins.get((finding.kind, finding.process_type))
            if before is None or finding.until_s or finding.since_s <= before.since_s:
                return finding
            if finding.since_s >= (before.until_s or before.latest_s) + JOIN_S:
                return finding
            return msgspec.structs.replace(
                finding,
                since_s=before.since_s,
                since_min_s=before.since_min_s,
                since_max_s=before.since_max_s,
                after=before.after,
                count=max(finding.count, before.count),
                resolution_s=max(finding.resolution_s, before.resolution_s),
            )

        self.findings = tuple(begin(finding) for finding in self.findings)

    def take_ended(self) -> list[Finding]:
        """The findings that have ended for good since the last call, in order of their end."""
        ended = sorted(self._ended, key=lambda finding: (finding.until_s, finding.id))
        self._ended = []
        return ended


def _position_of(findings: Sequence[Finding], symptom: Symptom, window: Window) -> int | None:
    """Which finding the symptom continues: the one that lasts, or one that has just ended."""
    for position, finding in enumerate(findings):
        if (finding.kind, finding.process_type) != (symptom.kind, symptom.process_type):
            continue
        if not finding.until_s or (
            finding.kind not in _APART
            and symptom.since_s - finding.until_s < JOIN_S
            and not _is_final(finding, window.last.start_s)
        ):
            return position
    return None


def _begin(symptom: Symptom, window: Window) -> Finding:
    return Finding(
        symptom.kind,
        symptom.state,
        symptom.since_s,
        symptom.since_min_s or symptom.since_s,
        symptom.since_max_s or symptom.since_s,
        process_type=symptom.process_type,
        code=symptom.code,
        metric=symptom.metric,
        value=symptom.value,
        usual=symptom.usual,
        limit=symptom.limit,
        worst=symptom.value if symptom.worst is None else symptom.worst,
        count=symptom.count,
        exit_status=symptom.exit_status,
        certainty="likely" if window.last.length_s > 60 else symptom.certainty,
        resolution_s=window.last.length_s,
        reason=symptom.reason,
        full_s=symptom.full_s,
        latest_s=window.end_s,
        up_s=symptom.up_s,
        window_s=symptom.window_s,
    )


def _continue(finding: Finding, symptom: Symptom, window: Window) -> Finding:
    """The finding with the latest values; its begin stays."""
    is_new_run = bool(finding.until_s)
    count = max(finding.count, symptom.count)
    return msgspec.structs.replace(
        finding,
        state=symptom.state,
        until_s=0,
        code=symptom.code or finding.code,
        metric=symptom.metric if symptom.code or symptom.metric else finding.metric,
        value=symptom.value,
        worst=_worse(finding, symptom),
        usual=symptom.usual if finding.usual is None else finding.usual,
        limit=symptom.limit if finding.limit is None else finding.limit,
        count=finding.count + symptom.count if is_new_run else count,
        exit_status=symptom.exit_status or finding.exit_status,
        occurrences=finding.occurrences + is_new_run,
        resolution_s=max(finding.resolution_s, window.last.length_s),
        reason=symptom.reason or finding.reason,
        full_s=symptom.full_s,
        latest_s=window.end_s,
        up_s=symptom.up_s,
        window_s=symptom.window_s,
    )


def _worse(finding: Finding, symptom: Symptom) -> float | None:
    """The value that is further from the usual one."""
    worst = symptom.value if symptom.worst is None else symptom.worst
    values = [value for value in (finding.worst, worst) if value is not None]
    usual = finding.usual or 0.0
    return max(values, key=lambda value: abs(value - usual), default=None)


def _end(finding: Finding, window: Window) -> Finding:
    """The finding with its end, if it is over."""
    quiet_s = window.end_s - finding.latest_s
    if finding.until_s or not quiet_s:
        return finding
    is_over = (
        finding.kind in ENDING_AT_ONCE
        or quiet_s >= QUIET_MAX_S
        or (
            quiet_s >= QUIET_S
            and (finding.kind in _BY_TIME or _has_traffic(finding, quiet_s, window))
        )
    )
    return msgspec.structs.replace(finding, until_s=finding.latest_s) if is_over else finding


def _has_traffic(finding: Finding, quiet_s: int, window: Window) -> bool:
    """Whether enough requests came in the quiet time to say that all is well."""
    requests = 0
    for interval in window.over(quiet_s):
        if finding.process_type:
            requests += interval.types.get(finding.process_type, _NOTHING).requests
        else:
            requests += sum(facts.requests for facts in interval.types.values())
    return requests >= QUIET_REQUESTS


def _is_final(finding: Finding, now_s: int) -> bool:
    return max(finding.until_s + FINAL_S, 0) <= now_s


def _remember(findings: Sequence[Finding], now_s: int) -> list[Finding]:
    last_s = max((finding.until_s for finding in findings if finding.state != "ok"), default=0)
    return [
        finding
        for finding in findings
        if not finding.until_s
        or finding.until_s > now_s - REMEMBERED_S
        or (finding.until_s == last_s and finding.state != "ok")
    ]
