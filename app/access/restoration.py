"""Ends the loss of a store's data: its access is written back from copies, or given up."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from app.access.access_copy import missing_from, write_back
from app.access.access_file import StoredAccess
from app.access.access_notes import LOSS, StoreLoss, encode_loss, loss_in
from app.access.cached_copy import MAX_STALENESS_S
from app.access.custom_switch import switch_on_again
from app.storage.interface.access import AccessStore

RESTORE_S = 2 * MAX_STALENESS_S  # every worker reads that it is to write back, and does


class Restoration(NamedTuple):
    """The numbers of records that were written back."""

    drains: int
    tokens: int


async def restore(
    store: AccessStore, copy: StoredAccess, *, wait_s: float = RESTORE_S
) -> Restoration | None:
    """Write back the missing records, from this copy and those of all running workers.

    Args:
        copy: of this machine.
        wait_s: how long workers get for theirs.
    Returns:
        None if the store has not lost its data.
    Raises:
        StoreUnavailable: run it again later.
    """
    before = await store.access_tables()
    if not await _change_state(store, "restoring"):
        return None
    await write_back(store, *missing_from(before, copy))
    await switch_on_again(store, copy.custom)
    await asyncio.sleep(wait_s)
    after = await store.access_tables()
    await _change_state(store, "restored")
    return Restoration(
        len(after.drains) - len(before.drains), len(after.tokens) - len(before.tokens)
    )


async def discard(store: AccessStore) -> StoreLoss | None:
    """Give up the missing records: workers replace their copies by the tables of the store.

    Returns:
        The loss that was given up; None if the store has not lost its data.
    """
    return await _change_state(store, "discarded")


async def _change_state(store: AccessStore, state: str) -> StoreLoss | None:
    """Change the state of the active loss; returns it as it was, None if there is none."""
    while True:
        note = (await store.access_tables()).notes.get(LOSS, "")
        loss = loss_in({LOSS: note}) if note else None
        if loss is None or not loss.is_active:
            return None
        new_note = encode_loss(msgspec.structs.replace(loss, state=state))
        if await store.compare_and_set_note(LOSS, note, new_note):
            return loss
