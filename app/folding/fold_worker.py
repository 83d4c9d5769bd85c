"""The fold worker: moves batches from inboxes into every resolution, and compacts slots."""

# Theory of operation
#
# A committed batch is an element of its app's inbox. Folding merges the oldest elements of an inbox
# by interval and moves them into the slots of every resolution (1m, 10m, 1h) and of the total. The
# store makes this move in one atomic step for each app, so an increment is either in the inbox or
# in all resolutions. A reader that fetches slots and inbox at one instant counts it exactly once.
#
# The merge takes place in this process; the store only exchanges list elements. Between reading an
# inbox and the move, other workers may append to it or fold it, so the move is conditional. It
# names the number n of elements that were read and the header of the last one. The header holds
# random bytes that are drawn for each push. An inbox grows at its end and shrinks at its head, and
# a server that fails over has lost the latest elements. So if that header is still in the n-th
# place, the first n elements are those that were read, and the store compares no others. Otherwise
# the fold changes nothing. For this reason any number of workers can fold the same app without a
# lock: the loser of a race reads the inbox again and continues with the rest.
#
# A fold blocks the store, and this process holds what it reads. So it takes at most BATCHES_MAX
# elements and about BYTES_MAX bytes of an app. Larger inboxes are folded in several steps, and
# several apps share one round trip.
#
# Each fold pushes an element to every slot that it touches. A reader merges the elements of a slot,
# so slots are compacted: the oldest elements are replaced by their merge, with the same proof by
# header. That happens once an interval has ended CLOSED_AFTER_S ago, and earlier at
# COMPACT_AT_LENGTH elements. Readers get the same result before and after.
#
# A damaged batch must not stop the app. If the fast merge fails, the elements are merged one by
# one, and damaged ones move to the slot UNREADABLE in the same atomic step. A batch in a newer
# format is not damaged: folding of that app stops in front of it until this process is upgraded,
# and everything stays in the inbox.
#
# Each worker folds the inboxes that it wrote to. A sweep finds those that a dead worker left.

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

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
from app.rollup.accelerated import pack
from app.rollup.bounded_merge import merge_in_steps
from app.rollup.codec import PackError
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits
from app.storage.interface.apps import AppRegistry
from app.storage.interface.elements import KIND_ROLLUP, TOTAL, UNREADABLE, Slot, new_element
from app.storage.interface.errors import StoreError
from app.storage.interface.folding import BacklogReader, Compaction, Fold, FoldStore, SlotWrite
from app.storage.interface.status import StatusStore
from app.support.aio import run_in_steps

log = logging.getLogger(__name__)

BATCHES_MAX = 256  # a fold of this size blocks Redis for about half a millisecond
BYTES_MAX = 4 * 2**20  # of the batches of an app in a fold, and of the slots compacted together
APPS_PER_CALL = 16  # are read, and folded, in one round trip
SLOTS_PER_CALL = 32
SMALL_INBOX = 8  # readers hardly notice fewer elements
QUIET_AFTER_FOLDS = 3  # an app is quiet after so many small folds in a row;
QUIET_FACTOR = 60  # its interval is longer by this factor: several batches for the cost of one fold
COMPACT_AT_LENGTH = 32  # a reader of a slot merges at most so many elements while it still grows
# After this time from the end of its interval a slot hardly grows: it is compacted to one element.
CLOSED_AFTER_S = 120
SWEEP_INTERVAL_S = 60
ROUND_S = 1.0  # apps that are due within so much time are folded together
HEARTBEAT_INTERVAL_S = 15.0
FOLD_HEARTBEAT_PREFIX = "fold:"  # of the names of status records of fold workers


class FoldWorkerStore(FoldStore, BacklogReader, AppRegistry, StatusStore, Protocol):
    """What a fold worker needs of the store."""


class _OpenSlot(NamedTuple):
    """The number of elements of a slot, and about how many bytes they have."""

    length: int
    bytes: int


