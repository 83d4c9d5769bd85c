"""The view model of the list of apps: one row for each, sorted by severity, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from app.dashboard.insights import FAILED_SHARE_HIGH, MEMORY_HIGH, SILENT_AFTER_S
from app.query.planner import plan_range
from app.query.rates import complete_time
from app.query.snapshot import AppSnapshot, Question, read_snapshots
from app.query.stats import Value
from app.rollup.resolutions import Resolution
from app.storage.interface.apps import Origin, SeenApp
from app.storage.interface.rollups import RollupReader

NOW_MINUTES = 5
CODE_STEPS = NOW_MINUTES + 1  # the current, incomplete minute counts too
CRITICAL_CODES = ("H10", "H12", "H13", "H14", "R15")
SLOWER_RATIO = 2.0
FRESH_S = 10
LAST_WEEK_FRESH_S = 600
CACHED_APPS_MAX = 5_000

_REQUESTS = Question("requests", ("sum",), by_slot=True)
_FAILED_REQUESTS = Question(
    "requests", ("sum",), whole_range=True, filters=(("outcome", ("failed",)),)
)
_P95 = Question("service_time_ms", ("p95",), whole_range=True)
_HIGHEST_MEMORY = Question("memory_quota_used_ratio", ("max",), whole_range=True)
_CODES_NOW = Question(
    "heroku_errors",
    ("sum",),
    "code",
    whole_range=True,
    last_steps=CODE_STEPS,
    filters=(("code", CRITICAL_CODES),),
)
_QUESTIONS = (_REQUESTS, _FAILED_REQUESTS, _P95, _HIGHEST_MEMORY, _CODES_NOW)


class AppOverview(NamedTuple):
    """The last hour of an app. None where nothing is known.

    memory_used_ratio  share of the quota, of the fullest dyno
    codes_now          lines by critical code within NOW_MINUTES
    """

    app: str
    origin: Origin
    last_seen_s: int
    is_silent: bool
    has_runtime_metrics: bool
    requests_per_min: Value
    failed_share: Value
    p95_ms: Value
    p95_last_week_ms: Value
    memory_used_ratio: Value
    codes_now: dict[str, int]
    requests_by_minute: list[Value]

    @property
    def slower_ratio(self) -> float:
        """p95 divided by that of the same hour last week; 0 if either is unknown."""
        return (self.p95_ms or 0) / self.p95_last_week_ms if self.p95_last_week_ms else 0.0

    @property
    def critical_lines_now(self) -> int:
        """Lines with a critical code within NOW_MINUTES."""
        return sum(self.codes_now.get(code, 0) for code in CRITICAL_CODES)

    @property
    def severity(self) -> tuple[float, ...]:
        """Sort key: the app with the highest is the worst."""
        is_full = (self.memory_used_ratio or 0) > MEMORY_HIGH
        return (
            self.is_silent,
            self.critical_lines_now,
            self.failed_share or 0,
            is_full,
            self.slower_ratio,
        )

    @property
    def problem(self) -> str:
        """The app's worst problem in a few words; "" if nothing stands out."""
        if self.is_silent:
            return f"silent since {datetime.fromtimestamp(self.last_seen_s, UTC):%d %b %H:%M} UTC"
        if self.critical_lines_now:
            codes = [code for code in CRITICAL_CODES if self.codes_now.get(code)]
            return f"{', '.join(codes)} now"
        if (self.failed_share or 0) > FAILED_SHARE_HIGH:
            return "requests failing"
        if (self.memory_used_ratio or 0) > MEMORY_HIGH:
            return "memory nearly full"
        if self.slower_ratio >= SLOWER_RATIO:
            return f"{self.slower_ratio:.1f}× slower than last week"
        return ""


class AppsOverviewCache:
    """Caches overviews, so that many readers of the list cost no more than one.

    An overview may be FRESH_S old, last week's figure in it LAST_WEEK_FRESH_S.
    """

    def __init__(self, resolutions: Sequence[Resolution]) -> None:
        self._resolutions = resolutions
        self._overviews: dict[str, tuple[float, AppOverview]] = {}
        self._last_week: dict[str, tuple[float, Value]] = {}

    async def get_all(
        self, store: RollupReader, sightings: Sequence[SeenApp], now_s: float
    ) -> list[AppOverview]:
        """The overviews of these apps. The caller has checked that the reader may see them.

        Raises:
            StoreUnavailable, NewerVersion
        """
        if len(self._overviews) >= CACHED_APPS_MAX:
            self._overviews.clear()
            self._last_week.clear()
        overviews = {}
        stale = {}
        for sighting in sightings:
            cached_at_s, overview = self._overviews.get(sighting.app, (0.0, None))
            if overview is None or not 0 <= now_s - cached_at_s < FRESH_S:
                stale[sighting.app] = sighting
            else:
                overviews[sighting.app] = overview
        p95_last_week_ms = await self._read_last_week(store, list(stale), now_s)
        time_range = plan_range("now-1h", "now", "1m", self._resolutions, now_s)[0]
        async for hour in read_snapshots(store, list(stale), time_range, _QUESTIONS):
            app = hour.app
            overviews[app] = _build_overview(stale[app], hour, p95_last_week_ms[app], now_s)
            self._overviews[app] = (now_s, overviews[app])
        return [overviews[sighting.app] for sighting in sightings]

    async def _read_last_week(
        self, store: RollupReader, apps: Sequence[str], now_s: float
    ) -> dict[str, Value]:
        """The p95 of the same hour last week, by app."""
        p95_ms = {
            app: self._last_week[app][1]
            for app in apps
            if app in self._last_week and 0 <= now_s - self._last_week[app][0] < LAST_WEEK_FRESH_S
        }
        missing = [app for app in apps if app not in p95_ms]
        time_range = plan_range("now-169h", "now-168h", None, self._resolutions, now_s)[0]
        async for week in read_snapshots(store, missing, time_range, [_P95]):
            p95_ms[week.app] = week.value(_P95)
            self._last_week[week.app] = (now_s, p95_ms[week.app])
        return p95_ms


def _build_overview(
    sighting: SeenApp, hour: AppSnapshot, p95_last_week_ms: Value, now_s: float
) -> AppOverview:
    points = hour.points(_REQUESTS)
    requests = sum(value for value in points if value is not None)
    complete = complete_time(sighting.first_seen_s, sighting.last_seen_s, now_s)
    codes = hour.values_by(_CODES_NOW)
    return AppOverview(
        app=sighting.app,
        origin=sighting.origin,
        last_seen_s=sighting.last_seen_s,
        # A file that was replayed has an end: that is no problem of the app.
        is_silent=sighting.origin.is_drain and now_s - sighting.last_seen_s > SILENT_AFTER_S,
        has_runtime_metrics=bool(sighting.runtime_metrics_s),
        requests_per_min=hour.mean_per_minute(points, complete),
        failed_share=(hour.value(_FAILED_REQUESTS) or 0) / requests if requests else None,
        p95_ms=hour.value(_P95),
        p95_last_week_ms=p95_last_week_ms,
        memory_used_ratio=hour.value(_HIGHEST_MEMORY),
        codes_now={code: int(count) for code, count in codes.items() if count},
        requests_by_minute=hour.per_minute(points, complete),
    )
