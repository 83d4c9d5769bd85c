"""How full the store is; and what is given up before it is full: the oldest minutes first, whose
10m and 1h intervals are kept.

A store that is full refuses everything, the newest minute too. So from SHED_AT of its maxmemory on,
minutes are dropped an hour at a time until it is below SHED_TO, and the minute resolution counts as
kept for less long: queries that reach further back answer from 10m, and say so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from app.folding.merge import MARGIN_S
from app.rollup.resolutions import HOUR_S, MINUTE_S, SLACK_S, Resolution, align
from app.storage.interface import ServerInfo, Slot, Store

log = logging.getLogger(__name__)

WARN_AT = 0.8
SHED_AT = 0.9
SHED_TO = 0.85
MINUTES_LEFT_S = 3 * HOUR_S  # are never dropped: pages and alerts look at them
BEAT = "room"
_MEBIBYTE = 2**20


class MemoryPressureGuard:
    """What this worker knows of the store's memory, and all workers do about it."""

    def __init__(self, store: Store, tiers: list[Resolution], clock: Callable[[], float]) -> None:
        """`tiers`: the resolutions as everybody in this process has them; the first is changed here
        when its minutes are dropped.
        """
        self._store = store
        self._tiers = tiers
        self._minutes = tiers[0]
        self._clock = clock
        self._dropped_before_s = 0
        self.facts = ServerInfo("", 0, 0, "")

    async def check(self) -> None:
        """Ask the store how full it is, and make room where need be.

        Raises:
            StoreUnavailable: try again later.
        """
        self.facts = await self._store.server_info()
        beat = (await self._store.heartbeats()).get(BEAT, {})
        self._dropped_before_s = int(beat.get("dropped_before_s", 0))
        if self._used_ratio > SHED_AT:
            await self._shed()
        self._tiers[0] = self._minutes._replace(retention_s=self._kept_s())

    @property
    def _used_ratio(self) -> float:
        return self.facts.bytes_used / self.facts.bytes_max if self.facts.bytes_max else 0.0

    def _kept_s(self) -> int:
        since_s = int(self._clock()) - self._dropped_before_s - SLACK_S
        return min(self._minutes.retention_s, max(since_s, HOUR_S))

    async def _shed(self) -> None:
        now_s = int(self._clock())
        apps = [seen.app for seen in await self._store.seen_apps()]
        oldest_s = align(now_s - self._minutes.retention_s - MARGIN_S, HOUR_S)
        start = max(oldest_s, self._dropped_before_s)
        newest_s = now_s - MINUTES_LEFT_S
        while self._used_ratio > SHED_TO and start + HOUR_S <= newest_s:
            slots = [Slot("1m", minute) for minute in range(start, start + HOUR_S, MINUTE_S)]
            for app in apps:
                await self._store.delete_slots(app, slots)
            start += HOUR_S
            self.facts = await self._store.server_info()
        if start > self._dropped_before_s:
            self._dropped_before_s = start
            ttl_ms = (self._minutes.retention_s + MARGIN_S) * 1000
            await self._store.heartbeat(BEAT, {"dropped_before_s": str(start)}, ttl_ms=ttl_ms)
            log.warning("%s", self.notice())

    def notice(self) -> str:
        """For people; "" while there is room."""
        if self._used_ratio <= WARN_AT and not self._shortened:
            return ""
        used = f"{self.facts.bytes_used / _MEBIBYTE:.0f} of {self.facts.bytes_max / _MEBIBYTE:.0f}"
        full = f"The store is {self._used_ratio:.0%} full ({used} MiB)."
        if self._shortened:
            since = datetime.fromtimestamp(self._dropped_before_s, UTC)
            full += f" Single minutes before {since:%d %b %H:%M} UTC were dropped to make room."
        return f"{full} Raise its maxmemory, or keep data for less time (DYNOMETER_RETENTION_*)."

    @property
    def _shortened(self) -> bool:
        return self._kept_s() < self._minutes.retention_s
