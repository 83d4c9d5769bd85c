"""Numbers, times and alerts in words, for readers just woken up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert, Mute
from app.rollup.resolutions import MINUTE_S
from app.rollup.schema import Metric
from parsers.error_codes import CODES

OUTLIER_RATIO = 1.5  # of one dyno's value to the mean of all dynos
_PERIODS = {"week": "last week", "year": "a year before"}
_MEBIBYTE = 2**20
_SECOND_MS = 1000


def value_in_words(value: float, unit: str) -> str:
    """240 ms; 1.24 s; 4.1 %; 512 MB; 12."""
    if unit == "ratio":
        return f"{_number(value * 100)} %"
    if unit == "bytes":
        return f"{value / _MEBIBYTE:,.0f} MB"
    if unit == "minutes":
        return minutes_in_words(value)
    if unit == "ms":
        return f"{_number(value)} ms" if value < _SECOND_MS else f"{_number(value / _SECOND_MS)} s"
    return _number(value)


def _number(value: float) -> str:
    """Three significant digits, never in scientific notation."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}"


def minutes_in_words(minutes: float) -> str:
    """12 min, 3 h 05 min, 2 days."""
    total = round(minutes)
    if total < 60:
        return f"{total} min"
    if total < 48 * 60:
        return f"{total // 60} h {total % 60:02d} min"
    return f"{total // (24 * 60)} days"


def utc_time(at_s: float, now_s: float) -> str:
    """10:02 UTC; with the date, if it is not today."""
    at, now = datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(now_s, UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%d %b %H:%M} UTC"


def alert_name(alert: Alert, rule: Rule | None) -> str:
    """The subject of the alert: "web: p95 response time", "H12 Request timeout"."""
    if rule is None:
        return f"{alert.rule} {alert.key}".strip()
    if codes := _codes(alert, rule):
        code = CODES.get(codes[0])
        return f"{codes[0]} {code.title}" if code and len(codes) == 1 else ", ".join(codes)
    title = rule.title or f"{rule.stat} of {rule.metric}"
    return f"{alert.key}: {title}" if alert.key else title


def _codes(alert: Alert, rule: Rule) -> tuple[str, ...]:
    """The error codes that the alert names; empty for rules that are not about codes."""
    if rule.kind == "finding":
        return tuple(part for part in alert.parts if part in CODES)
    if rule.told_by == "code":
        return alert.parts
    return (alert.key,) if rule.by == "code" else ()


def describe_alert(alert: Alert, rule: Rule | None) -> str:
    """The alert, and its value compared with the limit; without a full stop."""
    if alert.summary:
        return first_sentence(alert)
    name = alert_name(alert, rule)
    if rule is None:
        return name
    if rule.unit == "minutes":
        return f"{name} for {minutes_in_words(alert.value)}"
    value = value_in_words(alert.value, rule.unit)
    is_count = rule.kind in ("lost", "finding") or rule.stat == "sum"
    if is_count and not alert.limit:
        return f"{name}: {value}{span_in_words(rule) or ' in a minute'}"
    side = "expected at least" if rule.below else "limit"
    limit = f"{side} {value_in_words(alert.limit, rule.unit)}{_comparison(alert, rule)}"
    return f"{name} {value}{span_in_words(rule)} ({limit})"


def first_sentence(alert: Alert) -> str:
    """The first sentence about a finding; without a full stop."""
    return alert.summary.partition(". ")[0].removesuffix(".")


def explain_alert(alert: Alert, rule: Rule | None) -> str:
    """The rule's explanation; for error codes, the explanation of each code."""
    if rule is None:
        return ""
    codes = [name for name in _codes(alert, rule) if name in CODES]
    if len(codes) == 1:
        return CODES[codes[0]].meaning
    return " ".join(f"{name}: {CODES[name].meaning}" for name in codes) or rule.means


