"""Small things that want doing now and then, in every worker; doing them twice changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from app.storage.interface import StoreUnavailable

log = logging.getLogger(__name__)

OFTEN_S = 2
SELDOM_S = 60

Chore = Callable[[], Awaitable[None]]


class Chores:
    """Does each of them in turn; what the store refuses is done the next time."""

    def __init__(self, *, often: Sequence[Chore], seldom: Sequence[Chore]) -> None:
        """`often`: every OFTEN_S; `seldom`: every SELDOM_S, from the start on."""
        self._often = often
        self._seldom = seldom

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        seldom_at = loop.time()
        while True:
            due: list[Chore] = list(self._often)
            if loop.time() >= seldom_at:
                due += self._seldom
                seldom_at = loop.time() + SELDOM_S
            for chore in due:
                try:
                    await chore()
                except StoreUnavailable as error:
                    log.debug("chores wait: %s", error)
            await asyncio.sleep(OFTEN_S)
