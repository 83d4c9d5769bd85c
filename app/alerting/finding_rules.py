"""Results of rules about findings, from the verdict of an app. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.alerting.rule import Rule
from app.alerting.state import Alert, AppAlerts
from app.alerting.state_machine import QUIET, UNKNOWN, Comparison, MinuteResult, Transition
from app.judgement.formation import WEB
from app.judgement.verdict import Finding, Verdict
from app.judgement.wording import describe_finding, summarize
from app.rollup.resolutions import MINUTE_S

EARLY_STATES = frozenset({"down"})  # alert before the minute is final

RuleResults = dict[str, dict[str, MinuteResult]]


def judge_findings(
    rules: Iterable[Rule], alerts: AppAlerts, verdict: Verdict | None
) -> RuleResults:
    """The results of these rules by name and key. Without a verdict, none is known.

    `alerts`: those of the app before this minute.
    """
    results: RuleResults = {}
    for rule in rules:
        if rule.kind != "finding":
            continue
        rule_results = results.setdefault(rule.name, {})
        for alert in alerts.alerts:
            if alert.rule == rule.name:
                rule_results[alert.key] = QUIET if verdict is not None else UNKNOWN
        if verdict is not None:
            rule_results.update(_judge_rule(rule, verdict))
    return results


def _judge_rule(rule: Rule, verdict: Verdict) -> dict[str, MinuteResult]:
    """The worst finding comes first, so that of each key counts."""
    results: dict[str, MinuteResult] = {}
    for finding in verdict.findings:
        if finding.kind not in rule.findings or finding.until_s:
            continue
        key = finding.process_type if rule.by else ""
        result = _result_of(rule, finding, verdict)
        if key not in results or (
            result.comparison is Comparison.BREACH
            and results[key].comparison is not Comparison.BREACH
        ):
            results[key] = result
    return results


def _result_of(rule: Rule, finding: Finding, verdict: Verdict) -> MinuteResult:
    is_breach = not rule.states or finding.state in rule.states
    return MinuteResult(
        Comparison.BREACH if is_breach else Comparison.BETWEEN_LIMITS,
        _value_of(rule, finding),
        finding.limit or 0,
        detail=", ".join(finding.dynos),
        parts=(finding.code,) if finding.code else (),
        since_s=finding.since_s,
        summary=summary_of(finding, verdict),
    )


def _value_of(rule: Rule, finding: Finding) -> float:
    if rule.unit == "minutes" and finding.value is None:
        return 0
    return finding.value if finding.value is not None else finding.count


def summary_of(finding: Finding, verdict: Verdict) -> str:
    """A finding in words, with the crashes that explain it. Other problems have their own alert."""
    crashes = [
        other
        for other in verdict.findings
        if other.kind == "crash_loop" and other.process_type == (finding.process_type or WEB)
    ]
    if finding.kind in ("failing", "no_dyno") and finding.state != "ok" and crashes:
        return summarize(finding.state, [finding, *crashes], verdict.judged_s)
    return describe_finding(finding, verdict.judged_s)


def is_urgent(verdict: Verdict) -> bool:
    """Whether an alert about an app should not wait until the minute is final."""
    return any(
        finding.state in EARLY_STATES and not finding.until_s for finding in verdict.findings
    )


def early_results(
    results: Mapping[str, Mapping[str, MinuteResult]], verdict: Verdict
) -> RuleResults:
    """The results that may alert before the minute is final: those about an app that is down."""
    early_summaries = {
        summary_of(finding, verdict)
        for finding in verdict.findings
        if finding.state in EARLY_STATES and not finding.until_s
    }
    return {
        rule: {
            key: result
            for key, result in rule_results.items()
            if result.comparison is Comparison.BREACH and result.summary in early_summaries
        }
        for rule, rule_results in results.items()
    }


def end_with_findings(
    alerts: AppAlerts,
    transitions: Sequence[Transition],
    rules: Mapping[str, Rule],
    findings: Sequence[Finding],
    end_s: int,
) -> tuple[AppAlerts, list[Transition]]:
    """Give alerts that resolve the end of their finding, and its words in the past tense.

    A finding ends some quiet minutes after its last bad one, so it knows better when that was.

    `findings`: those of the app that have just ended.
    """
    alerts_by_key: dict[tuple[str, str], Alert] = {}
    after = []
    for transition in transitions:
        alert, rule = transition.alert, rules.get(transition.alert.rule)
        finding = _ended_finding(alert, rule, findings)
        if transition.kind == "resolved":
            alert = _ended_alert(alert, finding, end_s)
            alerts_by_key[alert.rule, alert.key] = alert
        after.append(transition._replace(alert=alert))
    return (
        msgspec.structs.replace(
            alerts,
            alerts=tuple(
                alerts_by_key.get((alert.rule, alert.key), alert) for alert in alerts.alerts
            ),
        ),
        after,
    )


def _ended_alert(alert: Alert, finding: Finding | None, end_s: int) -> Alert:
    """The alert in the past tense. If its finding is not known, its summary told of the present."""
    if finding is None:
        return msgspec.structs.replace(alert, summary="")
    return msgspec.structs.replace(
        alert,
        last_breach_s=min(max(finding.until_s, alert.since_s + MINUTE_S), end_s),
        summary=describe_finding(finding, end_s),
    )


def _ended_finding(alert: Alert, rule: Rule | None, findings: Sequence[Finding]) -> Finding | None:
    if rule is None or rule.kind != "finding":
        return None
    candidates = [
        finding
        for finding in findings
        if finding.kind in rule.findings
        and finding.until_s > alert.since_s
        and (not rule.by or finding.process_type == alert.key)
    ]
    return max(candidates, key=lambda finding: finding.until_s, default=None)
