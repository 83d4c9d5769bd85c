"""The view model of an app's page: a range of the whole app, or of the selected part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from app.alerting.conditions import COMPARED_AGES_S
from app.alerting.earlier_hours import EarlierHours
from app.dashboard.addon_charts import addon_questions, build_addon_charts
from app.dashboard.alerts_panel import AlertView, add_thresholds, read_alert_view
from app.dashboard.chart import Chart, ComparedPeriod, Split
from app.dashboard.charts import (
    CHARTS,
    LOAD,
    MEMORY,
    baseline_questions,
    current_questions,
)
from app.dashboard.error_rows import ErrorCodeRow, build_error_rows, error_questions
from app.dashboard.figures import (
    WEEK_S,
    Figure,
    FigurePeriods,
    build_figures,
    figure_questions,
    recent_range,
    sparkline_questions,
)
from app.dashboard.open_charts import OpenCharts, read_open_charts
from app.dashboard.verdict_card import VerdictCard, build_card
from app.dashboard.verdict_view import (
    Judgement,
    build_judgement,
    history_start,
)
from app.query.engine import complete_until
from app.query.ledger import Ledger, build_ledger
from app.query.planner import plan_range
from app.query.rates import complete_time
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import PAGE_SECTIONS, AppSnapshot, Question, read_snapshot
from app.query.stats import Value
from app.query.table import QueryRange
from app.query.time_syntax import parse_time
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution, nice_step
from app.storage.interface.apps import Origin, SeenApp
from app.storage.interface.rollups import RollupReader
from app.storage.interface.store import Reader
from app.support.durations import parse_duration
from app.verdicts.verdict_reader import VerdictReader
from parsers.samples import labels_of

RANGES = {  # name on the page -> (start, step)
    "1h": ("now-1h", "1m"),
    "6h": ("now-6h", "2m"),
    "24h": ("now-24h", "10m"),
    "7d": ("now-7d", "1h"),
    "30d": ("now-30d", "6h"),
    "90d": ("now-90d", "12h"),
    "1y": ("now-365d", "1d"),
}
BASELINES = {  # periods to compare: name -> (words, shift)
    "day": ("yesterday", DAY_S),
    "week": ("last week", WEEK_S),
    "year": ("a year before", COMPARED_AGES_S["year"]),
}
_STEP_FACTOR = 2  # a chart has at most half as many points as an answer of the API

_GAUGE_COLUMNS = {
    "memory_bytes": Question("memory_total_bytes", ("last",), whole_range=True),
    "memory_used_ratio": MEMORY._replace(whole_range=True),
    "load": LOAD._replace(whole_range=True),
}
_COUNT_COLUMNS = {
    "requests": Question("requests", ("sum",), "dyno", whole_range=True),
    "errors": Question("heroku_errors", ("sum",), "dyno", whole_range=True),
    "avg_ms": Question("service_time_ms", ("avg",), "dyno", whole_range=True),
    "max_ms": Question("service_time_ms", ("max",), "dyno", whole_range=True),
    "restarts": Question("dyno_restarts", ("sum",), "dyno", whole_range=True),
}


def stored_ranges(resolutions: Sequence[Resolution]) -> list[str]:
    """Those of RANGES for which data may be stored."""
    longest_s = resolutions[-1].retention_s
    return [
        name
        for name, (start, _) in RANGES.items()
        if parse_duration(start.removeprefix("now-")) <= longest_s or name == "1h"
    ]


def stored_baselines(resolutions: Sequence[Resolution]) -> dict[str, str]:
    """The words of those of BASELINES for which data may be stored, by their names."""
    longest_s = resolutions[-1].retention_s
    return {name: words for name, (words, shift_s) in BASELINES.items() if shift_s <= longest_s}


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

    addon_charts      those of databases and caches that have data
    slot_s            the length of the stored slots: how exact the times of dynos are
    is_past           whether the range ended before now: the verdict is about it then, else about
                      now
    missing_baseline  name of the baseline without data, or ""
    """

    app: str
    origin: Origin
    last_seen_s: int
    runtime_metrics_s: int
    has_runtime_metrics: bool
    judgement: Judgement
    card: VerdictCard
    is_past: bool
    figures: list[Figure]
    start_s: int
    end_s: int
    step_s: int
    slot_s: int
    complete_until_s: int
    charts: list[Chart]
    addon_charts: list[Chart]
    custom: OpenCharts
    language: OpenCharts
    missing_baseline: str
    process_types: list[str]
    dyno_names: list[str]
    codes: list[ErrorCodeRow]
    dynos: list[DynoRow]
    events: list[tuple[EventKey, int]]
    ledger: Ledger
    alerts: AlertView

    @property
    def all_charts(self) -> list[Chart]:
        """The charts of all sections."""
        return [*self.charts, *self.addon_charts, *self.custom.charts, *self.language.charts]


