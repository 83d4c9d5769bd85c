"""GET /: all apps, worst first; or first steps, while there is none. Works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.access.drain_status import DrainStatus, drain_statuses, second_drains
from app.access.rejected_logins import recent_rejected_logins
from app.alerting import status
from app.alerting.status import Firing
from app.dashboard.alerts_panel import FiringAlert, describe_firing
from app.dashboard.app_groups import count_states, group_apps
from app.dashboard.apps_overview import (
    AppOverview,
    AppsOverviewCache,
    describe_fleet,
    split_review_apps,
)
from app.dashboard.environments import Environments
from app.receivers.syslog_listener import NOT_LINKED
from app.rollup.resolutions import Resolution
from app.storage.interface.apps import SeenApp
from app.storage.interface.errors import HistoryUnavailable, StoreUnavailable
from app.storage.interface.store import Reader
from app.support.globs import matches_glob
from app.verdicts.verdict_reader import VerdictReader
from app.web.pages.rendering import Pages

_WILDCARDS = "*?["


class NamePatterns(NamedTuple):
    """What the names of apps tell. `review_apps`: glob patterns of apps of pull requests."""

    review_apps: Sequence[str]
    environments: Environments


class AppsPage:
    """The route. `store` is restricted to the apps that the current request may see."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        pages: Pages,
        clock: Callable[[], float],
        verdicts: VerdictReader,
        names: NamePatterns,
    ) -> None:
        self._store = store
        self._names = names
        self._overviews = AppsOverviewCache(resolutions, verdicts)
        self._page = pages.page
        self._clock = clock
        self.router = APIRouter()
        self.router.add_api_route("/", self.apps, methods=["GET"], include_in_schema=False)

    async def apps(self, request: Request, app: str = "") -> HTMLResponse:
        """All apps, worst first. `app`: a part of their names, or a glob that they match."""
        now_s = self._clock()
        pattern = app.strip().lower()
        try:
            sightings = await self._store.seen_apps()
            names = find_apps([sighting.app for sighting in sightings], pattern)
            registered = find_apps(list(await self._store.drains()), pattern)
            reachable = set(await self._store.reachable_apps(sorted({*names, *registered})))
            listed = [sighting for sighting in sightings if sighting.app in reachable]
            overviews = await self._overviews.get_all(self._store, listed, now_s)
            drains = await drain_statuses(self._store, reachable)
            rejected_logins = await recent_rejected_logins(self._store)
            alerts = await status.read_overview(self._store)
            former_apps = await self._find_former_apps(pattern)
        except StoreUnavailable as error:
            return self._page(request, "store_unavailable.html", status=503, reason=str(error))
        fleet = describe_fleet(overviews, now_s)
        review_apps: list[AppOverview] = []
        if not pattern:
            overviews, review_apps = split_review_apps(overviews, self._names.review_apps, now_s)
        environments = self._names.environments
        groups = group_apps(overviews, environments, now_s)
        waiting = _find_waiting(drains)
        has_apps = sightings or waiting or former_apps
        return self._page(
            request,
            "apps.html" if has_apps or pattern else "getting_started.html",
            groups=groups,
            state_counts=count_states(groups),
            review_groups=group_apps(review_apps, environments, now_s),
            review_counts=count_states(group_apps(review_apps, environments, now_s)),
            environment_of=environments.environment_of,
            fleet=fleet,
            apps_shown=len(overviews),
            apps_total=len(sightings),
            waiting=waiting,
            former_apps=former_apps,
            unreachable=[name for name in names if name not in reachable],
            pattern=pattern,
            second_drains=second_drains(drains, now_s),
            rejected_logins=rejected_logins,
            has_unlinked_token=any(login.reason == NOT_LINKED for login in rejected_logins),
            alerts_by_app=_describe_alerts(alerts.firing, now_s),
            mute_of=lambda name: alerts.config.mute_of(name, now_s),
            has_channel=bool(alerts.config.channels),
            failing_channels=[
                channel for channel in alerts.channels if channel.health.failing_since_s
            ],
        )

    async def _find_former_apps(self, pattern: str) -> list[SeenApp]:
        """The apps that only the archive knows; none while it does not answer."""
        try:
            former_apps = await self._store.former_apps()
        except HistoryUnavailable:
            return []
        names = set(find_apps([former_app.app for former_app in former_apps], pattern))
        return [former_app for former_app in former_apps if former_app.app in names]


def _describe_alerts(entries: Sequence[Firing], now_s: float) -> dict[str, list[FiringAlert]]:
    """The firing alerts by app, those that the verdicts tell too."""
    by_app: dict[str, list[FiringAlert]] = {}
    for app, alert, rule in entries:
        if alert.phase == "firing":
            by_app.setdefault(app, []).append(describe_firing(alert, rule, now_s))
    return by_app


def find_apps(apps: Sequence[str], pattern: str) -> list[str]:
    """The apps with `pattern` in their names; with a wildcard, those that match it."""
    if any(wildcard in pattern for wildcard in _WILDCARDS):
        return [app for app in apps if matches_glob(app, pattern)]
    return [app for app in apps if pattern in app]


def _find_waiting(drains: Sequence[DrainStatus]) -> list[DrainStatus]:
    """The apps that may send and have sent nothing yet. A space has no lines of its own."""
    return [
        drain
        for drain in drains
        if (drain.secrets or drain.links) and not drain.last_seen_s and not drain.space_apps
    ]
