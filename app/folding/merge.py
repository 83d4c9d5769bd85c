"""Merges batches into each resolution: plain arithmetic on packed rollups, without the store.

A rollup that is alone in its interval is passed on as the bytes that it came as. Only rollups that
share an interval are decoded and merged.
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
from app.storage.interface.elements import (
    HEADER_BYTES,
    KIND_ROLLUP,
    KIND_UNREADABLE,
    TOTAL,
    UNREADABLE,
    Slot,
    new_element,
)
from app.storage.interface.folding import SlotWrite
from app.support.errors import UserError

# Slots outlive their retention by more than the acceptance window of late lines, so none expires
# while late data may still come for it.
MARGIN_S = 26 * 3600
YIELD_ROLLUPS = 32  # the event loop may run other tasks after merging so many, in about 0.2 ms


class FoldBlocked(UserError):
    """The oldest batch in the inbox has a newer format; this process must be upgraded."""


class LazyRollup:
    """A rollup as bytes, as a FastRollup, or both; the missing form is made on demand."""

    def __init__(self, data: bytes = b"", rollup: FastRollup | None = None) -> None:
        self._data = data
        self._rollup = rollup

    def rollup(self) -> FastRollup:
        """Return the rollup for reading; it is shared, so do not change it.

        Raises:
            PackError: the bytes cannot be read.
        """
        if self._rollup is None:
            self._rollup = FastRollup()
            merge_packed(self._rollup, self._data)
        return self._rollup

    def add_to(self, rollup: FastRollup) -> None:
        """Merge this rollup into `rollup`.

        Raises:
            PackError: the bytes cannot be read.
        """
        if self._rollup is None:
            merge_packed(rollup, self._data)
        else:
            rollup.merge(self._rollup)

    def to_bytes(self, limits: CardinalityLimits) -> bytes:
        """Return the packed rollup, cut to the limits.

        Bytes from an inbox are returned unread: they were cut when the batch was packed.
        """
        if not self._data:
            self._data = pack(self.rollup(), limits)
        return self._data


@dataclass(slots=True)
class FoldedBatches:
    """Inbox elements and their merge, by the start of the minute in Unix seconds.

    `elements` are all that the fold takes from the inbox; `unreadable` are the damaged ones of
    them.
    """

    elements: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    minutes: dict[int, LazyRollup] = field(default_factory=dict)


async def merge_fast(elements: Sequence[bytes]) -> FoldedBatches:
    """Merge inbox elements by minute; all of them must be readable.

    A rollup that is alone in its minute is not decoded here but in `slot_writes`.

    Raises:
        PackError: an element cannot be read; use `merge_one_by_one`.
    """
    rollups_by_minute: dict[int, list[bytes]] = {}
    for element in elements:
        for minute, data in unpack_batch(data_of(element)):
            rollups_by_minute.setdefault(minute, []).append(data)
    minutes: dict[int, LazyRollup] = {}
    merge_count = 0
    for minute, rollups in rollups_by_minute.items():
        if len(rollups) == 1:
            minutes[minute] = LazyRollup(rollups[0])
            continue
        rollup = FastRollup()
        for data in rollups:
            merge_packed(rollup, data)
            merge_count += 1
            if merge_count % YIELD_ROLLUPS == 0:
                await asyncio.sleep(0)
        minutes[minute] = LazyRollup(rollup=rollup)
    return FoldedBatches(list(elements), [], minutes)


async def merge_one_by_one(elements: Sequence[bytes]) -> FoldedBatches:
    """Merge inbox elements by minute, up to the first one of a newer format.

    Each element is decoded completely before any of it is merged, so a damaged one leaves no trace.
    It goes to `unreadable` instead of being dropped.

    Raises:
        FoldBlocked: the very first element has a newer format.
    """
    merge = FoldedBatches()
    minutes: dict[int, FastRollup] = {}
    for index, element in enumerate(elements):
        try:
            batch = [(minute, unpack(data)) for minute, data in unpack_batch(data_of(element))]
        except NewerVersion as error:
            if not merge.elements:
                raise FoldBlocked(str(error)) from error
            break
        except PackError:
            batch = []
            merge.unreadable.append(element)
        merge.elements.append(element)
        for minute, rollup in batch:
            if minute not in minutes:
                minutes[minute] = FastRollup()
            minutes[minute].add(rollup)
        if index % YIELD_ROLLUPS == YIELD_ROLLUPS - 1:
            await asyncio.sleep(0)
    merge.minutes = {minute: LazyRollup(rollup=rollup) for minute, rollup in minutes.items()}
    return merge


async def slot_writes(
    merge: FoldedBatches,
    resolutions: Sequence[Resolution],
    now_s: float,
    limits: CardinalityLimits = DEFAULT_LIMITS,
) -> list[SlotWrite]:
    """Return the writes for a fold: one for each interval of each resolution, and the total.

    Each resolution is made from the next finer one, and the total from the coarsest. An interval
    outside a resolution's retention (replayed old lines) is left out there and stays in the coarser
    ones.

    Raises:
        PackError: a rollup cannot be read.
    """
    writes: list[SlotWrite] = []
    intervals: Mapping[int, LazyRollup] = merge.minutes
    for name, seconds, retention_s in resolutions:
        if seconds > MINUTE_S:
            intervals = await _downsample(intervals, seconds)
        ttl_ms = (retention_s + MARGIN_S) * 1000
        oldest_s = now_s - retention_s - MARGIN_S
        for start, rollup in intervals.items():
            if start >= oldest_s:
                element = new_element(KIND_ROLLUP, rollup.to_bytes(limits))
                writes.append(SlotWrite(Slot(name, start), element, ttl_ms))
                if len(writes) % YIELD_ROLLUPS == 0:
                    await asyncio.sleep(0)
    total = FastRollup()
    for rollup in intervals.values():
        total.merge(rollup.rollup().without_dynos())
    total_ttl_ms = (resolutions[-1].retention_s + MARGIN_S) * 1000
    writes.append(SlotWrite(TOTAL, new_element(KIND_ROLLUP, pack(total, limits)), total_ttl_ms))
    writes.extend(
        SlotWrite(UNREADABLE, KIND_UNREADABLE + element[1:], total_ttl_ms)
        for element in merge.unreadable
    )
    return writes


async def _downsample(intervals: Mapping[int, LazyRollup], seconds: int) -> dict[int, LazyRollup]:
    """Merge into intervals of `seconds`; the finer rollups stay unchanged."""
    groups: dict[int, list[LazyRollup]] = {}
    for start, rollup in intervals.items():
        groups.setdefault(start - start % seconds, []).append(rollup)
    merged_intervals: dict[int, LazyRollup] = {}
    merge_count = 0
    for start, rollups in groups.items():
        if len(rollups) == 1:
            merged_intervals[start] = rollups[0]
            continue
        merger = FastRollup()
        for rollup in rollups:
            rollup.add_to(merger)
        merged_intervals[start] = LazyRollup(rollup=merger)
        merge_count += len(rollups)
        if merge_count >= YIELD_ROLLUPS:
            merge_count = 0
            await asyncio.sleep(0)
    return merged_intervals


def data_of(element: bytes) -> bytes:
    """Return the packed data behind an element's header."""
    return element[HEADER_BYTES:]
