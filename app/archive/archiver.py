"""Decides which hours to archive, reads them from the store, and has them written."""

# Theory of operation
#
# An hour is written once it is closed: CLOSED_AFTER_S after its end, when nearly all of its lines
# are folded. All apps of an hour, and the days that end with it, are one transaction, and so is the
# note of how far this store is archived. After an outage the archiver continues there, as far back
# as the store still holds hours.
#
# Lines that come later change hours that are archived already. Each fold notes in its atomic step
# which hours it changed, with a mark of its own. The notes are read before the hours: a fold after
# that leaves another mark, which is not forgotten with the note that was read.
#
# Workers of versions that know no archive leave no notes. So each hour is read once more when no
# line of it is accepted any longer. If it is unchanged, nothing is written.

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol

from app.archive import interval_writer
from app.archive.database import Connection, Database
from app.archive.episode_rows import episode_rows
from app.archive.interval_rollups import PackedInterval, pack_hour
from app.archive.interval_writer import IntervalKey
from app.archive.migrations import describe_metrics
from app.archive.progress import (
    AHEAD_S,
    Progress,
    drop_partitions,
    make_partitions,
    note_archived,
    note_final,
    read_progress,
)
from app.archive.times import from_utc, to_utc
from app.rollup.codec import PackError
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution, align, align_up
from app.rollup.rollup import CardinalityLimits
from app.storage.interface.alerts import AlertReader
from app.storage.interface.apps import AppReader
from app.storage.interface.elements import Slot
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.folding import ChangedHours, FoldStore, HourChange
from app.storage.interface.identity import IdentifiedStore

log = logging.getLogger(__name__)

CLOSED_AFTER_S = 600  # the inbox of a quiet app is folded after 5 minutes
FOLDED_AFTER_S = 2 * HOUR_S  # lines that wait on a disk come later than the horizon says
WRITE_TIMEOUT_S = 60
HOURS_PER_ROUND = 24
SLOTS_PER_READ = 64
EPISODES_MAX = 500  # as many as the store holds of an app
YIELD_APPS = 4  # other tasks may run after packing the hours of so many apps


class ArchiverStore(FoldStore, ChangedHours, AppReader, IdentifiedStore, AlertReader, Protocol):
    """The roles of the store that the archiver needs."""


class Retention(NamedTuple):
    """How long the archive keeps hours and days, in seconds; 0 for ever."""

    hours_s: int
    days_s: int


class Backlog(NamedTuple):
    """The work that is left: closed hours never written, and changes of hours that were."""

    hours: int
    changes: int


