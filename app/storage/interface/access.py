"""Records of drains and of read tokens: who may send, and who may read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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
