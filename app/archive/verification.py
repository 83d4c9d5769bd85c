"""Compares the archive with the store, over what both hold, and with itself.

hours    the packed rollup equals the merge of the store's slot, byte for byte
details  the columns in the clear are those of the packed rollups
days     a closed day equals the merge of its archived hours
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from psycopg import sql
from psycopg.types.json import Jsonb

from app.archive.archiver import CLOSED_AFTER_S
from app.archive.database import Connection, Database
from app.archive.interval_rollups import PackedInterval, details_of, pack_day, pack_hour
from app.archive.tables import DAYS, HOURS, SCHEMA, ArchiveTable, TableGroup
from app.archive.times import from_utc, to_utc
from app.rollup.codec import PackError
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution, align, align_up
from app.rollup.rollup import CardinalityLimits
from app.storage.interface.apps import AppReader
from app.storage.interface.elements import Slot
from app.storage.interface.folding import ChangedHours, FoldStore
from app.support.aio import run_in_steps

WRITTEN_AFTER_S = 300  # a closed hour is written by then


class VerificationStore(FoldStore, ChangedHours, AppReader, Protocol):
    """The roles of the store that a comparison needs."""


class Mismatch(NamedTuple):
    """An interval that is not the same in both; the problem is a few words."""

    app: str
    start_s: int
    problem: str


class CheckedDay(NamedTuple):
    """The comparison of one app's day: how many hours were equal, and what was not."""

    app: str
    start_s: int
    equal_hours: int
    waiting_hours: int  # changed lately, to be written again
    differences: list[Mismatch]


class Verification:
    """A comparison of the archive with a store."""

    def __init__(
        self,
        store: VerificationStore,
        database: Database,
        *,
        hours: Resolution,
        limits: CardinalityLimits,
        clock: Callable[[], float],
    ) -> None:
        """The arguments are those of the Archiver."""
        self._store = store
        self._database = database
        self._hours = hours
        self._limits = limits
        self._clock = clock

    async def compare(self) -> AsyncIterator[CheckedDay]:
        """Compare app by app and day by day.

        Raises:
            StoreUnavailable, ArchiveUnavailable, ArchiveError
        """
        now_s = int(self._clock())
        first_s = align_up(now_s - self._hours.retention_s, HOUR_S)
        closed_s = align(now_s - CLOSED_AFTER_S - WRITTEN_AFTER_S, HOUR_S)
        for seen_app in await self._store.seen_apps():
            for day_s in range(align(first_s, DAY_S), closed_s, DAY_S):
                start_s, end_s = max(day_s, first_s), min(day_s + DAY_S, closed_s)
                yield await self._compare_day(seen_app.app, start_s, end_s)

    async def _compare_day(self, app: str, start_s: int, end_s: int) -> CheckedDay:
        slots = [Slot(self._hours.name, at_s) for at_s in range(start_s, end_s, HOUR_S)]
        contents = await self._store.read_slots([(app, slot) for slot in slots])
        noted_starts = {change.start_s for change in await self._store.changed_hours([app])}
        day_s = align(start_s, DAY_S)
        async with self._database.transaction() as connection:
            archive_rows = await _packed(connection, HOURS, app, day_s)
            differences = await _compare_details(connection, HOURS, app, day_s, archive_rows)
            if end_s == day_s + DAY_S:
                differences += await _compare_merge(
                    connection, app, day_s, archive_rows, noted_starts, self._limits
                )
        equal_count = waiting_count = 0
        for slot, elements in zip(slots, contents, strict=True):
            if not elements:
                continue
            if slot.start in noted_starts and slot.start in archive_rows:
                waiting_count += 1
            elif problem := self._problem(app, slot.start, elements, archive_rows.get(slot.start)):
                differences.append(Mismatch(app, slot.start, problem))
            else:
                equal_count += 1
        return CheckedDay(app, day_s, equal_count, waiting_count, differences)

    def _problem(
        self, app: str, start_s: int, elements: list[bytes], archive_row: PackedInterval | None
    ) -> str:
        if archive_row is None:
            return "is missing in the archive"
        try:
            hour = pack_hour(app, start_s, elements, self._limits)
        except PackError as error:
            return f"cannot be read in the store ({error})"
        if hour == archive_row:
            return ""
        if hour.messages < archive_row.messages:
            return (
                f"has {archive_row.messages} messages in the archive, {hour.messages} in the store"
            )
        return "differs"


