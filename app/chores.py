"""Small things that want doing now and then, in every worker; doing them twice changes nothing."""

from __future__ import annotations

import asyncio
import logging

from app.enrolment import Enrolment
from app.refusals import PUBLISH_STEP_S, Refusals
from app.registry import Drains
from app.store.port import StoreUnavailable

log = logging.getLogger(__name__)

RETIRE_EVERY_S = 60


class Chores:
    """Keeps the copy of the registry fresh, publishes refusals, ends secrets that were replaced."""

    def __init__(self, drains: Drains, refusals: Refusals, enrolment: Enrolment) -> None:
        self._drains = drains
        self._refusals = refusals
        self._enrolment = enrolment

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        retire_at = loop.time()
        while True:
            try:
                await self._drains.refresh()
                await self._refusals.publish()
                if loop.time() >= retire_at:
                    retire_at = loop.time() + RETIRE_EVERY_S
                    await self._enrolment.retire()
            except StoreUnavailable as error:
                log.debug("chores wait: %s", error)
            await asyncio.sleep(PUBLISH_STEP_S)
