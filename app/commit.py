"""Group commit: batches of many POSTs go to the store in one call, and each POST is answered when
its own is stored.

One call is in flight at a time; what arrives meanwhile goes into the next. So the busier a worker
is, the larger its groups and the less a batch costs, and an idle worker adds no delay.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from os import urandom

from app.store.port import (
    HEADER_RANDOM_BYTES,
    ID_BYTES,
    KIND_BATCH,
    Appended,
    Batch,
    Outcome,
    Store,
    StoreUnavailable,
    new_element,
)

log = logging.getLogger(__name__)

GROUP_BATCHES_MAX = 256  # about 3 ms of Redis at 10 microseconds a batch
GROUP_BYTES_MAX = 4 * 2**20
PENDING_BYTES_MAX = 64 * 2**20  # packed batches that a worker holds while the store is slow
_NO_ANSWER = "the store did not answer in time: check that it is running"
RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # then the last again


def batch_id(frame_id: bytes) -> bytes:
    """What a batch is remembered by: a digest, so that no text of a client becomes a key. b"" for
    no Frame-Id.
    """
    return blake2b(frame_id, digest_size=ID_BYTES).digest() if frame_id else b""


def new_batch(frame_id: bytes, packed: bytes) -> Batch:
    """A batch to append, with the token and header that all our own repetitions of it will
    carry.
    """
    return Batch(batch_id(frame_id), urandom(HEADER_RANDOM_BYTES), new_element(KIND_BATCH, packed))


@dataclass(slots=True, eq=False)
class _Pending:
    app: str
    batch: Batch
    deadline: float
    outcome: asyncio.Future[Outcome]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.batch.element)


class Committer:
    """Commits batches to the store in groups."""

    def __init__(
        self,
        store: Store,
        *,
        id_ttl_s: int,
        inbox_ttl_s: int,
        wait_s: float,
        on_stored: Callable[[str, int], None],
    ) -> None:
        """
        Args:
            id_ttl_s: how long a batch is recognised when it comes again.
            inbox_ttl_s: how long after the last append an inbox that nobody folds is kept.
            wait_s: how long a batch may wait for a store that is away.
            on_stored: told each app whose inbox grew, and the inbox's length.
        """
        self._store = store
        self._id_ttl_ms = id_ttl_s * 1000
        self._inbox_ttl_ms = inbox_ttl_s * 1000
        self._wait_s = wait_s
        self._on_stored = on_stored
        self._queue: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._flight: asyncio.Task[None] | None = None
        self.last_error = ""  # why the store refused; "" when it did not

    async def commit(self, app: str, batch: Batch) -> Outcome:
        """Returns when the batch is stored, or was before.

        Raises:
            StoreUnavailable: the store took it not within `wait_s`, or too much is waiting already.
            Whether it was
                stored is unknown; the sender may send it again under the same Frame-Id.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        while self._pending_bytes + len(batch.element) > PENDING_BYTES_MAX and self._queue:
            if loop.time() >= deadline:
                raise StoreUnavailable("too many batches are waiting for the store")
            await asyncio.sleep(RETRY_DELAYS_S[0])
        pending = _Pending(app, batch, deadline, loop.create_future())
        self._queue.append(pending)
        self._pending_bytes += pending.size
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="commit")
        return await pending.outcome

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
            while group:
                try:
                    async with asyncio.timeout_at(group[0].deadline):  # the first came first
                        await self._append(group)
                    return
                except (StoreUnavailable, TimeoutError) as refusal:
                    error = self._unavailable(refusal)
                    self.last_error = str(error)
                    group = self._give_up_expired(group, error)
                if group:
                    await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
                    attempt += 1
        except asyncio.CancelledError as cancelled:
            self._settle_all(group, cancelled)
            raise
        except Exception as defect:  # a defect of ours: these POSTs fail, the next group flies
            log.exception("commit failed")
            self._settle_all(group, defect)

    async def _append(self, group: Sequence[_Pending]) -> None:
        """One attempt; every outcome is settled when it succeeds."""
        by_app: dict[str, list[_Pending]] = {}
        for pending in group:
            by_app.setdefault(pending.app, []).append(pending)
        answers: dict[str, Appended] = await self._store.append(
            {app: [pending.batch for pending in waiting] for app, waiting in by_app.items()},
            id_ttl_ms=self._id_ttl_ms,
            inbox_ttl_ms=self._inbox_ttl_ms,
        )
        self.last_error = ""
        for app, waiting in by_app.items():
            for pending, outcome in zip(waiting, answers[app].outcomes, strict=True):
                self._settle(pending, outcome)
            if answers[app].inbox_length:
                self._on_stored(app, answers[app].inbox_length)

    def _unavailable(self, refusal: StoreUnavailable | TimeoutError) -> StoreUnavailable:
        if isinstance(refusal, StoreUnavailable):
            return refusal
        return StoreUnavailable(self.last_error or _NO_ANSWER)

    def _give_up_expired(self, group: list[_Pending], error: Exception) -> list[_Pending]:
        now = asyncio.get_running_loop().time()
        for pending in group:
            if pending.deadline <= now:
                self._settle(pending, error)
        return [pending for pending in group if pending.deadline > now]

    def _settle_all(self, group: Sequence[_Pending], error: BaseException) -> None:
        for pending in group:
            self._settle(pending, error)

    def _settle(self, pending: _Pending, result: Outcome | BaseException) -> None:
        self._pending_bytes -= pending.size
        if pending.outcome.done():  # its POST was given up by the server
            return
        if isinstance(result, Outcome):
            pending.outcome.set_result(result)
        else:
            pending.outcome.set_exception(result)
