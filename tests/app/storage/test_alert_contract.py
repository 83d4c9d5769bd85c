"""The contract of alert_port.AlertStore, on every store."""

from __future__ import annotations

import asyncio

from app.storage.alert_interface import HISTORY_LENGTH_MAX, AlertChange, AlertTable
from app.storage.interface import Store

STATES, OUTBOX, RULES = AlertTable.STATES, AlertTable.OUTBOX, AlertTable.RULES
MINUTE_MS = 60_000


async def test_one_of_many_holds_the_lease(store: Store) -> None:
    taken = await asyncio.gather(
        *(store.hold_alert_lease(f"worker {number}", MINUTE_MS) for number in range(10))
    )

    assert sum(taken) == 1
    holder = f"worker {taken.index(True)}"
    assert await store.hold_alert_lease(holder, MINUTE_MS)
    assert not await store.hold_alert_lease("another", MINUTE_MS)


async def test_a_lease_that_was_let_go_is_free_and_nobody_ends_that_of_another(
    store: Store,
) -> None:
    await store.hold_alert_lease("one", MINUTE_MS)
    await store.end_alert_lease("two")
    assert not await store.hold_alert_lease("two", MINUTE_MS)

    await store.end_alert_lease("one")

    assert await store.hold_alert_lease("two", MINUTE_MS)


async def test_a_lease_ends_by_itself(store: Store) -> None:
    await store.hold_alert_lease("one", 1)

    async with asyncio.timeout(5):
        while not await store.hold_alert_lease("two", MINUTE_MS):
            await asyncio.sleep(0.001)


async def test_records_are_written_replaced_and_removed(store: Store) -> None:
    await store.change_alerts(
        [AlertChange(STATES, "shop", b"\xff\0one"), AlertChange(OUTBOX, "m:c", b"message")]
    )
    await store.change_alerts(
        [AlertChange(STATES, "shop", b"two"), AlertChange(OUTBOX, "m:c", b"")]
    )

    assert await store.alert_tables(STATES, OUTBOX, RULES) == [{"shop": b"two"}, {}, {}]


async def test_whoever_lost_the_lease_changes_nothing(store: Store) -> None:
    await store.hold_alert_lease("one", MINUTE_MS)
    changes = [AlertChange(STATES, "shop", b"state"), AlertChange(OUTBOX, "m:c", b"message")]

    late = await store.change_alerts(changes, history={"shop": [b"told"]}, lease="two")
    assert not late
    assert await store.alert_tables(STATES, OUTBOX) == [{}, {}]
    assert await store.alert_history(["shop"], 10) == {}

    assert await store.change_alerts(changes, history={"shop": [b"told"]}, lease="one")
    assert await store.alert_tables(STATES) == [{"shop": b"state"}]
    assert await store.alert_history(["shop"], 10) == {"shop": [b"told"]}


async def test_a_history_has_the_newest_first_and_an_end(store: Store) -> None:
    for number in range(HISTORY_LENGTH_MAX + 5):
        await store.change_alerts([], history={"shop": [b"%d" % number]})
    await store.change_alerts([], history={"blog": [b"first", b"then"]})

    found = await store.alert_history(["shop", "blog", "none"], HISTORY_LENGTH_MAX * 2)

    assert set(found) == {"shop", "blog"}
    assert len(found["shop"]) == HISTORY_LENGTH_MAX
    assert found["shop"][0] == b"%d" % (HISTORY_LENGTH_MAX + 4)
    assert found["blog"] == [b"then", b"first"]
    assert await store.alert_history(["blog"], 1) == {"blog": [b"then"]}
