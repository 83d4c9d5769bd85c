"""Two drains of one app deliver the same 100,000 lines: each counts once, and none is missing."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from app.access.drain_election import unpack_state
from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.storage.redis.store import RedisStore
from tests.support.lines import router
from tests.support.registry import put_drain
from tests.support.service import Clock, client_of, post

LINES = 100_000
PER_POST = 250
SPAN_S = 900  # time range of the timestamps
NEW_FROM = 30_000  # the new drain is added after this many lines
OLD_MINUTES_MORE = 2  # the old drain delivers for this long after the changeover
LAG_POSTS = 5  # a drain may deliver up to this many POSTs late and out of order
TOKEN = "an-admin-token-of-some-length"
OLD, NEW = "d.old", "d.new"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("server", ["redis-server"], indirect=True)
async def test_a_rotation_leaves_no_gap_and_counts_nothing_twice(redis_store: RedisStore) -> None:
    rng = random.Random(5)
    clock = Clock()
    start_s = clock.now_s
    secrets = [Secret(hash_secret(secret), number) for number, secret in enumerate((OLD, NEW), 1)]
    await put_drain(redis_store, "shop", encode(DrainRecord(secrets)))
    truth: Counter[int] = Counter()
    pending: dict[str, list[bytes]] = {OLD: [], NEW: []}
    sent_lines = Counter[str]()

    async with client_of(redis_store, clock, DYNOMETER_ADMIN_TOKEN=TOKEN) as client:

        async def deliver(drain: str, body: bytes) -> None:
            answer = await post(client, body, secret=drain, Logplex_Drain_Token=drain)
            assert answer.status_code == 200
            sent_lines[drain] += PER_POST

        for first in range(0, LINES, PER_POST):
            body = b""
            for number in range(first, first + PER_POST):
                at_s = start_s + number * SPAN_S / LINES
                truth[int(at_s) // 60 * 60] += 1
                body += router(at_s)
            clock.now_s = at_s
            drains = [OLD, NEW] if first >= NEW_FROM else [OLD]
            if await _is_old_removed(redis_store, clock.now_s):
                drains = [NEW]
            for drain in drains:
                pending[drain].append(body)
            for drain, bodies in pending.items():
                while len(bodies) > rng.randint(0, LAG_POSTS):
                    await deliver(drain, bodies.pop(rng.randrange(len(bodies))))
        for drain, bodies in pending.items():
            for body in bodies:
                await deliver(drain, body)

        answer = await client.get(
            "/api/v1/apps/shop/query",
            params={
                "metric": "requests",
                "stat": "sum",
                "step": "1m",
                "start": str(int(start_s) - 60),
                "end": str(int(clock.now_s) + 60),
            },
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        ledger = await client.get(
            "/api/v1/apps/shop/ledger", headers={"Authorization": f"Bearer {TOKEN}"}
        )
    result = answer.json()
    values = result["series"][0]["values"]
    times = [result["start"] + index * 60 for index in range(len(values))]
    assert {t: value for t, value in zip(times, values, strict=True) if value} == truth
    totals = ledger.json()
    assert totals["counted"] == LINES
    assert totals["other_drain"] == sum(sent_lines.values()) - LINES > LINES / 10


async def _is_old_removed(store: RedisStore, now_s: float) -> bool:
    """Whether the changeover was long enough ago that an operator removes the old drain."""
    state = unpack_state((await store.drain_states(["shop"])).get("shop", b""))
    return (
        state is not None and state.token == NEW and now_s > state.since_s + OLD_MINUTES_MORE * 60
    )
