"""Who evaluates and delivers: one worker of all that use the store."""

from __future__ import annotations

import secrets

from app.storage.alert_interface import AlertStore

# A worker that is killed leaves its lease behind; until it ends nothing is evaluated. It outlives
# one attempt to deliver (send.TIME_LIMIT_S), so that two never deliver the same.
TTL_S = 15


class Lease:
    """This worker's hold on it, under a token of its own."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self.token = secrets.token_hex(16)
        self.held = False

    async def hold(self) -> bool:
        """Whether it is ours for the next TTL_S seconds.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        self.held = False
        self.held = await self._store.acquire_alert_lease(self.token, TTL_S * 1000)
        return self.held

    async def release(self) -> None:
        """Let another worker go on at once.

        Raises:
            StoreUnavailable: it ends by itself, then.
        """
        if self.held:
            self.held = False
            await self._store.release_alert_lease(self.token)
