"""Notices that the clock of this machine was set, by a clock that cannot be set."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from app.storage.interface.status import StatusStore

log = logging.getLogger(__name__)

CLOCK_STATUS_PREFIX = "clock:"  # of the names of status records of jumps
JUMP_S_MIN = 2.0  # synchronization adjusts by milliseconds
SHOWN_S = 3600
_TTL_MS = 24 * 3600 * 1000


class ClockWatch:
    """Watches the clock of one worker."""

    def __init__(
        self,
        store: StatusStore,
        clock: Callable[[], float],
        *,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            store: tells other processes of jumps.
            clock: returns Unix seconds.
            name: of the worker.
            monotonic: returns seconds, which never go backwards.
        """
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._status_name = CLOCK_STATUS_PREFIX + name
        self._offset_s = clock() - monotonic()
        self._jump: dict[str, str] = {}
        self._jump_s = -float("inf")  # by the monotonic clock
        self._is_published = True

    async def check(self) -> None:
        """Compare the clocks; log and publish a jump since the last call.

        Raises:
            StoreUnavailable: the jump is published by a later call.
        """
        offset_s = self._clock() - self._monotonic()
        jump_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(jump_s) >= JUMP_S_MIN:
            self._jump = {"by_s": f"{jump_s:.0f}", "at_s": f"{self._clock():.0f}"}
            self._jump_s = self._monotonic()
            self._is_published = False
            log.warning("%s", jump_notice(self._jump))
        if not self._is_published:
            await self._store.write_status(self._status_name, self._jump, ttl_ms=_TTL_MS)
            self._is_published = True

    def notice(self) -> str:
        """A sentence about the last jump, for SHOWN_S; "" if there was none."""
        return jump_notice(self._jump) if self._monotonic() - self._jump_s < SHOWN_S else ""


def jump_notice(jump: Mapping[str, str]) -> str:
    """A sentence about a jump, with its effect and the fix."""
    by_s = int(jump["by_s"])
    direction = "back" if by_s < 0 else "forward"
    at = datetime.fromtimestamp(int(jump["at_s"]), UTC)
    return (
        f"The clock of a machine was set {direction} by {abs(by_s):,} s, to {at:%Y-%m-%d %H:%M} "
        "UTC. Lines that arrive while it is wrong may count as too new or too old. Synchronize it "
        "with NTP (timedatectl)."
    )


def published_jumps(statuses: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Sentences about the jumps of the last day, each once."""
    jumps = [fields for name, fields in statuses.items() if name.startswith(CLOCK_STATUS_PREFIX)]
    return iter(dict.fromkeys(map(jump_notice, jumps)))
