"""An app's last hour at a glance: what the page shows of it, computed as the API would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.codes import explain
from app.ledger import Ledger, ledger_of
from app.packing import ALL
from app.plan import Asked, plan
from app.query import Series, Wanted, evaluate, read_slots
from app.resolution import Resolution
from app.rollup import Rollup
from app.stats import Value
from app.store.port import Reader, SeenApp

RANGE = "now-1h"
MINUTES = 60


class Code(NamedTuple):
    """An error code that occurred, and what it means."""

    code: str
    lines: int
    title: str
    meaning: str


class ProcessType(NamedTuple):
    """The dynos of one process type; None where nothing is known."""

    name: str
    dynos: Value
    memory_bytes: Value  # mean of a dyno
    memory_used_ratio: Value  # of the fullest dyno, of its quota
    load: Value  # mean of a dyno


class Overview(NamedTuple):
    """One app. Times of requests in ms; the lists have a value a minute, None for a gap."""

    app: str
    last_seen_s: int
    runtime_metrics: bool
    requests: Value
    failed_share: Value
    p50: Value
    p95: Value
    p99: Value
    requests_by_minute: list[Value]
    p95_by_minute: list[Value]
    codes: list[Code]
    process_types: list[ProcessType]
    ledger: Ledger

    @property
    def severity(self) -> tuple[float, float, float]:
        """By which the worst app comes first: failed requests, codes, full memory."""
        fullest = max((each.memory_used_ratio or 0 for each in self.process_types), default=0)
        return (self.failed_share or 0, sum(each.lines for each in self.codes), fullest)


class _Hour:
    """What was read of one app, to be asked about."""

    def __init__(
        self,
        app: str,
        rollups: dict[int, Rollup],
        resolutions: Sequence[Resolution],
        now_s: float,
    ) -> None:
        self._app = app
        self._rollups = rollups
        self._resolutions = resolutions
        self._now_s = now_s

    def series(self, metric: str, *stats: str, by: str = "", step: str = "range") -> list[Series]:
        asked = Asked(metric, stats, [by] if by else [], None, RANGE, None, step)
        query = plan(asked, self._resolutions, self._now_s)[0]
        return evaluate(query, {self._app: self._rollups})

    def value(self, metric: str, stat: str) -> Value:
        return self.series(metric, stat)[0].values[0]

    def by(self, metric: str, stat: str, label: str) -> dict[str, Value]:
        found = self.series(metric, stat, by=label)
        return {series.labels[label]: series.values[-1] for series in found}

    def by_minute(self, metric: str, stat: str) -> list[Value]:
        return self.series(metric, stat, step="1m")[0].values[-MINUTES:]


async def overview(
    store: Reader, seen: SeenApp, resolutions: Sequence[Resolution], now_s: float
) -> Overview:
    """Read and sum up one app.

    Raises:
        StoreUnavailable, NewerVersion
    """
    asked = Asked("requests", start=RANGE, step="1m")
    span = plan(asked, resolutions, now_s)[0].range
    rollups = await read_slots(store, seen.app, span, Wanted(ALL))
    hour = _Hour(seen.app, rollups, resolutions, now_s)
    outcomes = hour.by("requests", "sum", "outcome")
    requests = hour.value("requests", "sum")
    p50, p95, p99 = (hour.value("service_time_ms", stat) for stat in ("p50", "p95", "p99"))
    return Overview(
        app=seen.app,
        last_seen_s=seen.last_seen_s,
        runtime_metrics=seen.runtime_metrics_s >= span.start,
        requests=requests,
        failed_share=(outcomes.get("failed") or 0) / requests if requests else None,
        p50=p50,
        p95=p95,
        p99=p99,
        requests_by_minute=hour.by_minute("requests", "sum"),
        p95_by_minute=hour.by_minute("service_time_ms", "p95"),
        codes=_codes(hour),
        process_types=_process_types(hour),
        ledger=_ledger(seen.app, rollups, span.start, span.end),
    )


def _codes(hour: _Hour) -> list[Code]:
    counts = hour.by("heroku_errors", "sum", "code")
    return [
        Code(code, int(count), *explain(code))
        for code, count in sorted(counts.items(), key=lambda item: -(item[1] or 0))
        if count
    ]


def _process_types(hour: _Hour) -> list[ProcessType]:
    columns = (
        hour.by("dynos", "last", "process_type"),
        hour.by("memory_total_bytes", "avg", "process_type"),
        hour.by("memory_quota_used_ratio", "max", "process_type"),
        hour.by("load_avg_1m", "avg", "process_type"),
    )
    names = sorted({name for column in columns for name in column})
    return [ProcessType(name, *(column.get(name) for column in columns)) for name in names]


def _ledger(app: str, rollups: dict[int, Rollup], start: int, end: int) -> Ledger:
    counts: dict[str, int] = {}
    for rollup in rollups.values():
        for name, messages in rollup.ledger.items():
            counts[name] = counts.get(name, 0) + messages
    return ledger_of(counts, app=app, start=start, end=end)
