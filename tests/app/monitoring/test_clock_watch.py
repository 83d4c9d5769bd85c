"""A clock that is set is noticed, logged, published and shown."""

from __future__ import annotations

import pytest

from app.monitoring.clock_watch import SHOWN_S, ClockWatch, published_jumps
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.service import Clock


class Machine:
    """A machine with its two clocks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.monotonic = Clock(1_000)
        self.store = MemoryStore(self.clock)
        self.watch = ClockWatch(self.store, self.clock, name="1", monotonic=self.monotonic)

    async def pass_time(self, seconds: float, *, set_by_s: float = 0) -> None:
        self.monotonic.now_s += seconds
        self.clock.now_s += seconds + set_by_s
        await self.watch.check()


@pytest.mark.parametrize(
    ("by_s", "text"), [(-600, "set back by 600 s"), (3_600, "set forward by 3,600 s")]
)
async def test_a_jump_is_shown_for_an_hour(
    by_s: float, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    await machine.pass_time(2, set_by_s=by_s)
    await machine.pass_time(2)
    assert text in machine.watch.notice()
    assert [text in record.message for record in caplog.records] == [True]
    assert [text in jump for jump in published_jumps(await machine.store.statuses())] == [True]
    await machine.pass_time(SHOWN_S)
    assert machine.watch.notice() == ""


async def test_a_clock_that_is_adjusted_slowly_is_no_jump() -> None:
    machine = Machine()
    for _ in range(100):
        await machine.pass_time(2, set_by_s=0.1)
    assert machine.watch.notice() == ""
    assert not list(published_jumps(await machine.store.statuses()))


async def test_a_jump_during_an_outage_is_published_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()

    async def fail(*arguments: object, **options: object) -> None:
        raise StoreUnavailable("Redis is unavailable")

    with monkeypatch.context() as outage:
        outage.setattr(machine.store, "write_status", fail)
        with pytest.raises(StoreUnavailable):
            await machine.pass_time(2, set_by_s=-600)
    await machine.pass_time(2)
    assert list(published_jumps(await machine.store.statuses()))
