"""The view model of an app's page: the last hour compared with yesterday's, and a chosen range.

Both cover the whole app or the selected part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.alerts_panel import AlertView, add_thresholds, read_alert_view
from app.dashboard.apps_overview import CODE_STEPS
from app.dashboard.charts import CHARTS, Chart, ComparedPeriod
from app.dashboard.insights import FAILED_SHARE_HIGH, MEMORY_HIGH, AppFacts, find_insights
from app.query.ledger import Ledger, build_ledger
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot, read_snapshot
from app.query.stats import Value
from app.query.time_syntax import parse_time
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, Resolution, nice_step
from app.rollup.statuses import OUTCOMES
from app.storage.interface.apps import SeenApp
from app.storage.interface.store import Reader
from parsers.error_codes import explain
from parsers.samples import labels_of

RANGES = {  # name on the page -> (start, step)
    "1h": ("now-1h", "1m"),
    "6h": ("now-6h", "2m"),
    "24h": ("now-24h", "10m"),
    "7d": ("now-7d", "1h"),
    "30d": ("now-30d", "6h"),
    "90d": ("now-90d", "12h"),
}
BASELINES = {"day": ("yesterday", DAY_S), "week": ("last week", 7 * DAY_S)}  # periods to compare
SLOW_MS = 500
_STEP_FACTOR = 2  # a chart has at most half as many points as an answer of the API


class PageRequest(NamedTuple):
    """The reader's choices.

    range_name  one of RANGES; `start` and `end` (as the API takes them) override it
    compare     one of BASELINES, or ""
    log         whether response times have a logarithmic scale
    """

    range_name: str = "1h"
    start: str = ""
    end: str = ""
    compare: str = ""
    selection: Selection = WHOLE_APP
    log: bool = True

    def range_parameters(self, now_s: float) -> tuple[str, str, str | None]:
        """start, end and step. The step is None for unreadable times, which fail later."""
        if not self.start:
            start, step = RANGES[self.range_name]
            return start, "now", step
        end = self.end or "now"
        try:
            length_s = parse_time(end, now_s) - parse_time(self.start, now_s)
        except (ValueError, OverflowError):
            return self.start, end, None
        return self.start, end, str(nice_step(max(length_s, 0) * _STEP_FACTOR))


class Figure(NamedTuple):
    """A number of the last hour and of the same hour yesterday; a share if the unit is %."""

    name: str
    unit: str
    now: Value
    yesterday: Value
    is_bad: bool


class ErrorCodeRow(NamedTuple):
    """An error code that occurred, with its meaning."""

    code: str
    lines: int
    title: str
    meaning: str
    by_step: list[Value]


class DynoRow(NamedTuple):
    """A row of the dynos table. None where nothing is known."""

    name: str
    process_type: str
    memory_bytes: Value
    memory_used_ratio: Value
    load: Value
    requests: Value
    errors: Value
    avg_ms: Value
    max_ms: Value
    restarts: Value
    last_seen_s: int
    load_by_step: list[Value]
    memory_by_step: list[Value]


class AppView(NamedTuple):
    """Everything on the page. `missing_baseline`: name of the baseline without data, or ""."""

    app: str
    last_seen_s: int
    has_runtime_metrics: bool
    figures: list[Figure]
    insights: list[str]
    start_s: int
    end_s: int
    step_s: int
    charts: list[Chart]
    missing_baseline: str
    process_types: list[str]
    dyno_names: list[str]
    codes: list[ErrorCodeRow]
    dynos: list[DynoRow]
    events: list[tuple[EventKey, int]]
    ledger: Ledger
    alerts: AlertView


async def build_app_view(
    store: Reader,
    sighting: SeenApp,
    resolutions: Sequence[Resolution],
    now_s: float,
    request: PageRequest,
) -> AppView:
    """Read an app and build the view of its page.

    Raises:
        QueryError: a time is invalid.
        StoreUnavailable, NewerVersion
    """
    selection = request.selection
    hour = await read_snapshot(store, sighting.app, "now-1h", "now", resolutions, now_s, step="1m")
    yesterday = await read_snapshot(store, sighting.app, "now-25h", "now-24h", resolutions, now_s)
    start, end, step = request.range_parameters(now_s)
    snapshot = await read_snapshot(store, sighting.app, start, end, resolutions, now_s, step=step)
    current = snapshot.select(selection)
    baseline_name, shift_s = BASELINES.get(request.compare, ("", 0))
    baseline = None
    if shift_s:
        start, end = (
            str(edge - shift_s) for edge in (current.time_range.start, current.time_range.end)
        )
        step = str(current.time_range.step_s)
        baseline_snapshot = await read_snapshot(
            store, sighting.app, start, end, resolutions, now_s, step=step
        )
        baseline = baseline_snapshot.select(selection)
    period = ComparedPeriod(current, now_s, baseline, baseline_name, shift_s, log=request.log)
    alerts = await read_alert_view(
        store, sighting.app, current.time_range.start, current.time_range.end, now_s
    )
    charts = add_thresholds(await _build_charts(period), alerts, sighting.app, selection)
    return AppView(
        app=sighting.app,
        last_seen_s=sighting.last_seen_s,
        has_runtime_metrics=sighting.runtime_metrics_s >= hour.time_range.start,
        figures=_build_figures(hour.select(selection), yesterday.select(selection)),
        insights=find_insights(_gather_facts(hour.select(selection), sighting, now_s)),
        start_s=current.time_range.start,
        end_s=current.time_range.end,
        step_s=current.time_range.step_s,
        charts=charts,
        missing_baseline="" if _has_baseline(charts) else baseline_name,
        process_types=sorted({labels_of(name)[0] for name in snapshot.last_active_s}),
        dyno_names=sorted(snapshot.last_active_s, key=_natural_order),
        codes=_build_code_rows(current),
        dynos=_build_dyno_rows(current),
        events=current.events,
        ledger=build_ledger(
            current.ledger,
            app=sighting.app,
            start=current.time_range.start,
            end=current.time_range.end,
        ),
        alerts=alerts,
    )


def _has_baseline(charts: Sequence[Chart]) -> bool:
    return any(line.is_baseline for chart in charts for line in chart.lines)


async def _build_charts(period: ComparedPeriod) -> list[Chart]:
    """Build all charts and keep those with data. Yields to other requests between charts."""
    charts = []
    for build_chart in CHARTS:
        await asyncio.sleep(0)
        charts.append(build_chart(period))
    return [chart for chart in charts if chart.has_data]


def _build_figures(hour: AppSnapshot, yesterday: AppSnapshot) -> list[Figure]:
    stat = "avg" if hour.selection.dyno else "p95"  # one dyno has no percentiles
    periods = (hour, yesterday)
    requests = [_requests_per_min(period) for period in periods]
    shares = [failed_share(period) for period in periods]
    times_ms = [period.value("service_time_ms", stat) for period in periods]
    memory = [period.value("memory_quota_used_ratio", "max") for period in periods]
    errors = sum(codes_now(hour).values())
    return [
        Figure("requests/min", "", requests[0], requests[1], is_bad=False),
        Figure("failed", "%", shares[0], shares[1], is_bad=(shares[0] or 0) > FAILED_SHARE_HIGH),
        Figure(stat, "ms", times_ms[0], times_ms[1], is_bad=_has_doubled(times_ms[0], times_ms[1])),
        Figure(
            "memory (fullest dyno)",
            "%",
            memory[0],
            memory[1],
            is_bad=(memory[0] or 0) > MEMORY_HIGH,
        ),
        Figure("errors in 5 minutes", "", errors, None, is_bad=errors > 0),
    ]


def _requests_per_min(snapshot: AppSnapshot) -> Value:
    requests = snapshot.value("requests", "sum")
    minutes = (snapshot.time_range.end - snapshot.time_range.start) / 60
    return requests / minutes if requests is not None else None


def _has_doubled(now: Value, yesterday: Value) -> bool:
    return now is not None and yesterday is not None and now > 2 * yesterday and now > SLOW_MS


def _gather_facts(hour: AppSnapshot, sighting: SeenApp, now_s: float) -> AppFacts:
    by_dyno = hour.values_by("memory_quota_used_ratio", "last", "dyno")
    ratios = {dyno: value for dyno, value in by_dyno.items() if dyno and value is not None}
    highest = max(ratios.items(), key=lambda item: item[1]) if ratios else None
    return AppFacts(
        now_s=now_s,
        last_seen_s=sighting.last_seen_s,
        start_s=hour.time_range.start,
        step_s=hour.time_range.step_s,
        p95_ms=[] if hour.selection.dyno else hour.points("service_time_ms", "p95"),
        failed_share=failed_share(hour),
        codes=codes_now(hour),
        highest_memory=highest,
        events=[event for event, _ in hour.events],
    )


def _build_code_rows(snapshot: AppSnapshot) -> list[ErrorCodeRow]:
    by_code = snapshot.points_by("heroku_errors", "sum", "code")
    codes = [
        ErrorCodeRow(code, int(sum(value or 0 for value in values)), *explain(code), by_step=values)
        for code, values in by_code.items()
    ]
    return sorted((row for row in codes if row.lines), key=lambda row: -row.lines)


def _build_dyno_rows(snapshot: AppSnapshot) -> list[DynoRow]:
    columns = {
        "memory_bytes": snapshot.values_by("memory_total_bytes", "last", "dyno"),
        "memory_used_ratio": snapshot.values_by("memory_quota_used_ratio", "max", "dyno"),
        "load": snapshot.values_by("load_avg_1m", "avg", "dyno"),
        "requests": snapshot.values_by("requests", "sum", "dyno"),
        "errors": snapshot.values_by("heroku_errors", "sum", "dyno"),
        "avg_ms": snapshot.values_by("service_time_ms", "avg", "dyno"),
        "max_ms": snapshot.values_by("service_time_ms", "max", "dyno"),
        "restarts": snapshot.values_by("dyno_restarts", "sum", "dyno"),
    }
    memory = snapshot.points_by("memory_quota_used_ratio", "max", "dyno")
    load = snapshot.points_by("load_avg_1m", "avg", "dyno")
    return [
        DynoRow(
            name=name,
            process_type=labels_of(name)[0],
            **{column: values.get(name) for column, values in columns.items()},
            last_seen_s=last_seen_s,
            memory_by_step=memory.get(name, []),
            load_by_step=load.get(name, []),
        )
        for name, last_seen_s in sorted(
            snapshot.last_active_s.items(), key=lambda item: _natural_order(item[0])
        )
    ]


def _natural_order(name: str) -> tuple[str, int, str]:
    process_type, _, number = name.rpartition(".")
    return (process_type, int(number) if number.isdigit() else 0, name)


def failed_share(snapshot: AppSnapshot) -> Value:
    """The share of requests that failed; None without requests."""
    all_series = snapshot.series(
        "requests", "sum", by="outcome", whole_range=True, filters={"outcome": OUTCOMES}
    )
    counts = {series.labels["outcome"]: series.numbers[-1] or 0 for series in all_series}
    requests = sum(counts.values())
    return counts.get("failed", 0) / requests if requests else None


def codes_now(hour: AppSnapshot) -> dict[str, int]:
    """Lines by error code in the last minutes of a snapshot with steps of a minute."""
    counts = hour.tail(CODE_STEPS).values_by("heroku_errors", "sum", "code")
    return {code: int(count) for code, count in counts.items() if count}
