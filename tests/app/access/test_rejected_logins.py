"""Rejected logins: the last of all workers, without anything that may be a misplaced secret."""

from __future__ import annotations

import pytest

from app.access.rejected_logins import REJECTED_LOGINS_MAX, RejectedLogins, recent_rejected_logins
from app.storage.memory import MemoryStore
from tests.support.service import Clock

TOKEN = "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


async def test_equal_rejections_are_added_up_across_workers(
    clock: Clock, store: MemoryStore
) -> None:
    start_s = int(clock.now_s)
    for worker in ("1", "2"):
        rejected_logins = RejectedLogins(store, clock, name=worker)
        for _ in range(3):
            rejected_logins.add("shop", TOKEN, "wrong secret")
            clock.now_s += 1
        await rejected_logins.publish()
    (login,) = await recent_rejected_logins(store)
    assert (login.user, login.token, login.reason) == ("shop", TOKEN, "wrong secret")
    assert (login.count, login.first_s, login.last_s) == (6, start_s, start_s + 5)


async def test_only_the_last_ones_are_kept(clock: Clock, store: MemoryStore) -> None:
    rejected_logins = RejectedLogins(store, clock, name="1")
    for number in range(3 * REJECTED_LOGINS_MAX):
        rejected_logins.add(f"app-{number}", "", "unknown app")
        clock.now_s += 1
    await rejected_logins.publish()
    logins = await recent_rejected_logins(store)
    assert [login.user for login in logins] == [
        f"app-{number}"
        for number in reversed(range(2 * REJECTED_LOGINS_MAX, 3 * REJECTED_LOGINS_MAX))
    ]


@pytest.mark.parametrize(
    ("user", "token"),
    [("jane@example.com", "hunter2"), ("a b", "d.x"), ("<b>", "\r\nx: y"), ("A" * 43, TOKEN[2:])],
)
async def test_text_that_is_neither_an_app_nor_a_drain_is_not_stored(
    clock: Clock, store: MemoryStore, user: str, token: str
) -> None:
    rejected_logins = RejectedLogins(store, clock, name="1")
    rejected_logins.add(user, token, "unknown app")
    await rejected_logins.publish()
    (login,) = await recent_rejected_logins(store)
    assert (login.user, login.token) == ("", "")
