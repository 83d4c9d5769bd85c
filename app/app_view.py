"""One app as its page shows it: the last hour against yesterday's, and a range of the reader's
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.codes import explain
from app.ledger import Ledger, ledger_of
from app.overview import codes_now, failed_share
from app.resolution import Resolution
from app.rollup import EventKey
from app.stats import Value
from app.store.port import Reader, SeenApp
from app.story import FAILED_SHARE_HIGH, MEMORY_HIGH, Facts, story
from app.window import Window, window
from parsers.sample import labels_of

RANGES = {  # as the page names them: how long, in which steps
    "1h": ("now-1h", "1m"),
    "6h": ("now-6h", "2m"),
    "24h": ("now-24h", "10m"),
    "7d": ("now-7d", "1h"),
    "30d": ("now-30d", "6h"),
    "90d": ("now-90d", "12h"),
}
SLOW_MS = 500
PERCENTILES = ("p50", "p95", "p99")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")


class Figure(NamedTuple):
    """A number of the last hour, and that of the same hour yesterday."""

    name: str
    now: Value
    yesterday: Value
    bad: bool


class Code(NamedTuple):
    """An error code that occurred, and what it means."""

    code: str
    lines: int
    title: str
    meaning: str
    by_step: list[Value]


class Dyno(NamedTuple):
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
    percentiles: dict[str, list[Value]]
    statuses: dict[str, list[Value]]
    memory_used: dict[str, list[Value]]  # share of quota by process type, of its fullest dyno
    dynos_by_type: dict[str, list[Value]]
    codes: list[Code]
    dynos: list[Dyno]
    events: list[tuple[EventKey, int]]
    ledger: Ledger


async def app_view(
    store: Reader,
    seen: SeenApp,
    resolutions: Sequence[Resolution],
    now_s: float,
    *,
    chosen: str,
) -> AppView:
    """Read and sum up one app. `chosen`: one of RANGES.

    Raises:
        StoreUnavailable, NewerVersion
    """
    hour = await window(store, seen.app, "now-1h", "now", resolutions, now_s, step="1m")
    before = await window(store, seen.app, "now-25h", "now-24h", resolutions, now_s)
    start, step = RANGES[chosen]
    shown = await window(store, seen.app, start, "now", resolutions, now_s, step=step)
    dynos = _dynos(shown)
    return AppView(
        app=seen.app,
        last_seen_s=seen.last_seen_s,
        runtime_metrics=seen.runtime_metrics_s >= hour.span.start,
        figures=_figures(hour, before),
        story=story(_facts(hour, seen, now_s)),
        span_start_s=shown.span.start,
        span_end_s=shown.span.end,
        step_s=shown.span.step_s,
        percentiles={stat: shown.points("service_time_ms", stat) for stat in PERCENTILES},
        statuses=_statuses(shown, now_s),
        memory_used=_known(shown.points_by("memory_quota_used_ratio", "max", "process_type")),
        dynos_by_type=_known(shown.points_by("dynos", "max", "process_type")),
        codes=_codes(shown),
        dynos=dynos,
        events=shown.events,
        ledger=ledger_of(shown.ledger, app=seen.app, start=shown.span.start, end=shown.span.end),
    )


def _figures(hour: Window, before: Window) -> list[Figure]:
    requests = [_per_minute(each) for each in (hour, before)]
    failed = [failed_share(each) for each in (hour, before)]
    p95 = [each.value("service_time_ms", "p95") for each in (hour, before)]
    memory = [each.value("memory_quota_used_ratio", "max") for each in (hour, before)]
    codes = sum(codes_now(hour).values())
    return [
        Figure("requests a minute", requests[0], requests[1], bad=False),
        Figure("failed", failed[0], failed[1], bad=(failed[0] or 0) > FAILED_SHARE_HIGH),
        Figure("p95", p95[0], p95[1], bad=_doubled(p95[0], p95[1])),
        Figure("fullest dyno", memory[0], memory[1], bad=(memory[0] or 0) > MEMORY_HIGH),
        Figure("errors, 5 minutes", codes, None, bad=codes > 0),
    ]


def _per_minute(over: Window) -> Value:
    requests = over.value("requests", "sum")
    minutes = (over.span.end - over.span.start) / 60
    return requests / minutes if requests is not None else None


def _doubled(now: Value, yesterday: Value) -> bool:
    return now is not None and yesterday is not None and now > 2 * yesterday and now > SLOW_MS


def _facts(hour: Window, seen: SeenApp, now_s: float) -> Facts:
    by_dyno = hour.by("memory_quota_used_ratio", "last", "dyno")
    known = {dyno: value for dyno, value in by_dyno.items() if dyno and value is not None}
    fullest = max(known.items(), key=lambda item: item[1]) if known else None
    return Facts(
        now_s=now_s,
        last_seen_s=seen.last_seen_s,
        start_s=hour.span.start,
        step_s=hour.span.step_s,
        p95_ms=hour.points("service_time_ms", "p95"),
        failed_share=failed_share(hour),
        codes=codes_now(hour),
        fullest=fullest,
        events=[event for event, _ in hour.events],
    )


def _statuses(shown: Window, now_s: float) -> dict[str, list[Value]]:
    by_class = shown.points_by("requests", "sum", "status_class")
    found = {name: shown.per_minute(values, now_s) for name, values in by_class.items()}
    named = {name: found[name] for name in STATUS_CLASSES if name in found}
    return _known({**named, **({"none": found[""]} if "" in found else {})})


def _known(found: dict[str, list[Value]]) -> dict[str, list[Value]]:
    return {
        name: values for name, values in sorted(found.items()) if any(value for value in values)
    }


def _codes(shown: Window) -> list[Code]:
    by_code = shown.points_by("heroku_errors", "sum", "code")
    codes = [
        Code(code, int(sum(value or 0 for value in values)), *explain(code), by_step=values)
        for code, values in by_code.items()
    ]
    return sorted((each for each in codes if each.lines), key=lambda each: -each.lines)


def _dynos(shown: Window) -> list[Dyno]:
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
        Dyno(
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
