"""The in-memory store expires data like Redis, by the clock that it is given."""

from __future__ import annotations

import pytest

from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import Outcome
from app.storage.interface.elements import new_element
from app.storage.interface.rollups import Contents
from app.storage.memory import MemoryStore
from tests.support.batches import MINUTE, append, batch, fill, inbox, slot_of, write
from tests.support.store_calls import compact, fold

SECOND_MS = 1_000
START_S = 1_795_341_600.0


class Clock:
    """Unix time, advanced by hand."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


async def test_an_id_is_forgotten_after_its_time(store: MemoryStore, clock: Clock) -> None:
    first = batch()

    async def send() -> list[Outcome]:
        answers = await store.append(
            {"shop": [first]}, id_ttl_ms=10 * SECOND_MS, inbox_ttl_ms=99 * SECOND_MS
        )
        return answers["shop"].outcomes

    assert await send() == [Outcome.STORED]
    clock.now_s = START_S + 9.9
    assert await send() == [Outcome.OWN_RETRY]
    clock.now_s = START_S + 10
    assert await send() == [Outcome.STORED]


async def test_an_inbox_expires_after_its_last_append(store: MemoryStore, clock: Clock) -> None:
    ttl_ms = 10 * SECOND_MS
    for at_s in (0, 9, 18):
        clock.now_s = START_S + at_s
        await store.append({"shop": [batch()]}, id_ttl_ms=ttl_ms, inbox_ttl_ms=ttl_ms)

    clock.now_s = START_S + 27
    assert await store.inbox_lengths(["shop"]) == {"shop": 3}
    clock.now_s = START_S + 28
    assert await inbox(store, "shop") == []
    assert (await append(store, "shop", batch())).inbox_length == 1


async def test_a_slot_expires_after_the_longest_time_asked_for(
    store: MemoryStore, clock: Clock
) -> None:
    await fold(store, "shop", [], [write(ttl_ms=20 * SECOND_MS), write(ttl_ms=5 * SECOND_MS)])
    elements = await slot_of(store, "shop")
    await compact(store, "shop", MINUTE, elements, new_element(b"C", b"merged"), 6 * SECOND_MS)

    clock.now_s = START_S + 19
    assert len(await slot_of(store, "shop")) == 1
    clock.now_s = START_S + 20
    assert await store.read("shop", [MINUTE]) == Contents([], {})


async def test_a_fold_of_an_expired_inbox_changes_nothing(store: MemoryStore, clock: Clock) -> None:
    elements = await fill(store, "shop", 2)
    clock.now_s = START_S + 10**6

    assert await fold(store, "shop", elements, [write()]) is None


async def test_a_heartbeat_expires(store: MemoryStore, clock: Clock) -> None:
    await store.write_status("fold:1", {"at": "1"}, ttl_ms=10 * SECOND_MS)

    clock.now_s = START_S + 9
    assert await store.statuses() == {"fold:1": {"at": "1"}}
    clock.now_s = START_S + 10
    assert await store.statuses() == {}


async def test_apps_are_forgotten_when_none_was_seen_for_long(
    store: MemoryStore, clock: Clock
) -> None:
    await store.record_sightings([SeenApp("shop", 1, 1, 1)], ttl_ms=10 * SECOND_MS)
    clock.now_s = START_S + 9
    await store.record_sightings([SeenApp("blog", 2, 2, 0)], ttl_ms=10 * SECOND_MS)

    clock.now_s = START_S + 18
    assert [sighting.app for sighting in await store.seen_apps()] == ["blog", "shop"]
    clock.now_s = START_S + 19
    assert await store.seen_apps() == []