class FoldWorker:
    """Folds inboxes that this worker wrote to; once a minute also those that a dead worker left."""

    def __init__(
        self,
        store: FoldWorkerStore,
        resolutions: Sequence[Resolution],
        *,
        name: str,
        clock: Callable[[], float],
        interval_s: float,
        batches: int,
        sweep_interval_s: float = SWEEP_INTERVAL_S,
        limits: CardinalityLimits = DEFAULT_LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
        notes_changes: bool = False,
    ) -> None:
        """
        Args:
            store: the store to fold in.
            resolutions: the stored resolutions, finest first.
            name: of this worker, for its heartbeat.
            clock: Unix time in seconds.
            interval_s: the time from the first batch in an inbox to its fold; QUIET_FACTOR times
                as long for a quiet app.
            batches: the length of an inbox at which it is folded immediately.
            sweep_interval_s: the time between searches for inboxes that no worker folds.
            limits: the limits on names in a slot.
            monotonic: returns seconds, which never go backwards; folds are scheduled by it.
            notes_changes: whether folds note the hours that they change, for the archive.
        """
        self._store = store
        self._resolutions = resolutions
        self._name = name
        self._clock = clock
        self._monotonic = monotonic
        self._interval_s = interval_s
        self._batches = batches
        self._sweep_interval_s = sweep_interval_s
        self._limits = limits
        self._notes_changes = notes_changes
        self._due_s: dict[str, float] = {}  # app -> monotonic time of the next fold
        self._small_folds: dict[str, int] = {}  # app -> consecutive folds of a small inbox
        self._has_swept = False
        # Of apps with large batches, as hostile ones have: the length of a large inbox.
        self._large_lengths: dict[str, int] = {}
        # Slots that this worker wrote and that are not compacted yet.
        self._open_slots: dict[tuple[str, Slot], _OpenSlot] = {}
        self._wake = asyncio.Event()
        self._sleeps_until_s = float("inf")  # `run`, by the monotonic clock
        self._next_sweep_s = -float("inf")
        self._closed_minute = 0  # the last one whose end compacted slots
        self.folded_batches = 0
        self.failures = 0
        self.unreadable = 0
        self.last_success_s = clock()
        self.last_error = ""
        self._last_round_s = monotonic()
        self._last_heartbeat_s = -float("inf")
        self._published_error = ""

    def is_alive(self, within_s: float) -> bool:
        """Whether `run` completed a round within this time."""
        return self._monotonic() - self._last_round_s <= within_s

    def schedule(self, lengths: Mapping[str, int]) -> None:
        """Schedule folds of inboxes that grew: `lengths` maps an app to its inbox's new length."""
        now_s = self._monotonic()
        soon_s = now_s + self._interval_s
        for app, length in lengths.items():
            if length >= SMALL_INBOX:
                self._small_folds.pop(app, None)
            is_quiet = self._small_folds.get(app, 0) >= QUIET_AFTER_FOLDS
            due_s = now_s + QUIET_FACTOR * self._interval_s if is_quiet else soon_s
            if length >= self._large_lengths.get(app, self._batches):
                self._due_s[app] = now_s
                self._wake.set()
            elif app not in self._due_s or due_s < self._due_s[app]:
                self._due_s[app] = due_s
                if due_s < self._sleeps_until_s:
                    self._wake.set()

    async def run(self) -> None:
        """Fold until cancelled. A failure is counted, shown in the heartbeat, and retried."""
        while True:
            self._last_round_s = self._monotonic()
            try:
                await self._run_round()
            except StoreError as error:
                self._record_failure(error)
            self._wake.clear()
            pause_s = self._pause_s()
            self._sleeps_until_s = self._monotonic() + pause_s
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    async def _run_round(self) -> None:
        if self._monotonic() >= self._next_sweep_s:
            await self.sweep()
            self._next_sweep_s = self._monotonic() + self._sweep_interval_s
        await self.fold_due()
        minute = align(int(self._clock()), MINUTE_S)
        if minute != self._closed_minute:  # intervals end at full minutes
            await self.compact_closed()
            self._closed_minute = minute
        await self._send_heartbeat()

    def _pause_s(self) -> float:
        """How long nothing is due. Apps that are due soon wait for each other, except full inboxes,
        which end the pause.
        """
        next_s = min(
            self._next_sweep_s,
            self._last_heartbeat_s + HEARTBEAT_INTERVAL_S,
            min(self._due_s.values(), default=float("inf")),
        )
        pause_s = min(next_s - self._monotonic(), MINUTE_S - self._clock() % MINUTE_S)
        return max(pause_s, min(ROUND_S, self._interval_s))

    async def fold_pending(self) -> None:
        """Fold all scheduled inboxes, due or not.

        Used before a shutdown, so that little is left for the next start.
        """
        await self._fold(list(self._due_s))

    async def sweep(self) -> None:
        """Schedule inboxes that no worker folds; forget apps that no longer have data."""
        apps = [sighting.app for sighting in await self._store.seen_apps()]
        now = self._monotonic()
        reachable = await self._store.reachable_apps(apps)
        for app, length in (await self._store.inbox_lengths(reachable)).items():
            if length:
                # A stopped worker left the inboxes of the first sweep: fold even small ones soon.
                factor = QUIET_FACTOR if length < SMALL_INBOX and self._has_swept else 1
                self._due_s.setdefault(app, now + factor * self._interval_s)
        self._has_swept = True
        silent_since_s = int(self._clock() - self._resolutions[-1].retention_s - MARGIN_S)
        for app in await self._store.forget_apps(silent_since_s):
            self._small_folds.pop(app, None)

    async def fold_due(self) -> None:
        """Fold every inbox that is due."""
        now = self._monotonic()
        await self._fold([app for app, due in self._due_s.items() if due <= now])

    async def fold(self, app: str) -> int:
        """Fold one app's inbox, step by step; return the number of folded elements."""
        return await self._fold([app])

    async def _fold(self, apps: Sequence[str]) -> int:
        count, failures = 0, self.failures
        for first in range(0, len(apps), APPS_PER_CALL):
            remaining = apps[first : first + APPS_PER_CALL]
            while remaining:
                try:
                    remaining, fold_count = await self._fold_once(remaining)
                except StoreError:
                    for app in remaining:
                        self._due_s.setdefault(app, self._monotonic() + self._interval_s)
                    raise
                count += fold_count
        if self.failures == failures:
            self.last_success_s = self._clock()
            self.last_error = ""
        return count

    async def _fold_once(self, apps: Sequence[str]) -> tuple[list[str], int]:
        """Make one atomic step for each app.

        Returns:
            The apps that have more to fold, and the number of elements that this worker folded.
        """
        for app in apps:
            self._due_s.pop(app, None)
        folds: dict[str, Fold] = {}
        merges: dict[str, FoldedBatches] = {}
        remaining: list[str] = []
        element_count = 0
        inboxes = await self._store.read_inboxes(apps, BATCHES_MAX, BYTES_MAX)
        for app, elements in inboxes.items():
            size = sum(map(len, elements))
            self._note_batch_size(app, size // len(elements))
            if len(elements) == BATCHES_MAX or size >= BYTES_MAX:
                remaining.append(app)
            elif len(elements) < SMALL_INBOX:
                self._small_folds[app] = self._small_folds.get(app, 0) + 1
            try:
                merges[app], writes = await self._merge(elements)
            except FoldBlocked as error:
                self._record_failure(error, app)
                self._due_s.setdefault(app, self._monotonic() + SWEEP_INTERVAL_S)
                if app in remaining:
                    remaining.remove(app)
                continue
            folds[app] = Fold(merges[app].elements, writes, self._changed_hours(writes))
            element_count += len(elements)
            if element_count >= YIELD_ROLLUPS:
                element_count = 0
                await asyncio.sleep(0)
        count = 0
        for app, lengths in (await self._store.fold_all(folds)).items():
            if lengths is not None:
                count += len(merges[app].elements)
                await self._record_fold(app, merges[app], folds[app], lengths)
            elif app not in remaining:  # another worker was faster: read the rest of the inbox
                remaining.append(app)
        return remaining, count

    def _note_batch_size(self, app: str, batch_bytes: int) -> None:
        """Fold an inbox sooner if so large batches make it large."""
        length = max(1, BYTES_MAX // batch_bytes)
        if length < self._batches:
            self._large_lengths[app] = length
        else:
            self._large_lengths.pop(app, None)

    async def _merge(self, elements: Sequence[bytes]) -> tuple[FoldedBatches, list[SlotWrite]]:
        """Merge elements of one app; return the merge and the writes that a fold needs."""
        now_s = self._clock()
        try:
            merge = await merge_fast(elements, self._limits)
            return merge, await slot_writes(merge, self._resolutions, now_s, self._limits)
        except PackError:
            merge = await merge_one_by_one(elements, self._limits)
            return merge, await slot_writes(merge, self._resolutions, now_s, self._limits)

    def _changed_hours(self, writes: Sequence[SlotWrite]) -> Sequence[int]:
        if not self._notes_changes:
            return ()
        hours = self._resolutions[-1].name
        return [write.slot.start for write in writes if write.slot.resolution == hours]

    async def _record_fold(
        self, app: str, merge: FoldedBatches, fold: Fold, lengths: dict[Slot, int]
    ) -> None:
        self.folded_batches += len(merge.elements)
        self.unreadable += len(merge.unreadable)
        if merge.unreadable:
            log.error("%s: %d damaged batches set aside", app, len(merge.unreadable))
        sizes = {write.slot: len(write.element) for write in fold.writes}
        for slot, length in lengths.items():
            if slot == UNREADABLE:
                continue
            self._open_slots[app, slot] = _OpenSlot(length, length * sizes[slot])
            if length >= COMPACT_AT_LENGTH:
                del self._open_slots[app, slot]
                await self._compact([(app, slot)])

    async def compact_closed(self) -> None:
        """Compact the slots of intervals that ended CLOSED_AFTER_S ago."""
        now = self._clock()
        seconds = {resolution.name: resolution.seconds for resolution in self._resolutions}
        closed_slots = [
            (app, slot)
            for app, slot in self._open_slots
            if slot != TOTAL and slot.start + seconds[slot.resolution] + CLOSED_AFTER_S <= now
        ]
        chunk: list[tuple[str, Slot]] = []
        size = 0
        for key in closed_slots:
            open_slot = self._open_slots.pop(key)
            if open_slot.length > 1:
                chunk.append(key)
                size += open_slot.bytes
            if len(chunk) == SLOTS_PER_CALL or size >= BYTES_MAX:
                await self._compact(chunk)
                chunk, size = [], 0
        await self._compact(chunk)

    async def _compact(self, slots: Sequence[tuple[str, Slot]]) -> None:
        """Replace the elements of each of these slots by their merge."""
        compactions = []
        contents = await self._store.read_slots(slots) if slots else []
        for (app, slot), elements in zip(slots, contents, strict=True):
            if len(elements) < 2:
                continue
            try:
                rollup = await run_in_steps(merge_in_steps(map(data_of, elements), self._limits))
            except PackError as error:
                self._record_failure(error, app)
                continue
            if slot == TOTAL:
                # An older worker keeps the dynos of sections that it does not know.
                rollup = rollup.without_dynos()
            element = new_element(KIND_ROLLUP, pack(rollup, self._limits))
            compactions.append(Compaction(app, slot, elements, element, self._ttl_ms(slot)))
            await asyncio.sleep(0)
        await self._store.compact_all(compactions)

    def _ttl_ms(self, slot: Slot) -> int:
        retentions_s = {resolution.name: resolution.retention_s for resolution in self._resolutions}
        # The total lives as long as the coarsest resolution.
        retention_s = retentions_s.get(slot.resolution, self._resolutions[-1].retention_s)
        return (retention_s + MARGIN_S) * 1000

    def _record_failure(self, error: Exception, app: str = "") -> None:
        self.failures += 1
        message = str(error)  # public in /readyz, so it does not name the app
        if message != self.last_error:
            log.error("folding failed%s: %s", f" for app {app}" if app else "", message)
        self.last_error = message

    async def _send_heartbeat(self) -> None:
        """Publish the state of this worker, once in a while and when an error comes or goes."""
        now_s = self._monotonic()
        is_early = now_s - self._last_heartbeat_s < HEARTBEAT_INTERVAL_S
        if is_early and self.last_error == self._published_error:
            return
        self._last_heartbeat_s, self._published_error = now_s, self.last_error
        await self._store.write_status(
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
