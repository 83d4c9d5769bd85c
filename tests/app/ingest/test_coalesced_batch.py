"""POSTs added up: the same whether sealed in between or not, and each to be had by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.ingest.aggregator import ActivityTimes
from app.ingest.coalesced_batch import CoalescedBatch, DrainPost
from app.rollup.rollup import DEFAULT_LIMITS
from tests.support.arrivals import bundle, post
from tests.support.lines import router
from tests.support.service import NOW_S

ages = st.lists(st.integers(0, 300), min_size=1, max_size=3)  # seconds


def posts(bodies: list[list[int]]) -> list[DrainPost]:
    return [
        post(*(router(NOW_S - age_s) for age_s in body), frame_id=b"%d" % number, promised=4)
        for number, body in enumerate(bodies)
    ]


def all_of(found: CoalescedBatch) -> tuple[object, ...]:
    """What it says, and the bytes that the store gets."""
    return found.activity, found.coalesced(), found.activity


@given(st.lists(ages, min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_sealing_in_between_changes_nothing(
    bodies: list[list[int]], sealed_behind: set[int]
) -> None:
    sent = posts(bodies)
    sealed = bundle(sent[0])
    for number, each in enumerate(sent):
        if number:
            sealed.add(each)
        if number in sealed_behind:
            sealed.finalize()
    assert all_of(sealed) == all_of(bundle(*sent))
    ages_s = [age_s for body in bodies for age_s in body]
    assert sealed.activity == ActivityTimes(int(NOW_S) - max(ages_s), int(NOW_S) - min(ages_s), 0)


async def test_of_a_sealed_bundle_each_post_is_had_as_of_an_open_one() -> None:
    sent = posts([[0], [70, 5], [3, 3]])
    opened, sealed = bundle(*sent), bundle(*sent)
    sealed.finalize()
    pairs = zip(await opened.split(), await sealed.split(), strict=True)
    assert all(
        (a.id, a.token, a.body.ledgers, a.body.loose, a.body.activity, a.body.packed())
        == (b.id, b.token, b.body.ledgers, b.body.loose, b.body.activity, b.body.packed())
        for a, b in pairs
    )


async def test_a_post_alone_is_had_after_sealing_too() -> None:
    (sent,) = posts([[0, 61]])
    sealed = bundle(sent)
    sealed.finalize()
    [alone] = await sealed.split()
    assert alone.body.packed() == sealed.finalize().packed
    assert alone.body.limits == DEFAULT_LIMITS
