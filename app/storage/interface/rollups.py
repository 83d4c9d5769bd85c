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


class Part(NamedTuple):
    """A part of what was asked for.

    Attributes:
        contents: the inbox, and the slots that were read.
        slot_count: how many of the slots were read, from the first one on.
    """

    contents: Contents
    slot_count: int


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

    async def read_parts(
        self, requests: Sequence[tuple[str, Sequence[Slot]]], bytes_max: int
    ) -> list[Part]:
        """Read the inbox and the first slots of several apps in one round trip.

        A hostile app may have more in its slots than the memory holds. Each part is read at one
        instant, with the inbox, so a reader that asks for the rest misses and doubles nothing.

        Args:
            requests: (app, its slots, at least one).
            bytes_max: of an app, no more slots are read once those before take so much memory, in
                the store or here.
        Returns:
            A part for each request.
        """
        ...
