"""Opens the service's store for commands that work on it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import ConfigError, Settings
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface.store import Store
from app.support.about import command


def store_url(settings: Settings) -> str:
    """The URL of the store that a service with these settings uses.

    Raises:
        ConfigError: REDIS_URL is not set, and no embedded store is running.
    """
    url = settings.redis_url or embedded.find_running(settings.data_dir)
    if url is None:
        raise ConfigError(
            f"no store: start the service ({command()} serve) with DYNOMETER_DATA_DIR="
            f"{settings.data_dir}, or set REDIS_URL to the store that it uses"
        )
    return url


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Connect to the store that a service with these settings uses.

    Raises:
        ConfigError: there is no such store.
    """
    store = connect(store_url(settings))
    try:
        yield store
    finally:
        await store.close()
