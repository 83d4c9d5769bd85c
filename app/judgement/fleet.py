"""Finds a problem that many apps have at the same time: then it is none of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.judgement.verdict import Finding, Verdict
from app.rollup.resolutions import MINUTE_S

APPS_MIN = 3
SHARE_MIN = 0.3
WITHIN_S = 2 * MINUTE_S
PLATFORM_CODE = "H99"


def find_fleet_problem(verdicts: Sequence[Verdict]) -> Finding | None:
    """Find that many apps fell silent, or got H99, within two minutes: Heroku, delivery, or us.

    The share is that of the apps which would be heard: not of those that are idle.
    """
    awake = [verdict for verdict in verdicts if verdict.state != "idle"]
    problems = [
        finding for code in ("", PLATFORM_CODE) if (finding := _find(awake, code)) is not None
    ]
    return max(problems, key=lambda finding: finding.count, default=None)


def fleet_apps(verdicts: Iterable[Verdict], problem: Finding) -> list[str]:
    """The apps that the problem is about, by name."""
    return sorted(
        verdict.app
        for verdict in verdicts
        if any(
            _is_of(finding, problem.code)
            and problem.since_min_s <= finding.since_s <= problem.since_max_s
            for finding in verdict.findings
        )
    )


def _find(verdicts: Sequence[Verdict], code: str) -> Finding | None:
    begins_s = sorted(
        max(finding.since_s for finding in verdict.findings if _is_of(finding, code))
        for verdict in verdicts
        if any(_is_of(finding, code) for finding in verdict.findings)
    )
    first, count = 0, 0
    for position, begin_s in enumerate(begins_s):
        size = sum(begin_s <= other_s <= begin_s + WITHIN_S for other_s in begins_s[position:])
        if size > count:
            first, count = position, size
    if count < APPS_MIN or count < SHARE_MIN * len(verdicts):
        return None
    first_s, last_s = begins_s[first], begins_s[first + count - 1]
    return Finding(
        "fleet",
        "degraded" if code else "silent",
        first_s,
        first_s,
        last_s,
        code=code,
        metric="apps",
        value=count / len(verdicts),
        count=count,
    )


def _is_of(finding: Finding, code: str) -> bool:
    if finding.until_s:
        return False
    return finding.code == code if code else finding.kind == "silent"
