"""For commands that work on the store: it is found as the service finds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import ConfigError, Settings
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface import Store
from app.support.about import command


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of the service with these settings.

    Raises:
        ConfigError: no store is known.
    """
    url = settings.redis_url or embedded.find_running(settings.data_dir)
    if url is None:
        raise ConfigError(
            f"no store: start the service ({command()} serve) with DYNOMETER_DATA_DIR="
            f"{settings.data_dir}, or set REDIS_URL to the one it uses"
        )
    store = connect(url)
    try:
        yield store
    finally:
        await store.close()
