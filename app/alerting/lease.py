"""The lease that selects one worker, of all that share the store, to evaluate and deliver."""

from __future__ import annotations

import secrets

from app.storage.interface.alerts import AlertStore

# Nothing is evaluated until the lease of a killed worker expires, so it is short. But it is longer
# than one delivery attempt (delivery.TIME_LIMIT_S), so that no two workers send a notification.
TTL_S = 15


class Lease:
    """This worker's handle to the lease, with a token of its own."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self.token = secrets.token_hex(16)
        self.is_held = False

    async def hold(self) -> bool:
        """Acquire or renew the lease for TTL_S seconds; False if another worker holds it.

        Raises:
            StoreUnavailable
        """
        self.is_held = False
        self.is_held = await self._store.acquire_alert_lease(self.token, TTL_S * 1000)
        return self.is_held

    async def release(self) -> None:
        """Let another worker take over immediately.

        Raises:
            StoreUnavailable: the lease then expires by itself.
        """
        if self.is_held:
            self.is_held = False
            await self._store.release_alert_lease(self.token)
