"""One write path per Redis shard. While a shard is down its batches queue or spool; the other
shards are unaffected.

Which shard an app lies on may change at any time. A writer per shard is there only so that nobody
waits for another shard: where a batch goes, the store decides for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from app.ingest.aggregator import ActivityTimes
from app.ingest.batch_writer import BatchSink, BatchWriter
from app.ingest.coalesced_batch import DrainKey, DrainPost
from app.ingest.group_commit import GroupCommitter, OnResult
from app.ingest.pipeline import WritePath
from app.ingest.received_batch import OnStored, PendingWrite, ReceivedBatch
from app.storage.interface import ShardedStore

SIGHTING_WITHIN_S = 0.2  # the list of apps may lie on a shard that is down: it is updated later


def build_write_path(
    store: ShardedStore,
    new_writer: Callable[[], BatchWriter],
    new_committer: Callable[[BatchSink, OnStored], GroupCommitter],
    on_stored: OnStored,
) -> WritePath:
    """The write path into a sharded store, from what makes the parts for one shard."""
    callback = BestEffortCallback(on_stored)
    writers = ShardWriters(store, new_writer, lambda sink: new_committer(sink, callback))
    return WritePath(ShardedBatchSink(writers), ShardedCommitter(writers), callback)


class _ShardWriter(NamedTuple):
    appender: BatchWriter
    committer: GroupCommitter


class ShardWriters:
    """The lanes; made as shards are first met, and forgotten when theirs is gone."""

    def __init__(
        self,
        store: ShardedStore,
        appender: Callable[[], BatchWriter],
        committer: Callable[[BatchWriter], GroupCommitter],
    ) -> None:
        self.store = store
        self._new_appender = appender
        self._new_committer = committer
        self._lanes: dict[Hashable, _ShardWriter] = {}

    def of(self, app: str) -> _ShardWriter:
        """The lane of an app."""
        shard = self.store.shard_of(app)
        lane = self._lanes.get(shard)
        if lane is None:
            self._forget_idle()
            appender = self._new_appender()
            lane = self._lanes[shard] = _ShardWriter(appender, self._new_committer(appender))
        return lane

    def all(self) -> list[_ShardWriter]:
        """Those of shards that are there."""
        self._forget_idle()
        return list(self._lanes.values())

    def _forget_idle(self) -> None:
        shards = frozenset(self.store.shards())
        for shard, lane in list(self._lanes.items()):
            if shard not in shards and lane.committer.idle:
                del self._lanes[shard]


class ShardedBatchSink:
    """See appender.Appends."""

    def __init__(self, lanes: ShardWriters) -> None:
        self._lanes = lanes

    @property
    def store_unavailable(self) -> bool:
        """Whether any shard refused the last step."""
        return any(lane.appender.store_unavailable for lane in self._lanes.all())

    @property
    def needs_single_batches(self) -> bool:
        """See appender.Appends."""
        return self.store_unavailable

    @property
    def last_error(self) -> str:
        """Why one did; "" when none did."""
        return next((e for lane in self._lanes.all() if (e := lane.appender.last_error)), "")

    async def append(self, writes: Sequence[PendingWrite], *, deadline: float) -> None:
        """See appender.Appends. Those of other shards are appended also when one refuses."""
        groups: dict[int, tuple[BatchWriter, list[PendingWrite]]] = {}
        for each in writes:
            appender = self._lanes.of(each.app).appender
            groups.setdefault(id(appender), (appender, []))[1].append(each)
        results = await asyncio.gather(
            *(appender.append(some, deadline=deadline) for appender, some in groups.values()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result


class ShardedCommitter:
    """See commit.Commits."""

    def __init__(self, lanes: ShardWriters) -> None:
        self._lanes = lanes

    @property
    def rejection_reason(self) -> str:
        """See commit.Commits."""
        return next((r for lane in self._lanes.all() if (r := lane.committer.rejection_reason)), "")

    async def commit(self, batch: ReceivedBatch) -> bool:
        """See commit.Commits."""
        return await self._lanes.of(batch.app).committer.commit(batch)

    def submit(self, key: DrainKey, post: DrainPost, on_result: OnResult) -> bool:
        """See commit.Commits."""
        return self._lanes.of(key.app).committer.submit(key, post, on_result)

    async def wait_idle(self) -> None:
        """See commit.Commits."""
        for lane in self._lanes.all():
            await lane.committer.wait_idle()


class BestEffortCallback:
    """Tells what was stored, and does not wait long until that is known: the list of apps may lie
    on another shard.
    """

    def __init__(self, tell: OnStored) -> None:
        self._tell = tell
        self._telling: set[asyncio.Future[None]] = set()

    async def __call__(self, stored: Sequence[tuple[str, ActivityTimes]]) -> None:
        """See arrival.Stored."""
        telling = asyncio.ensure_future(self._tell(stored))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.wait([telling], timeout=SIGHTING_WITHIN_S)
