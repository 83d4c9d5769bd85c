"""Background tasks end even if a cancellation is lost; coroutines run as far as they can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from app.support.aio import (
    EagerCoroutine,
    TimeLimits,
    cancel_and_wait,
    wait_for_all,
    write_in_thread,
)
from tests.support.garbage import without_collector

MEBIBYTE = 2**20


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


async def test_all_have_ended_when_the_first_error_is_raised() -> None:
    ended: list[int] = []

    async def end(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        ended.append(number)
        if number < 3:
            raise KeyError(number)

    with pytest.raises(KeyError, match="2"):
        await wait_for_all(end(number) for number in (4, 2, 1, 3))
    assert ended == [1, 2, 3, 4]
    await wait_for_all([])


async def cancel_eager() -> None:
    async def wait(held: bytearray) -> None:
        await asyncio.Event().wait()
        held.clear()

    async with asyncio.timeout(0):
        await EagerCoroutine(wait(bytearray(MEBIBYTE)))


async def fail_beside_others() -> None:
    async def fail(held: bytearray) -> None:
        await asyncio.sleep(0)
        raise TimeoutError(len(held))

    await wait_for_all(fail(bytearray(MEBIBYTE)) for _ in range(2))


async def cancel_write() -> None:
    may_end = threading.Event()

    def write(held: bytearray) -> None:
        may_end.wait()
        assert held

    asyncio.get_running_loop().call_later(0.01, may_end.set)
    async with asyncio.timeout(0):
        await write_in_thread(write, bytearray(MEBIBYTE))


@pytest.mark.parametrize("fail", [cancel_eager, fail_beside_others, cancel_write])
async def test_what_a_failed_wait_held_needs_no_search_for_cycles(
    fail: Callable[[], Awaitable[None]],
) -> None:
    with without_collector() as held_bytes:
        with suppress(TimeoutError):
            await fail()
        async with asyncio.timeout(5):
            while held_bytes() > MEBIBYTE / 2:  # a thread forgets its call a little later
                await asyncio.sleep(0.01)


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


async def test_waits_end_at_their_own_deadlines_and_quick_ones_are_unaffected() -> None:
    limits, begun = TimeLimits(), asyncio.get_running_loop().time()

    async def wait(seconds: float, within_s: float) -> str:
        try:
            with limits.until(begun + within_s):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    waits = [(3600, 0.05), (0, 0.01), (3600, 0.02), (0.01, 3600), (3600, -1)]
    outcomes = await asyncio.gather(*(wait(*pair) for pair in waits))
    assert outcomes == ["late", "in time", "late", "in time", "late"]


async def test_a_cancelled_wait_is_cancelled_and_not_late() -> None:
    limits = TimeLimits()
    in_an_hour = asyncio.get_running_loop().time() + 3600

    async def wait() -> None:
        with limits.until(in_an_hour):
            await asyncio.sleep(3600)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_late_wait_leaves_its_task_usable() -> None:
    limits = TimeLimits()
    for _ in range(2):
        with pytest.raises(TimeoutError), limits.until(asyncio.get_running_loop().time()):
            await asyncio.sleep(3600)
    with limits.until(asyncio.get_running_loop().time() + 3600):
        await asyncio.sleep(0)
