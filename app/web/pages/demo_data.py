"""POST /demo: fills an app named demo with an hour of simulated traffic. Local mode only.

The lines take the way of any other, marked as a simulation: no alert is sent, and a real drain of
that name would win. They are made here, so that a first look needs no second terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from app.ingest.aggregator import AcceptanceWindow
from app.ingest.drain_post import DrainKey, DrainPost
from app.ingest.marked_post import MarkedCommitter
from app.rollup.resolutions import HOUR_S
from app.storage.interface.apps import SIMULATION, AppReader, Origin
from app.storage.interface.elements import random_bytes
from app.traffic.simulated_app import SimulatedApp

DEMO = "demo"
LINES_PER_S = 8.0  # an hour of them is there within seconds
PART_FRAMES = 500
_RECENT_S = HOUR_S  # a second history would be added to the first
_ORIGIN = Origin(SIMULATION, notifies=False)


class DemoData:
    """The route."""

    def __init__(
        self,
        store: AppReader,
        committer: MarkedCommitter,
        acceptance: AcceptanceWindow,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._committer = committer
        self._acceptance = acceptance
        self._clock = clock
        self._lock = asyncio.Lock()  # for a second click
        self.router = APIRouter()
        self.router.add_api_route(
            "/demo", self.fill, methods=["POST"], include_in_schema=False, response_model=None
        )

    async def fill(self) -> Response:
        """Send the hour before now, unless the app has lines of it; then show the app."""
        async with self._lock:
            now_s = self._clock()
            seen_apps = {seen_app.app: seen_app for seen_app in await self._store.seen_apps()}
            seen_app = seen_apps.get(DEMO)
            if seen_app is None or now_s - seen_app.last_seen_s > _RECENT_S:
                await self._send(now_s)
        return RedirectResponse(f"/apps/{DEMO}", 303)

    async def _send(self, now_s: float) -> None:
        app = SimulatedApp(DEMO, lines_per_s=LINES_PER_S)
        key = DrainKey(DEMO, app.drain_token, 1, self._acceptance, reads_marks=True)
        for frames in _parts(app, now_s - HOUR_S, now_s):
            body = b"".join(frames)
            post = DrainPost(key, random_bytes(), random_bytes(), body, len(frames))
            await self._committer.commit(post, _ORIGIN)


def _parts(app: SimulatedApp, start_s: float, end_s: float) -> Iterator[list[bytes]]:
    """The messages of the app in that time, in parts."""
    frames: list[bytes] = []
    for line in app.lines(start_s):
        if line.at_s >= end_s:
            break
        frames.append(line.frame)
        if len(frames) == PART_FRAMES:
            yield frames
            frames = []
    if frames:
        yield frames
