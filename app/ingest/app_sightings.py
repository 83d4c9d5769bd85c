"""TODO docstring."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app.ingest.aggregator import ActivityTimes
from app.storage.interface import SeenApp, Store, StoreUnavailable

log = logging.getLogger(__name__)

SIGHTING_STEP_S = 5  # last_seen may lag by this much


class AppSightings:
    """Tells the store when apps were seen: at once when it is news, otherwise every few seconds."""

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        """`ttl_s`: how long after the last sighting of any app the list is kept."""
        self._store = store
        self._ttl_ms = ttl_s * 1000
        self._told: dict[str, ActivityTimes] = {}

    async def record(self, stored: Sequence[tuple[str, ActivityTimes]]) -> None:
        """Record what has been stored says about when its apps lived. Should the store just be
        away, the next arrivals make up for it.
        """
        news: dict[str, ActivityTimes] = {}
        for app, seen in stored:
            if not seen.last_s:
                continue  # nothing of the app's own
            told = self._told.get(app)
            if told is not None and not _is_news(seen, told):
                continue  # as mostly
            told = news.get(app, told)
            if told is None:
                news[app] = seen
            else:
                news[app] = ActivityTimes(
                    min(seen.first_s, told.first_s),
                    max(seen.last_s, told.last_s),
                    max(seen.runtime_metrics_s, told.runtime_metrics_s),
                )
        if news:
            await self._tell(news)

    async def _tell(self, news: Mapping[str, ActivityTimes]) -> None:
        before = {app: self._told.get(app) for app in news}
        self._told.update(news)  # first: of a hundred POSTs at once one tells it
        try:
            seen_apps = [
                SeenApp(app, seen.first_s, seen.last_s, seen.runtime_metrics_s)
                for app, seen in news.items()
            ]
            await self._store.record_sightings(seen_apps, ttl_ms=self._ttl_ms)
        except StoreUnavailable as error:
            log.warning("could not record which apps were seen: %s", error)
            for app, told in before.items():
                if told is None:
                    self._told.pop(app, None)
                else:
                    self._told[app] = told


def _is_news(seen: ActivityTimes, told: ActivityTimes) -> bool:
    return (
        seen.first_s < told.first_s
        or seen.last_s >= told.last_s + SIGHTING_STEP_S
        or seen.runtime_metrics_s >= told.runtime_metrics_s + SIGHTING_STEP_S
    )
