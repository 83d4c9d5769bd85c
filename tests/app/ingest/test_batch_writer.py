"""One step into the store: each arrival once, in the form its drain asks for, booked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from app.ingest.received_batch import PendingWrite, ReceivedBatch, pack_received, unpack_received
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import unpack
from app.rollup.rollup import Rollup
from app.storage.interface import HEADER_BYTES, Store, StoreUnavailable
from app.storage.memory import MemoryStore
from app.storage.redis.store import connect
from tests.support.arrivals import appender, arrival, bundle, post
from tests.support.lines import frame, router
from tests.support.proxy import proxy_to
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock

MINUTE_S = 60


async def append(store: Store, *arrivals: PendingWrite, verified_s: float = 3600) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    await appender(store, verified_s=verified_s).append(arrivals, deadline=deadline)


async def everything(store: Store, app: str = "shop") -> Rollup:
    """All that lies in the inbox."""
    total = Rollup()
    for element in await store.read_inbox(app, 10_000):
        for _, packed in unpack_batch(element[HEADER_BYTES:]):
            total.merge(unpack(packed))
    return total


async def test_a_second_post_of_a_batch_is_booked_as_duplicate_and_not_counted(
    store: Store,
) -> None:
    await append(store, arrival(frame_id=b"1"))
    await append(store, arrival(router(NOW_S), router(NOW_S), frame_id=b"1"))
    found = await everything(store)
    assert found.ledger == {"received": 1, "counted": 1, "duplicate": 2}
    assert sum(found.requests.values()) == 1


async def test_repeating_a_step_changes_nothing(store: Store) -> None:
    await append(store, arrival(frame_id=b"1"))
    second = arrival(frame_id=b"1")
    for _ in range(3):
        await append(store, second)
    assert (await everything(store)).ledger == {"received": 1, "counted": 1, "duplicate": 1}


async def test_an_arrival_without_frame_id_is_repeated_by_us_without_harm(store: Store) -> None:
    sent = arrival()
    await append(store, sent)
    await append(store, sent)
    assert (await everything(store)).messages == 1


async def test_an_arrival_that_waited_too_long_is_counted_and_booked_as_unverified(
    store: Store,
) -> None:
    sent = arrival(arrived_s=NOW_S - 100, frame_id=b"1")
    for _ in range(2):
        await append(store, sent, verified_s=99)
        assert (await everything(store)).ledger == {"received": 1, "counted": 1, "unverified": 1}
    await append(store, arrival(app="blog", arrived_s=NOW_S - 100), verified_s=101)
    assert "unverified" not in (await everything(store, "blog")).ledger


async def test_a_lost_reply_is_repeated_without_counting_twice(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        sent = [arrival(app=app, drain="d.1") for app in ("shop", "blog")]
        await append(store, *sent)  # scripts are known, states too
        more = [arrival(app=app, drain="d.1") for app in ("shop", "blog")]
        proxy.replies_to_lose = 1
        with pytest.raises(StoreUnavailable):
            await append(store, *more)
        await append(store, *more)
        for app in ("shop", "blog"):
            assert (await everything(store, app)).messages == 2
        await store.close()


def test_an_arrival_survives_the_disk_whole() -> None:
    sent = arrival(
        router(NOW_S),
        router(NOW_S - 300),
        router(NOW_S - 90_000),
        frame("State changed from starting to up"),
        b"junk",
        frame_id=b"1",
        drain="d.1",
        generation=3,
    )
    read = unpack_received(pack_received(sent))
    for name in ("app", "id", "token", "drain", "generation", "claim"):
        assert getattr(read, name) == getattr(sent, name)
    assert read.body.activity == sent.body.activity
    assert read.body.received == sent.body.received == 5
    assert ledger_of(read) == {**ledger_of(sent), "spooled": 5}


def ledger_of(arrival: ReceivedBatch) -> dict[str, int]:
    total = Rollup()
    for _, packed in unpack_batch(arrival.body.packed()):
        total.merge(unpack(packed))
    return total.ledger


async def test_lines_of_a_drain_that_does_not_count_are_only_booked(store: Store) -> None:
    await append(store, arrival(drain="d.1"))
    await append(store, arrival(router(NOW_S), b"junk", drain="d.2"))
    found = await everything(store)
    assert found.ledger == {"received": 1, "counted": 1, "other_drain": 2}
    assert found.messages == 1


async def test_workers_that_know_an_old_state_judge_again_by_the_new_one(store: Store) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    slow, quick = appender(store), appender(store)
    await slow.append([arrival(drain="d.1")], deadline=deadline)
    await quick.append([arrival(drain="d.2", generation=2)], deadline=deadline)
    late = NOW_S + 2 * MINUTE_S
    await slow.append([arrival(router(late), drain="d.1", arrived_s=late)], deadline=deadline)
    await quick.append(
        [arrival(router(late), drain="d.2", generation=2, arrived_s=late)], deadline=deadline
    )
    found = await everything(store)
    assert found.messages == 2
    assert found.ledger == {"received": 2, "counted": 2, "other_drain": 2}


async def test_a_batch_over_the_change_over_counts_in_part_and_its_books_balance(
    store: Store,
) -> None:
    await append(store, arrival(router(NOW_S), drain="d.1"))
    change = NOW_S - NOW_S % MINUTE_S + MINUTE_S
    lines = [router(NOW_S), router(change), frame("text", app_name="app", at_s=change)]
    await append(store, arrival(*lines, drain="d.2", generation=2, arrived_s=change))
    await append(store, arrival(*lines, b"junk", drain="d.1", arrived_s=change))
    found = await everything(store)
    assert found.ledger == {
        "received": 5,
        "counted": 3,
        "ignored": 1,
        "unparsed:frame": 1,
        "other_drain": 3,
    }
    assert found.messages == 4


async def test_rivals_agree_on_one_active_drain(store: Store) -> None:
    rivals = [arrival(drain=f"d.{n % 3}", frame_id=b"%d" % n) for n in range(30)]
    await asyncio.gather(*(append(store, each) for each in rivals))
    found = await everything(store)
    counts = Counter({found.ledger["received"]: 1})
    assert counts == Counter({10: 1})
    assert found.ledger["other_drain"] == 20


async def test_an_app_whose_inbox_grew_is_told_with_its_length() -> None:
    told: list[Mapping[str, int]] = []
    append = appender(MemoryStore(Clock()))
    append._on_stored = told.append
    deadline = asyncio.get_running_loop().time() + 10
    await append.append([arrival(), arrival(), arrival(app="blog")], deadline=deadline)
    await append.append([arrival()], deadline=deadline)
    assert told == [{"shop": 1, "blog": 1}, {"shop": 2}, {"shop": 3}]


class _ForgetfulStore(MemoryStore):
    """Takes what it is given, notes it, and says that it did not: as where its answer is lost."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.given: list[bytes] = []

    async def append(self, groups: Any, **named: Any) -> Any:
        self.given += [batch.element for batch in groups["shop"]]
        raise StoreUnavailable("no answer")

    async def append_coalesced(self, elements: Any, **named: Any) -> Any:
        if "shop" not in elements:
            return {}
        self.given.append(elements["shop"].element)
        raise StoreUnavailable("no answer")


