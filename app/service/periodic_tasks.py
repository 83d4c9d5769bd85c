"""Small periodic tasks that every worker runs. They are idempotent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from app.storage.interface.errors import StoreUnavailable

log = logging.getLogger(__name__)

FREQUENT_S = 4  # the age at which a copy of who may send is read again before its next use
OCCASIONAL_S = 60

PeriodicTask = Callable[[], Awaitable[None]]


class PeriodicTasks:
    """Runs tasks one after the other. A task that the store rejects runs again next time."""

    def __init__(
        self, *, frequent: Sequence[PeriodicTask], occasional: Sequence[PeriodicTask]
    ) -> None:
        """`frequent`: every FREQUENT_S; `occasional`: every OCCASIONAL_S. All run at the start."""
        self._frequent = frequent
        self._occasional = occasional

    async def run(self) -> None:
        """Run the tasks until cancelled."""
        loop = asyncio.get_running_loop()
        occasional_at = loop.time()
        while True:
            due: list[PeriodicTask] = list(self._frequent)
            if loop.time() >= occasional_at:
                due += self._occasional
                occasional_at = loop.time() + OCCASIONAL_S
            for task in due:
                try:
                    await task()
                except StoreUnavailable as error:
                    log.debug("periodic tasks will be retried: %s", error)
            await asyncio.sleep(FREQUENT_S)