def describe_rule(rule: Rule) -> str:
    """The condition of a rule, in one line."""
    if rule.kind != "metric":
        has_limit = rule.unit == "minutes" and rule.limit
        return rule.title + (f", for {rule.limit:g} min" if has_limit else "")
    side = "below" if rule.below else "above"
    limit = value_in_words(rule.limit, rule.unit)
    if rule.compare:
        limit = f"{rule.limit:g} × {_PERIODS[rule.compare]}"
    filters = ", ".join(f"{label}={'|'.join(values)}" for label, values in rule.filters.items())
    metric = f"{rule.metric} [{filters}]" if filters else rule.metric
    by = f" by {rule.by}" if rule.by else ""
    floor = f" and {value_in_words(rule.floor, rule.unit)}" if rule.floor else ""
    limits = "".join(f", {key}: {value:g}" for key, value in rule.limits.items())
    apps = "" if rule.apps == ("*",) else f", of {', '.join(rule.apps)}"
    count = f", with at least {rule.count_min:,} requests" if rule.count_min else ""
    persistence = f", for {minutes_in_words(rule.for_minutes)}"
    value = f"{rule.stat} of {metric}{by}{span_in_words(rule)}"
    return f"{value} {side} {limit}{floor}{limits}{count}{persistence}{apps}"


def span_in_words(rule: Rule) -> str:
    """The time that the rule's value covers, as " over 5 min"; "" for a single minute."""
    return f" over {minutes_in_words(rule.over_minutes)}" if rule.over_minutes > 1 else ""


def _comparison(alert: Alert, rule: Rule) -> str:
    if not rule.compare or alert.limit <= rule.floor:
        return ""
    factor = rule.limit_of(alert.key)
    earlier = value_in_words(alert.limit / factor, rule.unit)
    return f": {factor:g} × {earlier}, this hour {_PERIODS[rule.compare]}"


def since_in_words(alert: Alert, now_s: float) -> str:
    """since 10:02 UTC (3 min)."""
    duration = minutes_in_words((now_s - alert.since_s) / MINUTE_S)
    return f"since {utc_time(alert.since_s, now_s)} ({duration})"


def describe_resolution(alert: Alert, rule: Rule | None, now_s: float) -> str:
    """The alert, how long it lasted, and its worst value; for a finding, its summary."""
    if alert.summary:
        return first_sentence(alert)
    name = alert_name(alert, rule)
    duration = minutes_in_words((alert.last_breach_s - alert.since_s) / MINUTE_S)
    times = (
        f"{utc_time(alert.since_s, now_s)} to {utc_time(alert.last_breach_s, now_s)} ({duration})"
    )
    if rule is None or rule.unit == "minutes":
        return f"{name}, {times}"
    return f"{name}, {times}, at worst {value_in_words(alert.worst, rule.unit)}"


def describe_mute(mute: Mute, now_s: float) -> str:
    """until 14:00 UTC by kim; until its alerts resolve (acknowledged at 09:58 UTC by kim)."""
    by = f" by {mute.by}" if mute.by else ""
    if mute.until_resolved:
        return f"until its alerts resolve (acknowledged at {utc_time(mute.since_s, now_s)}{by})"
    return f"until {utc_time(mute.until_s, now_s)}{by}"


def dyno_in_words(values: Mapping[str, float], metric: Metric) -> str:
    """Which dyno is affected, or that all are alike; "" if there are no values by dyno."""
    if not values:
        return ""
    worst = max(values, key=lambda dyno: values[dyno])
    if len(values) == 1:
        return worst
    total = sum(values.values())
    mean = total / len(values)
    if values[worst] < OUTLIER_RATIO * mean:
        if metric.kind == "gauge":
            return f"{worst}, the highest of {len(values)}"
        return f"{len(values)} dynos alike"
    if metric.kind == "counter":
        return f"{worst}: {_number(values[worst])} of {_number(total)}"
    value, usual = (value_in_words(number, metric.unit) for number in (values[worst], mean))
    if metric.kind == "gauge":
        return f"{worst}: {value}; average of all {len(values)} dynos: {usual}"
    return f"{worst} averages {value}; all {len(values)} dynos {usual}"


def app_in_words(app: str) -> str:
    """The app, or Dynometer itself."""
    return "Dynometer" if app == SERVICE else app
