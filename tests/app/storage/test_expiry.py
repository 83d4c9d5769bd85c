"""No key without an end: counted from its last write, and never earlier than was asked for."""

from __future__ import annotations

from itertools import count

import pytest

from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import Batch, LogOffset, Outcome, SeenApp, Slot, new_element
from app.storage.redis.store import RedisStore
from tests.support.batches import (
    DAY_MS,
    MINUTE,
    TOTAL,
    append,
    append_bundle,
    batch,
    bundle,
    fill,
    slot_of,
    write,
)
from tests.support.registry import put_drain
from tests.support.servers import RunningServer

NEVER = -1  # what PTTL says of a key that does not expire
SLACK_MS = 60_000  # the most that a test may take
PERMANENT = {b"dm:drains", b"dm:{!alerts}:rules", b"dm:{!alerts}:channels"}

IDS, IDS_BEFORE = "dm:ids", "dm:ids:before"
INBOX = "dm:{shop}:inbox"
SLOT = f"dm:{{shop}}:1m:{MINUTE.start}"


def left_ms(server: RunningServer, key: str | bytes) -> int:
    left = server.client.pttl(key)
    assert isinstance(left, int)
    return left


def ids_in(server: RunningServer, key: str) -> int:
    """How many; "" stands in one that was begun anew."""
    fields = server.client.hkeys(key)
    assert isinstance(fields, list)
    return len(set(fields) - {b""})


async def test_every_key_expires_but_the_permanent_ones(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 5)
    writes = [
        write(Slot(name, MINUTE.start)) for name in ("1m", "10m", "1h", "total", "unreadable")
    ]
    await redis_store.fold("shop", elements[:3], [*writes, *writes])
    await redis_store.compact(
        "shop", MINUTE, await slot_of(redis_store, "shop"), new_element(b"C", b"merged"), DAY_MS
    )
    await redis_store.record_sightings([SeenApp("shop", 1, 2, 3)], ttl_ms=DAY_MS)
    await put_drain(redis_store, "shop", "hash")
    await redis_store.heartbeat("fold:1", {"at": "1"}, ttl_ms=DAY_MS)
    await redis_store.hold_alert_lease("worker", DAY_MS)
    await redis_store.change_alerts(
        [AlertChange(table, "shop", b"record") for table in AlertTable], history={"shop": [b"told"]}
    )

    keys = server.client.keys()

    assert isinstance(keys, list)
    assert len(keys) == 1 + 1 + 5 + 3 + 1 + 2 + 8  # inbox, ids, slots, seen, drains, beats, alerts
    left = {key: left_ms(server, key) for key in keys}
    assert {key for key, ms in left.items() if ms == NEVER} == PERMANENT
    assert min(ms for ms in left.values() if ms != NEVER) > DAY_MS - SLACK_MS


@pytest.mark.parametrize(("first", "then", "kept"), [(1, 2, 2), (2, 1, 2)])
async def test_an_append_prolongs_the_inbox_and_never_shortens_its_life(
    redis_store: RedisStore, server: RunningServer, first: int, then: int, kept: int
) -> None:
    for days in (first, then):
        await redis_store.append({"shop": [batch()]}, id_ttl_ms=DAY_MS, inbox_ttl_ms=days * DAY_MS)

    assert kept * DAY_MS - SLACK_MS < left_ms(server, INBOX) <= kept * DAY_MS


@pytest.mark.parametrize(("first", "then", "kept"), [(1, 2, 2), (2, 1, 2)])
async def test_a_fold_prolongs_its_slots_and_never_shortens_their_life(
    redis_store: RedisStore, server: RunningServer, first: int, then: int, kept: int
) -> None:
    for days in (first, then):
        await redis_store.fold("shop", [], [write(ttl_ms=days * DAY_MS)])

    assert kept * DAY_MS - SLACK_MS < left_ms(server, SLOT) <= kept * DAY_MS


