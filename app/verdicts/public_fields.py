"""Verdicts and episodes as the API and `dynometer status --json` show them.

Times are Unix seconds; null where there is none. Shares and units are those of the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.judgement.verdict import Change, Episode, Finding, Verdict
from app.judgement.wording import describe_finding
from app.verdicts.fleet import Fleet


def verdicts_fields(verdicts: Sequence[Verdict], fleet: Fleet | None) -> dict[str, Any]:
    """These verdicts in their order, and the problem that many apps have."""
    return {
        "fleet": _fleet(fleet) if fleet else None,
        "verdicts": [verdict_fields(verdict) for verdict in verdicts],
    }


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """A verdict. Its `since`, `who` and `cause` are those of its worst finding."""
    worst = verdict.findings[0] if verdict.findings else None
    findings = [
        finding_fields(finding, describe_finding(finding, verdict.judged_s))
        for finding in verdict.findings
    ]
    return {
        "app": verdict.app,
        "state": verdict.state,
        "since": _time(verdict.since_s),
        "until": _time(verdict.until_s),
        "summary": verdict.summary,
        "who": _who(worst) if worst else None,
        "cause": _change(worst.after) if worst else None,
        "findings": findings,
        "complete": verdict.is_complete,
        "judged_until": _time(verdict.judged_s),
    }


def finding_fields(finding: Finding, summary: str) -> dict[str, Any]:
    """A finding, with a sentence about it."""
    return {
        "kind": finding.kind,
        "state": finding.state,
        "since": _time(finding.since_s),
        "since_earliest": _time(finding.since_min_s or finding.since_s),
        "since_latest": _time(finding.since_max_s or finding.since_s),
        "until": _time(finding.until_s),
        "who": _who(finding),
        "what": {
            "code": finding.code or None,
            "metric": finding.metric or None,
            "value": finding.value,
            "window_s": finding.window_s or None,
            "usual": finding.usual,
            "limit": finding.limit,
            "worst": finding.worst,
            "count": finding.count,
            "exit_status": finding.exit_status or None,
            "full_at": _time(finding.full_s),
            "up_since": _time(finding.up_s),
            "reason": finding.reason,
        },
        "after": _change(finding.after),
        "not": list(finding.not_reasons),
        "certainty": finding.certainty,
        "occurrences": finding.occurrences,
        "resolution_s": finding.resolution_s,
        "summary": summary,
    }


def episode_fields(episode: Episode) -> dict[str, Any]:
    """An episode: its finding, with the words that it was told in."""
    return finding_fields(episode.finding, episode.summary)


def _fleet(fleet: Fleet) -> dict[str, Any]:
    summary = describe_finding(fleet.finding, fleet.judged_s)
    return {**finding_fields(fleet.finding, summary), "apps": sorted(fleet.apps)}


def _who(finding: Finding) -> dict[str, Any]:
    return {
        "process_type": finding.process_type,
        "dyno": finding.dynos[0] if finding.dynos else "",
        "dynos": list(finding.dynos),
        "scope": finding.who,
    }


def _change(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    actions = [{"kind": kind, "detail": detail} for kind, detail in change.actions]
    return {"time": change.at_s, "kind": change.kind, "detail": change.detail, "actions": actions}


def _time(at_s: int) -> int | None:
    return at_s or None
