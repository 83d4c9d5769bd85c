"""The contract of AlertStore, checked on every kind of store."""

from __future__ import annotations

import asyncio

from app.storage.interface.alerts import HISTORY_LENGTH_MAX, AlertChange, AlertTable
from app.storage.interface.store import Store

STATES, OUTBOX, RULES = AlertTable.STATES, AlertTable.OUTBOX, AlertTable.RULES
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
