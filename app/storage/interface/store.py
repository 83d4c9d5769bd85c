"""All roles of a store together, for the code that wires the others."""

from __future__ import annotations

from typing import Protocol

from app.storage.interface.access import AccessStore, DrainReader
from app.storage.interface.alerts import AlertReader, AlertStore
from app.storage.interface.apps import AppFinder, AppReader, AppRegistry, AppRemover
from app.storage.interface.batches import BatchStore
from app.storage.interface.folding import BacklogReader, ChangedHours, FoldStore, SlotRemover
from app.storage.interface.identity import IdentifiedStore
from app.storage.interface.rollups import RollupReader
from app.storage.interface.server import ServerStatus
from app.storage.interface.status import StatusReader, StatusStore


class StoreReader(RollupReader, AppReader, DrainReader, StatusReader, AlertReader, Protocol):
    """The roles of a store that pages and queries need."""


class Reader(StoreReader, AppFinder, Protocol):
    """What a page or a query may read; restricted to the visible apps by app.access."""


class Store(
    BatchStore,
    BacklogReader,
    FoldStore,
    ChangedHours,
    SlotRemover,
    RollupReader,
    AppRegistry,
    AppRemover,
    AccessStore,
    StatusStore,
    AlertStore,
    IdentifiedStore,
    ServerStatus,
    Protocol,
):
    """Full access: what an adapter implements and a process opens."""

    async def close(self) -> None:
        """Close all connections."""
        ...
