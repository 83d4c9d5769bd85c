"""Background tasks end, also when a cancellation gets lost on the way."""

from __future__ import annotations

import asyncio

from app.support.aio import cancel_and_wait


async def test_a_task_that_loses_cancellations_ends() -> None:
    lost = 0

    async def loses_three() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost > 3:
                    raise

    task = asyncio.create_task(loses_three())
    await asyncio.sleep(0)
    await cancel_and_wait([task])
    assert task.cancelled()


async def test_a_task_that_failed_and_one_that_is_done_are_no_trouble() -> None:
    async def fails() -> None:
        raise OSError("full")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await cancel_and_wait(tasks)
