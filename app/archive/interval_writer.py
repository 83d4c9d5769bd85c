"""Writes packed hours and days, and their columns in the clear, in one transaction.

Rows are copied into temporary tables first. There they are compared with the archive: a row that
is equal, or that would lose something, is left out. What remains is inserted, or takes the place
of the earlier row of its key. Repeating a write therefore changes nothing.
"""

# Theory of operation
#
# Nothing may make the archive forget. The store that the rollups come from may: it can be emptied,
# restored from an old copy, or replaced. So each row carries the identity of its store and the
# number of its messages. A row takes the place of an earlier one only if it has more messages, or
# as many and comes from the same store. In one store messages only grow: then the later row holds
# all that the earlier one did.
#
# Columns in the clear follow the packed row: they are written only for rows that were accepted. A
# later state of an hour can lack a row that an earlier one had, because a name went into "other".
# Such rows are set to 0, not deleted, so sums stay right and no table needs a vacuum.
#
# A day is merged from the archived hours, not from the store, so it is guarded by their guard.
#
# Writers exclude each other by an advisory lock. They would be correct without: it spares them
# conflicts, and makes remove_app wait for a write that read the app before it was removed.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql

from app.archive.database import Connection
from app.archive.detail_rows import Row
from app.archive.interval_rollups import PackedInterval, details_of, events_of, pack_day
from app.archive.tables import DAYS, EPISODES, EVENTS, HOURS, SCHEMA, ArchiveTable, TableGroup
from app.archive.times import from_utc, to_utc
from app.rollup.codec import PackError
from app.rollup.resolutions import DAY_S, align
from app.rollup.rollup import CardinalityLimits
from app.support.aio import run_in_steps

log = logging.getLogger(__name__)

WRITE_LOCK = (1685679727, 1)  # remove_app takes the same one
_NUL = "\0"  # PostgreSQL's text cannot hold it
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

IntervalKey = tuple[str, int]  # (app, start in Unix seconds)


