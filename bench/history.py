"""Fills a store with days of an app's history: folded minutes that end now."""

from __future__ import annotations

import time

from app.rollup.resolutions import DAY_S, MINUTE_S
from app.storage.interface.apps import SeenApp
from app.storage.redis.store import connect
from bench.store import fill, minutes
from bench.target import Dynometer

REQUESTS_PER_MINUTE = 1_000
_DISTINCT = 30
_LIFE_MS = 24 * 3600 * 1000


async def fill_history(service: Dynometer, app: str, days: int, dynos: int) -> None:
    """Fill the service's store, and exclude this data from its later checks."""
    count = days * DAY_S // MINUTE_S
    start_s = int(time.time()) // MINUTE_S * MINUTE_S - count * MINUTE_S
    store = connect(service.store_url)
    try:
        await fill(store, app, minutes(REQUESTS_PER_MINUTE, dynos, _DISTINCT), count, start_s)
        sighting = SeenApp(app, start_s, start_s + count * MINUTE_S, start_s)
        await store.record_sightings([sighting], ttl_ms=_LIFE_MS)
    finally:
        await store.close()
    service.ignore_present_data()
