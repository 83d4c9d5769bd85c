"""The view model of the list of apps: one row for each, with its verdict and its figures of now.

Figures are those of the last complete 5 minutes, or the verdict's own where it tells them.
Sparklines are about an hour, in steps of 5 minutes. The worker that judges an app stores them with
its verdict; only those of other apps are read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.dashboard.verdict_view import (
    PresentValue,
    marked_figures,
    present_values,
    shorten_summary,
)
from app.judgement.present import PRESENT_S
from app.judgement.review_apps import is_gone, is_review_app
from app.judgement.verdict import State, Verdict
from app.judgement.wording import describe_change, describe_finding
from app.query.planner import plan_range
from app.query.rates import SETTLED_AFTER_S, complete_time, mean_per_minute
from app.query.snapshot import AppSnapshot, Question, read_snapshots
from app.query.table import QueryRange
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution, align
from app.storage.interface.apps import Origin, SeenApp
from app.storage.interface.rollups import RollupReader
from app.verdicts.fleet import find_fleet
from app.verdicts.recent_figures import STEP_S, RecentFigures
from app.verdicts.verdict_reader import STALE_S, VerdictReader

FRESH_S = 10
CACHED_APPS_MAX = 5_000

_REQUESTS = Question("requests", ("sum",), by_slot=True)
_FAILED_REQUESTS = Question("requests", ("sum",), filters=(("outcome", ("failed",)),))
_P95 = Question("service_time_ms", ("p95",))
_HIGHEST_MEMORY = Question("memory_quota_used_ratio", ("max",), last_steps=1)
_QUESTIONS = (_REQUESTS, _FAILED_REQUESTS, _P95, _HIGHEST_MEMORY)


class AppOverview(NamedTuple):
    """The verdict of now about an app, and its figures of the last hour."""

    app: str
    origin: Origin
    last_seen_s: int
    verdict: Verdict
    has_runtime_metrics: bool
    figures: RecentFigures

    @property
    def state(self) -> State:
        """The state of its verdict."""
        return self.verdict.state

    @property
    def problem(self) -> str:
        """The verdict in a line."""
        return shorten_summary(self.verdict)

    @property
    def change(self) -> str:
        """The change shortly before its worst problem, by name; "" if there was none."""
        findings = self.verdict.findings
        is_known = findings and findings[0].state != "ok" and findings[0].after is not None
        return describe_change(findings[0].after) if is_known and findings[0].after else ""

    @property
    def marks(self) -> frozenset[str]:
        """The figures that the verdict is about."""
        return marked_figures(self.verdict.findings)

    @property
    def failed(self) -> PresentValue:
        """The share of requests that fails now."""
        return self._present("failed", self.figures.failed_shares[-1])

    @property
    def p95_ms(self) -> PresentValue:
        """The p95 of now."""
        return self._present("time", self.figures.p95s_ms[-1])

    def _present(self, figure: str, recent: float | None) -> PresentValue:
        return present_values(self.verdict).get(figure) or PresentValue(recent, PRESENT_S)


def split_review_apps(
    overviews: Iterable[AppOverview], globs: Sequence[str], now_s: float
) -> tuple[list[AppOverview], list[AppOverview]]:
    """The apps that stay, and the review apps, which match `globs`, but not those that are gone."""
    apps: list[AppOverview] = []
    review_apps: list[AppOverview] = []
    for overview in overviews:
        if not is_review_app(overview.app, globs):
            apps.append(overview)
        elif not is_gone(overview.last_seen_s, now_s):
            review_apps.append(overview)
    return apps, review_apps


def describe_fleet(overviews: Sequence[AppOverview], now_s: float) -> str:
    """A problem that many of these apps have at the same time, in a sentence; "" without one."""
    fleet = find_fleet([overview.verdict for overview in overviews])
    return describe_finding(fleet.finding, int(now_s)) if fleet else ""


class AppsOverviewCache:
    """Caches overviews for FRESH_S, so that many readers of the list cost no more than one."""

    def __init__(self, resolutions: Sequence[Resolution], verdicts: VerdictReader) -> None:
        self._resolutions = resolutions
        self._verdicts = verdicts
        self._overviews: dict[str, tuple[float, AppOverview]] = {}

    async def get_all(
        self, store: RollupReader, sightings: Sequence[SeenApp], now_s: float
    ) -> list[AppOverview]:
        """The overviews of these apps. The caller has checked that the reader may see them.

        Raises:
            StoreUnavailable, NewerVersion
        """
        if len(self._overviews) >= CACHED_APPS_MAX:
            self._overviews.clear()
        overviews = {}
        stale = {}
        for sighting in sightings:
            cached_at_s, overview = self._overviews.get(sighting.app, (0.0, None))
            if overview is None or not 0 <= now_s - cached_at_s < FRESH_S:
                stale[sighting.app] = sighting
            else:
                overviews[sighting.app] = overview
        if stale:
            records = await self._verdicts.current_records(list(stale.values()), now_s)
            figures = {
                app: record.figures
                for app, record in records.items()
                if record.figures is not None and now_s - record.figures.end_s <= STALE_S
            }
            unjudged = [sighting for app, sighting in stale.items() if app not in figures]
            figures |= await self._read_figures(store, unjudged, now_s)
            for app, sighting in stale.items():
                overview = _build_overview(sighting, records[app].verdict, figures[app])
                self._overviews[app] = (now_s, overview)
                overviews[app] = overview
        return [overviews[sighting.app] for sighting in sightings]

    async def _read_figures(
        self, store: RollupReader, sightings: Sequence[SeenApp], now_s: float
    ) -> dict[str, RecentFigures]:
        """The figures of apps that no worker has judged just now."""
        by_app = {sighting.app: sighting for sighting in sightings}
        hours = read_snapshots(store, list(by_app), self._last_hour(now_s), _QUESTIONS)
        return {hour.app: _figures_of(hour, by_app[hour.app], now_s) async for hour in hours}

    def _last_hour(self, now_s: float) -> QueryRange:
        """The hour up to the last complete minute."""
        end_s = align(int(now_s) - SETTLED_AFTER_S, MINUTE_S)
        start, end = str(end_s - HOUR_S), str(end_s)
        minutes, _ = plan_range(start, end, "1m", self._resolutions, now_s)
        return minutes._replace(step_s=max(STEP_S, minutes.step_s))


def _figures_of(hour: AppSnapshot, sighting: SeenApp, now_s: float) -> RecentFigures:
    start, end_s, step_s, resolution = hour.time_range
    complete = complete_time(sighting.first_seen_s, sighting.last_seen_s, now_s)
    size = step_s // resolution.seconds
    slots = hour.points(_REQUESTS)
    steps = [slots[first : first + size] for first in range(0, len(slots), size)]
    totals = [sum(filter(None, step)) for step in steps]
    rates = [
        mean_per_minute(step, start + index * step_s, resolution.seconds, complete)
        for index, step in enumerate(steps)
    ]
    failed_shares = [
        (failures or 0) / total if total else None
        for failures, total in zip(hour.points(_FAILED_REQUESTS), totals, strict=True)
    ]
    return RecentFigures(
        end_s,
        tuple(rates),
        tuple(failed_shares),
        tuple(hour.points(_P95)),
        hour.value(_HIGHEST_MEMORY),
    )


def _build_overview(sighting: SeenApp, verdict: Verdict, figures: RecentFigures) -> AppOverview:
    return AppOverview(
        app=sighting.app,
        origin=sighting.origin,
        last_seen_s=sighting.last_seen_s,
        verdict=verdict,
        has_runtime_metrics=bool(sighting.runtime_metrics_s),
        figures=figures,
    )