async def lock_writes(connection: Connection) -> None:
    """Wait until no other writer, and no removal of an app, is in progress.

    Call it before the rollups are read from the store.

    Raises:
        psycopg.Error
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", WRITE_LOCK)


async def write_hours(
    connection: Connection, store_id: str, hours: Sequence[PackedInterval], now_s: float
) -> list[IntervalKey]:
    """Write hours and their events; returns those that changed the archive.

    Raises:
        psycopg.Error
    """
    changed_keys = await _write(connection, HOURS, store_id, hours, now_s)
    changed_hours = [hour for hour in hours if (hour.app, hour.start_s) in changed_keys]
    await _upsert_rows(connection, EVENTS, _event_rows(changed_hours))
    await _record_apps(connection, changed_keys)
    return changed_keys


async def write_days(
    connection: Connection,
    store_id: str,
    days: Iterable[IntervalKey],
    now_s: float,
    limits: CardinalityLimits,
) -> list[IntervalKey]:
    """Merge these days from the archived hours, and write them; returns those that changed.

    `limits`: those of an hour. A day with an hour that cannot be read is left out.

    Raises:
        psycopg.Error
    """
    packed_days = []
    for app, start_s in days:
        cursor = connection.cursor(binary=True)
        await cursor.execute(
            "SELECT t, rollup FROM dynometer.hours "
            "WHERE app = %s AND t >= %s AND t < %s ORDER BY t",
            (app, to_utc(start_s), to_utc(start_s + DAY_S)),
        )
        hours = [(from_utc(at), rollup) for at, rollup in await cursor.fetchall()]
        if hours:
            try:
                packed_days.append(await run_in_steps(pack_day(app, start_s, hours, limits)))
            except PackError as error:
                log.warning("archive: a day of %s is left out: %s", app, error)
            await asyncio.sleep(0)
    return await _write(connection, DAYS, store_id, packed_days, now_s)


async def write_episodes(connection: Connection, rows: Sequence[Row]) -> None:
    """Write episodes of verdicts, as rows of EPISODES.

    Raises:
        psycopg.Error
    """
    await _upsert_rows(connection, EPISODES, rows)


def days_of(hours: Iterable[IntervalKey], until_s: int) -> list[IntervalKey]:
    """The days of these hours that end at `until_s` or earlier."""
    days = {(app, align(start_s, DAY_S)) for app, start_s in hours}
    return sorted(day for day in days if day[1] + DAY_S <= until_s)


# --- statements ---------------------------------------------------------------------------------


async def _write(
    connection: Connection,
    group: TableGroup,
    store_id: str,
    packed_rows: Sequence[PackedInterval],
    now_s: float,
) -> list[IntervalKey]:
    """Write the packed rows that are news to the archive, and their details; returns their keys."""
    if not packed_rows:
        return []
    written_at, store = to_utc(now_s), UUID(store_id)
    has_hours = "by_hour" in group.rollup_table.types
    rows = [
        (row.app, to_utc(row.start_s), row.messages, store, written_at, row.rollup)
        + ((row.by_hour,) if has_hours else ())
        for row in packed_rows
    ]
    await _stage(connection, group.rollup_table, rows)
    await connection.execute(_drop_known(group.rollup_table))
    cursor = await connection.execute(_select_staged(group.rollup_table))
    keys = [(app, from_utc(at)) for app, at in await cursor.fetchall()]
    if keys:
        await _write_details(connection, group, packed_rows, set(keys))
        await connection.execute(_upsert(group.rollup_table))
    return keys


async def _write_details(
    connection: Connection,
    group: TableGroup,
    packed_rows: Sequence[PackedInterval],
    keys: set[IntervalKey],
) -> None:
    rows_by_table: list[list[Row]] = [[] for _ in group.detail_tables]
    for interval in packed_rows:
        await asyncio.sleep(0)  # other tasks may run after each app
        if (interval.app, interval.start_s) in keys:
            key = (interval.app, to_utc(interval.start_s))
            for rows, details in zip(rows_by_table, details_of(interval), strict=True):
                rows.extend((*key, *row) for row in details)
    for table, rows in zip(group.detail_tables, rows_by_table, strict=True):
        await _stage(connection, table, rows)
        await connection.execute(_empty_vanished(group.rollup_table, table))
        await connection.execute(_upsert(table))


async def _upsert_rows(connection: Connection, table: ArchiveTable, rows: Sequence[Row]) -> None:
    if rows:
        await _stage(connection, table, rows)
        await connection.execute(_upsert(table))


async def _stage(connection: Connection, table: ArchiveTable, rows: Sequence[Row]) -> None:
    """Copy rows into a temporary table, which ends with the transaction."""
    names = _names(table)
    await connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {staged} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP"
        ).format(**names)
    )
    if not rows:
        return
    statement = sql.SQL("COPY {staged} ({columns}) FROM STDIN (FORMAT BINARY)").format(**names)
    async with connection.cursor().copy(statement) as copy:
        copy.set_types(list(table.types.values()))
        for row in rows:
            await copy.write_row(row)


def _names(table: ArchiveTable) -> dict[str, sql.Composable]:
    def listed(columns: Iterable[str]) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, columns))

    equal_columns = [
        sql.SQL("{} = {}").format(sql.Identifier("old", column), sql.Identifier("new", column))
        for column in table.key
    ]
    return {
        "table": sql.Identifier(SCHEMA, table.name),
        "staged": sql.Identifier(f"staged_{table.name}"),
        "columns": listed(table.types),
        "key": listed(table.key),
        "equal_keys": sql.SQL(" AND ").join(equal_columns),
    }


def _drop_known(table: ArchiveTable) -> sql.Composed:
    """Remove the staged rows that the archive has, or that must not take the place of its own."""
    return sql.SQL(
        """
        DELETE FROM {staged} AS new USING {table} AS old
        WHERE {equal_keys} AND (
            new.messages < old.messages
            OR (new.messages = old.messages
                AND (new.store_id <> old.store_id OR new.rollup = old.rollup))
        )
        """
    ).format(**_names(table))


def _select_staged(table: ArchiveTable) -> sql.Composed:
    return sql.SQL("SELECT {key} FROM {staged}").format(**_names(table))


def _upsert(table: ArchiveTable) -> sql.Composed:
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in table.values
    )
    return sql.SQL(
        """
        INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged} ORDER BY {key}
        ON CONFLICT ({key}) DO UPDATE SET {changes}
        """
    ).format(**_names(table), changes=changes)


def _empty_vanished(rollup_table: ArchiveTable, table: ArchiveTable) -> sql.Composed:
    """Reset the rows of staged intervals that their new state does not have."""
    resets = sql.SQL(", ").join(
        sql.SQL("{} = DEFAULT").format(sql.Identifier(column)) for column in table.values
    )
    return sql.SQL(
        """
        UPDATE {table} AS old SET {resets} FROM {packed} AS changed
        WHERE old.app = changed.app AND old.t = changed.t
          AND NOT EXISTS (SELECT FROM {staged} AS new WHERE {equal_keys})
        """
    ).format(**_names(table), packed=_names(rollup_table)["staged"], resets=resets)


# --- rows ---------------------------------------------------------------------------------------


def _event_rows(hours: Iterable[PackedInterval]) -> list[Row]:
    rows: list[Row] = []
    for hour in hours:
        start = to_utc(hour.start_s)
        for event, count in sorted(events_of(hour).items()):
            at = datetime.fromtimestamp(event.at_ms // 1000, UTC) + timedelta(
                milliseconds=event.at_ms % 1000
            )
            if start <= at < start + timedelta(hours=1):  # the count of omitted events has no time
                texts = (clean(text) for text in (event.kind, event.source, event.detail))
                rows.append((hour.app, at, *texts, count))
    return rows


def clean(text: str) -> str:
    """A text as PostgreSQL can hold it."""
    return text.replace(_NUL, _REPLACEMENT)


async def _record_apps(connection: Connection, hours: Sequence[IntervalKey]) -> None:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for app, start_s in hours:
        first[app] = min(first.get(app, start_s), start_s)
        last[app] = max(last.get(app, start_s), start_s)
    rows: list[tuple[Any, ...]] = [(app, to_utc(first[app]), to_utc(last[app])) for app in first]
    if rows:
        await connection.cursor().executemany(
            """
            INSERT INTO dynometer.apps AS old (app, first_at, last_at) VALUES (%s, %s, %s)
            ON CONFLICT (app) DO UPDATE SET
                first_at = least(old.first_at, EXCLUDED.first_at),
                last_at = greatest(old.last_at, EXCLUDED.last_at)
            """,
            rows,
        )
