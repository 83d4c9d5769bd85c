"""Batches reach the store once, in the form that their drain asks for, and with a ledger."""

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
from app.storage.interface.elements import HEADER_BYTES
from app.storage.interface.errors import StoreUnavailable
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.storage.redis.store import connect
from tests.support.arrivals import make_batch, make_coalesced, make_post, make_writer
from tests.support.lines import frame, router
from tests.support.proxy import proxy_to
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock
from tests.support.store_calls import read_inbox

MINUTE_S = 60


async def append(store: Store, *writes: PendingWrite, verified_s: float = 3600) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    await make_writer(store, verified_s=verified_s).append(writes, deadline=deadline)


async def inbox_rollup(store: Store, app: str = "shop") -> Rollup:
    """The merge of everything in the inbox."""
    total = Rollup()
    for element in await read_inbox(store, app, 10_000):
        for _, data in unpack_batch(element[HEADER_BYTES:]):
            total.merge(unpack(data))
    return total


async def test_a_repeated_batch_is_a_duplicate_and_not_counted(
    store: Store,
) -> None:
    await append(store, make_batch(frame_id=b"1"))
    await append(store, make_batch(router(NOW_S), router(NOW_S), frame_id=b"1"))
    rollup = await inbox_rollup(store)
    assert rollup.ledger == {"received": 1, "counted": 1, "duplicate": 2}
    assert sum(rollup.requests.values()) == 1


async def test_repeating_an_append_changes_nothing(store: Store) -> None:
    await append(store, make_batch(frame_id=b"1"))
    second = make_batch(frame_id=b"1")
    for _ in range(3):
        await append(store, second)
    assert (await inbox_rollup(store)).ledger == {"received": 1, "counted": 1, "duplicate": 1}


async def test_other_tasks_run_while_batches_are_packed() -> None:
    lines = [router(NOW_S, dyno=f"web.{number}") for number in range(1, 200)]
    batches = [make_batch(*lines) for _ in range(20)]
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    await append(MemoryStore(Clock()), *batches)
    counting.cancel()
    assert turns >= len(batches) / 4


async def test_our_own_retry_of_a_batch_without_frame_id_counts_once(store: Store) -> None:
    batch = make_batch()
    await append(store, batch)
    await append(store, batch)
    assert (await inbox_rollup(store)).messages == 1


async def test_a_batch_that_waited_too_long_is_counted_as_unverified(
    store: Store,
) -> None:
    batch = make_batch(arrived_s=NOW_S - 100, frame_id=b"1")
    for _ in range(2):
        await append(store, batch, verified_s=99)
        assert (await inbox_rollup(store)).ledger == {"received": 1, "counted": 1, "unverified": 1}
    await append(store, make_batch(app="blog", arrived_s=NOW_S - 100), verified_s=101)
    assert "unverified" not in (await inbox_rollup(store, "blog")).ledger


async def test_a_retry_after_a_lost_reply_counts_once(server: RunningServer) -> None:
    async with proxy_to(server.url) as proxy:
        store = connect(proxy.url)
        batches = [make_batch(app=app, drain="d.1") for app in ("shop", "blog")]
        await append(store, *batches)  # caches the scripts and states
        more = [make_batch(app=app, drain="d.1") for app in ("shop", "blog")]
        proxy.replies_to_lose = 1
        with pytest.raises(StoreUnavailable):
            await append(store, *more)
        await append(store, *more)
        for app in ("shop", "blog"):
            assert (await inbox_rollup(store, app)).messages == 2
        await store.close()


def test_a_batch_survives_the_disk_unchanged() -> None:
    batch = make_batch(
        router(NOW_S),
        router(NOW_S - 300),
        router(NOW_S - 90_000),
        frame("State changed from starting to up"),
        b"junk",
        frame_id=b"1",
        drain="d.1",
        generation=3,
    )
    read = unpack_received(pack_received(batch))
    for name in ("app", "id", "token", "drain", "generation", "claim"):
        assert getattr(read, name) == getattr(batch, name)
    assert read.body.activity == batch.body.activity
    assert read.body.received == batch.body.received == 5
    assert ledger_of(read) == {**ledger_of(batch), "spooled": 5}


def ledger_of(batch: ReceivedBatch) -> dict[str, int]:
    total = Rollup()
    for _, data in unpack_batch(batch.body.pack()):
        total.merge(unpack(data))
    return total.ledger


async def test_lines_of_an_inactive_drain_are_only_in_the_ledger(store: Store) -> None:
    await append(store, make_batch(drain="d.1"))
    await append(store, make_batch(router(NOW_S), b"junk", drain="d.2"))
    rollup = await inbox_rollup(store)
    assert rollup.ledger == {"received": 1, "counted": 1, "other_drain": 2}
    assert rollup.messages == 1


async def test_workers_with_an_old_state_repeat_the_election(store: Store) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    slow, quick = make_writer(store), make_writer(store)
    await slow.append([make_batch(drain="d.1")], deadline=deadline)
    await quick.append([make_batch(drain="d.2", generation=2)], deadline=deadline)
    late = NOW_S + 2 * MINUTE_S
    await slow.append([make_batch(router(late), drain="d.1", arrived_s=late)], deadline=deadline)
    await quick.append(
        [make_batch(router(late), drain="d.2", generation=2, arrived_s=late)], deadline=deadline
    )
    rollup = await inbox_rollup(store)
    assert rollup.messages == 2
    assert rollup.ledger == {"received": 2, "counted": 2, "other_drain": 2}


