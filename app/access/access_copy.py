"""Each worker's copy of who may send and read. It outlives the store.

The copy serves while the store is unavailable, and is saved to disk for workers that start then. It
also serves after the store lost its data: FLUSHALL, a restart without persistence, a failover to an
empty replica. A worker recognizes that by the store's identity. If it is another one, and records
are missing that the worker knows, then nobody removed them:

    the copy stays as it is, in memory and on disk
    the store is marked as lost, for all workers, until the operator restores or discards (restore)
    drains and tokens of the copy are accepted, and no credentials are rejected for good

If the identity is the same, missing records were removed. If the operator chose another store that
has drains of its own, those replace the copy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.access.access_file import StoredAccess, has_copy, read_copy, write_copy
from app.access.access_notes import LOSS, StoreLoss, describe_loss, encode_loss, loss_in
from app.access.cached_copy import CachedCopy
from app.access.custom_switch import custom_apps, switch_on_again
from app.storage.interface.access import AccessStore, AccessTables
from app.storage.interface.errors import StoreUnavailable
from app.support.aio import write_in_thread

log = logging.getLogger(__name__)


class Access(NamedTuple):
    """Who may send and read.

    Attributes:
        store: the id of the store; "" before the first read.
        drains: drain records by app; after a loss with those of the copy.
        tokens: records of read tokens by id, likewise.
        notes: of the store.
        loss: the active loss of the store.
        custom: the apps for which custom metrics are on; after a loss with those of the copy.
    """

    store: str = ""
    drains: Mapping[str, str] = {}
    tokens: Mapping[str, bytes] = {}
    notes: Mapping[str, str] = {}
    loss: StoreLoss | None = None
    custom: frozenset[str] = frozenset()

    def refuse_to_reject(self) -> None:
        """Call it instead of rejecting credentials that are not in a current copy.

        Raises:
            StoreUnavailable: the store lost its data, so they may be valid.
        """
        if self.loss is not None:
            raise StoreUnavailable(describe_loss(self.loss))


class AccessCopy:
    """The copy of this worker."""

    def __init__(
        self,
        store: AccessStore,
        clock: Callable[[], float],
        directory: Path | None = None,
        *,
        address: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            store: keeps the tables.
            clock: returns Unix seconds.
            directory: for the copy on disk; None to keep none.
            address: identifies the place of the store, without credentials.
            monotonic: returns seconds, which never go backwards.
        """
        self._store = store
        self._clock = clock
        self._directory = directory
        self._address = address
        self._stored = read_copy(directory) if directory is not None else StoredAccess()
        initial = Access(
            drains=self._stored.drains, tokens=self._stored.tokens, custom=self._stored.custom
        )
        self._copy = CachedCopy(self._read, initial, self._save, monotonic=monotonic)
        self.fresh = self._copy.fresh
        self.latest = self._copy.latest
        self.close = self._copy.close

    @property
    def data(self) -> Access:
        """The copy, as old as it may be."""
        return self._copy.data

    def reads_marks(self, app: str) -> bool:
        """Whether custom metrics are on for an app, as far as the copy knows."""
        return app in self.data.custom

    def preload(self, drains: Mapping[str, str]) -> None:
        """Use these records of drains until the store has been read, unless there is a copy."""
        if not self.data.drains:
            self._stored = msgspec.structs.replace(self._stored, drains=drains)
            self._copy.data = self.data._replace(drains=drains)

    async def refresh(self) -> None:
        """Refresh the copy if it is old, and write it to disk again if it was deleted there.

        It is called periodically, so that workers without requests have a copy in an outage too.
        """
        access = await self._copy.fresh()
        if self._directory is not None and not has_copy(self._directory):
            await self._save(access)

    def notice(self) -> str:
        """A sentence about the loss of the store's data, with the fix; "" if there is none."""
        return describe_loss(self.data.loss) if self.data.loss is not None else ""

    async def mark_lost(self, tables: AccessTables | Access, drains: int, tokens: int) -> None:
        """Mark the store as lost, for all workers, unless it is.

        `drains`, `tokens`: the number of missing records.
        """
        if LOSS not in tables.notes:
            loss = StoreLoss(int(self._clock()), drains, tokens)
            if await self._store.compare_and_set_note(LOSS, "", encode_loss(loss)):
                log.error("%s", describe_loss(loss))

    async def _read(self) -> Access:
        tables = await self._store.access_tables()
        if self._stored.store != tables.identity.id:
            await self._add_copy_on_disk()
        loss, custom = loss_in(tables.notes), custom_apps(tables.notes)
        is_over = loss is not None and not loss.is_active
        if is_over or self._has_its_data(tables):
            self._stored = StoredAccess(
                tables.identity.id, self._address, tables.drains, tables.tokens, custom
            )
        else:
            missing_drains, missing_tokens = missing_from(tables, self._stored)
            if loss is not None and loss.state == "restoring":
                await write_back(self._store, missing_drains, missing_tokens)
                await switch_on_again(self._store, self._stored.custom)
            await self.mark_lost(tables, len(missing_drains), len(missing_tokens))
            loss = loss or StoreLoss(int(self._clock()), len(missing_drains), len(missing_tokens))
        return Access(
            tables.identity.id,
            {**self._stored.drains, **tables.drains},
            {**self._stored.tokens, **tables.tokens},
            tables.notes,
            None if is_over else loss,
            self._stored.custom | custom,
        )

    async def _add_copy_on_disk(self) -> None:
        """Add what other workers of this machine knew of the last store."""
        if self._directory is not None:
            copy = await asyncio.to_thread(read_copy, self._directory)
            if copy.store == self._stored.store:
                self._stored = msgspec.structs.replace(
                    copy,
                    drains={**self._stored.drains, **copy.drains},
                    tokens={**self._stored.tokens, **copy.tokens},
                    custom=self._stored.custom | copy.custom,
                )

    def _has_its_data(self, tables: AccessTables) -> bool:
        """Whether records that the store does not have were removed."""
        stored = self._stored
        if stored.store == tables.identity.id or not any(missing_from(tables, stored)):
            return True
        if LOSS in tables.notes:  # drains that came since do not replace the copy
            return False
        if not stored.store:  # a copy of an earlier version, or of Kafka
            return bool(tables.drains)
        return stored.address != self._address and bool(tables.drains)

    async def _save(self, access: Access) -> None:
        is_complete = access.loss is None and self._stored.store == access.store
        if self._directory is not None and is_complete and access.store:
            await write_in_thread(write_copy, self._directory, self._stored)


def missing_from(
    tables: AccessTables, stored: StoredAccess
) -> tuple[Mapping[str, str], Mapping[str, bytes]]:
    """The drains and the tokens of a copy that a store lacks."""
    return (
        {app: record for app, record in stored.drains.items() if app not in tables.drains},
        {key: record for key, record in stored.tokens.items() if key not in tables.tokens},
    )


async def write_back(
    store: AccessStore, drains: Mapping[str, str], tokens: Mapping[str, bytes]
) -> None:
    """Write records of a copy to a store that lacks them. Newer ones are not replaced."""
    for app, record in drains.items():
        await store.compare_and_set_drain(app, "", record)
    for token_id, token in tokens.items():
        await store.put_token(token_id, token)
