"""Background tasks end even if a cancellation is lost; coroutines run as far as they can."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.support.aio import EagerCoroutine, cancel_and_wait, write_in_thread


async def test_a_task_that_swallows_cancellations_ends() -> None:
    cancellations = 0

    async def swallows_three() -> None:
        nonlocal cancellations
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancellations += 1
                if cancellations > 3:
                    raise

    task = asyncio.create_task(swallows_three())
    await asyncio.sleep(0)
    await cancel_and_wait([task])
    assert task.cancelled()


async def test_failed_and_finished_tasks_are_accepted() -> None:
    async def fails() -> None:
        raise OSError("full")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await cancel_and_wait(tasks)


async def test_a_cancelled_write_has_ended_when_the_task_ends() -> None:
    started, may_end, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def write() -> None:
        loop.call_soon_threadsafe(started.set)
        may_end.wait()
        ended.set()

    task = asyncio.create_task(write_in_thread(write))
    await started.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    await cancel_and_wait([task])
    assert (task.cancelled(), ended.is_set()) == (True, True)


async def test_a_write_returns_its_result_and_raises_its_error() -> None:
    assert await write_in_thread(pow, 2, exp=10) == 1024
    with pytest.raises(ValueError, match="invalid literal"):
        await write_in_thread(int, "x")


async def test_a_coroutine_that_does_not_wait_is_done() -> None:
    async def returns() -> int:
        return 7

    coroutine = EagerCoroutine(returns())
    assert coroutine.is_done
    assert coroutine.result == 7


async def test_a_coroutine_that_waits_continues_when_it_is_awaited() -> None:
    steps: list[str] = []
    gate = asyncio.Event()

    async def waits() -> str:
        steps.append("began")
        await gate.wait()
        await asyncio.sleep(0)
        return "end"

    coroutine = EagerCoroutine(waits())
    assert (coroutine.is_done, steps) == (False, ["began"])
    asyncio.get_running_loop().call_soon(gate.set)
    assert await coroutine == "end"


async def test_cancellations_reach_the_coroutine_and_errors_its_caller() -> None:
    cancellations = 0

    async def never_ends() -> None:
        nonlocal cancellations
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations += 1
            raise

    coroutine = EagerCoroutine(never_ends())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await coroutine
    assert cancellations == 1

    async def fails(*, late: bool) -> None:
        if late:
            await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        EagerCoroutine(fails(late=False))
    with pytest.raises(KeyError):
        await EagerCoroutine(fails(late=True))
