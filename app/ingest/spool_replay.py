"""Replays the spool into the store, as soon as the store is available again.

This is also how a worker notices that the store is back, because new batches go to the spool while
the store is unavailable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from app.ingest.batch_writer import BatchSink
from app.ingest.received_batch import OnStored, ReceivedBatch, unpack_received
from app.ingest.spool import Spool
from app.ingest.spool_file import SpoolFile
from app.rollup.codec import NewerVersion, PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import write_in_thread

log = logging.getLogger(__name__)

GROUP_RECORDS = 256
GROUP_BYTES = 4 * 2**20
POLL_INTERVAL_S = 0.5
ADOPT_INTERVAL_S = 5.0  # between two searches for files of workers that have ended
APPEND_TIMEOUT_S = 10.0


class SpoolReplayer:
    """Appends the records of the spool to the store."""

    def __init__(
        self,
        spool: Spool,
        sink: BatchSink,
        *,
        on_stored: OnStored,
        removed_apps: Callable[[], Awaitable[Mapping[str, int]]],
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            on_stored: awaited after each group that the store has accepted.
            removed_apps: returns when apps were removed: batches that arrived before are dropped.
        """
        self._spool = spool
        self._sink = sink
        self._on_stored = on_stored
        self._removed_apps = removed_apps
        self._limits = limits
        self.damaged_records = 0  # lost, because they could not be read

    async def run(self) -> None:
        """Replay until cancelled."""
        loop, addition = asyncio.get_running_loop(), asyncio.Event()
        self._spool.on_added = partial(loop.call_soon_threadsafe, addition.set)
        while True:
            addition.clear()
            try:
                await self.replay()
            except (StoreUnavailable, OSError) as error:
                log.debug("Cannot replay the spool yet: %s", error)
            if self._spool.in_use:
                await asyncio.sleep(POLL_INTERVAL_S)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(addition.wait(), ADOPT_INTERVAL_S)

    async def replay(self) -> None:
        """Replay every file to its end.

        Raises:
            StoreUnavailable: the store is still unavailable, or again.
            OSError: a file cannot be read, or not be written again.
        """
        await write_in_thread(self._spool.restore)
        for file in await write_in_thread(self._spool.files):  # locks those that it takes over
            try:
                while await self._replay_chunk(file):
                    pass
            except NewerVersion as error:  # the file stays for a worker that can read it
                log.error("Cannot replay %s: %s", file.path, error)
            else:
                await write_in_thread(self._spool.retire, file)

    async def _replay_chunk(self, file: SpoolFile) -> bool:
        """Replay the next records of a file; False if there are none."""
        chunk = await write_in_thread(file.read, GROUP_RECORDS, GROUP_BYTES)
        if not chunk.records and not chunk.damage_count:
            return False
        batches = [batch for record in chunk.records if (batch := self._unpack(record))]
        if chunk.damage_count:
            self._report_damage(chunk.damage_count)
        removed_s = await self._removed_apps() if batches else {}
        batches = [
            batch for batch in batches if batch.body.arrived_s >= removed_s.get(batch.app, 0)
        ]
        if batches:
            deadline = asyncio.get_running_loop().time() + APPEND_TIMEOUT_S
            await self._sink.append(batches, deadline=deadline)
            await self._on_stored([(batch.app, batch.body.activity) for batch in batches])
        await write_in_thread(file.advance, chunk.position)
        return True

    def _unpack(self, record: bytes) -> ReceivedBatch | None:
        try:
            return unpack_received(record, self._limits)
        except NewerVersion:
            raise
        except PackError:
            self._report_damage(1)
            return None

    def _report_damage(self, records: int) -> None:
        self.damaged_records += records
        log.error("Skipped %d damaged spool records. Their lines are lost.", records)
