"""What goes into the store as one element: POSTs of an app, added up as they come, so that what a
busy app sends within a moment is packed, stored and folded once for all of it.

Sums are twenty times as large as their bytes, and a group holds what many apps sent. So a bundle
that is not expected to grow is sealed at once, while its sums are at hand: the next one is made in
the same memory, which a processor's cache still holds. Should another POST come after all, its
POSTs are counted up once more.

Where one element cannot be (the store knows one of them already, or is away), each of them can
still be had by itself.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from app.access.drain_election import DrainClaim
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import MINUTE_S, NOT_SEEN, AcceptanceWindow, ActivityTimes
from app.ingest.received_batch import CoalescedPayload, ReceivedBatch
from app.rollup.rollup import CardinalityLimits

POSTS_MAX = 256  # about 0.4 ms of Redis


class DrainKey(NamedTuple):
    """Whose POSTs may be added up: see Arrival."""

    app: str
    drain: str
    generation: int


class DrainPost(msgspec.Struct, frozen=True, gc=False):
    """`token` is drawn for this POST alone; `promised` messages, by its Logplex-Msg-Count; its body
    begins at `start` of `data`, behind what else came with it.
    """

    id: bytes
    token: bytes
    data: bytes
    promised: int
    start: int = 0


class CoalescedBatch:
    """POSTs that came over one drain within one minute, to which the ledger books them all; see
    arrival.Brought.
    """

    _sealed: CoalescedPayload | None = None
    _spoiled = False

    def __init__(
        self,
        sender: DrainKey,
        post: DrainPost,
        arrived_s: float,
        acceptance: AcceptanceWindow,
        limits: CardinalityLimits,
    ) -> None:
        """`post`: the first of them; `arrived_s`: when it came, Unix time in seconds."""
        self.app = sender.app
        self._sender = sender
        self._arrived_s = arrived_s
        self._acceptance = acceptance
        self._limits = limits
        self._posts = {post.id: post}
        self._aggregator: Aggregator | None = self._counted_up(post)  # of an open one
        self._apart: list[ReceivedBatch] = []

    @property
    def activity(self) -> ActivityTimes:
        """See arrival.Brought."""
        summed = self._sealed or self._aggregator
        return NOT_SEEN if summed is None else summed.activity

    def can_accept(self, post: DrainPost, now_s: float) -> bool:
        """Whether this POST, which came just now, can be added."""
        return (
            now_s // MINUTE_S == self._arrived_s // MINUTE_S
            and post.id not in self._posts
            and len(self._posts) < POSTS_MAX
            and not self._spoiled
        )

    def add(self, post: DrainPost) -> None:
        """Add what it brings; should this fail, the others can be had apart."""
        try:
            if self._aggregator is None:
                self._aggregator = self._counted_up(*self._posts.values(), post)
                self._sealed = None
            else:
                _add(self._aggregator, post)
        except BaseException:
            self._spoiled = True
            raise
        self._posts[post.id] = post

    def finalize(self) -> CoalescedPayload:
        """What all of them come to; their sums are let go."""
        if self._sealed is None:
            aggregator = self._aggregator or self._counted_up(*self._posts.values())
            _, drain, generation = self._sender
            self._sealed = CoalescedPayload(
                DrainClaim(drain, generation, aggregator.lines, int(self._arrived_s)),
                aggregator.activity,
                list(self._posts),
                [post.token for post in self._posts.values()],
                aggregator.packed(),
            )
            self._aggregator = None
        return self._sealed

    def coalesced(self) -> CoalescedPayload | None:
        """See arrival.Brought."""
        return None if self._spoiled else self._sealed or self.finalize()

    async def split(self) -> list[ReceivedBatch]:
        """See arrival.Brought. They are counted up once more; others run in between."""
        alone = self._aggregator if len(self._posts) == 1 and not self._spoiled else None
        for post in list(self._posts.values())[len(self._apart) :]:
            self._apart.append(self._arrival(post, alone or self._counted_up(post)))
            await asyncio.sleep(0)
        return self._apart

    def _counted_up(self, *posts: DrainPost) -> Aggregator:
        aggregator = Aggregator(self._arrived_s, self._acceptance, self._limits)
        for post in posts:
            _add(aggregator, post)
        return aggregator

    def _arrival(self, post: DrainPost, aggregator: Aggregator) -> ReceivedBatch:
        app, drain, generation = self._sender
        return ReceivedBatch(app, post.id, aggregator.build_body(), drain, generation, post.token)


def _add(aggregator: Aggregator, post: DrainPost) -> None:
    aggregator.add_body(post.data, post.start, post.promised)
