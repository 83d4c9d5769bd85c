"""What only a real server can do to a store: lose replies, refuse, be away, be unfit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from tempfile import TemporaryDirectory
from traceback import format_exception

import pytest
import redis.asyncio

from app.storage.interface import (
    Appended,
    Fold,
    Outcome,
    SeenApp,
    Slot,
    StatePrecondition,
    StoreError,
    StoreUnavailable,
    new_element,
)
from app.storage.redis.keys import slot_key
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

HOUR_MS = 3_600_000


async def test_a_retry_after_a_lost_reply_stores_the_batch_once(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        sent = batch()
        await append(store, "shop", batch())
        proxy.replies_to_lose = 1

        with pytest.raises(StoreUnavailable):
            await append(store, "shop", sent)

        assert await append(store, "shop", sent) == Appended([Outcome.OWN_RETRY], 0)
        assert len(await inbox(store, "shop")) == 2
        await store.close()


async def test_a_fold_repeated_after_a_lost_reply_changes_nothing(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        elements = await fill(store, "shop", 3)
        await store.fold("shop", [], [])
        proxy.replies_to_lose = 1

        with pytest.raises(StoreUnavailable):
            await store.fold("shop", elements, [write()])

        assert await store.fold("shop", elements, [write()]) is None
        assert len(await slot_of(store, "shop")) == 1
        await store.close()


async def test_bundles_and_folds_of_one_app_that_are_refused_cost_the_others_nothing(
    server: RunningServer,
) -> None:
    store = connect(server.url)
    client = redis.asyncio.Redis.from_url(server.url)
    await client.set("dm:{blog}:inbox", "is no list")
    apps = ["api", "blog", "shop"]
    sent = {app: bundle(batch()) for app in apps}

    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.append_bundles(sent, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)
    assert await client.llen("dm:{shop}:inbox") == await client.llen("dm:{api}:inbox") == 1

    await client.delete("dm:{blog}:inbox")
    assert await append_bundle(store, "blog", sent["blog"]) == 1  # its id was not taken
    earlier, second = write(), Slot("10m", MINUTE.start)
    await store.fold("blog", [], [earlier])
    await client.set(slot_key("blog", TOTAL), "is no list")
    elements = await store.read_inboxes(apps, 10)
    writes = [write(), write(second), write(), write(TOTAL)]
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.fold_all({app: Fold(elements[app], writes) for app in apps})
    assert await store.inbox_lengths(apps) == {"api": 0, "blog": 1, "shop": 0}
    slots = [MINUTE, second]
    assert (await store.read("blog", slots)).slots == {MINUTE: [earlier.element]}
    written = [each.element for each in writes]
    assert (await store.read("shop", slots)).slots == {
        MINUTE: [written[0], written[2]],
        second: [written[1]],
    }
    await client.aclose()
    await store.close()


async def test_the_life_of_an_inbox_is_prolonged_with_its_state(server: RunningServer) -> None:
    store = connect(server.url)
    client = redis.asyncio.Redis.from_url(server.url)

    async def life_ms(before: bytes, after: bytes) -> int:
        await client.pexpire("dm:{shop}:inbox", HOUR_MS)
        guards = {"shop": StatePrecondition(before, after)}
        assert await append_bundle(store, "shop", bundle(batch()), guards)
        return int(await client.pttl("dm:{shop}:inbox"))

    assert await life_ms(b"", b"one") > HOUR_MS  # it is new
    assert await life_ms(b"one", b"") <= HOUR_MS
    assert await life_ms(b"one", b"two") > HOUR_MS
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


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    server.client.script_flush()
    answers = await redis_store.append(
        {"shop": [batch()], "blog": [batch()]}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS
    )
    server.client.script_flush()
    lengths = await redis_store.fold("shop", elements, [write()])
    server.client.script_flush()
    contents = await redis_store.read("shop", [MINUTE])
    server.client.script_flush()
    element = new_element(b"C", b"merged")
    compacted = await redis_store.compact("shop", MINUTE, contents.slots[MINUTE], element, DAY_MS)

    assert answers == {"shop": Appended([Outcome.STORED], 3), "blog": Appended([Outcome.STORED], 1)}
    assert lengths == {MINUTE: 1}
    assert len(contents.inbox) == 1
    assert compacted is True


@pytest.mark.parametrize("added_up", [False, True])
@pytest.mark.parametrize("before", [0, 1, 2])  # the one behind the first turns ids over
async def test_a_full_server_refuses_an_append_without_any_effect(
    redis_store: RedisStore, server: RunningServer, before: int, added_up: bool
) -> None:
    elements = [element for _ in range(before) for element in await fill(redis_store, "shop", 1)]
    refused = batch()
    server.client.config_set("maxmemory", 1)

    with pytest.raises(StoreUnavailable, match="raise its maxmemory"):
        if added_up:
            await append_bundle(redis_store, "shop", bundle(refused))
        else:
            await append(redis_store, "shop", refused)
    assert await inbox(redis_store, "shop") == elements

    server.client.config_set("maxmemory", 0)
    assert (await append(redis_store, "shop", refused)).outcomes == [Outcome.STORED]


async def test_a_full_server_still_folds_and_compacts(
    redis_store: RedisStore, server: RunningServer
) -> None:
    """Otherwise nothing could ever free its memory."""
    elements = await fill(redis_store, "shop", 10)
    server.client.config_set("maxmemory", 1)

    assert await redis_store.fold("shop", elements, [write(), write()]) == {MINUTE: 2}
    merged = new_element(b"C", b"merged")
    written = await slot_of(redis_store, "shop")
    assert await redis_store.compact("shop", MINUTE, written, merged, DAY_MS) is True
    assert await slot_of(redis_store, "shop") == [merged]


async def test_one_app_that_is_refused_fails_the_call_and_a_repetition_mends_it(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.set("dm:{blog}:inbox", "no list")
    groups = {"blog": [batch()], "shop": [batch()]}

    with pytest.raises(StoreUnavailable):
        await redis_store.append(groups, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)
    server.client.delete("dm:{blog}:inbox")
    answers = await redis_store.append(groups, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)

    assert answers == {
        "blog": Appended([Outcome.STORED], 1),
        "shop": Appended([Outcome.OWN_RETRY], 0),
    }


async def test_a_fold_onto_a_key_that_is_no_list_changes_nothing(
    redis_store: RedisStore, server: RunningServer
) -> None:
    elements = await fill(redis_store, "shop", 2)
    server.client.set(f"dm:{{shop}}:1m:{MINUTE.start}", "no list")

    with pytest.raises(StoreUnavailable):
        await redis_store.fold("shop", elements, [write(TOTAL), write(MINUTE)])

    contents = await redis_store.read("shop", [TOTAL])
    assert contents == (elements, {})


async def test_a_replica_is_refused_with_the_advice_to_name_the_primary(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailable, match="name the primary"):
        await append(redis_store, "shop", batch())


async def test_every_method_says_that_a_server_is_away() -> None:
    store = connect("unix:///nonexistent/redis.sock")
    calls = [
        append(store, "shop", batch()),
        store.read_inbox("shop", 1),
        store.fold("shop", [], [write()]),
        store.compact("shop", MINUTE, [b""], b"", 1),
        store.read("shop", [MINUTE]),
        store.inbox_lengths(["shop"]),
        store.record_sightings([SeenApp("shop", 1, 1, 0)], ttl_ms=1),
        store.seen_apps(),
        store.forget_apps(1),
        store.swap_drain("shop", "", "hash"),
        store.drains(),
        store.heartbeat("fold:1", {"at": "1"}, ttl_ms=1),
        store.heartbeats(),
        store.check(),
    ]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    for answer in answers:
        assert isinstance(answer, StoreUnavailable)
        assert "check that it is running" in str(answer)
    await store.close()


async def test_connections_that_broke_are_replaced(
    redis_store: RedisStore, server: RunningServer
) -> None:
    sent = batch()
    await append(redis_store, "shop", batch())
    server.client.client_kill_filter(_type="normal", skipme=True)

    outcomes: list[Outcome] = []
    while not outcomes:
        with suppress(StoreUnavailable):
            outcomes = (await append(redis_store, "shop", sent)).outcomes

    assert outcomes == [Outcome.STORED]


@pytest.mark.parametrize("name", server_names())
async def test_a_wrong_password_is_told_and_not_repeated(name: str) -> None:
    with running_server(name, "--requirepass", "right") as server:
        for url in (server.url, server.url.replace("unix://", "unix://:s3cret@")):
            store = connect(url)
            with pytest.raises(StoreUnavailable, match="check the user and password") as refused:
                await append(store, "shop", batch())
            assert "s3cret" not in str(refused.value)
            await store.close()


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://localhost", "redis://:s3cret/pass@host:6379", "redis://h:no"]
)
def test_an_address_that_cannot_be_read_is_told_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="redis://USER:PASSWORD@HOST:PORT") as refused:
        connect(url)
    assert "s3cret" not in "".join(format_exception(refused.value))


async def test_a_server_that_may_evict_data_is_unfit_and_the_remedy_is_named(
    redis_store: RedisStore, server: RunningServer
) -> None:
    server.client.config_set("maxmemory-policy", "allkeys-lru")

    (problem,) = await redis_store.check()

    assert "allkeys-lru" in problem
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in problem


async def test_many_calls_at_once_share_few_connections(
    redis_store: RedisStore, server: RunningServer
) -> None:
    await asyncio.gather(*(append(redis_store, f"app-{i}", batch()) for i in range(200)))

    assert len(server.client.client_list()) < 30


@pytest.mark.parametrize(
    ("info", "problems"),
    [
        (b"redis_version:6.0.16", ["the store is Redis 6.0.16: upgrade it to 6.2 or newer"]),
        (b"redis_version:6.2.0", []),
        (b"redis_version:10.0.1", []),
        (b"redis_version:6.0.0\r\nvalkey_version:9.1.2", []),
    ],
)
async def test_a_server_that_is_too_old_is_unfit(info: bytes, problems: list[str]) -> None:
    """Against a stand-in that answers INFO only: no server that old can be had any more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while commands := await reader.read(65_536):
            for command in commands.split(b"*")[1:]:
                known = b"\r\nINFO\r\n" in command
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if known else b"-ERR unknown\r\n")
        writer.close()

    with TemporaryDirectory(prefix="dynometer-") as directory:
        async with await asyncio.start_unix_server(answer, f"{directory}/sock"):
            store = connect(f"unix://{directory}/sock?protocol=2")
            assert await store.check() == problems
            await store.close()