class Archiver:
    """Brings the archive up to date with a store. Every call may be repeated at any time.

    Every method may raise StoreUnavailable, ArchiveUnavailable and ArchiveError.
    """

    def __init__(
        self,
        store: ArchiverStore,
        database: Database,
        *,
        hours: Resolution,
        horizon_s: int,
        retention: Retention,
        limits: CardinalityLimits,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            hours: the store's resolution of hours.
            horizon_s: how old a line may be that is still counted.
            retention: of the archive.
            limits: on the names in an hour, as compaction applies them.
            clock: returns Unix time in seconds.
        """
        self._store = store
        self._database = database
        self._hours = hours
        self._final_after_s = horizon_s + FOLDED_AFTER_S
        self._retention = retention
        self._limits = limits
        self._clock = clock
        self._episodes_since_s = 0.0
        self.written_rows = 0

    async def advance(self) -> bool:
        """Archive the next closed hours and the noted changes, and look again at old hours.

        Returns:
            Whether there is more to do now.
        """
        now_s = self._clock()
        progress = await self.progress()
        closed_s = self.closed_until_s(now_s)
        first_s = progress.archived_until_s
        until_s = max(first_s, min(closed_s, first_s + HOURS_PER_ROUND * HOUR_S))
        changes = await self._changes_by_hour()
        for start_s in range(first_s, until_s, HOUR_S):
            # An empty hour needs no transaction, unless it is the last of its day or of this round.
            end_s = start_s + HOUR_S
            if end_s % DAY_S == 0 or end_s == until_s or await self._has_data(start_s):
                await self._archive(start_s, changes.pop(start_s, ()), advances=True)
        for start_s in sorted(changes):
            if start_s < until_s:
                apps = [change.app for change in changes[start_s]]
                await self._archive(start_s, changes[start_s], apps)
        await self._look_again(progress, now_s)
        if first_s < until_s == closed_s:
            await self.maintain()
        return until_s < closed_s

    async def backfill(self) -> AsyncIterator[tuple[int, int]]:
        """Write all closed hours that the store holds, again or for the first time.

        Yields:
            The start of each hour in Unix seconds, and the number of rows that changed.
        """
        now_s = self._clock()
        progress = await self.progress()
        changes = await self._changes_by_hour()
        for start_s in range(self.oldest_s(now_s), self.closed_until_s(now_s), HOUR_S):
            is_next = start_s >= progress.archived_until_s
            if is_next or await self._has_data(start_s):
                notes = changes.get(start_s, ())
                yield start_s, await self._archive(start_s, notes, advances=is_next)
        await self.maintain()

    async def maintain(self) -> None:
        """Make partitions ahead, drop expired ones, and write the episodes that have ended."""
        now_s = self._clock()
        episodes = await self._store.episodes(await self._apps(), EPISODES_MAX)
        rows = episode_rows(episodes, self._episodes_since_s)
        async with self._database.transaction(WRITE_TIMEOUT_S) as connection:
            await describe_metrics(connection)
            first_s = min([now_s, *(from_utc(row[1]) for row in rows)])
            await make_partitions(connection, first_s, now_s + AHEAD_S)
            await interval_writer.write_episodes(connection, rows)
        self._episodes_since_s = now_s - DAY_S
        for period, retention_s in zip(("week", "year"), self._retention, strict=True):
            names = ["-"] if retention_s else []
            while names:
                async with self._database.transaction(WRITE_TIMEOUT_S) as connection:
                    names = await drop_partitions(connection, period, now_s - retention_s)
                for name in names:
                    log.info("archive: dropped the partition %s, whose retention is over", name)

    async def progress(self) -> Progress:
        """How far this store is archived. A new one begins with the oldest hour that it holds."""
        identity = await self._store.identity()
        async with self._database.transaction() as connection:
            return await read_progress(connection, identity.id, self.oldest_s(self._clock()))

    async def backlog(self) -> Backlog:
        """How much is still to do."""
        until_s = (await self.progress()).archived_until_s
        hours = (self.closed_until_s(self._clock()) - until_s) // HOUR_S
        changes = await self._changes_by_hour()
        return Backlog(max(hours, 0), sum(len(changes[at_s]) for at_s in changes if at_s < until_s))

    def closed_until_s(self, now_s: float) -> int:
        """The end of the last closed hour."""
        return align(int(now_s) - CLOSED_AFTER_S, HOUR_S)

    def oldest_s(self, now_s: float) -> int:
        """The first hour that the store still holds as a whole."""
        return align_up(int(now_s) - self._hours.retention_s, HOUR_S)

    async def _look_again(self, progress: Progress, now_s: float) -> None:
        """Read the hours again for which no line can come any more."""
        due_s = min(self._final_until_s(now_s), progress.archived_until_s)
        first_s = progress.final_until_s
        last_s = min(due_s, first_s + HOURS_PER_ROUND * HOUR_S)
        if first_s >= last_s:
            return
        for start_s in range(first_s, last_s, HOUR_S):
            if await self._has_data(start_s):
                await self._archive(start_s)
        identity = await self._store.identity()
        async with self._database.transaction() as connection:
            await note_final(connection, identity.id, last_s)

    def _final_until_s(self, now_s: float) -> int:
        return align(int(now_s) - self._final_after_s, HOUR_S)

    async def _changes_by_hour(self) -> dict[int, list[HourChange]]:
        """The noted changes by the start of their hour."""
        changes: dict[int, list[HourChange]] = {}
        for change in await self._store.changed_hours(await self._apps()):
            changes.setdefault(change.start_s, []).append(change)
        return changes

    async def _apps(self) -> list[str]:
        """All apps. While a shard is unavailable, no hour is complete.

        Raises:
            StoreUnavailable
        """
        apps = [seen_app.app for seen_app in await self._store.seen_apps()]
        if len(await self._store.reachable_apps(apps)) < len(apps):
            raise StoreUnavailable("A shard of the store is unavailable, so no hour is complete.")
        return apps

    # --- one hour -------------------------------------------------------------------------------

    async def _archive(
        self,
        start_s: int,
        changes: Sequence[HourChange] = (),
        apps: Sequence[str] | None = None,
        *,
        advances: bool = False,
    ) -> int:
        """Write one hour and the days that it ends or changes.

        Args:
            changes: the notes about this hour, which are forgotten once it is written. They were
                read before.
            apps: None for all.
            advances: whether to note that everything up to the end of this hour is archived.
        Returns:
            The number of rows of hours that changed.
        """
        identity = await self._store.identity()
        now_s = self._clock()
        changed_hours: list[IntervalKey] = []
        async with self._database.transaction(WRITE_TIMEOUT_S) as connection:
            await interval_writer.lock_writes(connection)
            names = await self._apps() if apps is None else apps
            hours, unreadable_apps = await self._read(start_s, names)
            if hours:
                await make_partitions(connection, start_s, start_s)
                changed_hours = await interval_writer.write_hours(
                    connection, identity.id, hours, now_s
                )
            if advances:
                days = await _days_ending(connection, start_s + HOUR_S)
                is_final = start_s + HOUR_S <= self._final_until_s(now_s)
                await note_archived(connection, identity.id, start_s, is_final=is_final)
            else:
                days = interval_writer.days_of(changed_hours, self.closed_until_s(now_s))
            await interval_writer.write_days(connection, identity.id, days, now_s, self._limits)
        await self._store.forget_changes(
            [change for change in changes if change.app not in unreadable_apps]
        )
        self.written_rows += len(changed_hours)
        await asyncio.sleep(0)
        return len(changed_hours)

    async def _has_data(self, start_s: int) -> bool:
        """Whether any app has something in this hour."""
        slot = Slot(self._hours.name, start_s)
        return any(await self._store.read_slots([(app, slot) for app in await self._apps()]))

    async def _read(
        self, start_s: int, apps: Sequence[str]
    ) -> tuple[list[PackedInterval], set[str]]:
        """The packed hour of each app that has one, and the apps whose hour cannot be read."""
        slot = Slot(self._hours.name, start_s)
        hours: list[PackedInterval] = []
        unreadable_apps: set[str] = set()
        for first in range(0, len(apps), SLOTS_PER_READ):
            names = apps[first : first + SLOTS_PER_READ]
            contents = await self._store.read_slots([(app, slot) for app in names])
            for index, (app, elements) in enumerate(zip(names, contents, strict=True)):
                if index % YIELD_APPS == 0:
                    await asyncio.sleep(0)
                if not elements:
                    continue
                try:
                    hours.append(pack_hour(app, start_s, elements, self._limits))
                except PackError as error:
                    unreadable_apps.add(app)
                    log.warning("archive: an hour of %s is left out for now: %s", app, error)
        return hours, unreadable_apps


async def _days_ending(connection: Connection, end_s: int) -> list[IntervalKey]:
    """The days that end at `end_s`: one for each app that has an archived hour in it."""
    if end_s % DAY_S:
        return []
    cursor = await connection.execute(
        "SELECT DISTINCT app FROM dynometer.hours WHERE t >= %s AND t < %s",
        (to_utc(end_s - DAY_S), to_utc(end_s)),
    )
    return sorted((app, end_s - DAY_S) for (app,) in await cursor.fetchall())
