"""Every key expires, counted from its last write and never earlier than requested."""

from __future__ import annotations

from itertools import count

import pytest

from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import REPLAY, Origin, SeenApp
from app.storage.interface.batches import Batch, LogOffset, Outcome
from app.storage.interface.elements import Slot, new_element
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
from tests.support.store_calls import compact, fold

NEVER = -1  # answer of PTTL for a key without expiry
TOLERANCE_MS = 60_000  # longer than any test takes
PERMANENT = {
    *(b"dm:identity", b"dm:drains", b"dm:access"),
    *(b"dm:{!alerts}:rules", b"dm:{!alerts}:channels"),
}

IDS, IDS_BEFORE = "dm:ids", "dm:ids:before"
INBOX = "dm:{shop}:inbox"
SLOT = f"dm:{{shop}}:1m:{MINUTE.start}"


def ttl_ms_of(server: RunningServer, key: str | bytes) -> int:
    ttl_ms = server.client.pttl(key)
    assert isinstance(ttl_ms, int)
    return ttl_ms


def count_ids(server: RunningServer, key: str) -> int:
    """The number of ids in one of the hashes; a new hash holds the field ""."""
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
    await fold(redis_store, "shop", elements[:3], [*writes, *writes])
    await compact(
        redis_store,
        "shop",
        MINUTE,
        await slot_of(redis_store, "shop"),
        new_element(b"C", b"merged"),
        DAY_MS,
    )
    await redis_store.remove_app("blog", [], now_s=1, ttl_ms=DAY_MS)
    origin = Origin(REPLAY, notifies=False)
    await redis_store.record_sightings([SeenApp("shop", 1, 2, 3, origin)], ttl_ms=DAY_MS)
    await put_drain(redis_store, "shop", "hash")
    await redis_store.compare_and_set_note("revoked:shop", "", "1")
    await redis_store.identity()
    await redis_store.write_status("fold:1", {"at": "1"}, ttl_ms=DAY_MS)
    await redis_store.acquire_alert_lease("worker", DAY_MS)
    await redis_store.change_alerts(
        [AlertChange(table, "shop", b"record") for table in AlertTable],
        history={"shop": [b"entry"]},
        episodes={"shop": [b"over"]},
    )

    keys = server.client.keys()

    assert isinstance(keys, list)
    # inbox, ids, slots, identity, seen with origins and removals, drains and notes, status records,
    # alerts
    assert len(keys) == 1 + 1 + 5 + 1 + 5 + 2 + 2 + 11
    ttls_ms = {key: ttl_ms_of(server, key) for key in keys}
    assert {key for key, ms in ttls_ms.items() if ms == NEVER} == PERMANENT
    assert min(ms for ms in ttls_ms.values() if ms != NEVER) > DAY_MS - TOLERANCE_MS


@pytest.mark.parametrize(("first", "then", "expected_days"), [(1, 2, 2), (2, 1, 2)])
async def test_an_append_extends_the_ttl_of_the_inbox_and_never_shortens_it(
    redis_store: RedisStore, server: RunningServer, first: int, then: int, expected_days: int
) -> None:
    for days in (first, then):
        await redis_store.append({"shop": [batch()]}, id_ttl_ms=DAY_MS, inbox_ttl_ms=days * DAY_MS)

    assert (
        expected_days * DAY_MS - TOLERANCE_MS < ttl_ms_of(server, INBOX) <= expected_days * DAY_MS
    )


@pytest.mark.parametrize(("first", "then", "expected_days"), [(1, 2, 2), (2, 1, 2)])
async def test_a_fold_extends_the_ttl_of_its_slots_and_never_shortens_it(
    redis_store: RedisStore, server: RunningServer, first: int, then: int, expected_days: int
) -> None:
    for days in (first, then):
        await fold(redis_store, "shop", [], [write(ttl_ms=days * DAY_MS)])

    assert expected_days * DAY_MS - TOLERANCE_MS < ttl_ms_of(server, SLOT) <= expected_days * DAY_MS


@pytest.mark.parametrize(("first", "then", "expected_days"), [(1, 2, 2), (2, 1, 2)])
@pytest.mark.parametrize("count", [1, 3])
async def test_a_compaction_never_shortens_the_ttl_of_a_slot(
    redis_store: RedisStore,
    server: RunningServer,
    first: int,
    then: int,
    expected_days: int,
    count: int,
) -> None:
    """If compaction emptied the list, its TTL would be lost."""
    await fold(redis_store, "shop", [], [write(ttl_ms=first * DAY_MS) for _ in range(3)])
    elements = await slot_of(redis_store, "shop")
    merge = new_element(b"C", b"merged")

    await compact(redis_store, "shop", MINUTE, elements[:count], merge, then * DAY_MS)

    assert expected_days * DAY_MS - TOLERANCE_MS < ttl_ms_of(server, SLOT) <= expected_days * DAY_MS


