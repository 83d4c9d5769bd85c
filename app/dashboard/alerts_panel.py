"""The alerts on an app's page: firing alerts, recent history, and limits drawn in the charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.config import AlertConfig, read_config
from app.alerting.earlier_hours import EarlierHours, Measurements
from app.alerting.evaluator import rules_for
from app.alerting.inputs import RuleQueries
from app.alerting.rule import SHARE, Rule
from app.alerting.state import (
    Alert,
    AppAlerts,
    HistoryEntry,
    Mute,
    unpack_app_alerts,
    unpack_history_entry,
)
from app.alerting.wording import describe_alert, utc_time
from app.dashboard.chart import Chart, Threshold
from app.query.selection import Selection
from app.query.table import QueryRange
from app.storage.interface.alerts import HISTORY_LENGTH_MAX, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.store import Reader

RECENT_MAX = 6
_MARKS = {"fired": "alert: ", "resolved": "resolved: ", "muted": "alerts ", "unmuted": "alerts "}
_PERCENT = 100
_CHARTS = {  # metric -> (chart, factor from the rule's unit to the chart's)
    "service_time_ms": ("response", 1),
    "memory_quota_used_ratio": ("memory", 1),  # times each quota
    "load_avg_1m": ("load", 1),
    "dynos": ("dynos", 1),
    "postgres_connections_used_ratio": ("pg-connections", _PERCENT),
    "postgres_db_size_used_ratio": ("pg-storage", _PERCENT),
    "postgres_iops_used_ratio": ("pg-iops", _PERCENT),
    "postgres_waiting_connections": ("pg-waiting", 1),
    "redis_connections_used_ratio": ("redis-connections", _PERCENT),
}


class FiringAlert(NamedTuple):
    """A firing alert in words. `is_finding`: the verdict of the app tells the same."""

    text: str
    is_finding: bool


class AlertView(NamedTuple):
    """The alerts of one app.

    evaluated_s    the end of the minute that these are of, Unix seconds; 0 without one
    mute           None if the app is not muted
    recent         history, newest first
    marks          (Unix seconds, text) in the range shown
    rules          those that watch the app
    earlier        the measurements that rules compare with, by name of the rule
    """

    firing: list[FiringAlert]
    evaluated_s: int
    mute: Mute | None
    recent: list[HistoryEntry]
    marks: list[tuple[float, str]]
    rules: Sequence[Rule]
    earlier: Mapping[str, Measurements]


async def read_alert_view(
    store: Reader,
    earlier_hours: EarlierHours,
    sighting: SeenApp,
    shown: QueryRange,
    now_s: float,
) -> AlertView:
    """Read the alerts of an app, with marks for the range shown.

    Raises:
        StoreUnavailable, PackError
    """
    app = sighting.app
    config = await read_config(store)
    record = (await store.alert_tables(AlertTable.STATES))[0].get(app)
    state = unpack_app_alerts(record) if record else None
    history = (await store.alert_history([app], HISTORY_LENGTH_MAX)).get(app, [])
    entries = [unpack_history_entry(entry) for entry in history]
    rules = rules_for(app, config.rules) if config.is_active or state else []
    queries = RuleQueries(rules)
    measurements = await earlier_hours.read(app, queries, int(now_s), sighting.first_seen_s)
    return AlertView(
        _describe_firing(config, state, now_s),
        state.evaluated_s if state else 0,
        config.mute_of(app, now_s),
        entries[:RECENT_MAX],
        [
            (entry.at_s, f"{_MARKS[entry.what]}{entry.text}")
            for entry in entries
            if entry.what in _MARKS and shown.start <= entry.at_s < shown.end
        ],
        rules,
        {query.rule.name: measurements.get(query.key, {}) for query in queries.metric_queries},
    )


def _describe_firing(
    config: AlertConfig, state: AppAlerts | None, now_s: float
) -> list[FiringAlert]:
    return [
        describe_firing(alert, config.rules.get(alert.rule), now_s)
        for alert in (state.alerts if state else ())
        if alert.phase == "firing"
    ]


def describe_firing(alert: Alert, rule: Rule | None, now_s: float) -> FiringAlert:
    """The alert, since when, and details. The summary of a finding says it all."""
    if alert.summary:
        return FiringAlert(alert.summary, is_finding=True)
    detail = f": {alert.detail}" if alert.detail else ""
    text = f"{describe_alert(alert, rule)}, since {utc_time(alert.since_s, now_s)}{detail}"
    return FiringAlert(text, is_finding=False)


def add_thresholds(charts: Sequence[Chart], view: AlertView, selection: Selection) -> list[Chart]:
    """Add the limits of alert rules to the charts.

    Rules do not watch single dynos or outcomes, so a selection of these has no limits.
    """
    if selection.dyno or selection.outcome:
        return list(charts)
    limits_by_chart: dict[str, dict[float, str]] = {}
    for rule in view.rules:
        place = _find_chart(rule)
        if place is None or rule.below:
            continue
        chart, factor = place
        for key, limit in _find_limits(rule, charts, chart, view.earlier).items():
            if limit:
                name = f"{rule.name} {key}".strip()
                for value in _in_chart_units(limit * factor, key, chart, charts):
                    limits_by_chart.setdefault(chart, {}).setdefault(value, name)
    return [_set_thresholds(chart, limits_by_chart.get(chart.key, {})) for chart in charts]


def _in_chart_units(
    limit: float, process_type: str, key: str, charts: Sequence[Chart]
) -> list[float]:
    """The limit in the chart's unit. A share of the memory quota is one limit for each quota."""
    if key != "memory":
        return [limit]
    quotas = [quota for chart in charts if chart.key == key for quota in chart.quotas]
    return [
        limit * quota.value
        for quota in quotas
        if not process_type or process_type in quota.process_types
    ]


