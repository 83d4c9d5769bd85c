"""Coroutines that run as far as they can at once."""

from __future__ import annotations

import asyncio

import pytest

from app.support.aio import EagerCoroutine


async def test_what_needs_no_waiting_is_done() -> None:
    async def at_once() -> int:
        return 7

    started = EagerCoroutine(at_once())
    assert started.done
    assert started.result == 7


async def test_what_waits_is_awaited_and_keeps_its_place() -> None:
    steps: list[str] = []
    gate = asyncio.Event()

    async def later() -> str:
        steps.append("began")
        await gate.wait()
        await asyncio.sleep(0)
        return "end"

    started = EagerCoroutine(later())
    assert (started.done, steps) == (False, ["began"])
    asyncio.get_running_loop().call_soon(gate.set)
    assert await started == "end"


async def test_errors_and_time_limits_reach_whom_they_should() -> None:
    cancelled: list[bool] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    started = EagerCoroutine(never())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await started
    assert cancelled == [True]

    async def fails(*, late: bool) -> None:
        if late:
            await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        EagerCoroutine(fails(late=False))
    with pytest.raises(KeyError):
        await EagerCoroutine(fails(late=True))
