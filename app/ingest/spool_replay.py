"""Catching up: what waits in the spool goes to the store as soon as it answers again.

It is also how a worker notices that the store is back, since it sends new arrivals to the spool
while the store is away.
"""

from __future__ import annotations

import asyncio
import logging

from app.ingest.batch_writer import BatchSink
from app.ingest.received_batch import OnStored, ReceivedBatch, unpack_received
from app.ingest.spool import Spool
from app.ingest.spool_file import SpoolFile
from app.rollup.codec import NewerVersion, PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

GROUP_RECORDS = 256
GROUP_BYTES = 4 * 2**20
INTERVAL_S = 0.5
LOOK_INTERVAL_S = 5.0  # for what other workers left on the disk
ATTEMPT_WITHIN_S = 10.0


class SpoolReplayer:
    """Empties the spool into the store."""

    def __init__(
        self,
        spool: Spool,
        sink: BatchSink,
        *,
        on_stored: OnStored,
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """`on_stored`: told what the store has taken."""
        self._spool = spool
        self._sink = sink
        self._on_stored = on_stored
        self._limits = limits
        self.damaged = 0  # records that could not be read, and are lost

    async def run(self) -> None:
        """Catch up until cancelled."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            if self._spool.in_use or loop.time() >= look_at:
                try:
                    await self.replay()
                except (StoreUnavailable, OSError) as error:
                    log.debug("the spool waits: %s", error)
                look_at = loop.time() + LOOK_INTERVAL_S
            await asyncio.sleep(INTERVAL_S)

    async def replay(self) -> None:
        """Empty every file.

        Raises:
            StoreUnavailable: the store is still away, or away again.
            OSError: a file cannot be read.
        """
        for file in await asyncio.to_thread(self._spool.files):
            try:
                while await self._catch_up_some(file):
                    pass
            except NewerVersion as error:  # it stays, for whoever can read it
                log.error("%s: %s", file.path, error)
            else:
                await asyncio.to_thread(self._spool.emptied, file)

    async def _catch_up_some(self, file: SpoolFile) -> bool:
        """Whether there was anything to do."""
        chunk = await asyncio.to_thread(file.read, GROUP_RECORDS, GROUP_BYTES)
        if not chunk.records and not chunk.damaged:
            return False
        arrivals = [arrival for record in chunk.records if (arrival := self._arrival(record))]
        if chunk.damaged:
            self._lost(chunk.damaged)
        if arrivals:
            deadline = asyncio.get_running_loop().time() + ATTEMPT_WITHIN_S
            await self._sink.append(arrivals, deadline=deadline)
            await self._on_stored([(each.app, each.body.activity) for each in arrivals])
        await asyncio.to_thread(file.mark, chunk.position)
        return True

    def _arrival(self, record: bytes) -> ReceivedBatch | None:
        try:
            return unpack_received(record, self._limits)
        except NewerVersion:
            raise
        except PackError:
            self._lost(1)
            return None

    def _lost(self, records: int) -> None:
        self.damaged += records
        log.error("%d damaged records of the spool could not be read and are lost", records)
