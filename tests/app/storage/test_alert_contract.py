"""The contract of AlertStore, checked on every kind of store."""

from __future__ import annotations

import asyncio

from app.storage.interface.alerts import (
    EPISODES_LENGTH_MAX,
    HISTORY_LENGTH_MAX,
    AlertChange,
    AlertTable,
)
from app.storage.interface.store import Store

STATES, OUTBOX, RULES = AlertTable.STATES, AlertTable.OUTBOX, AlertTable.RULES
VERDICTS = AlertTable.VERDICTS
DAY_MS = 24 * 3_600_000
MINUTE_MS = 60_000


async def test_one_of_many_holds_the_lease(store: Store) -> None:
    results = await asyncio.gather(
        *(store.acquire_alert_lease(f"worker {number}", MINUTE_MS) for number in range(10))
    )

    assert sum(results) == 1
    holder = f"worker {results.index(True)}"
    assert await store.acquire_alert_lease(holder, MINUTE_MS)
    assert not await store.acquire_alert_lease("another", MINUTE_MS)


async def test_a_released_lease_is_free_and_only_its_holder_can_release_it(
    store: Store,
) -> None:
    await store.acquire_alert_lease("one", MINUTE_MS)
    await store.release_alert_lease("two")
    assert not await store.acquire_alert_lease("two", MINUTE_MS)

    await store.release_alert_lease("one")

    assert await store.acquire_alert_lease("two", MINUTE_MS)


async def test_a_lease_expires(store: Store) -> None:
    await store.acquire_alert_lease("one", 1)

    async with asyncio.timeout(5):
        while not await store.acquire_alert_lease("two", MINUTE_MS):
            await asyncio.sleep(0.001)


async def test_records_are_written_replaced_and_removed(store: Store) -> None:
    await store.change_alerts(
        [AlertChange(STATES, "shop", b"\xff\0one"), AlertChange(OUTBOX, "m:c", b"message")]
    )
    await store.change_alerts(
        [AlertChange(STATES, "shop", b"two"), AlertChange(OUTBOX, "m:c", b"")]
    )

    assert await store.alert_tables(STATES, OUTBOX, RULES) == [{"shop": b"two"}, {}, {}]


async def test_a_worker_that_lost_the_lease_changes_nothing(store: Store) -> None:
    await store.acquire_alert_lease("one", MINUTE_MS)
    changes = [AlertChange(STATES, "shop", b"state"), AlertChange(OUTBOX, "m:c", b"message")]

    is_changed = await store.change_alerts(changes, history={"shop": [b"entry"]}, lease="two")
    assert not is_changed
    assert await store.alert_tables(STATES, OUTBOX) == [{}, {}]
    assert await store.alert_history(["shop"], 10) == {}

    assert await store.change_alerts(changes, history={"shop": [b"entry"]}, lease="one")
    assert await store.alert_tables(STATES) == [{"shop": b"state"}]
    assert await store.alert_history(["shop"], 10) == {"shop": [b"entry"]}


async def test_a_history_is_bounded_and_newest_first(store: Store) -> None:
    for number in range(HISTORY_LENGTH_MAX + 5):
        await store.change_alerts([], history={"shop": [b"%d" % number]})
    await store.change_alerts([], history={"blog": [b"first", b"then"]})

    histories = await store.alert_history(["shop", "blog", "none"], HISTORY_LENGTH_MAX * 2)

    assert set(histories) == {"shop", "blog"}
    assert len(histories["shop"]) == HISTORY_LENGTH_MAX
    assert histories["shop"][0] == b"%d" % (HISTORY_LENGTH_MAX + 4)
    assert histories["blog"] == [b"then", b"first"]
    assert await store.alert_history(["blog"], 1) == {"blog": [b"then"]}


async def test_episodes_are_bounded_newest_first_and_apart_from_the_history(store: Store) -> None:
    numbered = [b"%d" % number for number in range(EPISODES_LENGTH_MAX + 5)]
    await store.change_alerts([], episodes={"shop": numbered[:300]})
    await store.change_alerts([], episodes={"shop": numbered[300:], "blog": [b"first", b"then"]})

    episodes = await store.episodes(["shop", "blog", "none"], EPISODES_LENGTH_MAX * 2)

    assert set(episodes) == {"shop", "blog"}
    assert episodes["shop"] == numbered[: -EPISODES_LENGTH_MAX - 1 : -1]
    assert episodes["blog"] == [b"then", b"first"]
    assert await store.episodes(["blog"], 1) == {"blog": [b"then"]}
    assert await store.alert_history(["shop", "blog"], 10) == {}


async def test_verdicts_and_episodes_are_written_with_the_lease_only(store: Store) -> None:
    await store.acquire_alert_lease("one", MINUTE_MS)
    changes = [AlertChange(VERDICTS, "shop", b"verdict")]

    assert not await store.change_alerts(changes, episodes={"shop": [b"over"]}, lease="two")
    assert await store.alert_tables(VERDICTS) == [{}]
    assert await store.episodes(["shop"], 10) == {}

    assert await store.change_alerts(
        changes, history={"shop": [b"entry"]}, episodes={"shop": [b"over"]}, lease="one"
    )
    assert await store.alert_tables(VERDICTS) == [{"shop": b"verdict"}]
    assert await store.episodes(["shop"], 10) == {"shop": [b"over"]}
    assert await store.alert_history(["shop"], 10) == {"shop": [b"entry"]}


async def test_a_removed_app_leaves_no_verdict_and_no_episode(store: Store) -> None:
    apps = ("shop", "workshop")
    await store.change_alerts(
        [AlertChange(VERDICTS, app, b"verdict") for app in apps],
        history={app: [b"entry"] for app in apps},
        episodes={app: [b"over"] for app in apps},
    )

    await store.remove_app("shop", [], now_s=60, ttl_ms=DAY_MS)

    assert await store.alert_tables(VERDICTS) == [{"workshop": b"verdict"}]
    assert await store.episodes(apps, 10) == {"workshop": [b"over"]}
    assert await store.alert_history(apps, 10) == {"workshop": [b"entry"]}
