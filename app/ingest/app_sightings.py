"""Records in the store when each app was last seen, without a write for every batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app.ingest.aggregator import ActivityTimes
from app.storage.interface.apps import AppRegistry, SeenApp
from app.storage.interface.errors import StoreUnavailable

log = logging.getLogger(__name__)

SIGHTING_STEP_S = 5  # last_seen may lag by this much


class AppSightings:
    """Reports to the store when apps were seen: new apps immediately, others every few seconds."""

    def __init__(self, store: AppRegistry, *, ttl_s: int) -> None:
        """`ttl_s`: how long the list of apps is kept after its last sighting."""
        self._store = store
        self._ttl_ms = ttl_s * 1000
        self._last_reported: dict[str, ActivityTimes] = {}

    async def record(self, activities: Sequence[tuple[str, ActivityTimes]]) -> None:
        """Record when apps were active, from batches that were stored.

        If the store is unavailable, later batches report it again.
        """
        news: dict[str, ActivityTimes] = {}
        for app, activity in activities:
            if not activity.last_s:
                continue  # the batch shows no activity of the app itself
            last = self._last_reported.get(app)
            if last is not None and not _is_news(activity, last):
                continue  # the common case
            last = news.get(app, last)
            if last is None:
                news[app] = activity
            else:
                news[app] = ActivityTimes(
                    min(activity.first_s, last.first_s),
                    max(activity.last_s, last.last_s),
                    max(activity.runtime_metrics_s, last.runtime_metrics_s),
                )
        if news:
            await self._report(news)

    async def _report(self, news: Mapping[str, ActivityTimes]) -> None:
        previous = {app: self._last_reported.get(app) for app in news}
        # Before the call: of a hundred concurrent POSTs, only one reports.
        self._last_reported.update(news)
        try:
            seen_apps = [
                SeenApp(app, activity.first_s, activity.last_s, activity.runtime_metrics_s)
                for app, activity in news.items()
            ]
            await self._store.record_sightings(seen_apps, ttl_ms=self._ttl_ms)
        except StoreUnavailable as error:
            log.warning("Could not record which apps were seen: %s", error)
            for app, activity in previous.items():
                if activity is None:
                    self._last_reported.pop(app, None)
                else:
                    self._last_reported[app] = activity


def _is_news(activity: ActivityTimes, last: ActivityTimes) -> bool:
    return (
        activity.first_s < last.first_s
        or activity.last_s >= last.last_s + SIGHTING_STEP_S
        or activity.runtime_metrics_s >= last.runtime_metrics_s + SIGHTING_STEP_S
    )
