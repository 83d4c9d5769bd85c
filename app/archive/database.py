"""Connections to PostgreSQL: a few that are kept, and transactions on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.archive.errors import ArchiveError, translate_errors
from app.archive.migrations import check_version

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_S = 5
QUERY_TIMEOUT_S = 30
CONNECTIONS_MAX = 4  # of one worker

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Database:
    """The archive's database. Connects on demand, and again after a failure."""

    def __init__(self, url: str, connections_max: int = CONNECTIONS_MAX) -> None:
        """
        Args:
            url: postgresql://USER:PASSWORD@HOST:PORT/NAME; libpq's parameters may follow.
            connections_max: transactions beyond this number wait for one another.
        Raises:
            ArchiveError: the URL cannot be read.
        """
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its text may quote a part of the password
            raise ArchiveError(
                "DYNOMETER_ARCHIVE_URL cannot be read. Write it as "
                "postgresql://USER:PASSWORD@HOST:5432/DATABASE, with / # ? @ : in a password "
                "written as %2F %23 %3F %40 %3A."
            ) from None
        self._url = url
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(connections_max)

    @asynccontextmanager
    async def transaction(self, timeout_s: float = QUERY_TIMEOUT_S) -> AsyncIterator[Connection]:
        """A transaction on a checked schema; it commits at the end, unless an error is raised.

        Raises:
            ArchiveUnavailable: PostgreSQL cannot be reached, or refused a command.
            ArchiveError: the schema is missing, older or newer than this version needs.
        """
        async with self._free:
            with translate_errors():
                connection = self._idle.pop() if self._idle else await self._connect()
                try:
                    async with connection.transaction():
                        await set_timeouts(connection, timeout_s)
                        yield connection
                except BaseException:
                    # Whatever state it is in, a new one is cheap.
                    await connection.close()
                    raise
                self._idle.append(connection)

    async def _connect(self) -> Connection:
        connection = await connect(self._url)
        try:
            await check_version(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            await self._idle.pop().close()


async def connect(url: str) -> Connection:
    """Open a connection. Neither the server's time zone nor a pooler in between matters.

    Raises:
        psycopg.Error
    """
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        prepare_threshold=None,  # a pooler such as PgBouncer gives each transaction another server
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="dynometer",
    )


async def set_timeouts(connection: Connection, timeout_s: float) -> None:
    """Bound how long each statement of the transaction may take, and wait for locks."""
    await connection.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
        (f"{timeout_s * 1000:.0f}", str(LOCK_TIMEOUT_S * 1000)),
    )