@pytest.mark.parametrize(("first", "then", "kept"), [(1, 2, 2), (2, 1, 2)])
@pytest.mark.parametrize("compacted", [1, 3])
async def test_a_compaction_never_shortens_the_life_of_a_slot(
    redis_store: RedisStore,
    server: RunningServer,
    first: int,
    then: int,
    kept: int,
    compacted: int,
) -> None:
    """Compacting a whole list deletes it for an instant, and its time to live with it."""
    await redis_store.fold("shop", [], [write(ttl_ms=first * DAY_MS) for _ in range(3)])
    elements = await slot_of(redis_store, "shop")
    merged = new_element(b"C", b"merged")

    await redis_store.compact("shop", MINUTE, elements[:compacted], merged, then * DAY_MS)

    assert kept * DAY_MS - SLACK_MS < left_ms(server, SLOT) <= kept * DAY_MS


async def test_what_is_left_of_an_inbox_after_a_fold_keeps_its_life(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    await redis_store.fold("shop", elements[:1], [write(TOTAL)])

    assert left_ms(server, INBOX) > DAY_MS - SLACK_MS


async def test_an_id_is_kept_for_as_long_as_asked_whatever_is_asked_for_others(
    redis_store: RedisStore, server: RunningServer
) -> None:
    for ttl_ms in (DAY_MS, 1, DAY_MS, 1, 1):
        await redis_store.append({"shop": [batch()]}, id_ttl_ms=ttl_ms, inbox_ttl_ms=DAY_MS)
        if ttl_ms == DAY_MS:
            assert left_ms(server, IDS) > DAY_MS

    assert ids_in(server, IDS) + ids_in(server, IDS_BEFORE) == 5
    assert left_ms(server, IDS) > DAY_MS - SLACK_MS
    assert left_ms(server, IDS_BEFORE) > DAY_MS - SLACK_MS


async def test_that_a_batch_comes_again_does_not_prolong_the_life_of_its_id(
    redis_store: RedisStore, server: RunningServer
) -> None:
    sent, before = batch(), batch()
    await append(redis_store, "shop", before)
    await append(redis_store, "shop", sent)
    for key in (IDS, IDS_BEFORE):
        server.client.pexpire(key, DAY_MS // 2)
    await append(redis_store, "shop", sent, before)

    assert [ids_in(server, key) for key in (IDS, IDS_BEFORE)] == [1, 1]
    assert max(left_ms(server, key) for key in (IDS, IDS_BEFORE)) <= DAY_MS // 2


@pytest.mark.parametrize("way", ["one by one", "added up", "from a log"])
async def test_ids_that_are_no_longer_needed_are_dropped_together_and_no_others(
    redis_store: RedisStore, server: RunningServer, way: str
) -> None:
    offsets = count()

    async def known(each: Batch) -> bool:
        if way == "added up":
            return not await append_bundle(redis_store, "shop", bundle(each))
        if way == "one by one":
            return (await append(redis_store, "shop", each)).outcomes == [Outcome.OWN_RETRY]
        answers = await redis_store.append_from_log(
            {"shop": [each]},
            {"shop": [LogOffset("log", next(offsets))]},
            id_ttl_ms=DAY_MS,
            inbox_ttl_ms=DAY_MS,
        )
        return answers["shop"].outcomes == [Outcome.OWN_RETRY]

    first, second, third, fourth = (batch() for _ in range(4))
    assert [await known(each) for each in (first, second, third)] == [False] * 3
    assert [await known(each) for each in (first, second, third)] == [True] * 3
    server.client.pexpire(IDS_BEFORE, 900)  # the first, alone: the next would expire it

    assert not await known(fourth)

    assert [await known(each) for each in (second, third, fourth, first)] == [True] * 3 + [False]
    assert ids_in(server, IDS_BEFORE) == 2
    assert left_ms(server, IDS_BEFORE) > DAY_MS - SLACK_MS


async def test_a_sign_of_life_ends_and_its_name_is_forgotten(
    redis_store: RedisStore, server: RunningServer
) -> None:
    await redis_store.heartbeat("fold:1", {"at": "1"}, ttl_ms=DAY_MS)
    await redis_store.heartbeat("fold:2", {"at": "2"}, ttl_ms=DAY_MS)
    server.client.pexpire("dm:beat:fold:1", 0)

    assert await redis_store.heartbeats() == {"fold:2": {"at": "2"}}
    assert server.client.smembers("dm:beats") == {b"fold:2"}
