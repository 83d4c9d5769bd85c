"""The part of the store's contract that alerts need: a lease, tables of records, and histories.

All results of one evaluation are written in one atomic step that proves that the writer still holds
the lease. If several workers believe they hold it, only one of them can write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol


class AlertTable(Enum):
    """A table of records by field; the value is its name in the store."""

    RULES = "rules"  # by rule name; never expires
    CHANNELS = "channels"  # by channel name, with the channel's secrets; never expires
    MUTES = "mutes"  # by app
    STATES = "states"  # by app
    OUTBOX = "outbox"  # notifications to deliver, by message and channel
    HEALTH = "health"  # the last deliveries, by channel
    VERDICTS = "verdicts"  # by app
    PASTS = "pasts"  # the last days of an app in short, by app


PERMANENT_TABLES = frozenset({AlertTable.RULES, AlertTable.CHANNELS})
TABLES_OF_APPS = frozenset(
    {AlertTable.MUTES, AlertTable.STATES, AlertTable.VERDICTS, AlertTable.PASTS}
)
TABLE_TTL_MS = 31 * 24 * 3600 * 1000  # of the other tables, after their last write
HISTORY_TTL_MS = 90 * 24 * 3600 * 1000
HISTORY_LENGTH_MAX = 200  # entries of one app
EPISODES_TTL_MS = HISTORY_TTL_MS
EPISODES_LENGTH_MAX = 500  # of one app


class AlertChange(NamedTuple):
    """A record to write; an empty value removes it."""

    table: AlertTable
    field: str
    value: bytes


NO_HISTORY: Mapping[str, Sequence[bytes]] = MappingProxyType({})
NO_EPISODES = NO_HISTORY


class AlertReader(Protocol):
    """Read access to rules, channels, states, histories and episodes.

    Every method may raise StoreUnavailable.
    """

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        """The records of each of these tables by field, all read at one instant."""
        ...

    async def alert_history(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """The last `count` entries of each app's history, newest first.

        Apps without a history are left out.
        """
        ...

    async def episodes(self, apps: Sequence[str], count: int) -> dict[str, list[bytes]]:
        """The last `count` episodes of each app, newest first: findings that are over.

        Apps without one are left out.
        """
        ...


class AlertStore(AlertReader, Protocol):
    """Read and write access for the worker that evaluates alerts and for administration.

    Every method may raise StoreUnavailable.
    """

    async def acquire_alert_lease(self, token: str, ttl_ms: int) -> bool:
        """Acquire or extend the lease for `ttl_ms` from now; False if another token holds it."""
        ...

    async def release_alert_lease(self, token: str) -> None:
        """Release the lease if this token holds it, so that another worker need not wait."""
        ...

    async def change_alerts(
        self,
        changes: Sequence[AlertChange],
        *,
        history: Mapping[str, Sequence[bytes]] = NO_HISTORY,
        episodes: Mapping[str, Sequence[bytes]] = NO_EPISODES,
        lease: str = "",
    ) -> bool:
        """Write records and append to histories and episodes, in one atomic step.

        Args:
            history: new entries by app, oldest first.
            episodes: new ones by app, oldest first.
            lease: the token that must hold the lease; "" to write without one.
        Returns:
            False if the lease is not held: then nothing was changed.
        """
        ...