@pytest.mark.parametrize("posts", [0, 1, 2])
async def test_each_attempt_to_push_the_same_has_a_header_of_its_own(posts: int) -> None:
    """By which a fold proves that the store has forgotten none of what it read."""
    store = _ForgetfulStore()
    # One that came so long ago that it goes alone, or POSTs added up.
    late = arrival(arrived_s=NOW_S - 2 * 3600)
    brought = bundle(*(post() for _ in range(posts))) if posts else late
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await append(store, brought)
    assert len({element[:HEADER_BYTES] for element in store.given}) == 3
    assert len({element[HEADER_BYTES:] for element in store.given}) == 1


async def test_what_an_app_sent_within_a_moment_is_one_element_and_every_line_counts(
    store: Store,
) -> None:
    posts = [
        post(*[router(NOW_S - n * MINUTE_S)] * n, frame_id=b"%d" % n, promised=n)
        for n in range(1, 6)
    ]
    sent = bundle(*posts)
    for _ in range(2):  # the second time as after a lost reply
        await append(store, sent)
        assert await store.inbox_lengths(["shop"]) == {"shop": 1}
        found = await everything(store)
        assert sum(found.requests.values()) == found.messages == 15
        assert found.ledger == {"received": 15, "counted": 15, "promised": 15}


async def test_a_repetition_among_others_costs_none_of_them(store: Store) -> None:
    await append(store, arrival(frame_id=b"2"))
    await append(store, bundle(*(post(frame_id=b"%d" % n) for n in (1, 2, 3))))
    await append(store, bundle(post(frame_id=b"3")))
    found = await everything(store)
    assert found.ledger == {"received": 3, "counted": 3, "duplicate": 2}
    assert found.messages == 3


async def test_of_two_drains_that_deliver_at_once_one_counts(store: Store) -> None:
    posts = [post(frame_id=b"%d" % n) for n in range(6)]
    await append(store, bundle(*posts[:3], drain="d.1"), bundle(*posts[3:], drain="d.2"))
    found = await everything(store)
    assert found.ledger == {"received": 3, "counted": 3, "other_drain": 3}
    assert found.messages == 3


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_post_that_cannot_be_added_up_costs_the_others_nothing(
    store: Store, sealed: bool
) -> None:
    sent = bundle(post(frame_id=b"1"), post(frame_id=b"2"))
    if sealed:
        sent.finalize()
    with pytest.raises(TypeError):
        sent.add(msgspec.structs.replace(post(frame_id=b"3"), data=None))
    await append(store, sent)
    assert (await everything(store)).ledger == {"received": 2, "counted": 2}


async def test_what_arrived_in_different_minutes_is_booked_in_each(store: Store) -> None:
    await append(store, *(arrival(arrived_s=NOW_S + n * MINUTE_S) for n in range(3)))
    elements = await store.read_inbox("shop", 9)
    booked = {
        minute: ledger
        for element in elements
        for minute, packed in unpack_batch(element[HEADER_BYTES:])
        if (ledger := unpack(packed).ledger)
    }
    assert len(booked) == 3
    assert all(ledger == {"received": 1, "counted": 1} for ledger in booked.values())