async def test_a_batch_across_the_changeover_counts_in_part_and_its_ledger_balances(
    store: Store,
) -> None:
    await append(store, make_batch(router(NOW_S), drain="d.1"))
    change = NOW_S - NOW_S % MINUTE_S + MINUTE_S
    lines = [router(NOW_S), router(change), frame("text", app_name="app", at_s=change)]
    await append(store, make_batch(*lines, drain="d.2", generation=2, arrived_s=change))
    await append(store, make_batch(*lines, b"junk", drain="d.1", arrived_s=change))
    rollup = await inbox_rollup(store)
    assert rollup.ledger == {
        "received": 5,
        "counted": 3,
        "ignored": 1,
        "unparsed:frame": 1,
        "other_drain": 3,
    }
    assert rollup.messages == 4


async def test_rivals_agree_on_one_active_drain(store: Store) -> None:
    rivals = [make_batch(drain=f"d.{n % 3}", frame_id=b"%d" % n) for n in range(30)]
    await asyncio.gather(*(append(store, rival) for rival in rivals))
    rollup = await inbox_rollup(store)
    counts = Counter({rollup.ledger["received"]: 1})
    assert counts == Counter({10: 1})
    assert rollup.ledger["other_drain"] == 20


async def test_apps_whose_inboxes_grew_are_reported_with_the_lengths() -> None:
    reports: list[Mapping[str, int]] = []
    writer = make_writer(MemoryStore(Clock()))
    writer._on_appended = reports.append
    deadline = asyncio.get_running_loop().time() + 10
    await writer.append([make_batch(), make_batch(), make_batch(app="blog")], deadline=deadline)
    await writer.append([make_batch()], deadline=deadline)
    assert reports == [{"shop": 1, "blog": 1}, {"shop": 2}, {"shop": 3}]


class _ForgetfulStore(MemoryStore):
    """Records each element and then fails, like a store with lost replies."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.elements: list[bytes] = []

    async def append(self, groups: Any, **kwargs: Any) -> Any:
        self.elements += [batch.element for batch in groups["shop"]]
        raise StoreUnavailable("no answer")

    async def append_coalesced(self, elements: Any, **kwargs: Any) -> Any:
        if "shop" not in elements:
            return {}
        self.elements.append(elements["shop"].element)
        raise StoreUnavailable("no answer")


@pytest.mark.parametrize("posts", [0, 1, 2])
async def test_each_attempt_has_an_element_header_of_its_own(posts: int) -> None:
    """Folding recognizes elements by their headers, so none may occur twice."""
    store = _ForgetfulStore()
    # A batch that is too old to be coalesced, or coalesced POSTs.
    late = make_batch(arrived_s=NOW_S - 2 * 3600)
    write = make_coalesced(*(make_post() for _ in range(posts))) if posts else late
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await append(store, write)
    assert len({element[:HEADER_BYTES] for element in store.elements}) == 3
    assert len({element[HEADER_BYTES:] for element in store.elements}) == 1


async def test_coalesced_posts_are_one_element_and_every_line_counts(
    store: Store,
) -> None:
    posts = [
        make_post(*[router(NOW_S - n * MINUTE_S)] * n, frame_id=b"%d" % n, promised=n)
        for n in range(1, 6)
    ]
    batch = make_coalesced(*posts)
    for _ in range(2):  # the second time as after a lost reply
        await append(store, batch)
        assert await store.inbox_lengths(["shop"]) == {"shop": 1}
        rollup = await inbox_rollup(store)
        assert sum(rollup.requests.values()) == rollup.messages == 15
        assert rollup.ledger == {"received": 15, "counted": 15, "promised": 15}


async def test_a_duplicate_among_coalesced_posts_costs_no_other_post(store: Store) -> None:
    await append(store, make_batch(frame_id=b"2"))
    await append(store, make_coalesced(*(make_post(frame_id=b"%d" % n) for n in (1, 2, 3))))
    await append(store, make_coalesced(make_post(frame_id=b"3")))
    rollup = await inbox_rollup(store)
    assert rollup.ledger == {"received": 3, "counted": 3, "duplicate": 2}
    assert rollup.messages == 3


async def test_one_of_two_concurrent_drains_counts(store: Store) -> None:
    posts = [make_post(frame_id=b"%d" % n, drain=f"d.{1 + n // 3}") for n in range(6)]
    await append(store, make_coalesced(*posts[:3]), make_coalesced(*posts[3:]))
    rollup = await inbox_rollup(store)
    assert rollup.ledger == {"received": 3, "counted": 3, "other_drain": 3}
    assert rollup.messages == 3


@pytest.mark.parametrize("is_packed", [False, True])
async def test_a_post_that_cannot_be_added_costs_no_other_post(
    store: Store, is_packed: bool
) -> None:
    batch = make_coalesced(make_post(frame_id=b"1"), make_post(frame_id=b"2"))
    if is_packed:
        batch.finalize()
    with pytest.raises(TypeError):
        batch.add(msgspec.structs.replace(make_post(frame_id=b"3"), content=None))
    await append(store, batch)
    assert (await inbox_rollup(store)).ledger == {"received": 2, "counted": 2}


async def test_each_minute_of_arrival_has_its_own_ledger(store: Store) -> None:
    await append(store, *(make_batch(arrived_s=NOW_S + n * MINUTE_S) for n in range(3)))
    elements = await read_inbox(store, "shop", 9)
    ledgers = {
        minute: ledger
        for element in elements
        for minute, data in unpack_batch(element[HEADER_BYTES:])
        if (ledger := unpack(data).ledger)
    }
    assert len(ledgers) == 3
    assert all(ledger == {"received": 1, "counted": 1} for ledger in ledgers.values())
