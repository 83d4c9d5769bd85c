"""Records of drains and of read tokens: who may send, and who may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from app.storage.interface.identity import StoreIdentity


class AccessTables(NamedTuple):
    """Who may send and read, as one store has it.

    Attributes:
        identity: of the store, so that an emptied store is told from one with nothing in it.
        drains: drain records by app.
        tokens: records of read tokens by id.
        notes: facts about the access to this store, by name (app.access.access_notes).
    """

    identity: StoreIdentity
    drains: Mapping[str, str]
    tokens: Mapping[str, bytes]
    notes: Mapping[str, str]


class AccessReader(Protocol):
    """Reads who may send and read."""

    async def access_tables(self) -> AccessTables:
        """All tables, as one store had them. A store without an identity gets one."""
        ...


class DrainReader(Protocol):
    """Reads which drains may send, and which of them counts."""

    async def drains(self) -> dict[str, str]:
        """The drain records (app.access.drain_secrets) by app."""
        ...

    async def drain_states(self, apps: Sequence[str]) -> dict[str, bytes]:
        """The state of each of these apps that has one."""
        ...


class DrainStore(DrainReader, Protocol):
    """Reads and changes drain records."""

    async def compare_and_set_drain(self, app: str, old_record: str, new_record: str) -> bool:
        """Replace an app's drain record if it still is `old_record`, in one atomic step.

        Records never expire.

        Args:
            old_record: "" for an app without one.
            new_record: "" to remove it.
        Returns:
            False if the record is another one: then nothing was changed.
        """
        ...


class TokenStore(Protocol):
    """Reads and changes the records of read tokens."""

    async def put_token(self, token_id: str, record: bytes) -> None:
        """Write the record of a read token. It never expires."""
        ...

    async def remove_token(self, token_id: str) -> bool:
        """Remove a read token; False if there was none."""
        ...

    async def tokens(self) -> dict[str, bytes]:
        """The records of the read tokens by id."""
        ...


class AccessStore(AccessReader, DrainStore, TokenStore, Protocol):
    """Reads and changes who may send and read."""

    async def compare_and_set_note(self, name: str, old_note: str, new_note: str) -> bool:
        """Replace a note if it still is `old_note`, in one atomic step. Notes never expire.

        Args:
            name: of the note.
            old_note: "" for none.
            new_note: "" to remove it.
        Returns:
            False if the note is another one: then nothing was changed.
        """
        ...
