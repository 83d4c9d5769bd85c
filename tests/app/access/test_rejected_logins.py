"""Refused log-ins: the last few, of all workers, with nothing in them that was not meant for us."""

from __future__ import annotations

import pytest

from app.access.rejected_logins import REFUSALS_MAX, RejectedLogins, recent_rejected_logins
from app.storage.memory import MemoryStore
from tests.support.service import Clock

TOKEN = "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


async def test_the_same_refusal_is_counted_whichever_worker_saw_it(
    clock: Clock, store: MemoryStore
) -> None:
    start_s = int(clock.now_s)
    for worker in ("1", "2"):
        refusals = RejectedLogins(store, clock, name=worker)
        for _ in range(3):
            refusals.add("shop", TOKEN, "wrong secret")
            clock.now_s += 1
        await refusals.publish()
    (refusal,) = await recent_rejected_logins(store)
    assert (refusal.user, refusal.token, refusal.reason) == ("shop", TOKEN, "wrong secret")
    assert (refusal.count, refusal.first_s, refusal.last_s) == (6, start_s, start_s + 5)


async def test_only_the_last_ones_are_kept(clock: Clock, store: MemoryStore) -> None:
    refusals = RejectedLogins(store, clock, name="1")
    for number in range(3 * REFUSALS_MAX):
        refusals.add(f"app-{number}", "", "unknown app")
        clock.now_s += 1
    await refusals.publish()
    kept = await recent_rejected_logins(store)
    assert [each.user for each in kept] == [
        f"app-{number}" for number in reversed(range(2 * REFUSALS_MAX, 3 * REFUSALS_MAX))
    ]


@pytest.mark.parametrize(
    ("user", "token"),
    [("jane@example.com", "hunter2"), ("a b", "d.x"), ("<b>", "\r\nx: y"), ("A" * 43, TOKEN[2:])],
)
async def test_what_is_neither_an_app_nor_a_drain_is_not_kept(
    clock: Clock, store: MemoryStore, user: str, token: str
) -> None:
    refusals = RejectedLogins(store, clock, name="1")
    refusals.add(user, token, "unknown app")
    await refusals.publish()
    (refusal,) = await recent_rejected_logins(store)
    assert (refusal.user, refusal.token) == ("", "")
