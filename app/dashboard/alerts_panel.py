"""What the page of an app says of its alerts: what fires, what was told lately, and where the
limits lie in its charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.config import AlertConfig, read_config
from app.alerting.evaluator import rules_about
from app.alerting.inputs import LastWeek, RuleQueries
from app.alerting.rule import SHARE, Rule
from app.alerting.state import HistoryEntry, unpack_app, unpack_told
from app.alerting.wording import clock, what_is
from app.dashboard.charts import Chart, Threshold
from app.query.selection import Selection
from app.storage.alert_interface import HISTORY_LENGTH_MAX, AlertTable
from app.storage.interface import Reader

RECENT_MAX = 6
_MARKS = {"fired": "alert: ", "resolved": "over: ", "muted": "alerts ", "unmuted": "alerts "}
_PERCENT = 100
_CHARTS = {  # metric -> chart, and what its values are multiplied with there
    "service_time_ms": ("response", 1),
    "memory_quota_used_ratio": ("memory", _PERCENT),
    "load_avg_1m": ("load", 1),
    "dynos": ("dynos", 1),
}


class AlertView(NamedTuple):
    """`firing`: sentences; `muted_until_s`: 0 where it is not; `recent`: the newest first;
    `marks`: (Unix seconds, words) of the time that is shown; `rules`: that watch the app.
    """

    firing: list[str]
    muted_until_s: int
    recent: list[HistoryEntry]
    marks: list[tuple[float, str]]
    rules: Sequence[Rule]
    last_week: LastWeek
    queries: RuleQueries


async def read_alert_view(
    store: Reader, app: str, start_s: int, end_s: int, now_s: float
) -> AlertView:
    """Of an app, in a time that is shown.

    Raises:
        StoreUnavailable, PackError
    """
    config = await read_config(store)
    state = (await store.alert_tables(AlertTable.STATES))[0].get(app)
    history = (await store.alert_history([app], HISTORY_LENGTH_MAX)).get(app, [])
    entries = [unpack_told(entry) for entry in history]
    rules = rules_about(app, config.rules) if config.active or state else []
    queries, last_week = RuleQueries(rules), LastWeek(store)
    await last_week.of(app, queries, int(now_s))
    return AlertView(
        _describe_firing(config, state, now_s),
        config.mutes[app].until_s if config.is_muted(app, now_s) else 0,
        entries[:RECENT_MAX],
        [
            (entry.at_s, f"{_MARKS[entry.what]}{entry.text}")
            for entry in entries
            if entry.what in _MARKS and start_s <= entry.at_s < end_s
        ],
        rules,
        last_week,
        queries,
    )


def _describe_firing(config: AlertConfig, state: bytes | None, now_s: float) -> list[str]:
    if state is None:
        return []
    return [
        f"{what_is(alert, config.rules.get(alert.rule))}, since {clock(alert.since_s, now_s)}"
        + (f": {alert.detail}" if alert.detail else "")
        for alert in unpack_app(state).alerts
        if alert.phase == "firing"
    ]


def add_thresholds(
    charts: Sequence[Chart], view: AlertView, app: str, selection: Selection
) -> list[Chart]:
    """The charts, each with the limits above which somebody is told; of a part of the app that no
    rule watches there are none.
    """
    if selection.dyno or selection.outcome:
        return list(charts)
    limits_by_chart: dict[str, dict[float, str]] = {}
    for rule in view.rules:
        place = _find_chart(rule)
        if place is None or rule.below:
            continue
        chart, factor = place
        for key, limit in _find_limits(rule, charts, chart, view, app).items():
            if limit:
                name = f"{rule.name} {key}".strip()
                limits_by_chart.setdefault(chart, {}).setdefault(limit * factor, name)
    return [_set_thresholds(chart, limits_by_chart.get(chart.key, {})) for chart in charts]


def _set_thresholds(chart: Chart, limits: Mapping[float, str]) -> Chart:
    return chart._replace(
        thresholds=[Threshold(name, value) for value, name in sorted(limits.items())]
    )


def _find_chart(rule: Rule) -> tuple[str, float] | None:
    """In which chart the values of a rule are drawn."""
    if rule.kind != "metric" or set(rule.filters) - {"process_type", "outcome"}:
        return None
    if rule.stat == SHARE:
        is_failure_share = rule.metric == "requests" and rule.filters.get("outcome") == ("failed",)
        return ("failed", _PERCENT) if is_failure_share else None
    if rule.metric == "requests" and not rule.by and not rule.filters:
        return ("requests", 1 / rule.over_minutes if rule.stat == "sum" else 60)
    return _CHARTS.get(rule.metric)


def _find_limits(
    rule: Rule, charts: Sequence[Chart], key: str, view: AlertView, app: str
) -> dict[str, float]:
    """By the value of the rule's label; for what is compared, that of the present hour."""
    if rule.compare:
        query = next(level for level in view.queries.questions if level.rule is rule)
        last_week = view.last_week.all_measured(app, query)
        return {
            name: max(rule.limit_of(name) * level.value, rule.floor)
            for name, level in last_week.items()
            if level.value is not None and level.requests >= rule.count_min
        }
    names = {line.name for chart in charts if chart.key == key for line in chart.lines}
    limits = {name: rule.limit_of(name) for name in names if name in rule.limits}
    has_default = not rule.limits or names - set(rule.limits)
    return {**limits, **({"": rule.limit} if has_default else {})}


def describe_entry(entry: HistoryEntry) -> str:
    """An entry of the history in words."""
    words = {"fired": "fires", "resolved": "over"}.get(entry.what, entry.what)
    is_unsent = entry.what in ("fired", "resolved") and not entry.told
    return f"{words}: {entry.text}" + (" (nobody was told)" if is_unsent else "")
