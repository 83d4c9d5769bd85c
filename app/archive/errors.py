"""Errors of the archive, with the fix of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.support.errors import UserError

# By SQLSTATE (PostgreSQL, Appendix A), the most specific first: what happened, and the fix.
_SENTENCES = (
    ("28", "PostgreSQL refused the login ({}). Check user and password in DYNOMETER_ARCHIVE_URL."),
    ("3D000", "{}. Create it, or correct the name in DYNOMETER_ARCHIVE_URL."),
    ("42501", "The role of DYNOMETER_ARCHIVE_URL lacks a right ({}). As the owner of the schema, "
     "run 'dynometer archive init --writer ROLE --reader ROLE'."),
    ("25006", "The database is read-only. Connect to the primary, not to a standby."),
    ("3F000", "The archive has no schema. Run 'dynometer archive init'."),
    ("42P01", "The archive has no schema ({}). Run 'dynometer archive init'."),
    ("23514", "{}. Run 'dynometer archive init', which makes missing partitions. If a table of "
     "this name was detached, rename it."),
    ("53100", "The disk of the database is full ({}). Free space there."),
    ("53300", "{}. Raise max_connections, or lower WEB_CONCURRENCY."),
    ("55P03", "A lock in the database was not free in time ({}). It will be tried again."),
    ("57014", "The database took too long ({}). Check its load."),
)  # fmt: skip
_REFUSALS = (
    (r"too many (connections|clients)|connection slots", "53300"),
    (r'database ".*" does not exist', "3D000"),
    (r"authentication failed|pg_hba\.conf|role .* does not exist|not permitted to log in", "28"),
)
_OTHERWISE = "PostgreSQL does not answer, or refused a command ({}). Check it and its log."


class ArchiveError(UserError):
    """The archive could not carry out a request; the message contains the fix."""


class ArchiveUnavailable(ArchiveError):
    """PostgreSQL cannot be reached or refuses commands. A transaction in progress took no effect,
    or took all of it.
    """


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ArchiveUnavailable instead of errors of PostgreSQL and its client."""
    try:
        yield
    except psycopg.Error as error:
        raise ArchiveUnavailable(describe(error)) from error


def describe(error: psycopg.Error) -> str:
    """The problem and its fix. The server's primary message quotes no row."""
    message = error.diag.message_primary or _last_reason(str(error))
    code = error.sqlstate or _connection_state(message)
    for prefix, sentence in _SENTENCES:
        if code.startswith(prefix):
            is_first = sentence.startswith("{")
            return sentence.format(message[:1].upper() + message[1:] if is_first else message)
    return _OTHERWISE.format(message)


def _last_reason(text: str) -> str:
    """The reason why a connection failed: the last of those that were tried, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if "failed:" in line or "FATAL:" in line] or lines
    return reasons[-1].rpartition("FATAL:")[2].strip() if reasons else type(text).__name__


def _connection_state(message: str) -> str:
    """The SQLSTATE of a refused connection, which the client does not pass on."""
    for pattern, code in _REFUSALS:
        if re.search(pattern, message):
            return code
    return ""
