"""Slots are cached, and a reader still gets exactly what is stored."""

from __future__ import annotations

from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.redis.slot_cache import SlotCache
from app.storage.redis.store import RedisStore
from tests.support.servers import RunningServer
from tests.support.store_calls import compact, fold

HOUR, LATER = Slot("1h", 3600), Slot("1h", 7200)
TTL_MS = 60_000
DATA = b"x" * 100_000


async def write(store: RedisStore, slot: Slot) -> bytes:
    """Append an element to a slot."""
    element = new_element(KIND_ROLLUP, DATA)
    await fold(store, "shop", [], [SlotWrite(slot, element, TTL_MS)])
    return element


async def read(store: RedisStore, *slots: Slot) -> dict[Slot, list[bytes]]:
    return (await store.read("shop", slots)).slots


async def test_unchanged_slots_are_read_again_and_changed_ones_are_current(
    redis_store: RedisStore,
) -> None:
    first, second = await write(redis_store, HOUR), await write(redis_store, LATER)
    for _ in range(2):
        assert await read(redis_store, HOUR, LATER) == {HOUR: [first], LATER: [second]}
    third = await write(redis_store, HOUR)
    assert await read(redis_store, LATER, HOUR) == {HOUR: [first, third], LATER: [second]}
    merge = new_element(KIND_ROLLUP, b"merged")
    assert await compact(redis_store, "shop", HOUR, [first, third], merge, TTL_MS)
    assert await read(redis_store, HOUR, LATER) == {HOUR: [merge], LATER: [second]}


async def test_unchanged_slots_are_not_sent_again(
    redis_store: RedisStore, server: RunningServer
) -> None:
    def bytes_sent() -> int:
        return int(server.client.info("stats")["total_net_output_bytes"])

    element = await write(redis_store, HOUR)
    before = bytes_sent()
    assert await read(redis_store, HOUR) == {HOUR: [element]}
    between = bytes_sent()
    assert await read(redis_store, HOUR) == {HOUR: [element]}
    assert between - before > len(DATA) > 2 * (bytes_sent() - between)


async def test_deleted_slots_are_gone(redis_store: RedisStore) -> None:
    await write(redis_store, HOUR)
    await read(redis_store, HOUR)
    await redis_store.delete_slots("shop", [HOUR])
    assert await read(redis_store, HOUR) == {}
    element = await write(redis_store, HOUR)
    assert await read(redis_store, HOUR) == {HOUR: [element]}


async def test_a_reader_may_change_its_lists(redis_store: RedisStore) -> None:
    element = await write(redis_store, HOUR)
    for _ in range(3):
        slots = await read(redis_store, HOUR)
        assert slots == {HOUR: [element]}
        slots[HOUR].clear()


def test_the_least_recently_used_slots_are_evicted() -> None:
    cache = SlotCache(bytes_max=25)
    for name in "ab":
        cache.put(name, HOUR, [b"x" * 10])
    assert cache.lookup(["a"])["a"].elements == [b"x" * 10]
    cache.put("c", HOUR, [b"y" * 10])
    assert set(cache.lookup(["a", "b", "c"])) == {"a", "c"}
    cache.put("a", HOUR, [b"z" * 3])
    cache.put("d", HOUR, [b"z" * 12])
    assert set(cache.lookup(["a", "c", "d"])) == {"a", "c", "d"}
    cache.put("e", HOUR, [b"larger than the whole cache" * 2])
    assert cache.lookup(["a", "c", "d", "e"]) == {}
    cache.put("f", HOUR, [b"y" * 25])
    assert set(cache.lookup(["f"])) == {"f"}


def test_minutes_are_not_cached() -> None:
    cache = SlotCache()
    cache.put("a", Slot("1m", 0), [b"x" * 10])
    assert cache.lookup(["a"]) == {}
