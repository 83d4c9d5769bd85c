"""Calls of a store for one app or slot, as most tests need them."""

from __future__ import annotations

from collections.abc import Sequence

from app.storage.interface.elements import Slot
from app.storage.interface.folding import Compaction, Fold, SlotWrite
from app.storage.interface.store import Store


async def read_inbox(store: Store, app: str, count: int) -> list[bytes]:
    """The oldest elements of an inbox."""
    return (await store.read_inboxes([app], count, 2**30)).get(app, [])


async def fold(
    store: Store, app: str, elements: Sequence[bytes], writes: Sequence[SlotWrite]
) -> dict[Slot, int] | None:
    """Fold one app; returns the lengths of its slots, or None if the inbox has changed."""
    return (await store.fold_all({app: Fold(elements, writes)}))[app]


async def compact(
    store: Store, app: str, slot: Slot, elements: Sequence[bytes], replacement: bytes, ttl_ms: int
) -> bool:
    """Compact one slot; returns whether its oldest elements were the expected ones."""
    return (await store.compact_all([Compaction(app, slot, elements, replacement, ttl_ms)]))[0]
