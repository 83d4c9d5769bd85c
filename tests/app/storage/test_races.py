"""Appenders, folders and compactors race, and replies are lost: every batch counts once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from app.storage.interface import (
    HEADER_BYTES,
    KIND_ROLLUP,
    Batch,
    Outcome,
    Slot,
    SlotWrite,
    Store,
    StoreUnavailable,
    new_element,
)
from app.storage.redis.store import connect
from tests.support.batches import DAY_MS, again, append, batch
from tests.support.proxy import Proxy, proxy_to
from tests.support.servers import RunningServer

SECONDS = {"1m": 60, "10m": 600, "1h": 3600, "total": 10**12}
MINUTES = 90
APPENDERS, FOLDERS, COMPACTORS = 4, 3, 2
BATCHES_EACH = 60

Counts = Counter[int]  # by start of the interval


def pack(counts: Counts) -> bytes:
    return json.dumps(list(counts.items())).encode()


def merged(elements: Sequence[bytes]) -> Counts:
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
    """The workers, and the truth that they must arrive at."""

    def __init__(self, store: Store, random: Random) -> None:
        self.store = store
        self.random = random
        self.truth: Counts = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.appending = APPENDERS

    async def append_some(self) -> None:
        known: list[Batch] = []
        for _ in range(BATCHES_EACH):
            if known and self.random.random() < 0.3:
                old = self.random.choice(known)
                self.outcomes[await self._append(self.random.choice([old, again(old)]))] += 1
                continue
            minutes: Counts = Counter(
                self.random.randrange(MINUTES) * 60 for _ in range(self.random.randrange(1, 5))
            )
            sent = batch(pack(minutes))
            known.append(sent)
            self.truth.update(minutes)
            self.outcomes[await self._append(sent)] += 1
        self.appending -= 1

    async def _append(self, sent: Batch) -> Outcome:
        while True:
            await asyncio.sleep(0)
            try:
                return (await append(self.store, "shop", sent)).outcomes[0]
            except StoreUnavailable:
                continue

    async def fold_until_empty(self) -> None:
        while True:
            await asyncio.sleep(0)
            try:
                elements = await self.store.read_inbox("shop", self.random.randrange(1, 9))
                await asyncio.sleep(0)  # others come between
                if elements:
                    await self.store.fold("shop", elements, writes_of(merged(elements)))
                elif not self.appending:
                    return
            except StoreUnavailable:
                continue

    async def compact_some(self) -> None:
        while self.appending:
            slot = self.random.choice(SLOTS)
            try:
                elements = (await self.store.read("shop", [slot])).slots.get(slot, [])
                some = elements[: self.random.randrange(1, 9)]
                await asyncio.sleep(0)
                if some:
                    element = new_element(KIND_ROLLUP, pack(merged(some)))
                    await self.store.compact("shop", slot, some, element, DAY_MS)
            except StoreUnavailable:
                continue
            await asyncio.sleep(0)

    async def lose_replies(self, proxy: Proxy) -> None:
        while self.appending:
            proxy.replies_to_lose = 1  # and with it whatever else was asked meanwhile
            answered = self.outcomes.total() + self.random.randrange(3)
            while self.appending and (proxy.replies_to_lose or self.outcomes.total() <= answered):
                await asyncio.sleep(0)

    async def run(self, *others: asyncio.Task[None]) -> None:
        async with asyncio.TaskGroup() as group:
            for count, work in (
                (APPENDERS, self.append_some),
                (FOLDERS, self.fold_until_empty),
                (COMPACTORS, self.compact_some),
            ):
                for _ in range(count):
                    group.create_task(work())
        for other in others:
            await other

    async def judge(self) -> None:
        contents = await self.store.read("shop", SLOTS)
        assert contents.inbox == []
        for resolution, seconds in SECONDS.items():
            expected: Counts = Counter()
            for minute, count in self.truth.items():
                expected[minute // seconds * seconds] += count
            found: Counts = Counter()
            for slot, elements in contents.slots.items():
                if slot.resolution == resolution:
                    found.update(merged(elements))
            assert found == expected, resolution


@pytest.mark.parametrize("seed", range(5))
async def test_every_batch_counts_once_at_every_resolution(store: Store, seed: int) -> None:
    race = Race(store, Random(seed))

    await race.run()

    await race.judge()
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

        await race.judge()
        await store.close()
