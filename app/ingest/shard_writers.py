"""One writer and committer per Redis shard, so that a shard that is down delays no other.

Batches of that shard wait or go to the spool; those of the other shards are unaffected.

The shard of an app may change at any time. The writers only keep the shards from waiting for each
other: the store itself decides for each call where a batch goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from app.ingest.aggregator import ActivityTimes
from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.drain_post import DrainPost
from app.ingest.group_commit import GroupCommitter, OnResult
from app.ingest.pipeline import WritePath
from app.ingest.received_batch import OnStored, PendingWrite
from app.storage.interface.server import ShardedStore
from app.support.aio import wait_for_all

SIGHTING_WAIT_S = 0.2  # the list of apps may be on a shard that is down; it is then updated later


def build_write_path(
    store: ShardedStore,
    new_writer: Callable[[], BatchWriter],
    new_committer: Callable[[BatchSink, OnStored], GroupCommitter],
    on_stored: OnStored,
) -> WritePath:
    """Build the write path into a sharded store, with factories for the parts of one shard."""
    callback = BestEffortCallback(on_stored)
    writers = ShardWriters(store, new_writer, lambda sink: new_committer(sink, callback))
    return WritePath(ShardedBatchSink(writers), ShardedCommitter(writers), callback)


class _ShardWriter(NamedTuple):
    writer: BatchWriter
    committer: GroupCommitter


class ShardWriters:
    """The shard writers: created on the first use of a shard, dropped when it no longer exists."""

    def __init__(
        self,
        store: ShardedStore,
        new_writer: Callable[[], BatchWriter],
        new_committer: Callable[[BatchWriter], GroupCommitter],
    ) -> None:
        self.store = store
        self._new_writer = new_writer
        self._new_committer = new_committer
        self._by_shard: dict[Hashable, _ShardWriter] = {}

    def for_app(self, app: str) -> _ShardWriter:
        """The shard writer of an app."""
        shard = self.store.shard_of(app)
        shard_writer = self._by_shard.get(shard)
        if shard_writer is None:
            self._drop_obsolete()
            writer = self._new_writer()
            shard_writer = _ShardWriter(writer, self._new_committer(writer))
            self._by_shard[shard] = shard_writer
        return shard_writer

    def all(self) -> list[_ShardWriter]:
        """The shard writers of all shards that exist."""
        self._drop_obsolete()
        return list(self._by_shard.values())

    def _drop_obsolete(self) -> None:
        shards = frozenset(self.store.shards())
        for shard, shard_writer in list(self._by_shard.items()):
            if shard not in shards and shard_writer.committer.is_idle:
                del self._by_shard[shard]


class ShardedBatchSink:
    """A BatchSink that passes each batch to the writer of its shard."""

    def __init__(self, shard_writers: ShardWriters) -> None:
        self._shard_writers = shard_writers

    @property
    def store_unavailable(self) -> bool:
        """Whether the last append to any shard failed."""
        return any(shard.writer.store_unavailable for shard in self._shard_writers.all())

    @property
    def needs_single_batches(self) -> bool:
        return self.store_unavailable

    @property
    def last_error(self) -> str:
        """The error of a failed last append, of any shard; "" if there is none."""
        errors = (shard.writer.last_error for shard in self._shard_writers.all())
        return next(filter(None, errors), "")

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """Append batches to all shards, also if some of the shards fail."""
        groups: dict[int, tuple[BatchWriter, list[PendingWrite]]] = {}
        for write in writes:
            writer = self._shard_writers.for_app(write.app).writer
            groups.setdefault(id(writer), (writer, []))[1].append(write)
        await wait_for_all(
            writer.append(group, deadline=deadline) for writer, group in groups.values()
        )


class ShardedCommitter:
    """A BatchCommitter that passes each batch to the committer of its shard."""

    def __init__(self, shard_writers: ShardWriters) -> None:
        self._shard_writers = shard_writers

    @property
    def rejection_reason(self) -> str:
        reasons = (shard.committer.rejection_reason for shard in self._shard_writers.all())
        return next(filter(None, reasons), "")

    def submit(self, post: DrainPost, on_result: OnResult) -> int:
        return self._shard_writers.for_app(post.key.app).committer.submit(post, on_result)

    async def wait_idle(self) -> None:
        for shard in self._shard_writers.all():
            await shard.committer.wait_idle()


class BestEffortCallback:
    """Runs an OnStored callback, but waits for it only SIGHTING_WAIT_S.

    The list of apps may lie on another shard than the batches, and that shard may be down.
    """

    def __init__(self, on_stored: OnStored) -> None:
        self._on_stored = on_stored
        self._calls: set[asyncio.Future[None]] = set()

    async def __call__(self, activities: Sequence[tuple[str, ActivityTimes]]) -> None:
        """Start the callback, and wait for it briefly."""
        call = asyncio.ensure_future(self._on_stored(activities))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        await asyncio.wait([call], timeout=SIGHTING_WAIT_S)
