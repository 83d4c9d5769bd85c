"""POSTs added up: the same whether sealed in between or not, and each to be had by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.ingest.aggregator import Seen
from app.ingest.coalesced_batch import Bundle, Post
from app.rollup.rollup import CAPS
from tests.support.arrivals import bundle, post
from tests.support.lines import router
from tests.support.service import NOW_S

ages = st.lists(st.integers(0, 300), min_size=1, max_size=3)  # seconds


def posts(bodies: list[list[int]]) -> list[Post]:
    return [
        post(*(router(NOW_S - age_s) for age_s in body), frame_id=b"%d" % number, promised=4)
        for number, body in enumerate(bodies)
    ]


def all_of(found: Bundle) -> tuple[object, ...]:
    """What it says, and the bytes that the store gets."""
    return found.seen, found.whole(), found.seen


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
            sealed.seal()
    assert all_of(sealed) == all_of(bundle(*sent))
    ages_s = [age_s for body in bodies for age_s in body]
    assert sealed.seen == Seen(int(NOW_S) - max(ages_s), int(NOW_S) - min(ages_s), 0)


async def test_of_a_sealed_bundle_each_post_is_had_as_of_an_open_one() -> None:
    sent = posts([[0], [70, 5], [3, 3]])
    opened, sealed = bundle(*sent), bundle(*sent)
    sealed.seal()
    pairs = zip(await opened.apart(), await sealed.apart(), strict=True)
    assert all(
        (a.id, a.token, a.parts.ledgers, a.parts.loose, a.parts.seen, a.parts.packed())
        == (b.id, b.token, b.parts.ledgers, b.parts.loose, b.parts.seen, b.parts.packed())
        for a, b in pairs
    )


async def test_a_post_alone_is_had_after_sealing_too() -> None:
    (sent,) = posts([[0, 61]])
    sealed = bundle(sent)
    sealed.seal()
    [alone] = await sealed.apart()
    assert alone.parts.packed() == sealed.seal().packed
    assert alone.parts.caps == CAPS
