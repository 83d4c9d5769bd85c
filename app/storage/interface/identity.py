"""The identity of a store, by which others recognize it, and notice that it was emptied."""

from __future__ import annotations

import secrets
from typing import NamedTuple, Protocol


class StoreIdentity(NamedTuple):
    """Identifies a store for as long as it keeps its data. An emptied store gets another one.

    Attributes:
        id: 32 hex digits, drawn at random.
        epoch_s: Unix seconds of its first use by a version that knows identities.
    """

    id: str
    epoch_s: int


class IdentifiedStore(Protocol):
    """A store that can be told from others."""

    async def identity(self) -> StoreIdentity:
        """The identity, the same for all workers. The first call on a store writes it.

        It never expires.
        """
        ...


def new_store_id() -> str:
    """A random id for a store that has none."""
    return secrets.token_hex(16)
