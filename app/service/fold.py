"""The process `dynometer fold`: folds the batches that other processes append."""

from __future__ import annotations

import os
import time

from app.config import Settings
from app.service.wiring import build_fold_worker
from app.storage.connect import connect, refuse_unsupported_data


async def fold(url: str, settings: Settings) -> None:
    """Fold until cancelled."""
    store = connect(url)
    try:
        await refuse_unsupported_data(store)
        await build_fold_worker(
            settings,
            store,
            time.time,
            name=f"fold-{os.getpid()}",
            sweep_interval_s=settings.fold_interval_s,
        ).run()
    finally:
        await store.close()
