"""Reading rollups: the slots and the inbox of an app at one instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from app.storage.interface.elements import Slot


class Contents(NamedTuple):
    """Elements of one app, read at one instant, oldest first.

    Attributes:
        inbox: of the inbox; empty if it was not asked for.
        slots: by slot. Empty slots are left out.
    """

    inbox: list[bytes]
    slots: dict[Slot, list[bytes]]


class RollupReader(Protocol):
    """Reads the rollups of apps: their slots and inboxes."""

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        """Read these slots and, if `inbox`, the inbox of an app at one instant.

        An increment that is being folded appears either in the inbox or in the slots.
        """
        ...

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        """Read the inbox and these slots of several apps in one round trip.

        Each app is read at one instant, but not all apps at the same one.

        Args:
            requests: (app, its slots). Several may name the same app.
        Returns:
            The contents for each request.
        """
        ...
