"""One app as its page shows it: the last hour against yesterday's, and a range of the reader's
choice, of the whole app or of the part that was selected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.alerts_panel import AlertView, alert_view, with_thresholds
from app.dashboard.apps_overview import CODE_STEPS
from app.dashboard.charts import CHARTS, Chart, ComparedPeriod
from app.dashboard.insights import FAILED_SHARE_HIGH, MEMORY_HIGH, AppFacts, summarize
from app.query.ledger import Ledger, ledger_of
from app.query.selection import EVERYTHING, Selection
from app.query.stats import Value
from app.query.time_syntax import parse_time
from app.query.window import Window, window
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, Resolution, nice_step
from app.rollup.statuses import OUTCOMES
from app.storage.interface import Reader, SeenApp
from parsers.error_codes import explain
from parsers.samples import labels_of

RANGES = {  # as the page names them: how long, in which steps
    "1h": ("now-1h", "1m"),
    "6h": ("now-6h", "2m"),
    "24h": ("now-24h", "10m"),
    "7d": ("now-7d", "1h"),
    "30d": ("now-30d", "6h"),
    "90d": ("now-90d", "12h"),
}
PAST = {"day": ("yesterday", DAY_S), "week": ("last week", 7 * DAY_S)}  # to compare with
SLOW_MS = 500
_FINER = 2  # a chart has half as many points as an answer of the API has at most


class PageRequest(NamedTuple):
    """What the reader chose. `start`, `end`: as the API takes them, instead of one of RANGES.
    `compare`: one of PAST, or "". `log`: times by powers of ten.
    """

    chosen: str = "1h"
    start: str = ""
    end: str = ""
    compare: str = ""
    selection: Selection = EVERYTHING
    log: bool = True

    def span(self, now_s: float) -> tuple[str, str, str | None]:
        """start, end, step; no step where the times cannot be read, which is told later."""
        if not self.start:
            start, step = RANGES[self.chosen]
            return start, "now", step
        end = self.end or "now"
        try:
            length_s = parse_time(end, now_s) - parse_time(self.start, now_s)
        except (ValueError, OverflowError):
            return self.start, end, None
        return self.start, end, str(nice_step(max(length_s, 0) * _FINER))


class Figure(NamedTuple):
    """A number of the last hour, and that of the same hour yesterday; of unit % it is a share."""

    name: str
    unit: str
    now: Value
    yesterday: Value
    bad: bool


class ErrorCodeRow(NamedTuple):
    """An error code that occurred, and what it means."""

    code: str
    lines: int
    title: str
    meaning: str
    by_step: list[Value]


class DynoRow(NamedTuple):
    """A row of the table; None where nothing is known. Times in ms."""

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
    """Everything on the page."""

    app: str
    last_seen_s: int
    runtime_metrics: bool
    figures: list[Figure]
    story: list[str]
    span_start_s: int
    span_end_s: int
    step_s: int
    charts: list[Chart]
    nothing_past: str  # with what there is nothing to compare; "" otherwise
    process_types: list[str]
    dyno_names: list[str]
    codes: list[ErrorCodeRow]
    dynos: list[DynoRow]
    events: list[tuple[EventKey, int]]
    ledger: Ledger
    alerts: AlertView


async def app_view(
    store: Reader,
    seen: SeenApp,
    resolutions: Sequence[Resolution],
    now_s: float,
    wanted: PageRequest,
) -> AppView:
    """Read and sum up one app.

    Raises:
        QueryError: there is no such time.
        StoreUnavailable, NewerVersion
    """
    part = wanted.selection
    hour = await window(store, seen.app, "now-1h", "now", resolutions, now_s, step="1m")
    before = await window(store, seen.app, "now-25h", "now-24h", resolutions, now_s)
    start, end, step = wanted.span(now_s)
    whole = await window(store, seen.app, start, end, resolutions, now_s, step=step)
    shown = whole.only(part)
    past_name, shift_s = PAST.get(wanted.compare, ("", 0))
    past = None
    if shift_s:
        start, end = (str(edge - shift_s) for edge in (shown.span.start, shown.span.end))
        step = str(shown.span.step_s)
        earlier = await window(store, seen.app, start, end, resolutions, now_s, step=step)
        past = earlier.only(part)
    period = ComparedPeriod(shown, now_s, past, past_name, shift_s, log=wanted.log)
    alerts = await alert_view(store, seen.app, shown.span.start, shown.span.end, now_s)
    drawn = with_thresholds(await _charts(period), alerts, seen.app, part)
    return AppView(
        app=seen.app,
        last_seen_s=seen.last_seen_s,
        runtime_metrics=seen.runtime_metrics_s >= hour.span.start,
        figures=_figures(hour.only(part), before.only(part)),
        story=summarize(_facts(hour.only(part), seen, now_s)),
        span_start_s=shown.span.start,
        span_end_s=shown.span.end,
        step_s=shown.span.step_s,
        charts=drawn,
        nothing_past="" if _has_past(drawn) else past_name,
        process_types=sorted({labels_of(name)[0] for name in whole.last_heard_s}),
        dyno_names=sorted(whole.last_heard_s, key=_natural),
        codes=_codes(shown),
        dynos=_dynos(shown),
        events=shown.events,
        ledger=ledger_of(shown.ledger, app=seen.app, start=shown.span.start, end=shown.span.end),
        alerts=alerts,
    )


def _has_past(drawn: Sequence[Chart]) -> bool:
    return any(line.past for chart in drawn for line in chart.lines)


async def _charts(period: ComparedPeriod) -> list[Chart]:
    """Those with anything to show; other requests are served between them."""
    drawn = []
    for make in CHARTS:
        await asyncio.sleep(0)
        drawn.append(make(period))
    return [chart for chart in drawn if chart.known]


def _figures(hour: Window, before: Window) -> list[Figure]:
    """Of a dyno there is no percentile: its mean instead."""
    level = "avg" if hour.selection.dyno else "p95"
    requests = [_per_minute(each) for each in (hour, before)]
    failed = [failed_share(each) for each in (hour, before)]
    time_ms = [each.value("service_time_ms", level) for each in (hour, before)]
    memory = [each.value("memory_quota_used_ratio", "max") for each in (hour, before)]
    codes = sum(codes_now(hour).values())
    return [
        Figure("requests a minute", "", requests[0], requests[1], bad=False),
        Figure("failed", "%", failed[0], failed[1], bad=(failed[0] or 0) > FAILED_SHARE_HIGH),
        Figure(level, "ms", time_ms[0], time_ms[1], bad=_doubled(time_ms[0], time_ms[1])),
        Figure("fullest dyno", "%", memory[0], memory[1], bad=(memory[0] or 0) > MEMORY_HIGH),
        Figure("errors, 5 minutes", "", codes, None, bad=codes > 0),
    ]


def _per_minute(over: Window) -> Value:
    requests = over.value("requests", "sum")
    minutes = (over.span.end - over.span.start) / 60
    return requests / minutes if requests is not None else None


def _doubled(now: Value, yesterday: Value) -> bool:
    return now is not None and yesterday is not None and now > 2 * yesterday and now > SLOW_MS


def _facts(hour: Window, seen: SeenApp, now_s: float) -> AppFacts:
    by_dyno = hour.by("memory_quota_used_ratio", "last", "dyno")
    known = {dyno: value for dyno, value in by_dyno.items() if dyno and value is not None}
    fullest = max(known.items(), key=lambda item: item[1]) if known else None
    return AppFacts(
        now_s=now_s,
        last_seen_s=seen.last_seen_s,
        start_s=hour.span.start,
        step_s=hour.span.step_s,
        p95_ms=[] if hour.selection.dyno else hour.points("service_time_ms", "p95"),
        failed_share=failed_share(hour),
        codes=codes_now(hour),
        fullest=fullest,
        events=[event for event, _ in hour.events],
    )


def _codes(shown: Window) -> list[ErrorCodeRow]:
    by_code = shown.points_by("heroku_errors", "sum", "code")
    codes = [
        ErrorCodeRow(code, int(sum(value or 0 for value in values)), *explain(code), by_step=values)
        for code, values in by_code.items()
    ]
    return sorted((each for each in codes if each.lines), key=lambda each: -each.lines)


def _dynos(shown: Window) -> list[DynoRow]:
    columns = {
        "memory_bytes": shown.by("memory_total_bytes", "last", "dyno"),
        "memory_used_ratio": shown.by("memory_quota_used_ratio", "max", "dyno"),
        "load": shown.by("load_avg_1m", "avg", "dyno"),
        "requests": shown.by("requests", "sum", "dyno"),
        "errors": shown.by("heroku_errors", "sum", "dyno"),
        "avg_ms": shown.by("service_time_ms", "avg", "dyno"),
        "max_ms": shown.by("service_time_ms", "max", "dyno"),
        "restarts": shown.by("dyno_restarts", "sum", "dyno"),
    }
    memory = shown.points_by("memory_quota_used_ratio", "max", "dyno")
    load = shown.points_by("load_avg_1m", "avg", "dyno")
    return [
        DynoRow(
            name=name,
            process_type=labels_of(name)[0],
            **{column: values.get(name) for column, values in columns.items()},
            last_seen_s=at_s,
            memory_by_step=memory.get(name, []),
            load_by_step=load.get(name, []),
        )
        for name, at_s in sorted(shown.last_heard_s.items(), key=lambda item: _natural(item[0]))
    ]


def _natural(name: str) -> tuple[str, int, str]:
    process_type, _, number = name.rpartition(".")
    return (process_type, int(number) if number.isdigit() else 0, name)


def failed_share(over: Window) -> Value:
    """Failed requests of all; None when there were none."""
    found = over.series("requests", "sum", by="outcome", whole=True, filters={"outcome": OUTCOMES})
    counts = {each.labels["outcome"]: each.numbers[-1] or 0 for each in found}
    requests = sum(counts.values())
    return counts.get("failed", 0) / requests if requests else None


def codes_now(hour: Window) -> dict[str, int]:
    """Codes of the last minutes of a window by the minute, with how often."""
    counts = hour.ending(CODE_STEPS).by("heroku_errors", "sum", "code")
    return {code: int(count) for code, count in counts.items() if count}
