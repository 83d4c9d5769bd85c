"""Faults that only a real server shows: lost replies, errors, outages, unusable settings."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from tempfile import TemporaryDirectory
from traceback import format_exception

import pytest
import redis.asyncio

from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import AppendResult, Outcome, StatePrecondition
from app.storage.interface.elements import Slot, new_element
from app.storage.interface.errors import StoreError, StoreUnavailable
from app.storage.interface.folding import Fold
from app.storage.interface.rollups import Contents, Part
from app.storage.redis.keys import slot_key
from app.storage.redis.server_info import durability_warnings
from app.storage.redis.store import RedisStore, connect
from tests.support.batches import (
    DAY_MS,
    MINUTE,
    TOTAL,
    append,
    append_bundle,
    batch,
    bundle,
    fill,
    inbox,
    slot_of,
    write,
)
from tests.support.proxy import proxy_to
from tests.support.servers import RunningServer, running_server, server_names
from tests.support.store_calls import compact, fold, read_inbox

HOUR_MS = 3_600_000


async def test_a_retry_after_a_lost_reply_stores_the_batch_once(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        retried_batch = batch()
        await append(store, "shop", batch())
        proxy.replies_to_lose = 1

        with pytest.raises(StoreUnavailable):
            await append(store, "shop", retried_batch)

        assert await append(store, "shop", retried_batch) == AppendResult([Outcome.OWN_RETRY], 0)
        assert len(await inbox(store, "shop")) == 2
        await store.close()


async def test_a_fold_repeated_after_a_lost_reply_changes_nothing(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        elements = await fill(store, "shop", 3)
        await fold(store, "shop", [], [])
        proxy.replies_to_lose = 1

        with pytest.raises(StoreUnavailable):
            await fold(store, "shop", elements, [write()])

        assert await fold(store, "shop", elements, [write()]) is None
        assert len(await slot_of(store, "shop")) == 1
        await store.close()


async def test_appends_and_folds_of_one_app_that_fail_do_not_affect_the_others(
    server: RunningServer,
) -> None:
    store = connect(server.url)
    client = redis.asyncio.Redis.from_url(server.url)
    await client.set("dm:{blog}:inbox", "not a list")
    apps = ["api", "blog", "shop"]
    coalesced_by_app = {app: bundle(batch()) for app in apps}

    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.append_coalesced(coalesced_by_app, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)
    assert await client.llen("dm:{shop}:inbox") == await client.llen("dm:{api}:inbox") == 1

    await client.delete("dm:{blog}:inbox")
    assert (
        await append_bundle(store, "blog", coalesced_by_app["blog"]) == 1
    )  # its id was not recorded
    earlier, second = write(), Slot("10m", MINUTE.start)
    await fold(store, "blog", [], [earlier])
    await client.set(slot_key("blog", TOTAL), "not a list")
    elements = await store.read_inboxes(apps, 10, 2**20)
    writes = [write(), write(second), write(), write(TOTAL)]
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.fold_all({app: Fold(elements[app], writes) for app in apps})
    assert await store.inbox_lengths(apps) == {"api": 0, "blog": 1, "shop": 0}
    slots = [MINUTE, second]
    assert (await store.read("blog", slots)).slots == {MINUTE: [earlier.element]}
    new_elements = [slot_write.element for slot_write in writes]
    assert (await store.read("shop", slots)).slots == {
        MINUTE: [new_elements[0], new_elements[2]],
        second: [new_elements[1]],
    }
    await client.aclose()
    await store.close()


async def test_the_ttl_of_an_inbox_is_extended_with_its_state(server: RunningServer) -> None:
    store = connect(server.url)
    client = redis.asyncio.Redis.from_url(server.url)

    async def append_and_read_ttl_ms(old_state: bytes, new_state: bytes) -> int:
        await client.pexpire("dm:{shop}:inbox", HOUR_MS)
        preconditions = {"shop": StatePrecondition(old_state, new_state)}
        assert await append_bundle(store, "shop", bundle(batch()), preconditions)
        return int(await client.pttl("dm:{shop}:inbox"))

    assert await append_and_read_ttl_ms(b"", b"one") > HOUR_MS  # a new inbox
    assert await append_and_read_ttl_ms(b"one", b"") <= HOUR_MS
    assert await append_and_read_ttl_ms(b"one", b"two") > HOUR_MS
    await client.pexpire("dm:{shop}:inbox", 2 * DAY_MS)
    assert await append_bundle(
        store, "shop", bundle(batch()), {"shop": StatePrecondition(b"two", b"three")}
    )
    assert await client.pttl("dm:{shop}:inbox") > DAY_MS
    await client.aclose()
    await store.close()


async def test_appends_of_many_apps_are_one_round_trip(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        await append(store, "shop", batch())
        before = proxy.requests

        await store.append(
            {f"app-{i}": [batch()] for i in range(20)}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS
        )

        assert proxy.requests == before + 1
        await store.close()


async def test_scripts_that_the_server_lost_are_loaded_again(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    server.client.script_flush()
    answers = await redis_store.append(
        {"shop": [batch()], "blog": [batch()]}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS
    )
    server.client.script_flush()
    lengths = await fold(redis_store, "shop", elements, [write()])
    server.client.script_flush()
    contents = await redis_store.read("shop", [MINUTE])
    server.client.script_flush()
    element = new_element(b"C", b"merged")
    is_compacted = await compact(
        redis_store, "shop", MINUTE, contents.slots[MINUTE], element, DAY_MS
    )

    assert answers == {
        "shop": AppendResult([Outcome.STORED], 3),
        "blog": AppendResult([Outcome.STORED], 1),
    }
    assert lengths == {MINUTE: 1}
    assert len(contents.inbox) == 1
    assert is_compacted is True


@pytest.mark.parametrize("is_coalesced", [False, True])
@pytest.mark.parametrize("before", [0, 1, 2])  # the second append replaces the older ids
async def test_a_full_server_rejects_an_append_without_any_effect(
    redis_store: RedisStore, server: RunningServer, before: int, is_coalesced: bool
) -> None:
    elements = [element for _ in range(before) for element in await fill(redis_store, "shop", 1)]
    rejected_batch = batch()
    server.client.config_set("maxmemory", 1)

    with pytest.raises(StoreUnavailable, match="Raise its maxmemory"):
        if is_coalesced:
            await append_bundle(redis_store, "shop", bundle(rejected_batch))
        else:
            await append(redis_store, "shop", rejected_batch)
    assert await inbox(redis_store, "shop") == elements

    server.client.config_set("maxmemory", 0)
    assert (await append(redis_store, "shop", rejected_batch)).outcomes == [Outcome.STORED]


async def test_a_full_server_can_be_read(redis_store: RedisStore, server: RunningServer) -> None:
    """It rejects the commands of a transaction, even if they only read."""
    elements = await fill(redis_store, "shop", 2)
    await fold(redis_store, "shop", elements[:1], [slot_write := write()])
    server.client.config_set("maxmemory", 1)

    expected = Contents(elements[1:], {MINUTE: [slot_write.element]})
    assert await redis_store.read("shop", [TOTAL, MINUTE]) == expected
    assert await redis_store.read_many([("shop", [MINUTE])]) == [expected]
    assert await redis_store.read_parts([("shop", [MINUTE])], 1) == [Part(expected, 1)]


async def test_a_full_server_still_folds_and_compacts(
    redis_store: RedisStore, server: RunningServer
) -> None:
    """Otherwise nothing could free its memory."""
    elements = await fill(redis_store, "shop", 10)
    server.client.config_set("maxmemory", 1)

    assert await fold(redis_store, "shop", elements, [write(), write()]) == {MINUTE: 2}
    merge = new_element(b"C", b"merged")
    slot_elements = await slot_of(redis_store, "shop")
    assert await compact(redis_store, "shop", MINUTE, slot_elements, merge, DAY_MS) is True
    assert await slot_of(redis_store, "shop") == [merge]


async def test_one_app_that_fails_fails_the_call_and_a_repetition_completes_it(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.set("dm:{blog}:inbox", "not a list")
    groups = {"blog": [batch()], "shop": [batch()]}

    with pytest.raises(StoreUnavailable):
        await redis_store.append(groups, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)
    server.client.delete("dm:{blog}:inbox")
    answers = await redis_store.append(groups, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)

    assert answers == {
        "blog": AppendResult([Outcome.STORED], 1),
        "shop": AppendResult([Outcome.OWN_RETRY], 0),
    }


async def test_a_fold_onto_a_key_that_is_no_list_changes_nothing(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    server.client.set(f"dm:{{shop}}:1m:{MINUTE.start}", "not a list")

    with pytest.raises(StoreUnavailable):
        await fold(redis_store, "shop", elements, [write(TOTAL), write(MINUTE)])

    contents = await redis_store.read("shop", [TOTAL])
    assert contents == (elements, {})


async def test_a_replica_is_rejected_with_the_advice_to_name_the_primary(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailable, match="set it to the primary"):
        await append(redis_store, "shop", batch())


async def test_every_method_reports_that_a_server_is_unavailable() -> None:
    store = connect("unix:///nonexistent/redis.sock")
    calls = [
        append(store, "shop", batch()),
        read_inbox(store, "shop", 1),
        fold(store, "shop", [], [write()]),
        compact(store, "shop", MINUTE, [b""], b"", 1),
        store.read("shop", [MINUTE]),
        store.inbox_lengths(["shop"]),
        store.record_sightings([SeenApp("shop", 1, 1, 0)], ttl_ms=1),
        store.seen_apps(),
        store.forget_apps(1),
        store.remove_app("shop", [], now_s=1, ttl_ms=1),
        store.removed_apps(),
        store.compare_and_set_drain("shop", "", "hash"),
        store.drains(),
        store.access_tables(),
        store.compare_and_set_note("loss", "", "note"),
        store.write_status("fold:1", {"at": "1"}, ttl_ms=1),
        store.statuses(),
        store.identity(),
        store.problems(),
        store.episodes(["shop"], 1),
    ]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    for answer in answers:
        assert isinstance(answer, StoreUnavailable)
        assert "Check that it is running" in str(answer)
    await store.close()


async def test_connections_that_broke_are_replaced(
    redis_store: RedisStore, server: RunningServer
) -> None:
    new_batch = batch()
    await append(redis_store, "shop", batch())
    server.client.client_kill_filter(_type="normal", skipme=True)

    outcomes: list[Outcome] = []
    while not outcomes:
        with suppress(StoreUnavailable):
            outcomes = (await append(redis_store, "shop", new_batch)).outcomes

    assert outcomes == [Outcome.STORED]


@pytest.mark.parametrize("name", server_names())
async def test_a_wrong_password_is_reported_but_not_quoted(name: str) -> None:
    with running_server(name, "--requirepass", "right") as server:
        for url in (server.url, server.url.replace("unix://", "unix://:s3cret@")):
            store = connect(url)
            with pytest.raises(StoreUnavailable, match="Check the user and password") as error:
                await append(store, "shop", batch())
            assert "s3cret" not in str(error.value)
            await store.close()


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://localhost", "redis://:s3cret/pass@host:6379", "redis://h:no"]
)
def test_an_unreadable_url_is_reported_but_its_password_not_quoted(url: str) -> None:
    with pytest.raises(StoreError, match="redis://USER:PASSWORD@HOST:PORT") as error:
        connect(url)
    assert "s3cret" not in "".join(format_exception(error.value))


async def test_a_server_that_may_evict_data_is_a_problem_with_its_fix(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory-policy", "allkeys-lru")

    (problem,) = await redis_store.problems()

    assert "allkeys-lru" in problem
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in problem


async def test_a_server_that_keeps_nothing_or_may_count_twice_after_a_crash_is_a_warning(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("save", "")
    server.client.config_set("appendonly", "no")
    assert ["all data at a restart" in text for text in await redis_store.warnings()] == [True]

    server.client.config_set("appendonly", "yes")
    server.client.config_set("aof-load-truncated", "yes")
    warnings = await redis_store.warnings()
    version = server.client.info().get("valkey_version", "0")
    if [int(part) for part in version.split(".")] >= [9, 1, 2]:  # it cuts torn transactions off
        assert warnings == []
    else:
        assert ["count batches twice" in text for text in warnings] == [True]
        assert "redis-cli CONFIG SET aof-load-truncated no" in warnings[0]

    server.client.config_set("aof-load-truncated", "no")
    assert await redis_store.warnings() == []


@pytest.mark.parametrize(
    ("unsaved", "age_s", "warns"), [(5, 3 * 3600, True), (5, 1800, False), (0, 3 * 3600, False)]
)
def test_a_server_that_hides_its_settings_is_judged_by_what_it_saved(
    unsaved: int, age_s: int, warns: bool
) -> None:
    info = {
        "aof_enabled": 0,
        "server_time_usec": 1_800_000_000_000_000,
        "rdb_last_save_time": 1_800_000_000 - age_s,
        "rdb_changes_since_last_save": unsaved,
    }
    assert bool(list(durability_warnings(info, {}))) == warns


async def test_many_concurrent_calls_share_few_connections(
    redis_store: RedisStore, server: RunningServer
) -> None:
    await asyncio.gather(*(append(redis_store, f"app-{i}", batch()) for i in range(200)))

    assert len(server.client.client_list()) < 30


@pytest.mark.parametrize(
    ("info", "problems"),
    [
        (b"redis_version:6.0.16", ["Redis 6.0.16 is too old. Upgrade it to 6.2 or newer."]),
        (b"redis_version:6.2.0", []),
        (b"redis_version:10.0.1", []),
        (b"redis_version:6.0.0\r\nvalkey_version:9.1.2", []),
    ],
)
async def test_a_server_that_is_too_old_is_a_problem(info: bytes, problems: list[str]) -> None:
    """Tested with a fake that answers only INFO: no server that old is available any more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while commands := await reader.read(65_536):
            for command in commands.split(b"*")[1:]:
                is_info = b"\r\nINFO\r\n" in command
                writer.write(
                    b"$%d\r\n%s\r\n" % (len(info), info) if is_info else b"-ERR unknown\r\n"
                )
        writer.close()

    with TemporaryDirectory(prefix="dynometer-") as directory:
        async with await asyncio.start_unix_server(answer, f"{directory}/sock"):
            store = connect(f"unix://{directory}/sock?protocol=2")
            assert await store.problems() == problems
            await store.close()
