"""The view model of an app's page: the last hour compared with yesterday's, and a chosen range.

Both cover the whole app or the selected part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.alerts_panel import AlertView, add_thresholds, read_alert_view
from app.dashboard.apps_overview import CODE_STEPS
from app.dashboard.chart import Chart, ComparedPeriod, Split
from app.dashboard.charts import (
    AVERAGE_TIME,
    CHARTS,
    ERRORS_BY_CODE,
    LOAD_BY_DYNO,
    MEMORY,
    MEMORY_BY_DYNO,
    P95,
    REQUESTS_BY_SLOT,
    REQUESTS_WITH_OUTCOME,
    baseline_questions,
    current_questions,
)
from app.dashboard.insights import FAILED_SHARE_HIGH, MEMORY_HIGH, AppFacts, find_insights
from app.query.engine import complete_until
from app.query.ledger import Ledger, build_ledger
from app.query.planner import plan_range
from app.query.rates import complete_time
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot, Question, read_snapshot
from app.query.stats import Value
from app.query.table import QueryRange
from app.query.time_syntax import parse_time
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, Resolution, nice_step
from app.rollup.time_range import TimeRange
from app.storage.interface.apps import Origin, SeenApp
from app.storage.interface.rollups import RollupReader
from app.storage.interface.store import Reader
from parsers.error_codes import MAINTENANCE_CODE, explain
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


_REQUESTS_BY_OUTCOME = REQUESTS_WITH_OUTCOME._replace(by="outcome", whole_range=True)
_HIGHEST_MEMORY = MEMORY._replace(whole_range=True)
_LAST_MEMORY_BY_DYNO = Question("memory_quota_used_ratio", ("last",), "dyno", whole_range=True)
_CODES_NOW = ERRORS_BY_CODE._replace(whole_range=True, last_steps=CODE_STEPS)
_DYNO_COLUMNS = {
    "memory_bytes": Question("memory_total_bytes", ("last",), "dyno", whole_range=True),
    "memory_used_ratio": MEMORY_BY_DYNO._replace(whole_range=True),
    "load": LOAD_BY_DYNO._replace(whole_range=True),
    "requests": Question("requests", ("sum",), "dyno", whole_range=True),
    "errors": Question("heroku_errors", ("sum",), "dyno", whole_range=True),
    "avg_ms": Question("service_time_ms", ("avg",), "dyno", whole_range=True),
    "max_ms": Question("service_time_ms", ("max",), "dyno", whole_range=True),
    "restarts": Question("dyno_restarts", ("sum",), "dyno", whole_range=True),
}


class PageRequest(NamedTuple):
    """The reader's choices.

    range_name  one of RANGES; `start` and `end` (as the API takes them) override it
    compare     one of BASELINES, or ""
    log         whether response times have a logarithmic scale
    split       whether memory and load have a line per process type or per dyno
    """

    range_name: str = "1h"
    start: str = ""
    end: str = ""
    compare: str = ""
    selection: Selection = WHOLE_APP
    log: bool = False
    split: Split = "types"

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
    """Everything on the page.

    slot_s            the length of the stored slots: how exact the times of dynos are
    missing_baseline  name of the baseline without data, or ""
    """

    app: str
    origin: Origin
    last_seen_s: int
    runtime_metrics_s: int
    has_runtime_metrics: bool
    figures: list[Figure]
    insights: list[str]
    start_s: int
    end_s: int
    step_s: int
    slot_s: int
    complete_until_s: int
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
    hour_range = plan_range("now-1h", "now", "1m", resolutions, now_s)[0]
    day_before = plan_range("now-25h", "now-24h", None, resolutions, now_s)[0]
    time_range = plan_range(*request.range_parameters(now_s), resolutions, now_s)[0]
    baseline_name, shift_s = BASELINES.get(request.compare, ("", 0))
    baseline_range = _plan_baseline(time_range, shift_s, resolutions, now_s)
    questions = [
        (hour_range, [*_figure_questions(selection), *_hour_questions(selection)]),
        (day_before, _figure_questions(selection)),
        (time_range, _chart_questions(request)),
    ]
    if shift_s:
        questions.append((baseline_range, baseline_questions(selection)))
    snapshots = await _read_snapshots(store, sighting.app, questions, selection)
    hour, yesterday, current = (snapshots[key] for key in (hour_range, day_before, time_range))
    baseline = snapshots[baseline_range] if shift_s else None
    complete = complete_time(sighting.first_seen_s, sighting.last_seen_s, now_s)
    period = ComparedPeriod(
        *(current, complete, baseline, baseline_name, shift_s, request.log, request.split)
    )
    alerts = await read_alert_view(
        store, sighting, current.time_range.start, current.time_range.end, now_s
    )
    charts = add_thresholds(await _build_charts(period), alerts, sighting.app, selection)
    return AppView(
        app=sighting.app,
        origin=sighting.origin,
        last_seen_s=sighting.last_seen_s,
        runtime_metrics_s=sighting.runtime_metrics_s,
        has_runtime_metrics=sighting.runtime_metrics_s >= hour.time_range.start,
        figures=_build_figures(hour, yesterday, complete),
        insights=find_insights(_gather_facts(hour, sighting, now_s)),
        start_s=current.time_range.start,
        end_s=current.time_range.end,
        step_s=current.time_range.step_s,
        slot_s=current.time_range.resolution.seconds,
        complete_until_s=complete_until(current.time_range, now_s),
        charts=charts,
        missing_baseline="" if _has_baseline(charts) else baseline_name,
        process_types=sorted({labels_of(name)[0] for name in current.sources}),
        dyno_names=sorted(current.sources, key=_natural_order),
        codes=_build_code_rows(current),
        dynos=_build_dyno_rows(current),
        events=current.events,
        ledger=build_ledger(
            current.ledger, app=sighting.app, start=time_range.start, end=time_range.end
        ),
        alerts=alerts,
    )


def _plan_baseline(
    time_range: QueryRange, shift_s: int, resolutions: Sequence[Resolution], now_s: float
) -> QueryRange:
    start, end = (str(edge - shift_s) for edge in (time_range.start, time_range.end))
    return plan_range(start, end, str(time_range.step_s), resolutions, now_s)[0]


async def _read_snapshots(
    store: RollupReader,
    app: str,
    questions: Sequence[tuple[QueryRange, Sequence[Question]]],
    selection: Selection,
) -> dict[QueryRange, AppSnapshot]:
    """Read each range once, for all questions about it: the last hour is often the range shown."""
    questions_by_range: dict[QueryRange, dict[Question, None]] = {}
    for time_range, range_questions in questions:
        questions_by_range.setdefault(time_range, {}).update(dict.fromkeys(range_questions))
    return {
        time_range: await read_snapshot(store, app, time_range, range_questions, selection)
        for time_range, range_questions in questions_by_range.items()
    }


def _has_baseline(charts: Sequence[Chart]) -> bool:
    return any(line.is_baseline for chart in charts for line in chart.lines)


def _chart_questions(request: PageRequest) -> list[Question]:
    """What charts and the table of dynos ask of the range shown."""
    return [*current_questions(request.selection, request.split), *_DYNO_COLUMNS.values()]


async def _build_charts(period: ComparedPeriod) -> list[Chart]:
    """Build all charts. Yields to other requests between charts."""
    charts = []
    for build_chart in CHARTS:
        await asyncio.sleep(0)
        charts.append(build_chart(period))
    return charts


def _figure_questions(selection: Selection) -> list[Question]:
    """What the figures ask of the last hour, and of yesterday's."""
    return [REQUESTS_BY_SLOT, _REQUESTS_BY_OUTCOME, _time_question(selection), _HIGHEST_MEMORY]


