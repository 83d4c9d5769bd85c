"""What of slots is held, and that a reader never gets anything but what is stored."""

from __future__ import annotations

from app.storage.interface import KIND_ROLLUP, Slot, SlotWrite, new_element
from app.storage.redis.slot_cache import SlotCache
from app.storage.redis.store import RedisStore
from tests.support.servers import RunningServer

HOUR, LATER = Slot("1h", 3600), Slot("1h", 7200)
TTL_MS = 60_000
DATA = b"x" * 100_000


async def write(store: RedisStore, slot: Slot) -> bytes:
    """Another element of the slot."""
    element = new_element(KIND_ROLLUP, DATA)
    await store.fold("shop", [], [SlotWrite(slot, element, TTL_MS)])
    return element


async def read(store: RedisStore, *slots: Slot) -> dict[Slot, list[bytes]]:
    return (await store.read("shop", slots)).slots


async def test_what_did_not_change_is_read_again_and_what_did_is_new(
    redis_store: RedisStore,
) -> None:
    one, other = await write(redis_store, HOUR), await write(redis_store, LATER)
    for _ in range(2):
        assert await read(redis_store, HOUR, LATER) == {HOUR: [one], LATER: [other]}
    more = await write(redis_store, HOUR)
    assert await read(redis_store, LATER, HOUR) == {HOUR: [one, more], LATER: [other]}
    merged = new_element(KIND_ROLLUP, b"merged")
    assert await redis_store.compact("shop", HOUR, [one, more], merged, TTL_MS)
    assert await read(redis_store, HOUR, LATER) == {HOUR: [merged], LATER: [other]}


async def test_what_did_not_change_does_not_come_again(
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


async def test_what_was_dropped_is_gone(redis_store: RedisStore) -> None:
    await write(redis_store, HOUR)
    await read(redis_store, HOUR)
    await redis_store.drop("shop", [HOUR])
    assert await read(redis_store, HOUR) == {}
    again = await write(redis_store, HOUR)
    assert await read(redis_store, HOUR) == {HOUR: [again]}


async def test_a_reader_may_do_with_its_lists_what_it_likes(redis_store: RedisStore) -> None:
    element = await write(redis_store, HOUR)
    for _ in range(3):
        found = await read(redis_store, HOUR)
        assert found == {HOUR: [element]}
        found[HOUR].clear()


def test_what_was_not_asked_for_longest_makes_room() -> None:
    kept = SlotCache(bytes_max=25)
    for name in "ab":
        kept.keep(name, HOUR, [b"x" * 10])
    assert kept.known(["a"])["a"].elements == [b"x" * 10]
    kept.keep("c", HOUR, [b"y" * 10])
    assert set(kept.known(["a", "b", "c"])) == {"a", "c"}
    kept.keep("a", HOUR, [b"z" * 3])
    kept.keep("d", HOUR, [b"z" * 12])
    assert set(kept.known(["a", "c", "d"])) == {"a", "c", "d"}
    kept.keep("e", HOUR, [b"larger than all of the room" * 2])
    assert kept.known(["a", "c", "d", "e"]) == {}
    kept.keep("f", HOUR, [b"y" * 25])
    assert set(kept.known(["f"])) == {"f"}


def test_minutes_are_not_held() -> None:
    kept = SlotCache()
    kept.keep("a", Slot("1m", 0), [b"x" * 10])
    assert kept.known(["a"]) == {}
