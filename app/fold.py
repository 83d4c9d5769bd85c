"""Folding: what was committed to an app's inbox moves into every resolution at once.

The merge is done here, in plain arithmetic; the store only exchanges lists, in one atomic step that
proves nobody else was quicker. So any number of folders may run anywhere: the loser of a race
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.batch import unpack_batch
from app.packing import NewerVersion, PackError, unpack
from app.resolution import Resolution, align
from app.rollup import CAPS, Caps
from app.store.port import (
    FOLDING,
    HEADER_BYTES,
    KIND_ROLLUP,
    KIND_UNREADABLE,
    Slot,
    SlotWrite,
    Store,
    StoreError,
    new_element,
)
from app.sums import Sums, absorb, merged, pack

log = logging.getLogger(__name__)

BATCHES_MAX = 256  # a fold of so many blocks Redis for about half a millisecond
COMPACT_LENGTH = 32  # elements a reader of a slot that is still growing merges at the most
CLOSED_AFTER_S = (
    120  # a slot hardly grows any more so long after its end, and is compacted to one element
)
SWEEP_INTERVAL_S = 60
MARGIN_S = (
    26 * 3600
)  # slots outlive their retention by more than the horizon: none expires while late data may come
YIELD_BATCHES = 16  # a merge lets other work run after so many batches

TOTAL = Slot("total", 0)
UNREADABLE = Slot("unreadable", 0)


class FoldBlocked(Exception):
    """The inbox begins with a batch that only a newer Dynometer can read: this process must be
    upgraded.
    """


@dataclass(slots=True)
class Merge:
    """What a number of inbox elements amount to."""

    folded: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    minutes: dict[int, Sums] = field(default_factory=dict)


async def merge_batches(elements: Sequence[bytes]) -> Merge:
    """Merge inbox elements by minute, up to the first that a newer version wrote.

    An element that is damaged is set aside, not dropped.
    Raises:
        FoldBlocked: the very first element is of a newer version.
    """
    try:
        return await _merge_all(elements)
    except PackError:
        return await _merge_each(elements)


async def _merge_all(elements: Sequence[bytes]) -> Merge:
    """The same where every element is as usual.

    Raises:
        PackError: one is not.
    """
    merge = Merge(folded=list(elements))
    for index, element in enumerate(elements):
        for minute, packed in unpack_batch(_data(element)):
            if minute not in merge.minutes:
                merge.minutes[minute] = Sums()
            absorb(merge.minutes[minute], packed)
        if index % YIELD_BATCHES == YIELD_BATCHES - 1:
            await asyncio.sleep(0)
    return merge


async def _merge_each(elements: Sequence[bytes]) -> Merge:
    """The same one by one, so that an element that cannot be read leaves nothing behind."""
    merge = Merge()
    for index, element in enumerate(elements):
        try:
            batch = [(minute, unpack(data)) for minute, data in unpack_batch(_data(element))]
        except NewerVersion as error:
            if not merge.folded:
                raise FoldBlocked(str(error)) from error
            break
        except PackError:
            batch = []
            merge.unreadable.append(element)
        merge.folded.append(element)
        for minute, rollup in batch:
            if minute not in merge.minutes:
                merge.minutes[minute] = Sums()
            merge.minutes[minute].add(rollup)
        if index % YIELD_BATCHES == YIELD_BATCHES - 1:
            await asyncio.sleep(0)
    return merge


def slot_writes(
    merge: Merge, resolutions: Sequence[Resolution], now_s: float, caps: Caps = CAPS
) -> list[SlotWrite]:
    """What to add to which slots: each resolution from the next finer one, and the total from the
    coarsest.

    A resolution whose retention no longer covers an interval (old lines that are replayed) does not
    get it.
    """
    writes: list[SlotWrite] = []
    finer = merge.minutes
    for resolution in resolutions:
        level = downsample(finer, resolution.seconds)
        ttl_ms = (resolution.retention_s + MARGIN_S) * 1000
        for start, rollup in level.items():
            if start >= now_s - resolution.retention_s - MARGIN_S:
                element = new_element(KIND_ROLLUP, pack(rollup, caps))
                writes.append(SlotWrite(Slot(resolution.name, start), element, ttl_ms))
        finer = level
    total = Sums()
    for rollup in finer.values():
        total.merge(rollup.projection())
    keep_ms = (resolutions[-1].retention_s + MARGIN_S) * 1000
    writes.append(SlotWrite(TOTAL, new_element(KIND_ROLLUP, pack(total, caps)), keep_ms))
    for element in merge.unreadable:
        kept = KIND_UNREADABLE + element[1:]
        writes.append(SlotWrite(UNREADABLE, kept, keep_ms))
    return writes


def downsample(rollups: dict[int, Sums], seconds: int) -> dict[int, Sums]:
    """Merge rollups along time into intervals of `seconds`; the originals stay as they are."""
    coarser: dict[int, Sums] = {}
    for start, rollup in rollups.items():
        interval = align(start, seconds)
        if interval in coarser:
            coarser[interval].merge(rollup)
        else:
            coarser[interval] = rollup.copy()
    return coarser


def _data(element: bytes) -> bytes:
    return element[HEADER_BYTES:]


class Folder:
    """Folds what this worker wrote, and every minute whatever a dead worker left."""

    def __init__(
        self,
        store: Store,
        resolutions: Sequence[Resolution],
        *,
        name: str,
        clock: Callable[[], float],
        interval_s: float,
        batches: int,
        sweep_interval_s: float = SWEEP_INTERVAL_S,
        caps: Caps = CAPS,
    ) -> None:
        """
        Args:
            name: of this worker, under which its pulse is found.
            clock: Unix time in seconds.
            interval_s: an inbox is folded so long after its first batch,
            batches: or when it has so many.
            sweep_interval_s: how often inboxes are looked for that nobody folds.
            caps: how many names a slot keeps.
        """
        self._store = store
        self._resolutions = resolutions
        self._name = name
        self._clock = clock
        self._interval_s = interval_s
        self._batches = batches
        self._sweep_interval_s = sweep_interval_s
        self._caps = caps
        self._due: dict[str, float] = {}  # app -> when its inbox is to be folded
        self._growing: dict[
            tuple[str, Slot], int
        ] = {}  # slots written and not yet compacted -> length
        self._wake = asyncio.Event()
        self.folded_batches = 0
        self.failures = 0
        self.unreadable = 0
        self.last_success_s = clock()
        self.last_error = ""
        self._pulse_s = clock()

    def alive(self, within_s: float) -> bool:
        """Whether `run` went round within this time."""
        return self._clock() - self._pulse_s <= within_s

    def stored(self, app: str, inbox_length: int) -> None:
        """Take note that an app's inbox grew."""
        now = self._clock()
        self._due.setdefault(app, now + self._interval_s)
        if inbox_length >= self._batches:
            self._due[app] = now
            self._wake.set()

    async def run(self) -> None:
        """Fold until cancelled. A failure is counted, shown in the pulse, and tried again."""
        next_sweep_s = 0.0
        while True:
            self._pulse_s = self._clock()
            try:
                if self._clock() >= next_sweep_s:
                    await self.sweep()
                    next_sweep_s = self._clock() + self._sweep_interval_s
                await self.fold_due()
                await self.compact_closed()
                await self._beat()
            except StoreError as error:
                self._failed(error)
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), min(1.0, self._interval_s))
            except TimeoutError:
                continue

    async def finish(self) -> None:
        """Fold what is due or not: before a shutdown, so that the next start finds little to do."""
        for app in list(self._due):
            await self.fold(app)

    async def sweep(self) -> None:
        """Find inboxes nobody is folding, and forget apps silent for longer than anything is
        kept.
        """
        apps = [seen.app for seen in await self._store.seen_apps()]
        now = self._clock()
        for app, length in (await self._store.inbox_lengths(apps)).items():
            if length:
                self._due.setdefault(app, now + self._interval_s)
        await self._store.forget_apps(int(now - self._resolutions[-1].retention_s - MARGIN_S))

    async def fold_due(self) -> None:
        """Fold every inbox whose time has come."""
        now = self._clock()
        for app in [app for app, due in self._due.items() if due <= now]:
            await self.fold(app)

    async def fold(self, app: str) -> int:
        """Fold one app's inbox, in pieces until little is left; returns the number of batches
        folded.
        """
        count = 0
        while True:
            self._due.pop(app, None)
            try:
                taken, folded = await self._fold_piece(app)
            except FoldBlocked as error:
                self._failed(error, app)
                self._due.setdefault(app, self._clock() + SWEEP_INTERVAL_S)
                return count
            except StoreError:
                self._due.setdefault(app, self._clock() + self._interval_s)
                raise
            count += folded
            if taken < BATCHES_MAX:
                self.last_success_s = self._clock()
                self.last_error = ""
                return count

    async def _fold_piece(self, app: str) -> tuple[int, int]:
        """(elements read, elements folded by us) of one atomic step."""
        elements = await self._store.read_inbox(app, BATCHES_MAX)
        if not elements:
            return 0, 0
        merge = await merge_batches(elements)
        writes = slot_writes(merge, self._resolutions, self._clock(), self._caps)
        lengths = await self._store.fold(app, merge.folded, writes)
        if lengths is None:  # another folder was quicker: what it left is in the next piece
            return len(elements), 0
        self.folded_batches += len(merge.folded)
        self.unreadable += len(merge.unreadable)
        if merge.unreadable:
            log.error("%s: %d damaged batches set aside", app, len(merge.unreadable))
        for slot, length in lengths.items():
            if slot == UNREADABLE:
                continue
            self._growing[app, slot] = length
            if length >= COMPACT_LENGTH:
                await self.compact(app, slot)
        return len(elements), len(merge.folded)

    async def compact_closed(self) -> None:
        """Compact the slots that hardly grow any more."""
        now = self._clock()
        seconds = {resolution.name: resolution.seconds for resolution in self._resolutions}
        for app, slot in list(self._growing):
            if slot != TOTAL and slot.start + seconds[slot.resolution] + CLOSED_AFTER_S <= now:
                await self.compact(app, slot)

    async def compact(self, app: str, slot: Slot) -> None:
        """Replace a slot's elements by their merge; readers cannot tell."""
        length = self._growing.pop((app, slot), 2)
        if length < 2:
            return
        elements = (await self._store.read(app, [slot], inbox=False)).slots.get(slot, [])
        if len(elements) < 2:
            return
        try:
            sums = merged(map(_data, elements))
        except PackError as error:
            self._failed(error, app)
            return
        element = new_element(KIND_ROLLUP, pack(sums, self._caps))
        await self._store.compact(app, slot, elements, element, self._ttl_ms(slot))

    def _ttl_ms(self, slot: Slot) -> int:
        retention_s = {each.name: each.retention_s for each in self._resolutions}
        kept_s = retention_s.get(slot.resolution, self._resolutions[-1].retention_s)
        return (kept_s + MARGIN_S) * 1000

    def _failed(self, error: Exception, app: str = "") -> None:
        self.failures += 1
        message = str(error)  # /readyz shows it to everybody, so it names no app
        if message != self.last_error:
            log.error("folding: %s%s", f"{app}: " if app else "", message)
        self.last_error = message

    async def _beat(self) -> None:
        await self._store.beat(
            FOLDING + self._name,
            {
                "last_success_s": str(int(self.last_success_s)),
                "checked_s": str(int(self._clock())),
                "folded_batches": str(self.folded_batches),
                "failures": str(self.failures),
                "unreadable": str(self.unreadable),
                "error": self.last_error,
            },
            ttl_ms=5 * SWEEP_INTERVAL_S * 1000,
        )
