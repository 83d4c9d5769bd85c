"""Reads the archive for work that must not wait for it, such as alerts."""

from __future__ import annotations

import asyncio
import math
from typing import LiteralString

from app.archive.archive_reader import ArchiveReader
from app.archive.database import Database
from app.archive.errors import ArchiveUnavailable
from app.archive.interval_rollups import PackedInterval

PERIOD_S = 60.0
WAIT_S_MAX = 3.0  # in each period; one read takes some milliseconds


class PromptReader(ArchiveReader):
    """An ArchiveReader whose reads wait for WAIT_S_MAX in each PERIOD_S, all together.

    Then they raise ArchiveUnavailable until the next period.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._period_end_s = -math.inf  # of the event loop's clock
        self._wait_s = 0.0
        self._late_reads: set[asyncio.Task[list[PackedInterval]]] = set()

    async def _rows(
        self, query: LiteralString, app: str, start_s: int, end_s: int, bytes_max: int
    ) -> list[PackedInterval]:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if began_s >= self._period_end_s:
            self._period_end_s, self._wait_s = began_s + PERIOD_S, WAIT_S_MAX
        if self._wait_s <= 0:
            raise _too_slow()
        reading = asyncio.create_task(super()._rows(query, app, start_s, end_s, bytes_max))
        try:
            # Not asyncio.timeout: psycopg waits up to 10 s for the server before it is cancelled.
            await asyncio.wait([reading], timeout=self._wait_s)
        finally:
            self._wait_s -= loop.time() - began_s
            if not reading.done():
                self._give_up(reading)
        if not reading.done():
            raise _too_slow()
        return reading.result()

    def _give_up(self, reading: asyncio.Task[list[PackedInterval]]) -> None:
        self._late_reads.add(reading)
        reading.add_done_callback(self._forget)
        reading.cancel()

    def _forget(self, reading: asyncio.Task[list[PackedInterval]]) -> None:
        self._late_reads.discard(reading)
        if not reading.cancelled():
            reading.exception()  # nobody asks for it any more


def _too_slow() -> ArchiveUnavailable:
    return ArchiveUnavailable(
        f"PostgreSQL took longer than {WAIT_S_MAX:g} seconds. Check its load, and the network."
    )
