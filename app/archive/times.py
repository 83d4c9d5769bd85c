"""Unix seconds and PostgreSQL's timestamps."""

from __future__ import annotations

from datetime import UTC, datetime


def to_utc(at_s: float) -> datetime:
    """A time in Unix seconds as PostgreSQL takes it."""
    return datetime.fromtimestamp(at_s, UTC)


def from_utc(at: datetime) -> int:
    """A timestamp of PostgreSQL in Unix seconds."""
    return int(at.timestamp())
