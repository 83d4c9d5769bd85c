"""Folding: what was committed to an app's inbox moves into every resolution at once.

The merge is done here, in plain arithmetic; the store only exchanges lists, in one atomic step that
proves nobody else was quicker. So any number of folders may run anywhere: the loser of a race
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from app.folding.merge import (
    MARGIN_S,
    YIELD_ROLLUPS,
    FoldBlocked,
    FoldedBatches,
    data_of,
    merge_fast,
    merge_one_by_one,
    slot_writes,
)
from app.rollup.accelerated import merge_rollups, pack
from app.rollup.codec import PackError
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface import (
    FOLD_HEARTBEAT_PREFIX,
    KIND_ROLLUP,
    TOTAL,
    UNREADABLE,
    Compaction,
    Fold,
    Slot,
    SlotWrite,
    Store,
    StoreError,
    new_element,
)

log = logging.getLogger(__name__)

BATCHES_MAX = 256  # a fold of so many blocks Redis for about half a millisecond
APPS_PER_CALL = 16  # read and folded in one round trip each
SLOTS_PER_CALL = 32
FEW = 8  # elements that readers hardly notice
QUIET_AFTER = 3  # folds of less than that in a row: then the app is quiet,
QUIET_FACTOR = 60  # and folded so much more seldom: several batches for the cost of one
COMPACT_LENGTH = 32  # elements a reader of a slot that is still growing merges at the most
CLOSED_AFTER_S = (
    120  # a slot hardly grows any more so long after its end, and is compacted to one element
)
SWEEP_INTERVAL_S = 60
BEAT_INTERVAL_S = 1.0


class FoldWorker:
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
        limits: CardinalityLimits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            name: of this worker, under which its pulse is found.
            clock: Unix time in seconds.
            interval_s: an inbox is folded so long after its first batch, QUIET_FACTOR times as
                long if the app is quiet,
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
        self._limits = limits
        self._due: dict[str, float] = {}  # app -> when its inbox is to be folded
        self._small: dict[str, int] = {}  # app -> folds of little in a row
        self._swept = False
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
        self._beat_s = 0.0

    def alive(self, within_s: float) -> bool:
        """Whether `run` went round within this time."""
        return self._clock() - self._pulse_s <= within_s

    def stored(self, lengths: Mapping[str, int]) -> None:
        """Take note that the inboxes of these apps grew, each to this length."""
        now_s = self._clock()
        soon_s = now_s + self._interval_s
        for app, length in lengths.items():
            if length >= FEW:
                self._small.pop(app, None)
            quiet = self._small.get(app, 0) >= QUIET_AFTER
            due_s = now_s + QUIET_FACTOR * self._interval_s if quiet else soon_s
            if length >= self._batches:
                self._due[app] = now_s
                self._wake.set()
            elif app not in self._due or due_s < self._due[app]:
                self._due[app] = due_s

    async def run(self) -> None:
        """Fold until cancelled. A failure is counted, shown in the pulse, and tried again."""
        next_sweep_s = next_closing_s = 0.0
        while True:
            self._pulse_s = self._clock()
            try:
                if self._clock() >= next_sweep_s:
                    await self.sweep()
                    next_sweep_s = self._clock() + self._sweep_interval_s
                await self.fold_due()
                if self._clock() >= next_closing_s:  # slots end at full minutes
                    await self.compact_closed()
                    next_closing_s = align(int(self._clock()), MINUTE_S) + MINUTE_S
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
        await self._fold(list(self._due))

    async def sweep(self) -> None:
        """Find inboxes nobody is folding, and forget apps silent for longer than anything is
        kept.
        """
        apps = [seen.app for seen in await self._store.seen_apps()]
        now = self._clock()
        reachable = await self._store.reachable_apps(apps)
        for app, length in (await self._store.inbox_lengths(reachable)).items():
            if length:
                # The first time what is there was left by a worker that is gone.
                factor = QUIET_FACTOR if length < FEW and self._swept else 1
                self._due.setdefault(app, now + factor * self._interval_s)
        self._swept = True
        forgotten_s = int(now - self._resolutions[-1].retention_s - MARGIN_S)
        for app in await self._store.forget_apps(forgotten_s):
            self._small.pop(app, None)

    async def fold_due(self) -> None:
        """Fold every inbox whose time has come."""
        now = self._clock()
        await self._fold([app for app, due in self._due.items() if due <= now])

    async def fold(self, app: str) -> int:
        """Fold one app's inbox, in pieces until little is left; returns the number of elements
        folded.
        """
        return await self._fold([app])

    async def _fold(self, apps: Sequence[str]) -> int:
        count, failures = 0, self.failures
        for first in range(0, len(apps), APPS_PER_CALL):
            left = apps[first : first + APPS_PER_CALL]
            while left:
                try:
                    left, folded = await self._fold_pieces(left)
                except StoreError:
                    for app in left:
                        self._due.setdefault(app, self._clock() + self._interval_s)
                    raise
                count += folded
        if self.failures == failures:
            self.last_success_s = self._clock()
            self.last_error = ""
        return count

    async def _fold_pieces(self, apps: Sequence[str]) -> tuple[list[str], int]:
        """One atomic step for each of these apps; returns of which more is left, and how many
        elements were folded by us.
        """
        for app in apps:
            self._due.pop(app, None)
        folds: dict[str, Fold] = {}
        merges: dict[str, FoldedBatches] = {}
        more: list[str] = []
        turn = 0
        for app, elements in (await self._store.read_inboxes(apps, BATCHES_MAX)).items():
            if len(elements) == BATCHES_MAX:
                more.append(app)
            elif len(elements) < FEW:
                self._small[app] = self._small.get(app, 0) + 1
            try:
                merges[app], writes = await self._summed(elements)
            except FoldBlocked as error:
                self._failed(error, app)
                self._due.setdefault(app, self._clock() + SWEEP_INTERVAL_S)
                if app in more:
                    more.remove(app)
                continue
            folds[app] = Fold(merges[app].folded, writes)
            turn += len(elements)
            if turn >= YIELD_ROLLUPS:
                turn = 0
                await asyncio.sleep(0)
        count = 0
        for app, lengths in (await self._store.fold_all(folds)).items():
            if lengths is not None:
                count += len(merges[app].folded)
                await self._folded(app, merges[app], lengths)
            elif app not in more:  # another folder was quicker: what it left comes next
                more.append(app)
        return more, count

    async def _summed(self, elements: Sequence[bytes]) -> tuple[FoldedBatches, list[SlotWrite]]:
        """What these elements of an app amount to, and what is to be written for it."""
        now_s = self._clock()
        try:
            merge = await merge_fast(elements)
            return merge, await slot_writes(merge, self._resolutions, now_s, self._limits)
        except PackError:
            merge = await merge_one_by_one(elements)
            return merge, await slot_writes(merge, self._resolutions, now_s, self._limits)

    async def _folded(self, app: str, merge: FoldedBatches, lengths: dict[Slot, int]) -> None:
        self.folded_batches += len(merge.folded)
        self.unreadable += len(merge.unreadable)
        if merge.unreadable:
            log.error("%s: %d damaged batches set aside", app, len(merge.unreadable))
        for slot, length in lengths.items():
            if slot == UNREADABLE:
                continue
            self._growing[app, slot] = length
            if length >= COMPACT_LENGTH:
                del self._growing[app, slot]
                await self._compact([(app, slot)])

    async def compact_closed(self) -> None:
        """Compact the slots that hardly grow any more."""
        now = self._clock()
        seconds = {resolution.name: resolution.seconds for resolution in self._resolutions}
        closed = [
            (app, slot)
            for app, slot in self._growing
            if slot != TOTAL and slot.start + seconds[slot.resolution] + CLOSED_AFTER_S <= now
        ]
        await self._compact([each for each in closed if self._growing.pop(each) > 1])

    async def _compact(self, grown: Sequence[tuple[str, Slot]]) -> None:
        """Replace the elements of each of these slots by their merge; readers cannot tell."""
        for first in range(0, len(grown), SLOTS_PER_CALL):
            some = grown[first : first + SLOTS_PER_CALL]
            compactions = []
            for (app, slot), elements in zip(some, await self._store.read_slots(some), strict=True):
                try:
                    sums = merge_rollups(map(data_of, elements))
                except PackError as error:
                    self._failed(error, app)
                    continue
                if len(elements) > 1:
                    element = new_element(KIND_ROLLUP, pack(sums, self._limits))
                    compactions.append(Compaction(app, slot, elements, element, self._ttl_ms(slot)))
                await asyncio.sleep(0)
            await self._store.compact_all(compactions)

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
        now_s = self._clock()
        if now_s - self._beat_s < BEAT_INTERVAL_S:
            return
        self._beat_s = now_s
        await self._store.heartbeat(
            FOLD_HEARTBEAT_PREFIX + self._name,
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
