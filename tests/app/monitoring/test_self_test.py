"""The doctor's marked batch: it comes back, is listed nowhere, and detects a faulty store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from app.monitoring.self_test import SelfTestFailed, run_self_test
from app.storage.interface.batches import AppendResult, Batch, Outcome, StatePrecondition
from app.storage.interface.elements import Slot
from app.storage.interface.rollups import Contents
from app.storage.memory import MemoryStore
from tests.support.service import NOW_S, Clock


class RecordingStore(MemoryStore):
    """Records the apps that are read."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.read_apps: list[str] = []

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        if app not in self.read_apps:
            self.read_apps.append(app)
        return await super().read(app, slots, inbox=inbox)


async def test_it_passes_repeatedly_and_concurrently_and_leaves_nothing() -> None:
    store = RecordingStore(Clock())
    await run_self_test(store, NOW_S)
    await asyncio.gather(*(run_self_test(store, NOW_S) for _ in range(5)))
    assert await store.seen_apps() == []
    assert len(store.read_apps) == 6
    for app in store.read_apps:
        contents = await store.read(app, [Slot("1m", int(NOW_S) // 60 * 60), Slot("total", 0)])
        assert contents == Contents([], {})


class ForgetfulStore(MemoryStore):
    """Accepts batches and does not keep them."""

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        return Contents([], {})


class DoublingStore(MemoryStore):
    """Does not deduplicate batches."""

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
    ("store", "message"),
    [
        (ForgetfulStore(Clock()), "0 of 5 lines were there after the commit"),
        (DoublingStore(Clock()), "sent twice was not counted once"),
    ],
)
async def test_a_faulty_store_is_detected(store: MemoryStore, message: str) -> None:
    with pytest.raises(SelfTestFailed, match=message):
        await run_self_test(store, NOW_S)
