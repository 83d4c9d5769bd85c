"""What batches come to at each resolution: plain arithmetic on packed rollups.

A rollup that is alone in its interval is handed on as the bytes that it came as; only what has to
be added up is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.rollup.accelerated import FastRollup, merge_packed, pack
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import NewerVersion, PackError, unpack
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface import (
    HEADER_BYTES,
    KIND_ROLLUP,
    KIND_UNREADABLE,
    TOTAL,
    UNREADABLE,
    Slot,
    SlotWrite,
    new_element,
)
from app.support.errors import UserError

MARGIN_S = (
    26 * 3600
)  # slots outlive their retention by more than the horizon: none expires while late data may come
YIELD_ROLLUPS = 32  # other work runs after so many, some 0.2 ms


class FoldBlocked(UserError):
    """The inbox begins with a batch that only a newer Dynometer can read: this process must be
    upgraded.
    """


class LazyRollup:
    """A rollup, added up of others, or as bytes, or both: what is asked for is made."""

    def __init__(self, packed: bytes = b"", sums: FastRollup | None = None) -> None:
        self._packed = packed
        self._sums = sums

    def sums(self) -> FastRollup:
        """To look at.

        Raises:
            PackError: its bytes cannot be read.
        """
        if self._sums is None:
            self._sums = FastRollup()
            merge_packed(self._sums, self._packed)
        return self._sums

    def add_to(self, sums: FastRollup) -> None:
        """Add all that it holds; raises as `sums` does."""
        if self._sums is None:
            merge_packed(sums, self._packed)
        else:
            sums.merge(self._sums)

    def packed(self, limits: CardinalityLimits) -> bytes:
        """Its bytes, bounded by the caps."""
        if not self._packed:
            self._packed = pack(self.sums(), limits)
        return self._packed


@dataclass(slots=True)
class FoldedBatches:
    """What a number of inbox elements amount to."""

    folded: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    minutes: dict[int, LazyRollup] = field(default_factory=dict)


async def merge_fast(elements: Sequence[bytes]) -> FoldedBatches:
    """Inbox elements merged by minute, where all are as usual. Bytes that are handed on are read
    when the writes are made of them.

    Raises:
        PackError: one cannot be read, see `merge_each`.
    """
    found: dict[int, list[bytes]] = {}
    for element in elements:
        for minute, packed in unpack_batch(data_of(element)):
            found.setdefault(minute, []).append(packed)
    minutes: dict[int, LazyRollup] = {}
    turn = 0
    for minute, rollups in found.items():
        if len(rollups) == 1:
            minutes[minute] = LazyRollup(rollups[0])
            continue
        sums = FastRollup()
        for packed in rollups:
            merge_packed(sums, packed)
            turn += 1
            if turn % YIELD_ROLLUPS == 0:
                await asyncio.sleep(0)
        minutes[minute] = LazyRollup(sums=sums)
    return FoldedBatches(list(elements), [], minutes)


async def merge_one_by_one(elements: Sequence[bytes]) -> FoldedBatches:
    """The same one by one, up to the first that a newer version wrote. An element that is damaged
    is set aside, not dropped, and leaves nothing behind.

    Raises:
        FoldBlocked: the very first element is of a newer version.
    """
    merge = FoldedBatches()
    minutes: dict[int, FastRollup] = {}
    for index, element in enumerate(elements):
        try:
            batch = [(minute, unpack(data)) for minute, data in unpack_batch(data_of(element))]
        except NewerVersion as error:
            if not merge.folded:
                raise FoldBlocked(str(error)) from error
            break
        except PackError:
            batch = []
            merge.unreadable.append(element)
        merge.folded.append(element)
        for minute, rollup in batch:
            if minute not in minutes:
                minutes[minute] = FastRollup()
            minutes[minute].add(rollup)
        if index % YIELD_ROLLUPS == YIELD_ROLLUPS - 1:
            await asyncio.sleep(0)
    merge.minutes = {minute: LazyRollup(sums=sums) for minute, sums in minutes.items()}
    return merge


async def slot_writes(
    merge: FoldedBatches,
    resolutions: Sequence[Resolution],
    now_s: float,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> list[SlotWrite]:
    """What to add to which slots: each resolution from the next finer one, and the total from the
    coarsest.

    A resolution whose retention no longer covers an interval (old lines that are replayed) does not
    get it.

    Raises:
        PackError: a rollup cannot be read.
    """
    writes: list[SlotWrite] = []
    finer: Mapping[int, LazyRollup] = merge.minutes
    for name, seconds, retention_s in resolutions:
        if seconds > MINUTE_S:
            finer = await _coarser(finer, seconds)
        ttl_ms = (retention_s + MARGIN_S) * 1000
        oldest_s = now_s - retention_s - MARGIN_S
        for start, level in finer.items():
            if start >= oldest_s:
                element = new_element(KIND_ROLLUP, level.packed(limits))
                writes.append(SlotWrite(Slot(name, start), element, ttl_ms))
                if len(writes) % YIELD_ROLLUPS == 0:
                    await asyncio.sleep(0)
    total = FastRollup()
    for level in finer.values():
        total.merge(level.sums().without_dynos())
    keep_ms = (resolutions[-1].retention_s + MARGIN_S) * 1000
    writes.append(SlotWrite(TOTAL, new_element(KIND_ROLLUP, pack(total, limits)), keep_ms))
    for element in merge.unreadable:
        kept = KIND_UNREADABLE + element[1:]
        writes.append(SlotWrite(UNREADABLE, kept, keep_ms))
    return writes


async def _coarser(finer: Mapping[int, LazyRollup], seconds: int) -> dict[int, LazyRollup]:
    """Merged along time into intervals of so many seconds; the finer ones stay as they are."""
    within: dict[int, list[LazyRollup]] = {}
    for start, level in finer.items():
        within.setdefault(start - start % seconds, []).append(level)
    coarser: dict[int, LazyRollup] = {}
    turn = 0
    for start, levels in within.items():
        if len(levels) == 1:
            coarser[start] = levels[0]
            continue
        sums = FastRollup()
        for level in levels:
            level.add_to(sums)
        coarser[start] = LazyRollup(sums=sums)
        turn += len(levels)
        if turn >= YIELD_ROLLUPS:
            turn = 0
            await asyncio.sleep(0)
    return coarser


def data_of(element: bytes) -> bytes:
    """What lies behind an element's header."""
    return element[HEADER_BYTES:]
