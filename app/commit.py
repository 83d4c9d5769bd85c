"""Group commit: arrivals of many POSTs go to the store in one call, and each POST is answered when
its own is safe.

One call is in flight at a time; what arrives meanwhile goes into the next. So the busier a worker
is, the larger its groups and the less a batch costs, and an idle worker adds no delay.

While the store refuses, groups go to the spool on disk instead. When that has no room either, a
POST is held and the store tried again until its time is up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.appender import Appender
from app.arrival import Arrival, pack_arrival
from app.spool import Spool, SpoolFull
from app.store.port import StoreUnavailable

log = logging.getLogger(__name__)

GROUP_BATCHES_MAX = 256  # about 3 ms of Redis at 10 microseconds a batch
GROUP_BYTES_MAX = 4 * 2**20
PENDING_BYTES_MAX = 8 * 2**20  # packed; unpacked, as they wait, about 20 times as much
RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # then the last again


@dataclass(slots=True, eq=False)
class _Pending:
    arrival: Arrival
    size: int
    deadline: float
    stored: asyncio.Future[bool]


class Committer:
    """Commits arrivals in groups."""

    def __init__(self, appender: Appender, spool: Spool | None, *, wait_s: float) -> None:
        """
        Args:
            spool: where arrivals wait while the store is away; None for nowhere.
            wait_s: how long an arrival may wait when neither takes it.
        """
        self._appender = appender
        self._spool = spool
        self._wait_s = wait_s
        self._queue: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._flight: asyncio.Task[None] | None = None
        self.refusal = ""  # why not even the spool takes batches; "" while it does

    async def commit(self, arrival: Arrival) -> bool:
        """Returns when the arrival is safe: True when the store has it, False when the spool does.

        Raises:
            StoreUnavailable: neither took it within `wait_s`, or too much is waiting already.
                Whether it was stored is unknown; the sender may send it again under the same
                Frame-Id.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        while (stored := self.submit(arrival, deadline)) is None:
            if loop.time() >= deadline:
                raise StoreUnavailable("too many batches are waiting for the store")
            await asyncio.sleep(RETRY_DELAYS_S[0])
        return await stored

    def submit(self, arrival: Arrival, deadline: float = 0.0) -> asyncio.Future[bool] | None:
        """What `commit` waits for; None when too much is waiting already."""
        loop = asyncio.get_running_loop()
        deadline = deadline or loop.time() + self._wait_s
        size = len(self._appender.prepare(arrival).element)
        if self._pending_bytes + size > PENDING_BYTES_MAX and self._queue:
            return None
        pending = _Pending(arrival, size, deadline, loop.create_future())
        self._queue.append(pending)
        self._pending_bytes += size
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="commit")
        return pending.stored

    async def drained(self) -> None:
        """Returns when nothing is waiting or in flight."""
        while self._flight is not None:
            await asyncio.wait([self._flight])

    async def _fly(self) -> None:
        try:
            while self._queue:
                await self._commit_group(self._next_group())
        finally:
            self._flight = None

    def _next_group(self) -> list[_Pending]:
        group = [self._queue.popleft()]
        size = group[0].size
        while self._queue and len(group) < GROUP_BATCHES_MAX and size < GROUP_BYTES_MAX:
            group.append(self._queue.popleft())
            size += group[-1].size
        return group

    async def _commit_group(self, group: list[_Pending]) -> None:
        attempt = 0
        try:
            if self._appender.away and await self._spooled(group):
                return
            while group:
                try:
                    arrivals = [pending.arrival for pending in group]
                    await self._appender.append(arrivals, deadline=group[0].deadline)
                except StoreUnavailable as refusal:
                    if await self._spooled(group):
                        return
                    group = self._give_up_expired(group, refusal)
                else:
                    self.refusal = ""
                    self._settle(group, True)
                    return
                if group:
                    await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
                    attempt += 1
        except asyncio.CancelledError as cancelled:
            self._settle(group, cancelled)
            raise
        except Exception as defect:  # a defect of ours: these POSTs fail, the next group flies
            log.exception("commit failed")
            self._settle(group, defect)

    async def _spooled(self, group: Sequence[_Pending]) -> bool:
        """Whether the group is on disk now; its POSTs are then answered."""
        if self._spool is None:
            return False
        records = [pack_arrival(pending.arrival) for pending in group]
        try:
            await asyncio.to_thread(self._spool.add, records)
        except SpoolFull as full:
            if not self.refusal:
                log.error("%s", full)
            self.refusal = str(full)
            return False
        self.refusal = ""
        self._settle(group, False)
        return True

    def _give_up_expired(self, group: list[_Pending], error: Exception) -> list[_Pending]:
        now = asyncio.get_running_loop().time()
        self._settle([pending for pending in group if pending.deadline <= now], error)
        return [pending for pending in group if pending.deadline > now]

    def _settle(self, group: Sequence[_Pending], result: bool | BaseException) -> None:
        for pending in group:
            self._pending_bytes -= pending.size
            if pending.stored.done():  # its POST was given up by the server
                continue
            if isinstance(result, bool):
                pending.stored.set_result(result)
            else:
                pending.stored.set_exception(result)
