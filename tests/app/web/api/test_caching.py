"""Which answers clients may cache, and for how long."""

from __future__ import annotations

import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, router
from tests.support.service import Clock, client_of, post


@pytest.fixture
def clock() -> Clock:
    return Clock()


OLD = f"metric=requests&start={int(AT_S)}&end={int(AT_S) + 60}&step=1m"


async def test_answers_that_cannot_change_may_be_cached(clock: Clock) -> None:
    path = f"/api/v1/apps/shop/query?{OLD}"
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router())
        fresh = await client.get(path)
        assert fresh.headers["cache-control"] == "no-store"
        assert "etag" not in fresh.headers
        clock.now_s += 24 * 3_600 + 60
        old = await client.get(path)
        assert old.headers["cache-control"] == "private, max-age=3600"
        again = await client.get(path, headers={"If-None-Match": f'"x", {old.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == old.headers["etag"]
        mismatch = await client.get(path, headers={"If-None-Match": 'W/"0"'})
        assert (mismatch.status_code, mismatch.content) == (200, old.content)
        clock.now_s += 7 * 24 * 3_600
        assert "immutable" in (await client.get(path)).headers["cache-control"]


async def test_answers_relative_to_now_are_never_cached(clock: Clock) -> None:
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, router())
        for times in ("start=now-48h&end=now-25h", f"start={int(AT_S) - 999_999}&end=now-25h"):
            answer = await client.get(f"/api/v1/apps/shop/query?metric=requests&{times}")
            assert answer.headers["cache-control"] == "no-store"