async def _packed(
    connection: Connection, group: TableGroup, app: str, day_s: int
) -> dict[int, PackedInterval]:
    """The packed rows of an app's day, by their start."""
    by_hour = "by_hour" if "by_hour" in group.rollup_table.types else "''::bytea"
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        sql.SQL(
            "SELECT t, messages, rollup, {by_hour} FROM {table} "
            "WHERE app = %s AND t >= %s AND t < %s"
        ).format(by_hour=sql.SQL(by_hour), table=sql.Identifier(SCHEMA, group.rollup_table.name)),
        (app, to_utc(day_s), to_utc(day_s + DAY_S)),
    )
    return {
        from_utc(at): PackedInterval(app, from_utc(at), messages, rollup, parts)
        for at, messages, rollup, parts in await cursor.fetchall()
    }


async def _compare_merge(
    connection: Connection,
    app: str,
    day_s: int,
    hours: Mapping[int, PackedInterval],
    noted_starts: set[int],
    limits: CardinalityLimits,
) -> list[Mismatch]:
    """Compare a closed day with the merge of its hours, and its columns with itself."""
    days = await _packed(connection, DAYS, app, day_s)
    differences = await _compare_details(connection, DAYS, app, day_s, days)
    if not hours or noted_starts & set(range(day_s, day_s + DAY_S, HOUR_S)):
        return differences
    packed_hours = sorted((at_s, hour.rollup) for at_s, hour in hours.items())
    merged_day = await run_in_steps(pack_day(app, day_s, packed_hours, limits))
    if day_s not in days:
        differences.append(Mismatch(app, day_s, "is missing as a day"))
    elif days[day_s] != merged_day:
        differences.append(Mismatch(app, day_s, "is not the sum of its hours"))
    return differences


async def _compare_details(
    connection: Connection,
    group: TableGroup,
    app: str,
    day_s: int,
    packed_rows: Mapping[int, PackedInterval],
) -> list[Mismatch]:
    """Compare the columns in the clear with the packed rollups that they come from."""
    computed_rows: list[dict[Any, Any]] = [{} for _ in group.detail_tables]
    for at_s, interval in packed_rows.items():
        for rows, table, details in zip(
            computed_rows, group.detail_tables, details_of(interval), strict=True
        ):
            rows.update(_keyed(table, [(app, to_utc(at_s), *row) for row in details]))
    differences = []
    for rows, table in zip(computed_rows, group.detail_tables, strict=True):
        cursor = await connection.execute(
            sql.SQL("SELECT {columns} FROM {table} WHERE app = %s AND t >= %s AND t < %s").format(
                columns=sql.SQL(", ").join(map(sql.Identifier, table.types)),
                table=sql.Identifier(SCHEMA, table.name),
            ),
            (app, to_utc(day_s), to_utc(day_s + DAY_S)),
        )
        stored_rows = _keyed(table, await cursor.fetchall())
        for key in rows.keys() | stored_rows.keys():
            values = stored_rows.get(key)
            if key not in rows and values is not None and not any(values):
                continue  # a row that was reset
            if rows.get(key) != values:
                differences.append(Mismatch(app, key[1], f"differs in {table.name}"))
    return list(dict.fromkeys(differences))


def _keyed(table: ArchiveTable, rows: list[Any]) -> dict[Any, Any]:
    """Rows as values by key, both in a form that compares."""
    width = len(table.key)
    return {
        tuple(_plain(column) for column in row[:width]): [*map(_plain, row[width:])] for row in rows
    }


def _plain(column: Any) -> Any:
    if isinstance(column, Jsonb):
        column = column.obj
    if isinstance(column, dict):
        return tuple(sorted(column.items()))
    return from_utc(column) if hasattr(column, "timestamp") else column
