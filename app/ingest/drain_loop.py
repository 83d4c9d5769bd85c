"""Whether Dynometer's own app drains into Dynometer: then each batch makes Heroku's router write a
line, which comes as another batch, for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from app.storage.interface import Store

log = logging.getLogger(__name__)

BEAT = "itself:"
KEPT_S = 3600
LOOK_BYTES = 2_048  # of a body: the lines of such a drain are hardly anything else


class DrainLoopDetector:
    """Looks for the router's lines about our own drain."""

    def __init__(self, store: Store, clock: Callable[[], float], public_url: str) -> None:
        """`public_url`: where Heroku reaches us; "" for unknown, and then nothing is found."""
        self._store = store
        self._clock = clock
        address = urlsplit(public_url)
        self._line = f'path="{address.path}/drain" host={address.hostname} '.encode()
        self._known = bool(public_url)
        self._found: set[str] = set()
        self._apps: list[str] = []

    def inspect(self, app: str, data: bytes, start: int = 0) -> None:
        """Take note if this body of an app, which begins at `start`, tells of our own drain."""
        if self._known and self._line in data[start : start + LOOK_BYTES]:
            self._found.add(app)

    async def refresh(self) -> None:
        """Tell the others, and hear from them.

        Raises:
            StoreUnavailable: try again later.
        """
        for app in self._found:
            now_s = str(int(self._clock()))
            await self._store.heartbeat(BEAT + app, {"last_s": now_s}, ttl_ms=KEPT_S * 1000)
        self._found.clear()
        before = self._apps
        self._apps = await looping_apps(self._store)
        for app in self._apps:
            if app not in before:
                log.warning("%s", loop_notice(app))

    def notices(self) -> list[str]:
        """For people, one for each such app."""
        return [loop_notice(app) for app in self._apps]


async def looping_apps(store: Store) -> list[str]:
    """Apps of which this was seen within KEPT_S, by any worker."""
    return sorted(
        name.removeprefix(BEAT) for name in await store.heartbeats() if name.startswith(BEAT)
    )


def loop_notice(app: str) -> str:
    """What it means, and what to do."""
    return (
        f"{app} is this service's own app, and drains into it: each batch causes the next. "
        f"End it: heroku drains -a {app}, then heroku drains:remove DRAIN -a {app}"
    )