async def test_the_rest_of_an_inbox_keeps_its_ttl_after_a_fold(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    await fold(redis_store, "shop", elements[:1], [write(TOTAL)])

    assert ttl_ms_of(server, INBOX) > DAY_MS - TOLERANCE_MS


async def test_an_id_is_kept_as_long_as_requested_even_if_others_ask_for_less(
    redis_store: RedisStore, server: RunningServer
) -> None:
    for ttl_ms in (DAY_MS, 1, DAY_MS, 1, 1):
        await redis_store.append({"shop": [batch()]}, id_ttl_ms=ttl_ms, inbox_ttl_ms=DAY_MS)
        if ttl_ms == DAY_MS:
            assert ttl_ms_of(server, IDS) > DAY_MS

    assert count_ids(server, IDS) + count_ids(server, IDS_BEFORE) == 5
    assert ttl_ms_of(server, IDS) > DAY_MS - TOLERANCE_MS
    assert ttl_ms_of(server, IDS_BEFORE) > DAY_MS - TOLERANCE_MS


async def test_a_repeated_batch_does_not_extend_the_ttl_of_its_id(
    redis_store: RedisStore, server: RunningServer
) -> None:
    newer, older = batch(), batch()
    await append(redis_store, "shop", older)
    await append(redis_store, "shop", newer)
    for key in (IDS, IDS_BEFORE):
        server.client.pexpire(key, DAY_MS // 2)
    await append(redis_store, "shop", newer, older)

    assert [count_ids(server, key) for key in (IDS, IDS_BEFORE)] == [1, 1]
    assert max(ttl_ms_of(server, key) for key in (IDS, IDS_BEFORE)) <= DAY_MS // 2


async def test_ids_that_vanished_have_a_ttl_again_with_the_next_batch(
    redis_store: RedisStore, server: RunningServer
) -> None:
    for _ in range(2):
        assert await append_bundle(redis_store, "shop", bundle(batch()))
        assert ttl_ms_of(server, IDS) > DAY_MS
        server.client.flushall()


@pytest.mark.parametrize("method", ["one by one", "coalesced", "from a log"])
async def test_expired_ids_are_deleted_together_and_no_others(
    redis_store: RedisStore, server: RunningServer, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.storage.redis.store.TTLS_DUE_S", 0)
    offsets = count()

    async def is_known(entry: Batch) -> bool:
        if method == "coalesced":
            return not await append_bundle(redis_store, "shop", bundle(entry))
        if method == "one by one":
            return (await append(redis_store, "shop", entry)).outcomes == [Outcome.OWN_RETRY]
        answers = await redis_store.append_from_log(
            {"shop": [entry]},
            {"shop": [LogOffset("log", next(offsets))]},
            id_ttl_ms=DAY_MS,
            inbox_ttl_ms=DAY_MS,
        )
        return answers["shop"].outcomes == [Outcome.OWN_RETRY]

    first, second, third, fourth = (batch() for _ in range(4))
    assert [await is_known(entry) for entry in (first, second, third)] == [False] * 3
    assert [await is_known(entry) for entry in (first, second, third)] == [True] * 3
    server.client.pexpire(IDS_BEFORE, 900)  # the first, alone: the next would expire it

    assert not await is_known(fourth)

    assert [await is_known(entry) for entry in (second, third, fourth, first)] == [True] * 3 + [
        False
    ]
    assert count_ids(server, IDS_BEFORE) == 2
    assert ttl_ms_of(server, IDS_BEFORE) > DAY_MS - TOLERANCE_MS


async def test_a_heartbeat_expires_and_its_name_is_removed(
    redis_store: RedisStore, server: RunningServer
) -> None:
    await redis_store.write_status("fold:1", {"at": "1"}, ttl_ms=DAY_MS)
    await redis_store.write_status("fold:2", {"at": "2"}, ttl_ms=DAY_MS)
    server.client.pexpire("dm:beat:fold:1", 0)

    assert await redis_store.statuses() == {"fold:2": {"at": "2"}}
    assert server.client.smembers("dm:beats") == {b"fold:2"}
