"""A way into each part of a store that has several: while one part is away, what belongs there
waits or is spooled, and the rest goes on as if nothing had happened.

A lane is an Appender and a Committer for what lies on one shard. Which shard that is may change
at any time: a lane is only there so that nobody waits for another shard; where a batch goes the
store decides, each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from app.ingest.aggregator import Seen
from app.ingest.batch_writer import Appender, Appends
from app.ingest.coalesced_batch import Post, Sender
from app.ingest.group_commit import Committer, Settle
from app.ingest.received_batch import Arrival, Brought, Stored
from app.storage.interface import Sharded

SIGHTING_WITHIN_S = 0.2  # the list of apps may lie on a shard that is away: then it is told later


def ways(
    store: Sharded,
    appender: Callable[[], Appender],
    committer: Callable[[Appends, Stored], Committer],
    tell: Stored,
) -> tuple[LanesAppender, LanesCommitter, Stored]:
    """What takes arrivals, what takes POSTs, and what is told of what was stored: for a store of
    several parts, from what makes them for one.
    """
    unhurried = Unhurried(tell)
    lanes = Lanes(store, appender, lambda each: committer(each, unhurried))
    return LanesAppender(lanes), LanesCommitter(lanes), unhurried


class _Lane(NamedTuple):
    appender: Appender
    committer: Committer


class Lanes:
    """The lanes; made as shards are first met, and forgotten when theirs is gone."""

    def __init__(
        self,
        store: Sharded,
        appender: Callable[[], Appender],
        committer: Callable[[Appender], Committer],
    ) -> None:
        self.store = store
        self._new_appender = appender
        self._new_committer = committer
        self._lanes: dict[Hashable, _Lane] = {}

    def of(self, app: str) -> _Lane:
        """The lane of an app."""
        shard = self.store.shard_of(app)
        lane = self._lanes.get(shard)
        if lane is None:
            self._forget_idle()
            appender = self._new_appender()
            lane = self._lanes[shard] = _Lane(appender, self._new_committer(appender))
        return lane

    def all(self) -> list[_Lane]:
        """Those of shards that are there."""
        self._forget_idle()
        return list(self._lanes.values())

    def _forget_idle(self) -> None:
        shards = frozenset(self.store.shards())
        for shard, lane in list(self._lanes.items()):
            if shard not in shards and lane.committer.idle:
                del self._lanes[shard]


class LanesAppender:
    """See appender.Appends."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    @property
    def away(self) -> bool:
        """Whether any shard refused the last step."""
        return any(lane.appender.away for lane in self._lanes.all())

    @property
    def apart(self) -> bool:
        """See appender.Appends."""
        return self.away

    @property
    def last_error(self) -> str:
        """Why one did; "" when none did."""
        return next((e for lane in self._lanes.all() if (e := lane.appender.last_error)), "")

    async def append(self, waiting: Sequence[Brought], *, deadline: float) -> None:
        """See appender.Appends. Those of other shards are appended also when one refuses."""
        groups: dict[int, tuple[Appender, list[Brought]]] = {}
        for each in waiting:
            appender = self._lanes.of(each.app).appender
            groups.setdefault(id(appender), (appender, []))[1].append(each)
        results = await asyncio.gather(
            *(appender.append(some, deadline=deadline) for appender, some in groups.values()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result


class LanesCommitter:
    """See commit.Commits."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    @property
    def refusal(self) -> str:
        """See commit.Commits."""
        return next((r for lane in self._lanes.all() if (r := lane.committer.refusal)), "")

    async def commit(self, arrival: Arrival) -> bool:
        """See commit.Commits."""
        return await self._lanes.of(arrival.app).committer.commit(arrival)

    def submit(self, sender: Sender, post: Post, settle: Settle) -> bool:
        """See commit.Commits."""
        return self._lanes.of(sender.app).committer.submit(sender, post, settle)

    async def drained(self) -> None:
        """See commit.Commits."""
        for lane in self._lanes.all():
            await lane.committer.drained()


class Unhurried:
    """Tells what was stored, and does not wait long until that is known: the list of apps may lie
    on another shard.
    """

    def __init__(self, tell: Stored) -> None:
        self._tell = tell
        self._telling: set[asyncio.Future[None]] = set()

    async def __call__(self, stored: Sequence[tuple[str, Seen]]) -> None:
        """See arrival.Stored."""
        telling = asyncio.ensure_future(self._tell(stored))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.wait([telling], timeout=SIGHTING_WITHIN_S)
