"""Small things that want doing now and then, in every worker; doing them twice changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

FREQUENT_S = 2
OCCASIONAL_S = 60

PeriodicTask = Callable[[], Awaitable[None]]


class PeriodicTasks:
    """Does each of them in turn; what the store refuses is done the next time."""

    def __init__(
        self, *, frequent: Sequence[PeriodicTask], occasional: Sequence[PeriodicTask]
    ) -> None:
        """`often`: every OFTEN_S; `seldom`: every SELDOM_S, from the start on."""
        self._frequent = frequent
        self._occasional = occasional

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        seldom_at = loop.time()
        while True:
            due: list[PeriodicTask] = list(self._frequent)
            if loop.time() >= seldom_at:
                due += self._occasional
                seldom_at = loop.time() + OCCASIONAL_S
            for chore in due:
                try:
                    await chore()
                except StoreUnavailable as error:
                    log.debug("chores wait: %s", error)
            await asyncio.sleep(FREQUENT_S)
