"""What alerts need of a store: who evaluates at present, tables of records, and what was.

All that one evaluation brings about is written in one atomic step that proves whoever writes still
holds the lease. So of several workers that think they are the one, one counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol


class AlertTable(Enum):
    """A table of records by field; the value is its name in the store."""

    RULES = "rules"  # by the rule's name; kept until removed
    CHANNELS = "channels"  # by the channel's name; with its secrets; kept until removed
    MUTES = "mutes"  # by app
    STATES = "states"  # by app
    OUTBOX = "outbox"  # what is to be delivered, by message and channel
    HEALTH = "health"  # how deliveries went, by channel


PERMANENT_TABLES = frozenset({AlertTable.RULES, AlertTable.CHANNELS})
TABLES_OF_APPS = frozenset({AlertTable.MUTES, AlertTable.STATES})
TABLE_TTL_MS = 31 * 24 * 3600 * 1000  # of the others, after their last write
HISTORY_TTL_MS = 90 * 24 * 3600 * 1000
HISTORY_LENGTH_MAX = 200  # of an app


class AlertChange(NamedTuple):
    """A record to write; b"" removes it."""

    table: AlertTable
    field: str
    value: bytes


NO_HISTORY: Mapping[str, Sequence[bytes]] = MappingProxyType({})


class AlertReader(Protocol):
    """All methods raise StoreUnavailable when the store is away or refuses."""

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        """The records of each of these tables, at one instant."""
        ...

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """The last `count` entries of each of these apps that has any, the newest first."""
        ...


class AlertStore(AlertReader, Protocol):
    """All methods raise StoreUnavailable when the store is away or refuses."""

    async def hold_alert_lease(self, token: str, ttl_ms: int) -> bool:
        """Take the lease, or keep it, for so long from now; False when another token holds it."""
        ...

    async def end_alert_lease(self, token: str) -> None:
        """Let another worker take it at once; nothing, if it is not held with this token."""
        ...

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        lease: str = "",
    ) -> bool:
        """Write these records, and entries of apps' histories (the newest last), in one atomic
        step. False when `lease` is given and no longer holds: then nothing was changed.
        """
        ...
