"""Folding: inboxes are moved into slots, and slots are compacted. Eviction deletes slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.storage.interface.apps import AppReader
from app.storage.interface.elements import Slot


class SlotWrite(msgspec.Struct, frozen=True, gc=False):
    """An element to append to a slot, which then lives for at least `ttl_ms` from now."""

    slot: Slot
    element: bytes
    ttl_ms: int


class Fold(msgspec.Struct, frozen=True, gc=False):
    """The move of an inbox's oldest elements into slots.

    Attributes:
        elements: to remove from the head of the inbox, as they were read.
        writes: the rollups to append in their place. Several may name the same slot.
        changed_hours: the starts of hours to note as changed (ChangedHours), in Unix seconds.
    """

    elements: Sequence[bytes]
    writes: Sequence[SlotWrite]
    changed_hours: Sequence[int] = ()


class Compaction(NamedTuple):
    """The replacement of a slot's oldest elements by their merge.

    Attributes:
        elements: to replace, the oldest of the slot, as they were read.
        replacement: the element with their merge.
        ttl_ms: how long the slot then lives at least.
    """

    app: str
    slot: Slot
    elements: Sequence[bytes]
    replacement: bytes
    ttl_ms: int


class BacklogReader(AppReader, Protocol):
    """Reads how much waits to be folded."""

    async def inbox_lengths(self, apps: Sequence[str]) -> dict[str, int]:
        """The number of elements waiting to be folded, for each of these apps."""
        ...


class SlotRemover(Protocol):
    """Deletes slots."""

    async def delete_slots(self, app: str, slots: Sequence[Slot]) -> None:
        """Delete these slots of an app."""
        ...


class HourChange(NamedTuple):
    """An hour that a fold changed: its start in Unix seconds, and the mark of the last fold."""

    app: str
    start_s: int
    mark: bytes


class ChangedHours(Protocol):
    """The hours that folds changed. Whoever archives them takes the notes away."""

    async def changed_hours(self, apps: Sequence[str]) -> list[HourChange]:
        """The noted hours of these apps. A note expires with the longest slots of its fold."""
        ...

    async def forget_changes(self, changes: Sequence[HourChange]) -> None:
        """Remove these notes, except those of hours that another fold has changed since."""
        ...


class FoldStore(Protocol):
    """Folds inboxes and compacts slots."""

    async def read_inboxes(
        self, apps: Sequence[str], count: int, bytes_max: int
    ) -> dict[str, list[bytes]]:
        """The oldest elements of each inbox, in one round trip.

        At most `count` of an inbox, and no more once they have `bytes_max` bytes together.
        Apps with an empty inbox or on an unavailable shard are left out. If a shard is unavailable
        and no other has elements, StoreUnavailable is raised.
        """
        ...

    async def fold_all(self, folds: Mapping[str, Fold]) -> dict[str, dict[Slot, int] | None]:
        """Fold several apps in one round trip, each atomically and independently.

        Returns:
            For each app, the elements in each slot that was written. None if the inbox no longer
            starts with the elements of the fold: then nothing of the app was changed.
        """
        ...

    async def read_slots(self, slots: Sequence[tuple[str, Slot]]) -> list[list[bytes]]:
        """The elements of each (app, slot), oldest first, in one round trip."""
        ...

    async def compact_all(self, compactions: Sequence[Compaction]) -> list[bool]:
        """Compact several slots in one round trip, each atomically and independently.

        Returns:
            For each slot, whether it was compacted. False if it no longer starts with the elements
            of the compaction: then nothing of it was changed.
        """
        ...
