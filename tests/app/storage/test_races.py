"""Appends, folds and compactions race and replies are lost, but every batch counts once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from app.storage.interface.batches import Batch, Outcome
from app.storage.interface.elements import HEADER_BYTES, KIND_ROLLUP, Slot, new_element
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.folding import SlotWrite
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.batches import DAY_MS, again, append, batch
from tests.support.proxy import Proxy, proxy_to
from tests.support.servers import RunningServer
from tests.support.store_calls import compact, fold, read_inbox

SECONDS = {"1m": 60, "10m": 600, "1h": 3600, "total": 10**12}
MINUTES = 90
APPENDERS, FOLDERS, COMPACTORS = 4, 3, 2
BATCHES_EACH = 60

Counts = Counter[int]  # by start of the interval


def pack(counts: Counts) -> bytes:
    return json.dumps(list(counts.items())).encode()


def merge(elements: Sequence[bytes]) -> Counts:
    counts: Counts = Counter()
    for element in elements:
        counts.update(dict(json.loads(element[HEADER_BYTES:])))
    return counts


def writes_of(minutes: Counts) -> list[SlotWrite]:
    writes = []
    for resolution, seconds in SECONDS.items():
        slots: dict[Slot, int] = {}
        for minute, count in minutes.items():
            slot = Slot(resolution, minute // seconds * seconds)
            slots[slot] = slots.get(slot, 0) + count
        for slot, count in slots.items():
            element = new_element(KIND_ROLLUP, pack(Counter({slot.start: count})))
            writes.append(SlotWrite(slot, element, DAY_MS))
    return writes


SLOTS = [
    Slot(name, start) for name, step in SECONDS.items() for start in range(0, MINUTES * 60, step)
]


class Race:
    """Concurrent workers on one store, and the counts that must result."""

    def __init__(self, store: Store, random: Random) -> None:
        self.store = store
        self.random = random
        self.truth: Counts = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.appending = APPENDERS

    async def append_batches(self) -> None:
        history: list[Batch] = []
        for _ in range(BATCHES_EACH):
            if history and self.random.random() < 0.3:
                old = self.random.choice(history)
                self.outcomes[await self._append(self.random.choice([old, again(old)]))] += 1
                continue
            minutes: Counts = Counter(
                self.random.randrange(MINUTES) * 60 for _ in range(self.random.randrange(1, 5))
            )
            new_batch = batch(pack(minutes))
            history.append(new_batch)
            self.truth.update(minutes)
            self.outcomes[await self._append(new_batch)] += 1
        self.appending -= 1

    async def _append(self, new_batch: Batch) -> Outcome:
        while True:
            await asyncio.sleep(0)
            try:
                return (await append(self.store, "shop", new_batch)).outcomes[0]
            except StoreUnavailable:
                continue

    async def fold_until_empty(self) -> None:
        while True:
            await asyncio.sleep(0)
            try:
                elements = await read_inbox(self.store, "shop", self.random.randrange(1, 9))
                await asyncio.sleep(0)  # lets other tasks run in between
                if elements:
                    await fold(self.store, "shop", elements, writes_of(merge(elements)))
                elif not self.appending:
                    return
            except StoreUnavailable:
                continue

    async def compact_slots(self) -> None:
        while self.appending:
            slot = self.random.choice(SLOTS)
            try:
                elements = (await self.store.read("shop", [slot])).slots.get(slot, [])
                oldest = elements[: self.random.randrange(1, 9)]
                await asyncio.sleep(0)
                if oldest:
                    element = new_element(KIND_ROLLUP, pack(merge(oldest)))
                    await compact(self.store, "shop", slot, oldest, element, DAY_MS)
            except StoreUnavailable:
                continue
            await asyncio.sleep(0)

    async def lose_replies(self, proxy: Proxy) -> None:
        while self.appending:
            proxy.replies_to_lose = 1  # and the replies to all requests in flight
            count = self.outcomes.total() + self.random.randrange(3)
            while self.appending and (proxy.replies_to_lose or self.outcomes.total() <= count):
                await asyncio.sleep(0)

    async def run(self, *faults: asyncio.Task[None]) -> None:
        async with asyncio.TaskGroup() as group:
            for count, work in (
                (APPENDERS, self.append_batches),
                (FOLDERS, self.fold_until_empty),
                (COMPACTORS, self.compact_slots),
            ):
                for _ in range(count):
                    group.create_task(work())
        for fault in faults:
            await fault

    async def check(self) -> None:
        contents = await self.store.read("shop", SLOTS)
        assert contents.inbox == []
        for resolution, seconds in SECONDS.items():
            expected_counts: Counts = Counter()
            for minute, count in self.truth.items():
                expected_counts[minute // seconds * seconds] += count
            actual: Counts = Counter()
            for slot, elements in contents.slots.items():
                if slot.resolution == resolution:
                    actual.update(merge(elements))
            assert actual == expected_counts, resolution


@pytest.mark.parametrize("seed", range(5))
async def test_every_batch_counts_once_at_every_resolution(store: Store, seed: int) -> None:
    race = Race(store, Random(seed))

    await race.run()

    await race.check()
    assert race.outcomes[Outcome.OWN_RETRY] > 0
    assert race.outcomes[Outcome.DUPLICATE] > 0


@pytest.mark.parametrize("seed", range(3))
async def test_every_batch_counts_once_also_when_replies_are_lost(
    server: RunningServer, seed: int
) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        race = Race(store, Random(seed))

        await race.run(asyncio.create_task(race.lose_replies(proxy)))

        await race.check()
        await store.close()
