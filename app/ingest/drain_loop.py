"""Detects log loops: an app that runs Dynometer and also drains to it.

Every batch then makes Heroku's router log a line, which arrives as the next batch, without end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from app.storage.interface.status import StatusReader, StatusStore

log = logging.getLogger(__name__)

HEARTBEAT_PREFIX = "itself:"
HEARTBEAT_TTL_S = 3600
INSPECTED_BYTES = 2_048  # of a body; in a log loop nearly every line is such a router line


class DrainLoopDetector:
    """Searches bodies for router lines about our own /drain."""

    def __init__(self, store: StatusStore, clock: Callable[[], float], public_url: str) -> None:
        """`public_url` is our address for Heroku; "" if unknown, then nothing is detected."""
        self._store = store
        self._clock = clock
        address = urlsplit(public_url)
        path, host = f'path="{address.path}/drain', f'" host={address.hostname} '
        self._line, self._line_with_slash = f"{path}{host}".encode(), f"{path}/{host}".encode()
        self._is_enabled = bool(public_url)
        self._new_apps: set[str] = set()  # detected here, and not reported to the store yet
        self._apps: list[str] = []

    def inspect(self, app: str, data: bytes, start: int = 0) -> None:
        """Check the body of an app that begins at `start` of `data`."""
        if not self._is_enabled:
            return
        lines = data[start : start + INSPECTED_BYTES]
        if self._line in lines or self._line_with_slash in lines:
            self._new_apps.add(app)

    async def refresh(self) -> None:
        """Exchange the detected apps with the other workers.

        Raises:
            StoreUnavailable: the apps stay as they were; try again later.
        """
        for app in self._new_apps:
            now_s = str(int(self._clock()))
            await self._store.write_status(
                HEARTBEAT_PREFIX + app, {"last_s": now_s}, ttl_ms=HEARTBEAT_TTL_S * 1000
            )
        self._new_apps.clear()
        previous_apps = self._apps
        self._apps = await looping_apps(self._store)
        for app in self._apps:
            if app not in previous_apps:
                log.warning("%s", loop_notice(app))

    def notices(self, allows: Callable[[str], bool]) -> list[str]:
        """One notice per looping app that the reader may see (`allows`)."""
        return [loop_notice(app) for app in self._apps if allows(app)]


async def looping_apps(store: StatusReader) -> list[str]:
    """Apps in a log loop that any worker detected within HEARTBEAT_TTL_S."""
    return sorted(
        name.removeprefix(HEARTBEAT_PREFIX)
        for name in await store.statuses()
        if name.startswith(HEARTBEAT_PREFIX)
    )


def loop_notice(app: str) -> str:
    """A notice that names the log loop and the commands that end it."""
    return (
        f"Log loop: app {app} runs Dynometer and also drains to it. "
        f"Remove that drain: heroku drains -a {app}, then heroku drains:remove DRAIN -a {app}"
    )
