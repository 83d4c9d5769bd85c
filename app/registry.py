"""Who may send, and whom we have heard from: app names, drain secrets, sightings."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable

from app.ingest import Seen
from app.store.port import SeenApp, Store

APP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
APP_NAME_RULE = "lower-case letters, digits, dots, dashes and underscores, 63 at most"

REFRESH_S = 5  # a secret that is added or removed takes effect within this time on every worker
SIGHTING_STEP_S = 5  # last_seen may lag by this much


def valid_app(name: str) -> bool:
    """Whether this can be an app's name: APP_NAME_RULE, beginning with a letter or digit."""
    return APP_NAME.fullmatch(name) is not None


def hash_secret(secret: str) -> str:
    """What is stored of a drain secret. Secrets are 32 random bytes, so a plain digest cannot be
    guessed back.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


_NOBODYS_HASH = hash_secret("")


class Drains:
    """The registered drain secrets, as this worker last read them."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._hashes: dict[str, str] = {}
        self._refresh_at_s = 0.0

    async def verify(self, app: str, secret: str) -> bool:
        """Whether this is the app's drain secret. An unknown app and a wrong secret cost the same
        time.

        Raises:
            StoreUnavailable: nothing was read yet and the store is away.
        """
        if self._clock() >= self._refresh_at_s:
            await self.refresh()
        given = hash_secret(secret)
        if app not in self._hashes:
            hmac.compare_digest(given, _NOBODYS_HASH)
            return False
        return hmac.compare_digest(given, self._hashes[app])

    async def refresh(self) -> dict[str, str]:
        """Read the secrets' hashes again."""
        self._hashes = await self._store.drains()
        self._refresh_at_s = self._clock() + REFRESH_S
        return self._hashes


class Sightings:
    """Tells the store when apps were seen: at once when it is news, otherwise every few seconds."""

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        """`ttl_s`: how long after the last sighting of any app the list is kept."""
        self._store = store
        self._ttl_ms = ttl_s * 1000
        self._told: dict[str, Seen] = {}

    async def note(self, app: str, seen: Seen) -> None:
        """Record what a stored batch says about when its app lived."""
        told = self._told.get(app)
        if told is not None:
            seen = Seen(
                min(seen.first_s, told.first_s),
                max(seen.last_s, told.last_s),
                max(seen.runtime_metrics_s, told.runtime_metrics_s),
            )
            if not _is_news(seen, told):
                return
        await self._store.see([SeenApp(app, *seen)], ttl_ms=self._ttl_ms)
        self._told[app] = seen


def _is_news(seen: Seen, told: Seen) -> bool:
    return (
        seen.first_s < told.first_s
        or seen.last_s >= told.last_s + SIGHTING_STEP_S
        or seen.runtime_metrics_s >= told.runtime_metrics_s + SIGHTING_STEP_S
    )
