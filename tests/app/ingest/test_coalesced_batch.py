"""Coalesced POSTs: packing in between changes nothing, and they can be split again."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.aggregator import ActivityTimes
from app.ingest.coalesced_batch import CoalescedBatch
from app.ingest.drain_post import DrainPost
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import unpack
from app.rollup.rollup import DEFAULT_LIMITS
from tests.support.arrivals import make_coalesced, make_post
from tests.support.lines import app_line, router
from tests.support.service import NOW_S

ages = st.lists(st.integers(0, 300), min_size=1, max_size=3)  # seconds


def posts(bodies: list[list[int]]) -> list[DrainPost]:
    return [
        make_post(*(router(NOW_S - age_s) for age_s in body), frame_id=b"%d" % number, promised=4)
        for number, body in enumerate(bodies)
    ]


def contents(batch: CoalescedBatch) -> tuple[object, ...]:
    """The activity, and the bytes for the store; packing must not change the activity."""
    return batch.activity, asyncio.run(batch.coalesced()), batch.activity


@given(st.lists(ages, min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_packing_in_between_changes_nothing(
    bodies: list[list[int]], packed_after: set[int]
) -> None:
    all_posts = posts(bodies)
    batch = make_coalesced(all_posts[0])
    for number, post in enumerate(all_posts):
        if number:
            batch.add(post)
        if number in packed_after:
            batch.finalize()
    assert contents(batch) == contents(make_coalesced(*all_posts))
    ages_s = [age_s for body in bodies for age_s in body]
    assert batch.activity == ActivityTimes(int(NOW_S) - max(ages_s), int(NOW_S) - min(ages_s), 0)


async def test_posts_that_were_packed_one_by_one_split_like_open_ones() -> None:
    all_posts = posts([[0], [70, 5], [3, 3]])
    open_batch, packed_batch = make_coalesced(*all_posts), make_coalesced(all_posts[0])
    for post in all_posts[1:]:
        packed_batch.finalize()
        packed_batch.add(post)
    packed_batch.finalize()
    for batch, other in zip(await open_batch.split(), await packed_batch.split(), strict=True):
        assert (batch.id, batch.token) == (other.id, other.token)
        assert batch.body.ledger == other.body.ledger
        assert batch.body.pack() == other.body.pack()


async def test_names_that_the_limits_dropped_are_counted_once_however_often_it_is_packed() -> None:
    post = make_post(*(app_line(f"count#name{number}=1", NOW_S) for number in range(9)))
    post = msgspec.structs.replace(post, key=post.key._replace(reads_marks=True))
    limits = DEFAULT_LIMITS._replace(open_names=2)
    open_batch, packed_batch = (CoalescedBatch(post, NOW_S, limits) for _ in range(2))
    packed_batch.finalize()
    [single], [other] = await open_batch.split(), await packed_batch.split()
    assert single.body.pack() == other.body.pack() == other.body.pack()
    [(_, data)] = unpack_batch(other.body.pack())
    assert unpack(data).ledger == {"received": 9, "counted": 9, "dropped:custom": 7}


async def test_a_packed_batch_splits_like_an_open_one() -> None:
    all_posts = posts([[0], [70, 5], [3, 3]])
    open_batch, packed_batch = make_coalesced(*all_posts), make_coalesced(*all_posts)
    packed_batch.finalize()
    pairs = zip(await open_batch.split(), await packed_batch.split(), strict=True)
    assert all(
        (a.id, a.token, a.body.ledgers, a.body.body_ledger, a.body.activity, a.body.pack())
        == (b.id, b.token, b.body.ledgers, b.body.body_ledger, b.body.activity, b.body.pack())
        for a, b in pairs
    )


async def test_a_single_post_can_be_split_after_packing() -> None:
    batch = make_coalesced(*posts([[0, 61]]))
    payload = await batch.coalesced()
    assert payload is not None
    [single] = await batch.split()
    assert single.body.pack() == payload.data
    assert single.body.limits == DEFAULT_LIMITS
