"""How far each store is archived, and the partitions of the tables."""

from __future__ import annotations

from typing import NamedTuple

from app.archive.database import Connection
from app.archive.times import from_utc, to_utc
from app.rollup.resolutions import DAY_S, HOUR_S

_DROPPED_MAX = 12  # partitions in one transaction
AHEAD_S = 14 * DAY_S  # partitions are made that far ahead


class Progress(NamedTuple):
    """How far a store is archived, in Unix seconds.

    Attributes:
        archived_until_s: all closed hours before were written.
        final_until_s: all hours before were read again when no line could come for them.
    """

    archived_until_s: int
    final_until_s: int


async def read_progress(connection: Connection, store_id: str, oldest_s: int) -> Progress:
    """The progress of a store whose oldest hour begins at `oldest_s`, which is where it starts.

    Raises:
        psycopg.Error
    """
    cursor = await connection.execute(
        "SELECT archived_until, final_until FROM dynometer.progress WHERE store_id = %s",
        (store_id,),
    )
    row = await cursor.fetchone()
    until_s, final_s = map(from_utc, row) if row else (oldest_s, oldest_s)
    return Progress(max(until_s, oldest_s), max(final_s, oldest_s))


async def note_archived(
    connection: Connection, store_id: str, start_s: int, *, is_final: bool
) -> None:
    """Note that every hour of this store up to the one that starts at `start_s` is archived.

    `is_final`: whether no line can come for this hour any more.

    Raises:
        psycopg.Error
    """
    await connection.execute(
        """
        INSERT INTO dynometer.progress AS old (store_id, archived_until, final_until)
        VALUES (%(store)s, %(end)s, %(final)s)
        ON CONFLICT (store_id) DO UPDATE SET
            archived_until = greatest(old.archived_until, EXCLUDED.archived_until),
            final_until = CASE
                WHEN old.final_until >= %(start)s
                THEN greatest(old.final_until, EXCLUDED.final_until)
                ELSE old.final_until
            END,
            written_at = now()
        """,
        {
            "store": store_id,
            "start": to_utc(start_s),
            "end": to_utc(start_s + HOUR_S),
            "final": to_utc(start_s + HOUR_S if is_final else start_s),
        },
    )


async def note_final(connection: Connection, store_id: str, until_s: int) -> None:
    """Note that every hour of this store before `until_s` was read a second time.

    Raises:
        psycopg.Error
    """
    await connection.execute(
        "UPDATE dynometer.progress SET final_until = greatest(final_until, %s) WHERE store_id = %s",
        (to_utc(until_s), store_id),
    )


async def make_partitions(connection: Connection, since_s: float, until_s: float) -> None:
    """Make the missing partitions of a range.

    Raises:
        psycopg.Error
    """
    await connection.execute(
        "SELECT dynometer.make_partitions(%s, %s)", (to_utc(since_s), to_utc(until_s))
    )


async def drop_partitions(connection: Connection, period: str, before_s: float) -> list[str]:
    """Drop some partitions of this period ("week" or "year") that end before a time.

    Returns:
        Their names; none once all are dropped.
    Raises:
        psycopg.Error
    """
    cursor = await connection.execute(
        "SELECT dynometer.drop_partitions(%s, %s, %s)", (period, to_utc(before_s), _DROPPED_MAX)
    )
    return [name for (name,) in await cursor.fetchall()]
