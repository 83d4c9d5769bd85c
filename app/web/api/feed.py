"""/api/v1/apps/{app}/feed: an app's alerts and events for feed readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from fastapi.responses import Response

from app.alerting import status
from app.alerting.atom_feed import ENTRIES_MAX, feed_entries, render_feed
from app.query import history
from app.query.planner import plan_range
from app.rollup.events import MORE_EVENTS
from app.rollup.resolutions import Resolution
from app.storage.interface.store import Reader
from app.web.api.queries import require_app

_EVENTS_SINCE = "now-24h"


class AtomResponse(Response):
    """An Atom feed."""

    media_type = "application/atom+xml"


class FeedApi:
    """The feed's route."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        clock: Callable[[], float],
        pages_url: str,
    ) -> None:
        """`pages_url`: base URL of the pages, for links in entries."""
        self._store = store
        self._resolutions = resolutions
        self._clock = clock
        self._pages_url = pages_url
        self.router = APIRouter(prefix="/api/v1")
        self.router.add_api_route(
            "/apps/{app}/feed",
            self.feed,
            methods=["GET"],
            response_class=AtomResponse,
            summary=self.feed.__doc__,
        )

    async def feed(self, app: str) -> AtomResponse:
        """Alerts and events as an Atom feed; accepts a read token as ?token="""
        await require_app(self._store, app)
        now_s = self._clock()
        time_range, _ = plan_range(_EVENTS_SINCE, "now", "range", self._resolutions, now_s)
        events = await history.read_events(self._store, app, time_range)
        events.pop(MORE_EVENTS, 0)  # a count of dropped events, not an event
        entries = [entry for _, entry in await status.read_history(self._store, [app], ENTRIES_MAX)]
        return AtomResponse(
            render_feed(app, feed_entries(entries, list(events)), self._pages_url, now_s)
        )