def _set_thresholds(chart: Chart, limits: Mapping[float, str]) -> Chart:
    return chart._replace(
        thresholds=[Threshold(name, value) for value, name in sorted(limits.items())]
    )


def _find_chart(rule: Rule) -> tuple[str, float] | None:
    """The chart that shows a rule's values, and the factor to its unit; None without one."""
    if rule.kind != "metric" or set(rule.filters) - {"process_type", "outcome"}:
        return None
    if rule.stat == SHARE:
        is_failure_share = rule.metric == "requests" and rule.filters.get("outcome") == ("failed",)
        return ("failed", _PERCENT) if is_failure_share else None
    if rule.metric == "requests" and not rule.by and not rule.filters:
        return ("requests", 1 / rule.over_minutes if rule.stat == "sum" else 60)
    return _CHARTS.get(rule.metric)


def _find_limits(
    rule: Rule, charts: Sequence[Chart], key: str, earlier: Mapping[str, Measurements]
) -> dict[str, float]:
    """Limits by the value of the rule's label; "" is the default.

    A rule that compares with an earlier time has the limits of the current hour.
    """
    if rule.compare:
        return {
            name: max(rule.limit_of(name) * level.value, rule.floor)
            for name, level in earlier[rule.name].items()
            if level.value is not None and level.requests >= rule.count_min
        }
    lines = [line.name for chart in charts if chart.key == key for line in chart.lines]
    # "web max", "web RSS" and "web.1" are lines of web.
    names = {name.partition(" ")[0].partition(".")[0] for name in lines}
    limits = {name: rule.limit_of(name) for name in names if name in rule.limits}
    has_default = not rule.limits or names - set(rule.limits)
    return {**limits, **({"": rule.limit} if has_default else {})}


def describe_entry(entry: HistoryEntry) -> str:
    """Describe an entry of the history."""
    if entry.what in ("muted", "unmuted"):
        return entry.text  # says so itself
    is_unsent = entry.what in ("fired", "resolved") and not entry.told
    return f"{entry.what}: {entry.text}" + (" (not sent)" if is_unsent else "")
