"""How long work waits for the archive that must not wait for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.archive.errors import ArchiveUnavailable

PERIOD_S = 60.0
T = TypeVar("T")


class Patience:
    """Lets reads wait for a number of seconds in each PERIOD_S, all together.

    Then they raise ArchiveUnavailable until the next period.
    """

    def __init__(self, wait_s_max: float) -> None:
        self._wait_s_max = wait_s_max
        self._period_end_s = -math.inf  # of the event loop's clock
        self._wait_s = 0.0
        self._late_reads: set[asyncio.Task[Any]] = set()

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a read.

        Raises:
            ArchiveUnavailable: it takes too long, or PostgreSQL does not answer.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if began_s >= self._period_end_s:
            self._period_end_s, self._wait_s = began_s + PERIOD_S, self._wait_s_max
        if self._wait_s <= 0:
            work.close()
            raise self._too_slow()
        reading = asyncio.create_task(work)
        try:
            # Not asyncio.timeout: psycopg waits up to 10 s for the server before it is cancelled.
            await asyncio.wait([reading], timeout=self._wait_s)
        finally:
            self._wait_s -= loop.time() - began_s
            if not reading.done():
                self._give_up(reading)
        if not reading.done():
            raise self._too_slow()
        return reading.result()

    def _give_up(self, reading: asyncio.Task[Any]) -> None:
        self._late_reads.add(reading)
        reading.add_done_callback(self._forget)
        reading.cancel()

    def _forget(self, reading: asyncio.Task[Any]) -> None:
        self._late_reads.discard(reading)
        if not reading.cancelled():
            reading.exception()  # no caller asks for it any more

    def _too_slow(self) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"PostgreSQL took longer than {self._wait_s_max:g} seconds. Check its load, and the "
            "network."
        )
