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

from app.access.drain_election import Claim
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import MINUTE_S, NOT_SEEN, Horizon, Seen
from app.ingest.received_batch import Arrival, Whole
from app.rollup.rollup import Caps

POSTS_MAX = 256  # about 0.4 ms of Redis


class Sender(NamedTuple):
    """Whose POSTs may be added up: see Arrival."""

    app: str
    drain: str
    generation: int


class Post(msgspec.Struct, frozen=True, gc=False):
    """`token` is drawn for this POST alone; `promised` messages, by its Logplex-Msg-Count; its body
    begins at `start` of `data`, behind what else came with it.
    """

    id: bytes
    token: bytes
    data: bytes
    promised: int
    start: int = 0


class Bundle:
    """POSTs that came over one drain within one minute, to which the ledger books them all; see
    arrival.Brought.
    """

    _sealed: Whole | None = None
    _spoiled = False

    def __init__(
        self, sender: Sender, post: Post, arrived_s: float, horizon: Horizon, caps: Caps
    ) -> None:
        """`post`: the first of them; `arrived_s`: when it came, Unix time in seconds."""
        self.app = sender.app
        self._sender = sender
        self._arrived_s = arrived_s
        self._horizon = horizon
        self._caps = caps
        self._posts = {post.id: post}
        self._aggregator: Aggregator | None = self._counted_up(post)  # of an open one
        self._apart: list[Arrival] = []

    @property
    def seen(self) -> Seen:
        """See arrival.Brought."""
        summed = self._sealed or self._aggregator
        return NOT_SEEN if summed is None else summed.seen

    def takes(self, post: Post, now_s: float) -> bool:
        """Whether this POST, which came just now, can be added."""
        return (
            now_s // MINUTE_S == self._arrived_s // MINUTE_S
            and post.id not in self._posts
            and len(self._posts) < POSTS_MAX
            and not self._spoiled
        )

    def add(self, post: Post) -> None:
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

    def seal(self) -> Whole:
        """What all of them come to; their sums are let go."""
        if self._sealed is None:
            aggregator = self._aggregator or self._counted_up(*self._posts.values())
            _, drain, generation = self._sender
            self._sealed = Whole(
                Claim(drain, generation, aggregator.lines, int(self._arrived_s)),
                aggregator.seen,
                list(self._posts),
                [post.token for post in self._posts.values()],
                aggregator.packed(),
            )
            self._aggregator = None
        return self._sealed

    def whole(self) -> Whole | None:
        """See arrival.Brought."""
        return None if self._spoiled else self._sealed or self.seal()

    async def apart(self) -> list[Arrival]:
        """See arrival.Brought. They are counted up once more; others run in between."""
        alone = self._aggregator if len(self._posts) == 1 and not self._spoiled else None
        for post in list(self._posts.values())[len(self._apart) :]:
            self._apart.append(self._arrival(post, alone or self._counted_up(post)))
            await asyncio.sleep(0)
        return self._apart

    def _counted_up(self, *posts: Post) -> Aggregator:
        aggregator = Aggregator(self._arrived_s, self._horizon, self._caps)
        for post in posts:
            _add(aggregator, post)
        return aggregator

    def _arrival(self, post: Post, aggregator: Aggregator) -> Arrival:
        app, drain, generation = self._sender
        return Arrival(app, post.id, aggregator.parts(), drain, generation, post.token)


def _add(aggregator: Aggregator, post: Post) -> None:
    aggregator.add_body(post.data, post.start, post.promised)
