"""/api/v1/apps/{app}/feed: alerts and events for feed readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from fastapi.responses import Response

from app.alerting import status as look
from app.alerting.atom_feed import ENTRIES_MAX, atom, entries_of
from app.query import history
from app.query.planner import plan_range
from app.rollup.events import MORE_EVENTS
from app.rollup.resolutions import Resolution
from app.storage.interface import Reader
from app.web.api.queries import require_app

RANGE = "now-24h"  # events of


class AtomResponse(Response):
    """A feed."""

    media_type = "application/atom+xml"


class FeedApi:
    """The route, over a store."""

    def __init__(
        self,
        store: Reader,
        resolutions: Sequence[Resolution],
        clock: Callable[[], float],
        url: str,
    ) -> None:
        self._store = store
        self._resolutions = resolutions
        self._clock = clock
        self._url = url
        self.router = APIRouter(prefix="/api/v1")
        self.router.add_api_route(
            "/apps/{app}/feed",
            self.feed,
            methods=["GET"],
            response_class=AtomResponse,
            summary=self.feed.__doc__,
        )

    async def feed(self, app: str) -> AtomResponse:
        """Alerts and events as an Atom feed; a read token may come as ?token="""
        await require_app(self._store, app)
        now_s = self._clock()
        span, _ = plan_range(RANGE, "now", "range", self._resolutions, now_s)
        events = await history.read_events(self._store, app, span)
        events.pop(MORE_EVENTS, 0)
        told = [each for _, each in await look.history(self._store, [app], ENTRIES_MAX)]
        return AtomResponse(atom(app, entries_of(told, list(events)), self._url, now_s))
