"""Records in the store when each app was last seen, without a write for every batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app.ingest.aggregator import ActivityTimes
from app.storage.interface.apps import AppRegistry, SeenApp, decode_origin
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
            earlier = news.get(app)
            news[app] = activity if earlier is None else _merge(earlier, activity)
        if news:
            await self._report(news)

    async def _report(self, news: Mapping[str, ActivityTimes]) -> None:
        previous = {app: self._last_reported.get(app) for app in news}
        for app, activity in news.items():
            # Before the call: of a hundred concurrent POSTs, only one reports.
            last = previous[app]
            self._last_reported[app] = activity if last is None else _merge(last, activity)
        try:
            seen_apps = [
                SeenApp(
                    app,
                    activity.first_s,
                    activity.last_s,
                    activity.runtime_metrics_s,
                    decode_origin(activity.origin),
                )
                for app, activity in news.items()
            ]
            await self._store.record_sightings(seen_apps, ttl_ms=self._ttl_ms)
        except StoreUnavailable as error:
            log.warning("Could not record which apps were seen: %s", error)
            for app, last in previous.items():
                if last is None:
                    self._last_reported.pop(app, None)
                else:
                    self._last_reported[app] = last


def _is_news(activity: ActivityTimes, last: ActivityTimes) -> bool:
    # A marked app may have been removed by another process, and started again. Each of its batches
    # is reported, so that it is on the list even then; there are few.
    return (
        bool(activity.origin or last.origin)
        or activity.first_s < last.first_s
        or activity.last_s >= last.last_s + SIGHTING_STEP_S
        or activity.runtime_metrics_s >= last.runtime_metrics_s + SIGHTING_STEP_S
    )


def _merge(one: ActivityTimes, other: ActivityTimes) -> ActivityTimes:
    """The times of both. The lines of a drain decide the origin, otherwise the later ones."""
    return ActivityTimes(
        min(one.first_s, other.first_s),
        max(one.last_s, other.last_s),
        max(one.runtime_metrics_s, other.runtime_metrics_s),
        other.origin if one.origin else "",
    )
