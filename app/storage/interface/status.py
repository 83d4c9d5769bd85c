"""Status records: facts about a process or a task that all processes share.

A record has a name, often a prefix for its kind and the name of a process, and text fields. It
expires unless it is written again, so that of a dead worker disappears. Heartbeats are one kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class StatusReader(Protocol):
    """Reads status records."""

    async def statuses(self) -> dict[str, dict[str, str]]:
        """The fields of each status record that has not expired, by its name."""
        ...


class StatusStore(StatusReader, Protocol):
    """Reads and writes status records."""

    async def write_status(self, name: str, fields: Mapping[str, str], *, ttl_ms: int) -> None:
        """Write a status record, replacing all fields of the last one of this name."""
        ...
