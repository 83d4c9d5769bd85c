"""Merges batches into each resolution: plain arithmetic on packed rollups, without the store.

A rollup that is alone in its interval is passed on as the bytes that it came as. Only rollups that
share an interval are decoded and merged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.rollup.accelerated import FastRollup, merge_packed, pack
from app.rollup.batch_codec import unpack_batch
from app.rollup.bounded_merge import BoundedMerge
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
YIELD_BYTES = 32 * 1024  # and after merging so many bytes, in some milliseconds if all names differ
UNPACKED_ENTRIES_MAX = 1_000  # of rollups that stay unpacked: they take twenty times the memory


class FoldBlocked(UserError):
    """The oldest batch in the inbox has a newer format; this process must be upgraded."""


class LazyRollup:
    """A rollup as bytes, as a FastRollup, or both; the missing form is made on demand."""

    def __init__(self, data: bytes = b"", rollup: FastRollup | None = None) -> None:
        self._data = data
        self._rollup = rollup

    def rollup(self) -> FastRollup:
        """Return the rollup for reading; it may be shared, so do not change it.

        Raises:
            PackError: the bytes cannot be read.
        """
        if self._rollup is not None:
            return self._rollup
        rollup = FastRollup()
        merge_packed(rollup, self._data)
        return rollup

    def add_to(self, merge: BoundedMerge) -> bool:
        """Merge this rollup into others; returns whether their limits were applied.

        Raises:
            PackError: the bytes cannot be read.
        """
        if self._rollup is None:
            return merge.add(self._data)
        return merge.add_rollup(self._rollup)

    @property
    def size(self) -> int:
        """The bytes of its packed form, 0 if it is not packed."""
        return len(self._data)

    def to_bytes(self, limits: CardinalityLimits) -> bytes:
        """Return the packed rollup, cut to the limits.

        Bytes from an inbox are returned unread: they were cut when the batch was packed.
        """
        if not self._data:
            self._data = pack(self.rollup(), limits)
        return self._data


def _keep(rollup: FastRollup, intervals: int, limits: CardinalityLimits) -> LazyRollup:
    """Keep the rollup of one of these intervals: packed, unless all together are small."""
    if rollup.entry_count * intervals <= UNPACKED_ENTRIES_MAX:
        return LazyRollup(rollup=rollup)
    return LazyRollup(pack(rollup, limits))


@dataclass(slots=True)
class FoldedBatches:
    """Inbox elements and their merge, by the start of the minute in Unix seconds.

    `elements` are all that the fold takes from the inbox; `unreadable` are the damaged ones of
    them.
    """

    elements: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    minutes: dict[int, LazyRollup] = field(default_factory=dict)


class _Turns:
    """Lets other tasks run after some work."""

    def __init__(self) -> None:
        self._rollups = 0
        self._bytes = 0

    async def count(self, size: int = 0) -> None:
        """Count a rollup of so many bytes."""
        self._rollups += 1
        self._bytes += size
        if self._rollups >= YIELD_ROLLUPS or self._bytes >= YIELD_BYTES:
            self._rollups = self._bytes = 0
            await asyncio.sleep(0)


async def merge_fast(
    elements: Sequence[bytes], limits: CardinalityLimits = DEFAULT_LIMITS
) -> FoldedBatches:
    """Merge inbox elements by minute; all of them must be readable.

    A rollup that is alone in its minute is not decoded here but in `slot_writes`.

    Raises:
        PackError: an element cannot be read; use `merge_one_by_one`.
    """
    minutes = await _merge_minutes(elements, limits, BoundedMerge.add)
    return FoldedBatches(list(elements), [], minutes)


async def _merge_minutes(
    elements: Iterable[bytes],
    limits: CardinalityLimits,
    add: Callable[[BoundedMerge, bytes], bool],
) -> dict[int, LazyRollup]:
    rollups_by_minute: dict[int, list[bytes]] = {}
    for element in elements:
        for minute, data in unpack_batch(data_of(element)):
            rollups_by_minute.setdefault(minute, []).append(data)
    minutes: dict[int, LazyRollup] = {}
    turns = _Turns()
    for minute, rollups in rollups_by_minute.items():
        if len(rollups) == 1:
            minutes[minute] = LazyRollup(rollups[0])
            continue
        merge = BoundedMerge(limits)
        for data in rollups:
            is_limited = add(merge, data)
            await turns.count(YIELD_BYTES if is_limited else len(data))
        minutes[minute] = _keep(merge.rollup, len(rollups_by_minute), limits)
    return minutes


async def merge_one_by_one(
    elements: Sequence[bytes], limits: CardinalityLimits = DEFAULT_LIMITS
) -> FoldedBatches:
    """Merge inbox elements by minute, up to the first one of a newer format.

    Each element is decoded completely before any of it is merged, so a damaged one leaves no trace.
    It goes to `unreadable` instead of being dropped.

    Raises:
        FoldBlocked: the very first element has a newer format.
    """
    merge = FoldedBatches()
    readable: list[bytes] = []
    turns = _Turns()
    for element in elements:
        try:
            for _, data in unpack_batch(data_of(element)):
                unpack(data)
                await turns.count(len(data))
            readable.append(element)
        except NewerVersion as error:
            if not merge.elements:
                raise FoldBlocked(str(error)) from error
            break
        except PackError:
            merge.unreadable.append(element)
        merge.elements.append(element)
    merge.minutes = await _merge_minutes(readable, limits, BoundedMerge.add_slowly)
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
    turns = _Turns()
    for name, seconds, retention_s in resolutions:
        if seconds > MINUTE_S:
            intervals = await _downsample(intervals, seconds, limits)
        ttl_ms = (retention_s + MARGIN_S) * 1000
        oldest_s = now_s - retention_s - MARGIN_S
        for start, rollup in intervals.items():
            if start >= oldest_s:
                element = new_element(KIND_ROLLUP, rollup.to_bytes(limits))
                writes.append(SlotWrite(Slot(name, start), element, ttl_ms))
                await turns.count(len(element))
    total = BoundedMerge(limits)
    for rollup in intervals.values():
        total.add_rollup(rollup.rollup().without_dynos())
        await turns.count(YIELD_BYTES)
    element = new_element(KIND_ROLLUP, pack(total.rollup, limits))
    total_ttl_ms = (resolutions[-1].retention_s + MARGIN_S) * 1000
    writes.append(SlotWrite(TOTAL, element, total_ttl_ms))
    writes.extend(
        SlotWrite(UNREADABLE, KIND_UNREADABLE + element[1:], total_ttl_ms)
        for element in merge.unreadable
    )
    return writes


async def _downsample(
    intervals: Mapping[int, LazyRollup], seconds: int, limits: CardinalityLimits
) -> dict[int, LazyRollup]:
    """Merge into intervals of `seconds`; the finer rollups stay unchanged."""
    groups: dict[int, list[LazyRollup]] = {}
    for start, rollup in intervals.items():
        groups.setdefault(start - start % seconds, []).append(rollup)
    merged_intervals: dict[int, LazyRollup] = {}
    turns = _Turns()
    for start, rollups in groups.items():
        if len(rollups) == 1:
            merged_intervals[start] = rollups[0]
            continue
        merge = BoundedMerge(limits)
        for rollup in rollups:
            is_limited = rollup.add_to(merge)
            await turns.count(YIELD_BYTES if is_limited else rollup.size)
        merged_intervals[start] = _keep(merge.rollup, len(groups), limits)
    return merged_intervals


def data_of(element: bytes) -> bytes:
    """Return the packed data behind an element's header."""
    return element[HEADER_BYTES:]