async def build_app_view(
    store: Reader,
    verdicts: VerdictReader,
    earlier_hours: EarlierHours,
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
    time_range = plan_range(*request.range_parameters(now_s), resolutions, now_s)[0]
    is_past = time_range.end <= now_s
    recent = None if is_past else recent_range(resolutions, now_s)
    week_before = _plan_week_before(time_range, sighting, resolutions, now_s)
    baseline_name, shift_s = BASELINES.get(request.compare, ("", 0))
    baseline_range = _plan_baseline(time_range, shift_s, resolutions, now_s)
    questions = [
        (time_range, _questions(request)),
        *((period, figure_questions(request.selection)) for period in (recent, week_before)),
        (baseline_range if shift_s else None, baseline_questions(request.selection)),
    ]
    snapshots = await _read_snapshots(store, sighting.app, questions, request.selection)
    current = snapshots[time_range]
    baseline = snapshots[baseline_range] if shift_s else None
    complete = complete_time(sighting.first_seen_s, sighting.last_seen_s, now_s)
    period = ComparedPeriod(
        *(current, complete, baseline, baseline_name, shift_s, request.log, request.split)
    )
    alerts = await read_alert_view(store, earlier_hours, sighting, time_range, now_s)
    charts, addon_charts = await _build_charts(period, alerts)
    judgement, card = await _read_judgement(verdicts, sighting, current, now_s)
    periods = FigurePeriods(
        current, recent and snapshots[recent], week_before and snapshots[week_before]
    )
    complete_until_s = complete_until(time_range, now_s)
    steps = (complete_until_s - time_range.start) // time_range.step_s
    return AppView(
        app=sighting.app,
        origin=sighting.origin,
        last_seen_s=sighting.last_seen_s,
        runtime_metrics_s=sighting.runtime_metrics_s,
        has_runtime_metrics=sighting.runtime_metrics_s
        >= (time_range.start if is_past else now_s - HOUR_S),
        judgement=judgement,
        card=card,
        is_past=is_past,
        figures=build_figures(periods, complete, steps, judgement.verdict),
        start_s=time_range.start,
        end_s=time_range.end,
        step_s=time_range.step_s,
        slot_s=time_range.resolution.seconds,
        complete_until_s=complete_until_s,
        charts=charts,
        addon_charts=addon_charts,
        custom=await read_open_charts(store, period, "custom"),
        language=await read_open_charts(store, period, "language"),
        missing_baseline="" if _has_baseline(charts) else baseline_name,
        process_types=sorted({labels_of(name)[0] for name in current.sources}),
        dyno_names=sorted(current.sources, key=_natural_order),
        codes=build_error_rows(current),
        dynos=_build_dyno_rows(current),
        events=current.events,
        ledger=_build_ledger(current),
        alerts=alerts,
    )


async def _read_judgement(
    verdicts: VerdictReader, sighting: SeenApp, current: AppSnapshot, now_s: float
) -> tuple[Judgement, VerdictCard]:
    """Read the verdict of now, or of a range in the past, and the problems before."""
    start_s, end_s = current.time_range.start, current.time_range.end
    if end_s <= now_s:
        verdict = await verdicts.over(sighting, start_s, end_s, now_s)
    else:
        verdict = (await verdicts.current([sighting], now_s))[sighting.app]
    history_start_s = min(history_start(now_s), start_s)
    episodes = await verdicts.episodes(sighting.app, history_start_s, int(now_s) + 1)
    return build_judgement(verdict, episodes), build_card(verdict, episodes, current.sources)


def _build_ledger(current: AppSnapshot) -> Ledger:
    start, end = current.time_range.start, current.time_range.end
    return build_ledger(current.ledger, app=current.app, start=start, end=end)


def _plan_baseline(
    time_range: QueryRange, shift_s: int, resolutions: Sequence[Resolution], now_s: float
) -> QueryRange:
    start, end = (str(edge - shift_s) for edge in (time_range.start, time_range.end))
    return plan_range(start, end, str(time_range.step_s), resolutions, now_s)[0]


async def _read_snapshots(
    store: RollupReader,
    app: str,
    questions: Sequence[tuple[QueryRange | None, Sequence[Question]]],
    selection: Selection,
) -> dict[QueryRange, AppSnapshot]:
    """Read each range once, for all questions about it: the last hour is often the range shown.

    Questions about no range are not asked.

    Only of the first range, which the page shows, events, sources and ledger are read too.
    """
    questions_by_range: dict[QueryRange, dict[Question, None]] = {}
    for time_range, range_questions in questions:
        if time_range is not None:
            questions_by_range.setdefault(time_range, {}).update(dict.fromkeys(range_questions))
    shown_range = questions[0][0]
    return {
        time_range: await read_snapshot(
            *(store, app, time_range, range_questions, selection),
            whole_sections=PAGE_SECTIONS if time_range == shown_range else frozenset(),
        )
        for time_range, range_questions in questions_by_range.items()
    }


def _has_baseline(charts: Sequence[Chart]) -> bool:
    return any(line.is_baseline for chart in charts for line in chart.lines)


def _plan_week_before(
    time_range: QueryRange, sighting: SeenApp, resolutions: Sequence[Resolution], now_s: float
) -> QueryRange | None:
    """The range a week before; None before the app was there, or if time would count twice."""
    length_s = time_range.end - time_range.start
    if length_s > WEEK_S or sighting.first_seen_s >= time_range.end - WEEK_S:
        return None
    return _plan_baseline(time_range, WEEK_S, resolutions, now_s)


def _questions(request: PageRequest) -> list[Question]:
    """All that is asked of the range shown."""
    selection = request.selection
    return [
        *current_questions(selection, request.split),
        *addon_questions(),
        *_GAUGE_COLUMNS.values(),
        *_COUNT_COLUMNS.values(),
        *error_questions(),
        *figure_questions(selection),
        *sparkline_questions(selection),
    ]


async def _build_charts(period: ComparedPeriod, alerts: AlertView) -> list[list[Chart]]:
    """Build the charts of each section. Yields to other requests between charts."""
    charts = []
    for build_chart in CHARTS:
        await asyncio.sleep(0)
        charts.append(build_chart(period))
    current = period.current
    return [
        add_thresholds(section, alerts, current.selection)
        for section in (charts, build_addon_charts(current))
    ]


def _build_dyno_rows(snapshot: AppSnapshot) -> list[DynoRow]:
    columns = {
        **{name: snapshot.values_by_dyno(asked) for name, asked in _GAUGE_COLUMNS.items()},
        **{name: snapshot.values_by(asked) for name, asked in _COUNT_COLUMNS.items()},
    }
    memory = snapshot.points_by_dyno(MEMORY)
    load = snapshot.points_by_dyno(LOAD)
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
