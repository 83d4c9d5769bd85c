"""Coalesces POSTs of an app that arrive at about the same time into one element of the store.

So the batches that a busy app sends within a moment are packed, stored and folded once for all.

A rollup in memory is about twenty times as large as its packed bytes, and a group holds the POSTs
of many apps. So a coalesced batch that is not expected to grow is packed immediately, while its
rollup is still in the processor's cache; the next batch then reuses the same memory. Its body is
released, too. If another POST arrives after all, the two are merged when they are stored.

The POSTs can always be split again. That is needed if they cannot be stored as one element: the
store knows the id of one of them already, or is unavailable.
"""

from __future__ import annotations

import msgspec

from app.access.drain_election import DrainClaim
from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import (
    ENTRIES_MAX,
    MINUTE_S,
    NO_ACTIVITY,
    ActivityTimes,
    AggregatedBody,
    merge_activities,
    merge_batches,
)
from app.ingest.drain_post import DrainPost
from app.ingest.received_batch import CoalescedPayload, ReceivedBatch
from app.rollup.rollup import CardinalityLimits
from app.rollup.time_range import TimeRange
from app.support.aio import run_in_steps

POSTS_MAX = 256  # about 0.4 ms of Redis
COALESCED_ENTRIES_MAX = 8 * ENTRIES_MAX  # more names than this come from forged lines
ENTRIES_CHECK_POSTS = 8  # count them this often, because that costs as much as a short POST


class CoalescedBatch:
    """POSTs of one drain that arrived within one minute, so they share one ledger.

    Implements app.ingest.received_batch.PendingWrite.
    """

    payload: CoalescedPayload | None = None  # of all POSTs, once packed
    _packed_payload: CoalescedPayload | None = None  # of the POSTs that `_aggregator` does not hold
    _is_broken = False  # a POST failed half-way, so the aggregator cannot be used

    def __init__(self, post: DrainPost, arrived_s: float, limits: CardinalityLimits) -> None:
        """`post` is the first POST, and `arrived_s` its arrival in Unix seconds."""
        self.app = post.key.app
        self._key = post.key
        self._arrived_s = arrived_s
        self._limits = limits
        self._posts = {post.id: post}
        self._aggregator: Aggregator | None = self._aggregate(post)
        self._open_posts = 1  # held by `_aggregator`: the last ones
        self._batches: list[ReceivedBatch] = []  # after a split

    @property
    def activity(self) -> ActivityTimes:
        if self.payload is not None:
            return self.payload.activity
        times = [
            part.activity for part in (self._packed_payload, self._aggregator) if part is not None
        ]
        return merge_activities(*times) if times else NO_ACTIVITY

    def can_accept(self, post: DrainPost, now_s: float) -> bool:
        """Whether a POST that has just arrived can be added."""
        return (
            now_s // MINUTE_S == self._arrived_s // MINUTE_S
            and post.id not in self._posts
            and len(self._posts) < POSTS_MAX
            and not self._is_broken
            and (len(self._posts) % ENTRIES_CHECK_POSTS > 0 or not self._is_full())
        )

    def _is_full(self) -> bool:
        return self._aggregator is not None and self._aggregator.entry_count > COALESCED_ENTRIES_MAX

    def add(self, post: DrainPost) -> None:
        """Add a POST; if this fails, the other POSTs can still be split and stored."""
        try:
            if self._aggregator is None:
                self._aggregator = self._aggregate(post)
                self._open_posts = 0
                self.payload = None
            else:
                post.add_to(self._aggregator)
        except BaseException:
            self._is_broken = True
            raise
        self._posts[post.id] = post
        self._open_posts += 1

    def finalize(self) -> CoalescedPayload:
        """Pack all POSTs as one batch, and release the rollup. The body of a single POST goes too:
        what a split needs of it is in the packed bytes and the ledgers.
        """
        aggregator = self._aggregator
        if aggregator is not None:
            self._pack(aggregator, aggregator.pack(), aggregator.build_body())
        assert self.payload is not None  # noqa: S101  packed now or before
        return self.payload

    async def coalesced(self) -> CoalescedPayload | None:
        if self._is_broken:
            return None
        if self._aggregator is not None and self._aggregator.entry_count > ENTRIES_MAX:
            body = self._aggregator.build_body()
            await run_in_steps(body.pack_minutes())
            self._pack(self._aggregator, body.pack(), body)
        return self.finalize()

    def _pack(self, aggregator: Aggregator, data: bytes, body: AggregatedBody) -> None:
        posts = list(self._posts.values())[-self._open_posts :]
        key = self._key
        payload = CoalescedPayload(
            DrainClaim(key.drain, key.generation, aggregator.time_range, int(self._arrived_s)),
            body.activity,
            [post.id for post in posts],
            [post.token for post in posts],
            data,
        )
        if len(posts) == 1:
            body.release_rollups(data)
            post = posts[0]
            self._posts[post.id] = DrainPost(post.key, post.id, post.token, body)
        if self._packed_payload is not None:
            payload = _merge(self._packed_payload, payload, self._limits)
        self.payload = self._packed_payload = payload
        self._aggregator, self._open_posts = None, 0

    async def split(self) -> list[ReceivedBatch]:
        """Aggregate each POST separately, and let other tasks run in between."""
        # The aggregator of a single POST already holds exactly its lines.
        reusable = self._aggregator if len(self._posts) == 1 and not self._is_broken else None
        for post in list(self._posts.values())[len(self._batches) :]:
            if isinstance(post.content, AggregatedBody):
                body = post.content
                body.restore_rollups()
            else:
                body = (reusable or self._aggregate(post)).build_body()
            await run_in_steps(body.pack_minutes())
            self._batches.append(received_batch(post, body))
        return self._batches

    def _aggregate(self, post: DrainPost) -> Aggregator:
        key = self._key
        aggregator = Aggregator(
            self._arrived_s, key.acceptance, self._limits, reads_marks=key.reads_marks
        )
        post.add_to(aggregator)
        return aggregator


def _merge(
    first: CoalescedPayload, second: CoalescedPayload, limits: CardinalityLimits
) -> CoalescedPayload:
    """The payload of the POSTs of both, which belong to one drain."""
    lines, more_lines = first.claim.lines, second.claim.lines
    return CoalescedPayload(
        msgspec.structs.replace(
            first.claim,
            lines=TimeRange(
                min(lines.start_s, more_lines.start_s), max(lines.end_s, more_lines.end_s)
            ),
        ),
        merge_activities(first.activity, second.activity),
        [*first.ids, *second.ids],
        [*first.tokens, *second.tokens],
        merge_batches(first.data, second.data, limits),
    )


def received_batch(post: DrainPost, body: AggregatedBody) -> ReceivedBatch:
    """The batch of a POST that is aggregated alone."""
    key = post.key
    return ReceivedBatch(key.app, post.id, body, key.drain, key.generation, post.token)
