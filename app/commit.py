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
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.appender import Appender
from app.arrival import Arrival, pack_arrival
from app.spool import Spool, SpoolFull
from app.store.port import StoreUnavailable

log = logging.getLogger(__name__)

GROUP_BATCHES_MAX = 256  # about 3 ms of Redis at 10 microseconds a batch
GROUP_MESSAGES_MAX = 100_000  # added up in about 10 ms at the most
PENDING_MESSAGES_MAX = 200_000  # as they wait, 0.2 KB each of usual ones, 1 KB of any
RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # then the last again

Settle = Callable[[bool | BaseException], None]
"""Told what became of an arrival: True when the store has it, False when the spool does, or why
neither took it.
"""


@dataclass(slots=True, eq=False)
class _Pending:
    arrival: Arrival
    messages: int
    deadline: float
    settle: Settle


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
        self._pending_messages = 0
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
        stored: asyncio.Future[bool] = loop.create_future()

        def settle(result: bool | BaseException) -> None:
            if stored.done():  # its POST was given up by the server
                return
            if isinstance(result, bool):
                stored.set_result(result)
            else:
                stored.set_exception(result)

        while not self.submit(arrival, settle, deadline):
            if loop.time() >= deadline:
                raise StoreUnavailable("too many batches are waiting for the store")
            await asyncio.sleep(RETRY_DELAYS_S[0])
        return await stored

    def submit(self, arrival: Arrival, settle: Settle, deadline: float = 0.0) -> bool:
        """Commit it, and have `settle` called; False when too much is waiting already.

        Args:
            deadline: on the event loop's clock; 0 for `wait_s` from now.
        """
        messages = arrival.parts.received
        if self._pending_messages + messages > PENDING_MESSAGES_MAX and self._queue:
            return False
        deadline = deadline or asyncio.get_running_loop().time() + self._wait_s
        self._queue.append(_Pending(arrival, messages, deadline, settle))
        self._pending_messages += messages
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="commit")
        return True

    async def drained(self) -> None:
        """Returns when nothing is waiting or in flight."""
        while self._flight is not None:
            await asyncio.wait([self._flight])

    async def _fly(self) -> None:
        try:
            while self._queue:
                await asyncio.sleep(0)  # what else is there to be read goes along
                await self._commit_group(self._next_group())
        finally:
            self._flight = None

    def _next_group(self) -> list[_Pending]:
        group = [self._queue.popleft()]
        messages = group[0].messages
        while self._queue and len(group) < GROUP_BATCHES_MAX and messages < GROUP_MESSAGES_MAX:
            group.append(self._queue.popleft())
            messages += group[-1].messages
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
            self._pending_messages -= pending.messages
            pending.settle(result)
