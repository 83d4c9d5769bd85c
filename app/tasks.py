"""Ending background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

_AGAIN_S = 0.1


async def end_tasks(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end, whatever it is.

    One cancellation may not do: redis-py loses it in the middle of connecting (seen with 8.1), and
    the task goes on as if nothing had happened.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
