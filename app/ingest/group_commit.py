"""Group commit: what many POSTs bring goes to the store in one call, and each POST is answered
when its own is safe.

One call is in flight at a time; what arrives meanwhile is added up (app.ingest.coalesced_batch)
and goes into the
next. So the busier a worker is, the larger its groups and the less a POST costs, and an idle worker
adds no delay.

While the store refuses, groups go to the spool on disk instead. When that has no room either, a
POST is held and the store tried again until its time is up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from app.ingest.batch_writer import BatchSink
from app.ingest.coalesced_batch import POSTS_MAX, CoalescedBatch, DrainKey, DrainPost
from app.ingest.received_batch import OnStored, PendingWrite, ReceivedBatch, pack_received
from app.ingest.spool import Spool, SpoolFull
from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

GROUP_BYTES_MAX = 16 * 2**20  # of bodies
PENDING_BYTES_MAX = 32 * 2**20
MESSAGE_BYTES = 256  # of a usual one, where only what it came to is held
RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # then the last again

OnResult = Callable[[bool | BaseException], None]
"""Told what became of a POST: True when the store has it, False when the spool does, or why neither
took it.
"""


class BatchCommitter(Protocol):
    """What POSTs are given to: a Committer, or several (app.ingest.shard_writers)."""

    @property
    def rejection_reason(self) -> str:
        """Why not even the spool takes batches; "" while it does."""
        ...

    async def commit(self, batch: ReceivedBatch) -> bool:
        """See Committer.commit."""
        ...

    def submit(self, key: DrainKey, post: DrainPost, on_result: OnResult) -> bool:
        """See Committer.submit."""
        ...

    async def wait_idle(self) -> None:
        """See Committer.drained."""
        ...


_What_co = TypeVar("_What_co", bound=PendingWrite, covariant=True)


@dataclass(slots=True, eq=False)
class _Pending(Generic[_What_co]):
    what: _What_co
    deadline: float
    settles: list[OnResult]
    size: int


class GroupCommitter:
    """Commits POSTs and arrivals in groups."""

    def __init__(
        self,
        sink: BatchSink,
        spool: Spool | None,
        *,
        wait_s: float,
        new_batch: Callable[[DrainKey, DrainPost, float], CoalescedBatch],
        clock: Callable[[], float],
        on_stored: OnStored,
    ) -> None:
        """
        Args:
            spool: where arrivals wait while the store is away; None for nowhere.
            wait_s: how long a POST may wait when neither takes it.
            bundle_of: a new one, that begins with a POST of a sender which came then.
            clock: Unix time in seconds.
            on_stored: awaited before POSTs are settled that the store has.
        """
        self._sink = sink
        self._spool = spool
        self._wait_s = wait_s
        self._new_batch = new_batch
        self._clock = clock
        self._on_stored = on_stored
        self._queue: deque[_Pending[PendingWrite]] = deque()
        self._open: dict[
            DrainKey, _Pending[CoalescedBatch]
        ] = {}  # of the queue; POSTs may be added
        self._send_several: set[DrainKey] = set()  # into the next group,
        self._sent_several: set[DrainKey] = set()  # into the last one: they may do so again
        self._pending_bytes = 0
        self._flight: asyncio.Task[None] | None = None
        self.rejection_reason = ""  # see Commits

    async def commit(self, batch: ReceivedBatch) -> bool:
        """Returns when the arrival is safe: True when the store has it, False when the spool does.

        Raises:
            StoreUnavailable: neither took it within `wait_s`, or too much is waiting already.
                Whether it was stored is unknown; the sender may send it again under the same
                Frame-Id.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        size = batch.body.received * MESSAGE_BYTES
        stored: asyncio.Future[bool] = loop.create_future()

        def settle(result: bool | BaseException) -> None:
            if stored.done():  # its POST was given up by the server
                return
            if isinstance(result, bool):
                stored.set_result(result)
            else:
                stored.set_exception(result)

        while not self._has_room(size):
            if loop.time() >= deadline:
                raise StoreUnavailable("too many batches are waiting for the store")
            await asyncio.sleep(RETRY_DELAYS_S[0])
        self._enqueue(_Pending(batch, deadline, [settle], size))
        return await stored

    def submit(self, key: DrainKey, post: DrainPost, on_result: OnResult) -> bool:
        """Add a POST up with what else its sender has just sent, commit it, and have `settle`
        called; False when too much is waiting already.
        """
        size = len(post.data)
        if not self._has_room(size):
            return False
        now_s = self._clock()
        apart = self._sink.needs_single_batches
        pending = self._open.get(key)
        if pending is not None and not apart and pending.what.can_accept(post, now_s):
            pending.what.add(post)
            pending.settles.append(on_result)
            pending.size += size
            self._pending_bytes += size
            self._send_several.add(key)
            return True
        bundle = self._new_batch(key, post, now_s)
        if not apart and key not in self._sent_several:
            bundle.finalize()
        deadline = asyncio.get_running_loop().time() + self._wait_s
        self._open[key] = pending = _Pending(bundle, deadline, [on_result], size)
        self._enqueue(pending)
        return True

    def _has_room(self, size: int) -> bool:
        return self._pending_bytes + size <= PENDING_BYTES_MAX or not self._queue

    def _enqueue(self, pending: _Pending[PendingWrite]) -> None:
        self._queue.append(pending)
        self._pending_bytes += pending.size
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="commit")

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or in flight."""
        return self._flight is None

    async def wait_idle(self) -> None:
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

    def _next_group(self) -> list[_Pending[PendingWrite]]:
        """What goes next; nothing is added to it any more."""
        group: list[_Pending[PendingWrite]] = []
        posts = size = 0
        while self._queue and posts < POSTS_MAX and size < GROUP_BYTES_MAX:
            pending = self._queue.popleft()
            group.append(pending)
            posts += len(pending.settles)
            size += pending.size
        self._sent_several, self._send_several = self._send_several, set()
        self._open.clear()
        return group

    async def _commit_group(self, group: list[_Pending[PendingWrite]]) -> None:
        attempt = 0
        try:
            if self._sink.store_unavailable and await self._spooled(group):
                return
            while group:
                try:
                    waiting = [pending.what for pending in group]
                    await self._sink.append(waiting, deadline=group[0].deadline)
                except StoreUnavailable as refusal:
                    if await self._spooled(group):
                        return
                    group = self._give_up_expired(group, refusal)
                else:
                    self.rejection_reason = ""
                    await self._on_stored([(each.app, each.activity) for each in waiting])
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

    async def _spooled(self, group: Sequence[_Pending[PendingWrite]]) -> bool:
        """Whether the group is on disk now; its POSTs are then answered."""
        if self._spool is None:
            return False
        records = [
            pack_received(arrival) for pending in group for arrival in await pending.what.split()
        ]
        try:
            await asyncio.to_thread(self._spool.add, records)
        except SpoolFull as full:
            if not self.rejection_reason:
                log.error("%s", full)
            self.rejection_reason = str(full)
            return False
        self.rejection_reason = ""
        self._settle(group, False)
        return True

    def _give_up_expired(
        self, group: list[_Pending[PendingWrite]], error: Exception
    ) -> list[_Pending[PendingWrite]]:
        now = asyncio.get_running_loop().time()
        self._settle([pending for pending in group if pending.deadline <= now], error)
        return [pending for pending in group if pending.deadline > now]

    def _settle(
        self, group: Sequence[_Pending[PendingWrite]], result: bool | BaseException
    ) -> None:
        for pending in group:
            self._pending_bytes -= pending.size
            for settle in pending.settles:
                settle(result)
