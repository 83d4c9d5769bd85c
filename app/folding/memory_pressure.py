"""Memory use of the store, and the eviction of old minutes before it is full.

A full store rejects every write, the newest minute too. So above SHED_AT of its maxmemory the guard
drops slots of the minute resolution, oldest hour first, until memory use is below SHED_TO. The 10m
and 1h slots of that time stay. The minute resolution then has a shorter retention: queries that
reach further back answer from 10m, with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from app.folding.merge import MARGIN_S
from app.rollup.resolutions import HOUR_S, MINUTE_S, SLACK_S, Resolution, align
from app.storage.interface.apps import AppReader
from app.storage.interface.elements import Slot
from app.storage.interface.folding import SlotRemover
from app.storage.interface.server import ServerInfo, ServerStatus
from app.storage.interface.status import StatusStore

log = logging.getLogger(__name__)

WARN_AT = 0.8
SHED_AT = 0.9
SHED_TO = 0.85
PROTECTED_S = 3 * HOUR_S  # minutes of this age are never dropped: pages and alerts need them
HEARTBEAT = "room"  # under this name in the store, workers share the time of the last drop
_MEBIBYTE = 2**20


class EvictionStore(ServerStatus, SlotRemover, AppReader, StatusStore, Protocol):
    """What the guard needs of the store."""


class MemoryPressureGuard:
    """Watches the store's memory; drops old minutes and shortens their retention if needed.

    The time before which minutes were dropped is in the store, so all workers apply the same
    retention.
    """

    def __init__(
        self, store: EvictionStore, resolutions: list[Resolution], clock: Callable[[], float]
    ) -> None:
        """
        Args:
            store: the store to watch.
            resolutions: the list that the whole process shares, finest first. The first entry is
                replaced when minutes are dropped.
            clock: Unix time in seconds.
        """
        self._store = store
        self._resolutions = resolutions
        self._minutes = resolutions[0]
        self._clock = clock
        self._dropped_before_s = 0
        self.server_info = ServerInfo("", 0, 0, "")

    async def check(self) -> None:
        """Query the store's memory use, and drop minutes if it is too high.

        Raises:
            StoreUnavailable: try again later.
        """
        self.server_info = await self._store.server_info()
        heartbeat = (await self._store.statuses()).get(HEARTBEAT, {})
        self._dropped_before_s = int(heartbeat.get("dropped_before_s", 0))
        if self._used_ratio > SHED_AT:
            await self._shed()
        self._resolutions[0] = self._minutes._replace(retention_s=self._effective_retention_s())

    @property
    def _used_ratio(self) -> float:
        info = self.server_info
        return info.bytes_used / info.bytes_max if info.bytes_max else 0.0

    def _effective_retention_s(self) -> int:
        since_s = int(self._clock()) - self._dropped_before_s - SLACK_S
        return min(self._minutes.retention_s, max(since_s, HOUR_S))

    async def _shed(self) -> None:
        now_s = int(self._clock())
        apps = [sighting.app for sighting in await self._store.seen_apps()]
        oldest_s = align(now_s - self._minutes.retention_s - MARGIN_S, HOUR_S)
        start = max(oldest_s, self._dropped_before_s)
        newest_s = now_s - PROTECTED_S
        while self._used_ratio > SHED_TO and start + HOUR_S <= newest_s:
            slots = [Slot("1m", minute) for minute in range(start, start + HOUR_S, MINUTE_S)]
            for app in apps:
                await self._store.delete_slots(app, slots)
            start += HOUR_S
            self.server_info = await self._store.server_info()
        if start > self._dropped_before_s:
            self._dropped_before_s = start
            # It expires when all minutes before `start` would have expired, too.
            ttl_ms = (self._minutes.retention_s + MARGIN_S) * 1000
            await self._store.write_status(
                HEARTBEAT, {"dropped_before_s": str(start)}, ttl_ms=ttl_ms
            )
            log.warning("%s", self.notice())

    def notice(self) -> str:
        """Return a notice for the operator; "" below WARN_AT with the full retention."""
        if self._used_ratio <= WARN_AT and not self._is_shortened:
            return ""
        info = self.server_info
        megabytes = f"{info.bytes_used / _MEBIBYTE:.0f} of {info.bytes_max / _MEBIBYTE:.0f} MiB"
        text = f"The store is {self._used_ratio:.0%} full ({megabytes})."
        if self._is_shortened:
            since = datetime.fromtimestamp(self._dropped_before_s, UTC)
            text += f" Minute data before {since:%d %b %H:%M} UTC was dropped to free memory."
        return f"{text} Raise its maxmemory, or keep data for less time (DYNOMETER_RETENTION_*)."

    @property
    def _is_shortened(self) -> bool:
        return self._effective_retention_s() < self._minutes.retention_s
