"""The marked batch of the doctor: it comes back, is listed nowhere, and finds what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from app.cli.self_test import SelfTestFailed, run_self_test
from app.storage.interface import AppendResult, Batch, Contents, Outcome, Slot, StatePrecondition
from app.storage.memory import MemoryStore
from tests.support.service import NOW_S, Clock


class Watched(MemoryStore):
    """Knows of which apps was read."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.read_of: list[str] = []

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        if app not in self.read_of:
            self.read_of.append(app)
        return await super().read(app, slots, inbox=inbox)


async def test_it_goes_through_again_and_again_also_at_once_and_leaves_nothing() -> None:
    store = Watched(Clock())
    await run_self_test(store, NOW_S)
    await asyncio.gather(*(run_self_test(store, NOW_S) for _ in range(5)))
    assert await store.seen_apps() == []
    assert len(store.read_of) == 6
    for app in store.read_of:
        contents = await store.read(app, [Slot("1m", int(NOW_S) // 60 * 60), Slot("total", 0)])
        assert contents == Contents([], {})


class Forgetful(MemoryStore):
    """Takes what it was given, and does not keep it."""

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        return Contents([], {})


class Doubling(MemoryStore):
    """Knows no ids."""

    async def append(
        self,
        groups: Mapping[str, Sequence[Batch]],
        *,
        id_ttl_ms: int,
        inbox_ttl_ms: int,
        preconditions: Mapping[str, StatePrecondition] | None = None,
    ) -> dict[str, AppendResult]:
        return {
            app: AppendResult([Outcome.STORED] * len(batches), 2) for app, batches in groups.items()
        }


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (Forgetful(Clock()), "0 of 5 lines were there after it was committed"),
        (Doubling(Clock()), "came twice was not counted once"),
    ],
)
async def test_a_store_that_does_not_keep_its_word_is_found(store: MemoryStore, said: str) -> None:
    with pytest.raises(SelfTestFailed, match=said):
        await run_self_test(store, NOW_S)
