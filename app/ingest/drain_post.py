"""What every way in hands to the committer: the content of one POST, and whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from app.ingest.accelerated import Aggregator
from app.ingest.aggregator import ENTRIES_MAX, FRAMES_PER_STEP, AcceptanceWindow, AggregatedBody
from app.rollup.rollup import CardinalityLimits
from app.support.aio import run_in_steps
from parsers.framing import Damage

SMALL_BYTES = 128 * 1024  # Logplex aims at 102,400


class DrainKey(NamedTuple):
    """Identifies a drain, its secret and its acceptance window.

    Only POSTs with an equal key are coalesced. `drain` and `generation` are those of a
    ReceivedBatch. `reads_marks`: whether custom metrics are on for the app.
    """

    app: str
    drain: str
    generation: int
    acceptance: AcceptanceWindow
    reads_marks: bool = False


class DrainPost(msgspec.Struct, frozen=True, gc=False):
    """One POST over HTTP, one read over syslog, or one call of the API.

    `token` is drawn for this POST alone. The content is one of

        bytes           a body that begins at `start`, after other bytes of the same read.
                        `msg_count` is its Logplex-Msg-Count, 0 for none. `lost_count` is how many
                        more messages its sender reports as lost, apart from its lines
        frames          messages that were already split. `msg_count` and `lost_count` as above
        AggregatedBody  counts that are ready
    """

    key: DrainKey
    id: bytes
    token: bytes
    content: bytes | Sequence[bytes | Damage] | AggregatedBody
    msg_count: int = 0
    start: int = 0
    lost_count: int = 0

    @property
    def size(self) -> int:
        """The bytes that it holds while it waits. Up to SMALL_BYTES are few enough for `add_to`."""
        content = self.content
        if isinstance(content, bytes):
            return len(content)
        return 0 if isinstance(content, AggregatedBody) else sum(map(len, content))

    def add_to(self, aggregator: Aggregator) -> None:
        """Add all lines in one go."""
        if isinstance(self.content, bytes):
            aggregator.add_body(self.content, self.start, self.msg_count)
        elif not isinstance(self.content, AggregatedBody):
            aggregator.add_promised(self.msg_count)
            aggregator.add_frames(self.content)
        if self.lost_count:
            aggregator.add_lost(self.lost_count)

    async def aggregate(self, arrived_s: float, limits: CardinalityLimits) -> AggregatedBody:
        """Aggregate it alone, in steps of some milliseconds between which other tasks run."""
        if isinstance(self.content, AggregatedBody):
            return self.content
        aggregator = Aggregator(
            arrived_s, self.key.acceptance, limits, reads_marks=self.key.reads_marks
        )
        body = aggregator.take_body()
        for _ in self._add_in_steps(aggregator, self.content):
            await asyncio.sleep(0)
            if aggregator.entry_count > ENTRIES_MAX:
                await run_in_steps(body.merge(aggregator.take_body()))
        await run_in_steps(body.merge(aggregator.take_body()))
        return body

    def _add_in_steps(
        self, aggregator: Aggregator, content: bytes | Sequence[bytes | Damage]
    ) -> Iterator[None]:
        aggregator.add_promised(self.msg_count)
        if self.lost_count:
            aggregator.add_lost(self.lost_count)
        if isinstance(content, bytes):
            yield from aggregator.add_body_in_steps(content, self.start)
            return
        for first in range(0, len(content), FRAMES_PER_STEP):
            aggregator.add_frames(content[first : first + FRAMES_PER_STEP])
            yield
