"""Of too many bytes that wait, the largest ones of the largest caller go first."""

from __future__ import annotations

import asyncio

from app.receivers.connection_guard import (
    SENDER,
    STRANGER,
    Caller,
    ConnectionGuard,
    ConnectionLimits,
)
from app.support.rejections import Rejections


class OpenTransport(asyncio.Transport):
    """A transport that only knows whether it is open."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closing = False

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self._is_closing = True


class Holder:
    """A connection."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.transport: asyncio.Transport = OpenTransport()
        self.buffered_bytes = 0


def connections(guard: ConnectionGuard, caller: Caller, count: int) -> list[Holder]:
    holders = [Holder(caller) for _ in range(count)]
    for holder in holders:
        guard.add(holder)
    return holders


def test_the_caller_with_the_most_bytes_loses_its_largest_connections() -> None:
    guard = ConnectionGuard(ConnectionLimits(buffered_bytes_max=1_000), Rejections())
    few = connections(guard, Caller(SENDER, "shop"), 1)
    many = connections(guard, Caller(STRANGER, 1), 8)
    guard.buffer(few[0], 200)
    for number, holder in enumerate(many):
        guard.buffer(holder, 100 + number)
    assert not few[0].transport.is_closing()
    assert [holder.transport.is_closing() for holder in many] == [False] * 6 + [True] * 2
    assert guard.buffered_bytes == 815
    assert guard.rejections.counts["buffers"] == 2


def test_a_connection_that_ends_frees_its_bytes() -> None:
    guard = ConnectionGuard(ConnectionLimits(buffered_bytes_max=1_000), Rejections())
    for _ in range(5):
        (holder,) = connections(guard, Caller(STRANGER, 1), 1)
        guard.buffer(holder, 900)
        guard.remove(holder)
    assert guard.buffered_bytes == 0
    assert guard.rejections.counts["buffers"] == 0
