"""What workers do now and then: know the secrets before they are asked, end those replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.access.drain_admin import DrainAdmin
from app.access.drain_election import elect_drain, pack_state
from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import RETIRED_AFTER_S, create_record, decode, encode, rotate_secret
from app.access.rejected_logins import RejectedLogins, recent_rejected_logins
from app.service.periodic_tasks import PeriodicTasks
from app.storage.interface import StatePrecondition, Store
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait
from tests.support.arrivals import arrival
from tests.support.batches import batch
from tests.support.registry import put_drain
from tests.support.service import Clock

PATIENCE_S = 10


@asynccontextmanager
async def running(chores: PeriodicTasks) -> AsyncIterator[None]:
    task = asyncio.create_task(chores.run())
    try:
        yield
    finally:
        await cancel_and_wait([task])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def chores_of(
    store: Store, clock: Clock, drains: DrainRegistry, refusals: RejectedLogins
) -> PeriodicTasks:
    enrolment = DrainAdmin(store, clock, "https://metrics.example.com")
    return PeriodicTasks(
        frequent=(drains.refresh, refusals.publish), occasional=(enrolment.retire_secrets,)
    )


class Asked(MemoryStore):
    """A store that counts how often its registry is read."""

    asked = 0

    async def drains(self) -> dict[str, str]:
        self.asked += 1
        return await super().drains()


async def test_the_registry_is_read_before_anybody_asks() -> None:
    clock = Clock()
    store = Asked(clock)
    await put_drain(
        store, "shop", encode(create_record("secret", int(clock.now_s), last_generation=0))
    )
    drains = DrainRegistry(store, clock)
    before = store.asked
    async with running(chores_of(store, clock, drains, RejectedLogins(store, clock, name="1"))):
        await until(lambda: store.asked > before + 1)  # by the copy, and by the end of old secrets
    asked = store.asked
    assert await drains.verify("shop", "secret") == 1
    assert store.asked == asked


async def test_a_secret_that_was_replaced_ends_a_day_after_the_change_over() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    now_s = int(clock.now_s)
    drain = rotate_secret(
        create_record("old", now_s, last_generation=0),
        "new",
        now_s,
        active_generation=1,
        at_once=False,
    )
    await put_drain(store, "shop", encode(drain))
    claim = arrival(drain="d.new", generation=2).claim
    guard = StatePrecondition(b"", pack_state(elect_drain(None, claim)[0]))
    days = 10 * 86_400_000
    await store.append(
        {"shop": [batch()]}, id_ttl_ms=days, inbox_ttl_ms=days, preconditions={"shop": guard}
    )
    ended = False
    async with running(
        chores_of(store, clock, DrainRegistry(store, clock), RejectedLogins(store, clock, name="1"))
    ):
        async with asyncio.timeout(PATIENCE_S):
            while not ended:
                await asyncio.sleep(0.01)
                ended = decode((await store.drains())["shop"]).secrets[0].until_s > 0
    drains = DrainRegistry(store, clock)
    assert [await drains.verify("shop", secret) for secret in ("old", "new")] == [1, 2]
    clock.now_s += RETIRED_AFTER_S
    assert [await drains.verify("shop", secret) for secret in ("old", "new")] == [0, 2]


async def test_refusals_are_published() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    refusals = RejectedLogins(store, clock, name="1")
    refusals.add("shop", "", "wrong secret")
    async with running(chores_of(store, clock, DrainRegistry(store, clock), refusals)):
        async with asyncio.timeout(PATIENCE_S):
            while not await recent_rejected_logins(store):
                await asyncio.sleep(0.01)