def _time_question(selection: Selection) -> Question:
    question = AVERAGE_TIME if selection.dyno else P95  # one dyno has no percentiles
    return question._replace(whole_range=True)


def _build_figures(hour: AppSnapshot, yesterday: AppSnapshot, complete: TimeRange) -> list[Figure]:
    time_question = _time_question(hour.selection)
    stat = time_question.stats[0]
    periods = (hour, yesterday)
    requests = [
        period.mean_per_minute(period.points(REQUESTS_BY_SLOT), complete) for period in periods
    ]
    shares = [failed_share(period) for period in periods]
    times_ms = [period.value(time_question) for period in periods]
    memory = [period.value(_HIGHEST_MEMORY) for period in periods]
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


def _has_doubled(now: Value, yesterday: Value) -> bool:
    return now is not None and yesterday is not None and now > 2 * yesterday and now > SLOW_MS


def _hour_questions(selection: Selection) -> list[Question]:
    """What else insights and figures ask of the last hour."""
    return [_CODES_NOW, _LAST_MEMORY_BY_DYNO, *([] if selection.dyno else [P95])]


def _gather_facts(hour: AppSnapshot, sighting: SeenApp, now_s: float) -> AppFacts:
    by_dyno = hour.values_by(_LAST_MEMORY_BY_DYNO)
    ratios = {dyno: value for dyno, value in by_dyno.items() if dyno and value is not None}
    highest = max(ratios.items(), key=lambda item: item[1]) if ratios else None
    return AppFacts(
        now_s=now_s,
        last_seen_s=sighting.last_seen_s if sighting.origin.is_drain else int(now_s),
        start_s=hour.time_range.start,
        step_s=hour.time_range.step_s,
        p95_ms=[] if hour.selection.dyno else hour.points(P95),
        failed_share=failed_share(hour),
        codes=codes_now(hour),
        highest_memory=highest,
        events=[event for event, _ in hour.events],
    )


def _build_code_rows(snapshot: AppSnapshot) -> list[ErrorCodeRow]:
    by_code = snapshot.points_by(ERRORS_BY_CODE)
    codes = [
        ErrorCodeRow(code, int(sum(value or 0 for value in values)), *explain(code), by_step=values)
        for code, values in by_code.items()
    ]
    return sorted((row for row in codes if row.lines), key=lambda row: -row.lines)


def _build_dyno_rows(snapshot: AppSnapshot) -> list[DynoRow]:
    columns = {name: snapshot.values_by(question) for name, question in _DYNO_COLUMNS.items()}
    memory = snapshot.points_by(MEMORY_BY_DYNO)
    load = snapshot.points_by(LOAD_BY_DYNO)
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
    counts = {
        outcome: count or 0 for outcome, count in snapshot.values_by(_REQUESTS_BY_OUTCOME).items()
    }
    requests = sum(counts.values())
    return counts.get("failed", 0) / requests if requests else None


def codes_now(hour: AppSnapshot) -> dict[str, int]:
    """Lines by error code in the last minutes of a snapshot with steps of a minute.

    Without those of maintenance, which is no failure.
    """
    counts = hour.values_by(_CODES_NOW)
    return {
        code: int(count) for code, count in counts.items() if count and code != MAINTENANCE_CODE
    }
