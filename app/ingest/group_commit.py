"""Group commit: many POSTs reach the store in one call, and each is answered once it is durable.

One call is in flight at a time. Batches that arrive meanwhile are coalesced
(app.ingest.coalesced_batch) and go into the next call. So the busier a worker is, the larger its
groups and the less a POST costs; an idle worker adds no delay.

While the store is unavailable, groups go to the spool on disk instead. If the spool is full too,
POSTs are held and the store is retried until their time is up. app.ingest.batch_writer explains how
a batch counts once on each of these paths.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from app.ingest.aggregator import AggregatedBody
from app.ingest.batch_writer import BatchSink
from app.ingest.coalesced_batch import POSTS_MAX, CoalescedBatch, received_batch
from app.ingest.drain_post import SMALL_BYTES, DrainKey, DrainPost
from app.ingest.received_batch import OnStored, PendingWrite, pack_received
from app.ingest.spool import Spool, SpoolRejected
from app.rollup.rollup import CardinalityLimits
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import write_in_thread

log = logging.getLogger(__name__)

GROUP_BYTES_MAX = 16 * 2**20  # of bodies
PENDING_BYTES_MAX = 32 * 2**20
POST_BYTES = 4 * 1024  # held by a POST whose body was released, beside its packed batch
RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # the last one repeats

OnResult = Callable[[bool | BaseException], None]
"""Called with the result of a POST: True if it is in the store, False if it is in the spool, or the
reason why neither accepted it.
"""


class BatchCommitter(Protocol):
    """Commits batches: a GroupCommitter, or one per shard (app.ingest.shard_writers)."""

    @property
    def rejection_reason(self) -> str:
        """Why not even the spool accepts batches at present; "" if it does."""
        ...

    def submit(self, post: DrainPost, on_result: OnResult) -> int:
        """Commit a POST; `on_result` is called once, later, when it is durable or has failed.

        A small one is coalesced with others of its drain. A large one, and one for which the queue
        has no capacity, goes on in a task.

        Returns the bytes that are held until then, of the body or of what it was packed to.
        """
        ...

    async def wait_idle(self) -> None:
        """Return when no POST is pending or in flight."""
        ...


def submit(committer: BatchCommitter, post: DrainPost) -> asyncio.Future[bool]:
    """Submit a POST; the result is that of `commit`."""
    waiting_future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    # Emptied by the result: an error refers to frames that hold the POST and `on_result`, so the
    # error's future in there would be a cycle, which waits for the garbage collector.
    futures = [waiting_future]

    def on_result(outcome: bool | BaseException) -> None:
        result = futures.pop()
        if result.done():  # the server has abandoned the request
            return
        if isinstance(outcome, bool):
            result.set_result(outcome)
        else:
            result.set_exception(outcome)

    committer.submit(post, on_result)
    return waiting_future


async def commit(committer: BatchCommitter, post: DrainPost) -> bool:
    """Submit a POST; returns when it is durable.

    Returns True if it is in the store, False if it is in the spool.

    Raises:
        StoreUnavailable: neither accepted it in time, or too many batches are pending. It may have
            been stored nevertheless; the sender may repeat it with the same Frame-Id.
    """
    return await submit(committer, post)


_Write_co = TypeVar("_Write_co", bound=PendingWrite, covariant=True)


@dataclass(slots=True, eq=False)
class _Pending(Generic[_Write_co]):
    write: _Write_co
    deadline: float
    callbacks: list[OnResult]  # one per POST
    size: int


class GroupCommitter:
    """Commits POSTs and batches in groups."""

    def __init__(
        self,
        sink: BatchSink,
        spool: Spool | None,
        *,
        wait_s: float,
        limits: CardinalityLimits,
        clock: Callable[[], float],
        on_stored: OnStored,
    ) -> None:
        """
        Args:
            spool: takes batches while the store is unavailable; None for no spool.
            wait_s: how long a POST may wait if neither store nor spool accepts it.
            clock: Unix time in seconds.
            on_stored: awaited before the POSTs of a stored group are answered.
        """
        self._sink = sink
        self._spool = spool
        self._wait_s = wait_s
        self._limits = limits
        self._clock = clock
        self._on_stored = on_stored
        self._queue: deque[_Pending[PendingWrite]] = deque()
        # Batches in the queue to which POSTs can still be added.
        self._open_batches: dict[DrainKey, _Pending[CoalescedBatch]] = {}
        # Drains that sent several POSTs into the last group are expected to do so again: their
        # batches are left open for more POSTs, while all others are packed immediately.
        self._busy_drains: set[DrainKey] = set()
        self._next_busy_drains: set[DrainKey] = set()
        self._pending_bytes = 0
        self._commit_task: asyncio.Task[None] | None = None
        self._slow_tasks: set[asyncio.Task[None]] = set()
        self._aggregation_locks = WeakValueDictionary[str, asyncio.Lock]()
        self.rejection_reason = ""

    def submit(self, post: DrainPost, on_result: OnResult) -> int:
        deadline = asyncio.get_running_loop().time() + self._wait_s
        size = post.size
        if self._can_coalesce(post, size) and self._has_capacity(size):
            return self._coalesce(post, size, on_result, deadline)
        task = asyncio.create_task(self._submit_slowly(post, on_result, deadline))
        self._slow_tasks.add(task)
        task.add_done_callback(self._slow_tasks.discard)
        return size

    def _can_coalesce(self, post: DrainPost, size: int) -> bool:
        return size <= SMALL_BYTES and not isinstance(post.content, AggregatedBody)

    def _coalesce(self, post: DrainPost, size: int, on_result: OnResult, deadline: float) -> int:
        """Aggregate a POST, and queue its batch; returns the bytes that are held."""
        key = post.key
        now_s = self._clock()
        needs_single_batches = self._sink.needs_single_batches
        pending = self._open_batches.get(key)
        try:
            if (
                pending is not None
                and not needs_single_batches
                and pending.write.can_accept(post, now_s)
            ):
                pending.write.add(post)
                pending.callbacks.append(on_result)
                pending.size += size
                self._pending_bytes += size
                self._next_busy_drains.add(key)
                return size
            batch = CoalescedBatch(post, now_s, self._limits)
            if not needs_single_batches and key not in self._busy_drains:
                size = min(size, POST_BYTES + len(batch.finalize().data))  # its body is released
        except Exception as defect:  # fails this POST alone
            asyncio.get_running_loop().call_soon(on_result, defect)
            return 0
        self._open_batches[key] = pending = _Pending(batch, deadline, [on_result], size)
        self._enqueue(pending)
        return size

    async def _submit_slowly(self, post: DrainPost, on_result: OnResult, deadline: float) -> None:
        """Wait for capacity, and aggregate a large POST in steps."""
        loop = asyncio.get_running_loop()
        size = post.size
        try:
            while not self._has_capacity(size):
                if loop.time() >= deadline:
                    raise StoreUnavailable(
                        "Too many batches are waiting for the store. Retry later."
                    )
                await asyncio.sleep(RETRY_DELAYS_S[0])
            if self._can_coalesce(post, size):
                self._coalesce(post, size, on_result, deadline)
                return
            # One at a time of each app: many at once would delay everybody between two steps.
            lock = self._aggregation_locks.setdefault(post.key.app, asyncio.Lock())
            async with lock:
                body = await post.aggregate(self._clock(), self._limits)
        except Exception as error:
            on_result(error)
        else:
            batch = received_batch(post, body)
            deadline = loop.time() + self._wait_s  # however long it took to aggregate
            self._enqueue(_Pending(batch, deadline, [on_result], size))

    def _has_capacity(self, size: int) -> bool:
        # A single batch that is larger than the limit must still pass.
        return self._pending_bytes + size <= PENDING_BYTES_MAX or not self._queue

    def _enqueue(self, pending: _Pending[PendingWrite]) -> None:
        self._queue.append(pending)
        self._pending_bytes += pending.size
        if self._commit_task is None:
            self._commit_task = asyncio.create_task(self._commit_queue(), name="commit")

    @property
    def is_idle(self) -> bool:
        """Whether no POST is pending or in flight."""
        return self._commit_task is None and not self._slow_tasks

    async def wait_idle(self) -> None:
        while not self.is_idle:
            tasks = [*self._slow_tasks, *filter(None, [self._commit_task])]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _commit_queue(self) -> None:
        try:
            while self._queue:
                await self._commit_group(self._next_group())
        finally:
            self._commit_task = None

    def _next_group(self) -> list[_Pending[PendingWrite]]:
        """Take the next group off the queue; from now on, nothing is added to its batches."""
        group: list[_Pending[PendingWrite]] = []
        posts = size = 0
        while self._queue and posts < POSTS_MAX and size < GROUP_BYTES_MAX:
            pending = self._queue.popleft()
            group.append(pending)
            posts += len(pending.callbacks)
            size += pending.size
        self._busy_drains, self._next_busy_drains = self._next_busy_drains, set()
        self._open_batches.clear()
        return group

    async def _commit_group(self, group: list[_Pending[PendingWrite]]) -> None:
        attempt = 0
        try:
            # Skip a call that would fail: the spool replayer finds out when the store is back.
            if self._sink.store_unavailable and await self._spool_group(group):
                return
            while group:
                try:
                    writes = [pending.write for pending in group]
                    await self._sink.append(writes, deadline=group[0].deadline)
                except StoreUnavailable as error:
                    if await self._spool_group(group):
                        return
                    group = self._reject_expired(group, error)
                else:
                    self.rejection_reason = ""
                    await self._on_stored([(write.app, write.activity) for write in writes])
                    self._finish(group, True)
                    return
                if group:
                    await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
                    attempt += 1
        except asyncio.CancelledError as cancellation:
            self._finish(group, cancellation)
            raise
        except Exception as defect:  # only this group fails; the next one is committed
            log.exception("Committing a group of batches failed")
            self._finish(group, defect)

    async def _spool_group(self, group: Sequence[_Pending[PendingWrite]]) -> bool:
        """Write the group to disk and answer its POSTs; False if the spool does not take it."""
        if self._spool is None:
            return False
        records = [
            pack_received(batch) for pending in group for batch in await pending.write.split()
        ]
        try:
            await write_in_thread(self._spool.add, records)
        except SpoolRejected as error:
            if not self.rejection_reason:
                log.error("%s", error)
            self.rejection_reason = str(error)
            return False
        self.rejection_reason = ""
        self._finish(group, False)
        return True

    def _reject_expired(
        self, group: list[_Pending[PendingWrite]], error: Exception
    ) -> list[_Pending[PendingWrite]]:
        """Reject the POSTs past their deadline; returns the rest of the group."""
        now = asyncio.get_running_loop().time()
        self._finish([pending for pending in group if pending.deadline <= now], error)
        return [pending for pending in group if pending.deadline > now]

    def _finish(
        self, group: Sequence[_Pending[PendingWrite]], result: bool | BaseException
    ) -> None:
        for pending in group:
            self._pending_bytes -= pending.size
            for on_result in pending.callbacks:
                on_result(result)
