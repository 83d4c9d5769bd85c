"""What the page of an app says of its alerts: what fires, what was told lately, and where the
limits lie in its charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.alerting.config import AlertConfig, read_config
from app.alerting.evaluator import rules_for
from app.alerting.inputs import LastWeek, RuleQueries
from app.alerting.rule import SHARE, Rule
from app.alerting.state import HistoryEntry, unpack_app_alerts, unpack_history_entry
from app.alerting.wording import describe_alert, utc_time
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
    questions: RuleQueries


async def alert_view(store: Reader, app: str, start_s: int, end_s: int, now_s: float) -> AlertView:
    """Of an app, in a time that is shown.

    Raises:
        StoreUnavailable, PackError
    """
    config = await read_config(store)
    state = (await store.alert_tables(AlertTable.STATES))[0].get(app)
    told = (await store.alert_history([app], HISTORY_LENGTH_MAX)).get(app, [])
    entries = [unpack_history_entry(each) for each in told]
    rules = rules_for(app, config.rules) if config.is_active or state else []
    questions, last_week = RuleQueries(rules), LastWeek(store)
    await last_week.load(app, questions, int(now_s))
    return AlertView(
        _firing(config, state, now_s),
        config.mutes[app].until_s if config.is_muted(app, now_s) else 0,
        entries[:RECENT_MAX],
        [
            (each.at_s, f"{_MARKS[each.what]}{each.text}")
            for each in entries
            if each.what in _MARKS and start_s <= each.at_s < end_s
        ],
        rules,
        last_week,
        questions,
    )


def _firing(config: AlertConfig, state: bytes | None, now_s: float) -> list[str]:
    if state is None:
        return []
    return [
        f"{describe_alert(alert, config.rules.get(alert.rule))}, "
        f"since {utc_time(alert.since_s, now_s)}" + (f": {alert.detail}" if alert.detail else "")
        for alert in unpack_app_alerts(state).alerts
        if alert.phase == "firing"
    ]


def with_thresholds(
    charts: Sequence[Chart], view: AlertView, app: str, part: Selection
) -> list[Chart]:
    """The charts, each with the limits above which somebody is told; of a part of the app that no
    rule watches there are none.
    """
    if part.dyno or part.outcome:
        return list(charts)
    found: dict[str, dict[float, str]] = {}
    for rule in view.rules:
        place = _place(rule)
        if place is None or rule.below:
            continue
        chart, factor = place
        for key, limit in _limits(rule, charts, chart, view, app).items():
            if limit:
                name = f"{rule.name} {key}".strip()
                found.setdefault(chart, {}).setdefault(limit * factor, name)
    return [_with(chart, found.get(chart.key, {})) for chart in charts]


def _with(chart: Chart, limits: Mapping[float, str]) -> Chart:
    return chart._replace(
        thresholds=[Threshold(name, value) for value, name in sorted(limits.items())]
    )


def _place(rule: Rule) -> tuple[str, float] | None:
    """In which chart the values of a rule are drawn."""
    if rule.kind != "metric" or set(rule.filters) - {"process_type", "outcome"}:
        return None
    if rule.stat == SHARE:
        failed = rule.metric == "requests" and rule.filters.get("outcome") == ("failed",)
        return ("failed", _PERCENT) if failed else None
    if rule.metric == "requests" and not rule.by and not rule.filters:
        return ("requests", 1 / rule.over_minutes if rule.stat == "sum" else 60)
    return _CHARTS.get(rule.metric)


def _limits(
    rule: Rule, charts: Sequence[Chart], key: str, view: AlertView, app: str
) -> dict[str, float]:
    """By the value of the rule's label; for what is compared, that of the present hour."""
    if rule.compare:
        question = next(each for each in view.questions.metric_queries if each.rule is rule)
        weeks = view.last_week.measurements(app, question)
        return {
            name: max(rule.limit_of(name) * each.value, rule.floor)
            for name, each in weeks.items()
            if each.value is not None and each.requests >= rule.count_min
        }
    names = {line.name for chart in charts if chart.key == key for line in chart.lines}
    shown = {name: rule.limit_of(name) for name in names if name in rule.limits}
    others = not rule.limits or names - set(rule.limits)
    return {**shown, **({"": rule.limit} if others else {})}


def described(told: HistoryEntry) -> str:
    """An entry of the history in words."""
    words = {"fired": "fires", "resolved": "over"}.get(told.what, told.what)
    silent = told.what in ("fired", "resolved") and not told.told
    return f"{words}: {told.text}" + (" (nobody was told)" if silent else "")
