"""The store's own warnings, read now and then for the notices on pages."""

from __future__ import annotations

from app.storage.interface.server import ServerStatus


class StoreWarnings:
    """The last known risks of the store, such as that it keeps nothing over a restart."""

    def __init__(self, store: ServerStatus) -> None:
        self._store = store
        self.sentences: list[str] = []

    async def check(self) -> None:
        """Ask the store.

        Raises:
            StoreUnavailable: the warnings stay as they were; try again later.
        """
        self.sentences = await self._store.warnings()
