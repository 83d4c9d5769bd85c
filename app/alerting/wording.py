"""Numbers, times and alerts in words, as people read them who were just woken."""

from __future__ import annotations

from datetime import UTC, datetime

from app.alerting.rule import SERVICE, Rule
from app.alerting.state import Alert
from app.rollup.resolutions import MINUTE_S
from parsers.error_codes import CODES

_MEBIBYTE = 2**20


def value_in_words(value: float, unit: str) -> str:
    """1,240 ms; 4.1 %; 512 MB; 12."""
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value / _MEBIBYTE:,.0f} MB"
    number = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    if unit == "minutes":
        return minutes_in_words(value)
    return f"{number} ms" if unit == "ms" else number


def minutes_in_words(minutes: float) -> str:
    """12 min, 3 h 05 min, 2 days."""
    whole = round(minutes)
    if whole < 60:
        return f"{whole} min"
    if whole < 48 * 60:
        return f"{whole // 60} h {whole % 60:02d} min"
    return f"{whole // (24 * 60)} days"


def clock(at_s: float, now_s: float) -> str:
    """10:02 UTC; with the day, if that is not today."""
    at, now = datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(now_s, UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%d %b %H:%M} UTC"


def name_of(alert: Alert, rule: Rule | None) -> str:
    """What it is about, in a few words: "web: p95 of the response time", "H12 Request timeout"."""
    if rule is None:
        return f"{alert.rule} {alert.key}".strip()
    if codes := _codes(alert, rule):
        code = CODES.get(codes[0])
        return f"{codes[0]} {code.title}" if code and len(codes) == 1 else ", ".join(codes)
    title = rule.title or f"{rule.stat} of {rule.metric}"
    return f"{alert.key}: {title}" if alert.key else title


def _codes(alert: Alert, rule: Rule) -> tuple[str, ...]:
    """The error codes that it is about, if it is about codes."""
    if rule.told_by == "code":
        return alert.parts
    return (alert.key,) if rule.by == "code" else ()


def what_is(alert: Alert, rule: Rule | None) -> str:
    """The alert and its value against the limit, without an end mark."""
    name = name_of(alert, rule)
    if rule is None:
        return name
    if rule.kind == "no_data":
        return f"{name} for {minutes_in_words(alert.value)}"
    if rule.kind in ("folding", "buffering", "channel"):
        return f"{name} for {minutes_in_words(alert.value)}"
    value = value_in_words(alert.value, rule.unit)
    counted = rule.kind == "lost" or rule.stat == "sum"
    if counted and not alert.limit:
        return f"{name}: {value} in {_span(rule)}"
    side = "at least" if rule.below else "limit"
    limit = f"{side} {value_in_words(alert.limit, rule.unit)}{_compared(alert, rule)}"
    return f"{name} {value} ({limit})"


def meaning(alert: Alert, rule: Rule | None) -> str:
    """What it means; of a code, what that code does."""
    if rule is None:
        return ""
    known = [name for name in _codes(alert, rule) if name in CODES]
    if len(known) == 1:
        return CODES[known[0]].meaning
    return " ".join(f"{name}: {CODES[name].meaning}" for name in known) or rule.means


def _span(rule: Rule) -> str:
    return "a minute" if rule.over_minutes == 1 else f"{rule.over_minutes} min"


def _compared(alert: Alert, rule: Rule) -> str:
    if not rule.compare:
        return ""
    if alert.limit <= rule.floor:
        return ", the least that counts"
    factor = rule.limit_of(alert.key)
    week = value_in_words(alert.limit / factor, rule.unit)
    return f": {factor:g} × {week}, this hour last week"


def since(alert: Alert, now_s: float) -> str:
    """since 10:02 UTC (3 min)."""
    lasted = minutes_in_words((now_s - alert.since_s) / MINUTE_S)
    return f"since {clock(alert.since_s, now_s)} ({lasted})"


def how_it_ended(alert: Alert, rule: Rule | None, now_s: float) -> str:
    """What is over, from when until when, and how bad it was."""
    name = name_of(alert, rule)
    lasted = minutes_in_words((alert.last_bad_s - alert.since_s) / MINUTE_S)
    times = f"{clock(alert.since_s, now_s)} to {clock(alert.last_bad_s, now_s)} ({lasted})"
    if rule is None or rule.unit == "minutes":
        return f"{name}, {times}"
    return f"{name}, {times}, at worst {value_in_words(alert.worst, rule.unit)}"


def app_in_words(app: str) -> str:
    """The app, or Dynometer itself."""
    return "Dynometer" if app == SERVICE else app
