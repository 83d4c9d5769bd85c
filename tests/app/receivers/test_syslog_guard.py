"""Reads are divided among apps, and given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from app.receivers.connection_guard import peer_of
from app.receivers.syslog_guard import SyslogGuard, SyslogLimits
from app.support.rejections import Rejections


def guard_of(reads_max: int, app_reads_max: int) -> SyslogGuard:
    limits = SyslogLimits(reads_max=reads_max, app_reads_max=app_reads_max)
    return SyslogGuard(limits, Rejections())


async def entered(guard: SyslogGuard, app: str) -> None:
    async with guard.reading(app):
        pass


async def test_one_app_leaves_reads_to_others() -> None:
    guard = guard_of(2, 1)
    async with guard.reading("shop"):
        await entered(guard, "blog")
        second = asyncio.create_task(entered(guard, "shop"))
        await entered(guard, "blog")
        assert not second.done()
    await second


async def test_a_read_that_waits_for_the_store_lets_others_read() -> None:
    guard = guard_of(1, 1)
    async with guard.reading("shop") as reading:
        other = asyncio.create_task(entered(guard, "blog"))
        await reading.sleep(0)
        await other


async def test_a_cancelled_read_is_given_back() -> None:
    guard = guard_of(1, 1)
    async with guard.reading("shop"):
        waiting = asyncio.create_task(entered(guard, "blog"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await entered(guard, "blog")
    await entered(guard, "shop")


async def test_a_turn_returns_the_result_of_its_job_or_raises_its_error() -> None:
    guard = guard_of(1, 1)
    async with guard.reading("shop") as reading:
        assert await reading.turn(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await reading.turn(lambda: 1 // 0)
    assert await guard.stranger_turn("peer", lambda: 8) == 8


def test_a_peer_is_an_ipv4_address_or_an_ipv6_network() -> None:
    assert peer_of("2001:db8::1") == peer_of("2001:db8::2") != peer_of("2001:db8:0:1::1")
    assert peer_of("192.0.2.1") != peer_of("192.0.2.2")
