"""What goes into the store as one element: POSTs of an app, added up as they come, so that what a
busy app sends within a moment is packed, stored and folded once for all of it.

Where that cannot be (the store knows one of them already, or is away), each of them can still be
had by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from app.active_drain import Claim
from app.aggregate import Aggregator
from app.arrival import Arrival
from app.ingest import MINUTE_S, Horizon, Seen
from app.rollup import Caps
from app.store.port import KIND_BATCH, new_element

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

    def __init__(self, sender: Sender, arrived_s: float, horizon: Horizon, caps: Caps) -> None:
        """`arrived_s`: when the first of them came, Unix time in seconds."""
        self._sender = sender
        self._arrived_s = arrived_s
        self._minute = arrived_s // MINUTE_S
        self._horizon = horizon
        self._caps = caps
        self._aggregator = Aggregator(arrived_s, horizon, caps)
        self._posts: dict[bytes, Post] = {}
        self._spoiled = False
        self._packed = b""
        self._apart: list[Arrival] = []

    @property
    def app(self) -> str:
        """See arrival.Brought."""
        return self._sender.app

    @property
    def seen(self) -> Seen:
        """See arrival.Brought."""
        return self._aggregator.seen

    def takes(self, post: Post, now_s: float) -> bool:
        """Whether this POST, which came just now, can be added."""
        return (
            now_s // MINUTE_S == self._minute
            and post.id not in self._posts
            and len(self._posts) < POSTS_MAX
            and not self._spoiled
        )

    def add(self, post: Post) -> None:
        """Add what it brings; should this fail, the others can be had apart."""
        try:
            _add(self._aggregator, post)
        except BaseException:
            self._spoiled = True
            raise
        self._posts[post.id] = post

    @property
    def claim(self) -> Claim | None:
        """See arrival.Brought."""
        if self._spoiled:
            return None
        _, drain, generation = self._sender
        return Claim(drain, generation, self._aggregator.lines, int(self._arrived_s))

    def element(self) -> bytes:
        """See arrival.Brought; no more can be added then."""
        if not self._packed:
            self._packed = self._aggregator.packed()
        return new_element(KIND_BATCH, self._packed)

    def names(self) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """See arrival.Brought."""
        return list(self._posts), [post.token for post in self._posts.values()]

    async def apart(self) -> list[Arrival]:
        """See arrival.Brought. They are counted up once more; others run in between."""
        alone = len(self._posts) == 1 and not self._spoiled
        for post in list(self._posts.values())[len(self._apart) :]:
            aggregator = self._aggregator if alone else self._counted_up(post)
            self._apart.append(self._arrival(post, aggregator))
            await asyncio.sleep(0)
        return self._apart

    def _counted_up(self, post: Post) -> Aggregator:
        aggregator = Aggregator(self._arrived_s, self._horizon, self._caps)
        _add(aggregator, post)
        return aggregator

    def _arrival(self, post: Post, aggregator: Aggregator) -> Arrival:
        app, drain, generation = self._sender
        return Arrival(app, post.id, aggregator.parts(), drain, generation, post.token)


def _add(aggregator: Aggregator, post: Post) -> None:
    if post.promised:
        aggregator.add_promised(post.promised)
    for _ in aggregator.turns(post.data, post.start):
        continue
