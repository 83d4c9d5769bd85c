"""Reads rollups over the seam: the latest from the store, older ones from the archive.

    minutes, 10 minutes   the store
    hours                 the store; from the archive those that it holds no longer, or has lost
    days                  the archive, once no line can change them any more; else their hours

An interval comes from one side only, so nothing counts twice. Lines of a time that is read from the
archive are not accepted any more, so none of them waits in an inbox.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

from app.archive.archive_reader import BYTES_UNLIMITED, ArchiveReader
from app.archive.errors import ArchiveError
from app.archive.interval_rollups import PackedInterval
from app.rollup.batch_codec import unpack_batch
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution, align
from app.storage.interface.elements import HEADER_BYTES, KIND_ROLLUP, Slot
from app.storage.interface.errors import HistoryUnavailable
from app.storage.interface.rollups import Contents, Part, RollupReader

log = logging.getLogger(__name__)

DAYS = "1d"  # the name of their resolution, which only the archive has
RETRY_AFTER_S = 30.0  # so long a database that failed is not asked for what is also in the store
_HEADER = KIND_ROLLUP.ljust(HEADER_BYTES, b"\0")

_Read = Callable[[str, int, int, int], Awaitable[list[PackedInterval]]]


class HistoryReader:
    """A RollupReader that also knows days, and hours older than those of the store.

    Slots must be in order of time, and of one resolution.
    """

    def __init__(
        self,
        store: RollupReader,
        archive: ArchiveReader,
        *,
        hours: Resolution,
        settled_after_s: int,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            store: holds the latest intervals.
            archive: holds hours and days.
            hours: the store's resolution of hours.
            settled_after_s: the age at which an interval no longer changes.
            clock: returns Unix time in seconds.
        """
        self._store = store
        self._archive = archive
        self._hours = hours
        self._settled_after_s = settled_after_s
        self._clock = clock
        self._retry_at_s = -math.inf  # of the event loop's clock

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        if not self._may_be_archived(slots):
            return await self._store.read(app, slots, inbox=inbox)
        contents = await self._read_all(app, slots)
        return contents if inbox else contents._replace(inbox=[])

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        if not any(self._may_be_archived(slots) for _, slots in requests):
            return await self._store.read_many(requests)
        return [await self._read_all(app, slots) for app, slots in requests]

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        if not any(self._may_be_archived(slots) for _, slots in requests):
            return await self._store.read_parts(requests, bytes_max)
        return [await self._read_part(app, slots, bytes_max) for app, slots in requests]

    def _may_be_archived(self, slots: Sequence[Slot]) -> bool:
        if not slots:
            return False
        name, start_s = slots[0]
        return name == DAYS or (name == self._hours.name and start_s < self._settled_s())

    async def _read_all(self, app: str, slots: Sequence[Slot]) -> Contents:
        inbox: list[bytes] = []
        contents: dict[Slot, list[bytes]] = {}
        while slots:
            part = await self._read_part(app, slots, BYTES_UNLIMITED)
            inbox = part.contents.inbox
            contents |= part.contents.slots
            slots = slots[part.slot_count :]
        return Contents(inbox, contents)

    async def _read_part(self, app: str, slots: Sequence[Slot], bytes_max: int) -> Part:
        if self._may_be_archived(slots):
            read = self._read_days if slots[0].resolution == DAYS else self._read_hours
            return await read(app, slots, bytes_max)
        (part,) = await self._store.read_parts([(app, slots)], bytes_max)
        return part

    async def _read_hours(self, app: str, slots: Sequence[Slot], bytes_max: int) -> Part:
        expired_slots = [slot for slot in slots if slot.start < self._oldest_s()]
        if expired_slots:
            rows, count = await self._ask(
                self._archive.hours, app, expired_slots, HOUR_S, bytes_max
            )
            return Part(Contents([], self._hours_of(rows)), count)
        (part,) = await self._store.read_parts([(app, slots)], bytes_max)
        (inbox, contents), slot_count = part
        lost_slots = [
            slot
            for slot in slots[:slot_count]
            if slot not in contents and slot.start < self._settled_s()
        ]
        if not lost_slots:
            return part
        rows, count = await self._ask(self._archive.hours, app, lost_slots, HOUR_S, bytes_max)
        archived_slots = self._hours_of(rows)  # also those between, which the store holds
        contents = contents | {
            slot: archived_slots[slot] for slot in lost_slots if slot in archived_slots
        }
        if count < len(lost_slots):
            slot_count = slots.index(lost_slots[count])
        return Part(Contents(inbox, _in_order(contents, slots[slot_count - 1])), slot_count)

    async def _read_days(self, app: str, slots: Sequence[Slot], bytes_max: int) -> Part:
        settled_slots = [slot for slot in slots if slot.start + DAY_S <= self._settled_s()]
        rows, count = await self._ask(self._archive.days, app, settled_slots, DAY_S, bytes_max)
        if count == len(settled_slots):
            count = len(slots)
        contents = {Slot(DAYS, row.start_s): [_HEADER + row.rollup] for row in rows}
        other_days = [slot for slot in slots[:count] if slot not in contents]
        for row in rows:
            contents |= self._slots_of(unpack_batch(row.by_hour))
        hours = [
            Slot(self._hours.name, hour_s)
            for slot in other_days
            for hour_s in range(slot.start, slot.start + DAY_S, HOUR_S)
            if hour_s >= self._oldest_s()
        ]
        inbox: list[bytes] = []
        if hours:
            part = await self._read_hours(app, hours, bytes_max)
            inbox = part.contents.inbox
            contents |= part.contents.slots
            if part.slot_count < len(hours):
                end_s = align(hours[part.slot_count].start, DAY_S)
                if end_s == slots[0].start:  # not even one day, but it cannot be divided
                    return await self._read_days(app, slots[:1], BYTES_UNLIMITED)
                count = sum(slot.start < end_s for slot in slots)
        last = slots[count - 1]
        contents = _in_order(contents, last._replace(start=last.start + DAY_S - HOUR_S))
        return Part(Contents(inbox, contents), count)

    async def _ask(
        self, read: _Read, app: str, slots: Sequence[Slot], seconds: int, bytes_max: int
    ) -> tuple[list[PackedInterval], int]:
        """The archived intervals of these slots, and how many of the slots were read.

        While the archive does not answer, slots that the store may hold are left to the store.

        Raises:
            HistoryUnavailable: the archive does not answer, and nothing else holds these slots.
        """
        if not slots:
            return [], 0
        is_needed = slots[0].start < self._oldest_s()
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at_s and not is_needed:
            return [], len(slots)
        try:
            rows = await read(app, slots[0].start, slots[-1].start + seconds, bytes_max)
        except ArchiveError as error:
            self._retry_at_s = loop.time() + RETRY_AFTER_S
            if is_needed:
                raise _unavailable(error, self._hours.retention_s // DAY_S) from error
            log.warning("archive: answering from the store alone: %s", error)
            return [], len(slots)
        if sum(len(row.rollup) + len(row.by_hour) for row in rows) < bytes_max:
            return rows, len(slots)
        return rows, sum(slot.start <= rows[-1].start_s for slot in slots)

    def _hours_of(self, rows: Iterable[PackedInterval]) -> dict[Slot, list[bytes]]:
        return self._slots_of((row.start_s, row.rollup) for row in rows)

    def _slots_of(self, hours: Iterable[tuple[int, bytes]]) -> dict[Slot, list[bytes]]:
        return {Slot(self._hours.name, start_s): [_HEADER + data] for start_s, data in hours}

    def _oldest_s(self) -> float:
        """The time before which the store holds no hours."""
        return self._clock() - self._hours.retention_s

    def _settled_s(self) -> float:
        return self._clock() - self._settled_after_s


def _in_order(contents: dict[Slot, list[bytes]], last: Slot) -> dict[Slot, list[bytes]]:
    """The contents up to this slot, by time."""
    slots = sorted(contents, key=lambda slot: slot.start)
    return {slot: contents[slot] for slot in slots if slot.start <= last.start}


def _unavailable(error: ArchiveError, days: int) -> HistoryUnavailable:
    return HistoryUnavailable(
        f"The archive of what is older than {days} days does not answer. {error}",
        f"Ask for a start in the last {days} days, or try again later.",
    )
