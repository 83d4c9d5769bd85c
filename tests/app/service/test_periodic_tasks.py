"""The periodic tasks of workers: refresh secrets in advance, end replaced secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.access.access_copy import AccessCopy
from app.access.drain_admin import DrainAdmin
from app.access.drain_election import elect_drain, pack_state
from app.access.drain_registry import DrainRegistry
from app.access.drain_secrets import RETIRED_AFTER_S, create_record, decode, encode, rotate_secret
from app.access.rejected_logins import RejectedLogins, recent_rejected_logins
from app.service.periodic_tasks import PeriodicTasks
from app.storage.interface.batches import StatePrecondition
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait
from tests.support.arrivals import make_batch
from tests.support.batches import batch
from tests.support.registry import access_copy, drain_registry, put_drain
from tests.support.service import Clock

TIMEOUT_S = 10


@asynccontextmanager
async def running(tasks: PeriodicTasks) -> AsyncIterator[None]:
    task = asyncio.create_task(tasks.run())
    try:
        yield
    finally:
        await cancel_and_wait([task])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():
            await asyncio.sleep(0.01)


def periodic_tasks(
    store: Store, clock: Clock, access: AccessCopy, rejected_logins: RejectedLogins
) -> PeriodicTasks:
    drain_admin = DrainAdmin(store, clock, "https://metrics.example.com")
    return PeriodicTasks(
        frequent=(access.refresh, rejected_logins.publish), occasional=(drain_admin.retire_secrets,)
    )


class CountingStore(MemoryStore):
    """A store that counts how often its registry is read."""

    registry_reads = 0

    async def drains(self) -> dict[str, str]:
        self.registry_reads += 1
        return await super().drains()


async def test_the_registry_is_read_in_advance() -> None:
    clock = Clock()
    store = CountingStore(clock)
    await put_drain(
        store, "shop", encode(create_record("secret", int(clock.now_s), last_generation=0))
    )
    access = access_copy(store, clock)
    drains = DrainRegistry(store, access, clock)
    before = store.registry_reads
    async with running(
        periodic_tasks(store, clock, access, RejectedLogins(store, clock, name="1"))
    ):
        await until(
            lambda: store.registry_reads > before + 1
        )  # by the copy, and by the end of old secrets
    reads = store.registry_reads
    assert await drains.verify("shop", "secret") == 1
    assert store.registry_reads == reads


async def test_a_replaced_secret_ends_a_day_after_the_switch() -> None:
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
    claim = make_batch(drain="d.new", generation=2).claim
    guard = StatePrecondition(b"", pack_state(elect_drain(None, claim)[0]))
    days = 10 * 86_400_000
    await store.append(
        {"shop": [batch()]}, id_ttl_ms=days, inbox_ttl_ms=days, preconditions={"shop": guard}
    )
    has_ended = False
    async with running(
        periodic_tasks(
            store, clock, access_copy(store, clock), RejectedLogins(store, clock, name="1")
        )
    ):
        async with asyncio.timeout(TIMEOUT_S):
            while not has_ended:
                await asyncio.sleep(0.01)
                has_ended = decode((await store.drains())["shop"]).secrets[0].until_s > 0
    drains = drain_registry(store, clock)
    assert [await drains.verify("shop", secret) for secret in ("old", "new")] == [1, 2]
    clock.now_s += RETIRED_AFTER_S
    assert [await drains.verify("shop", secret) for secret in ("old", "new")] == [0, 2]


async def test_rejected_logins_are_published() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    rejected_logins = RejectedLogins(store, clock, name="1")
    rejected_logins.add("shop", "", "wrong secret")
    async with running(periodic_tasks(store, clock, access_copy(store, clock), rejected_logins)):
        async with asyncio.timeout(TIMEOUT_S):
            while not await recent_rejected_logins(store):
                await asyncio.sleep(0.01)
