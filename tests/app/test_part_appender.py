"""An app is spread over parts of a cluster, more or fewer, while it sends: POSTs count once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random

import pytest

from app.arrival import Arrival, batch_id
from app.batch import unpack_batch
from app.fold import Folder
from app.levels import TOTAL, data_of
from app.part_appender import PartAppender
from app.parts import name_for, names_of
from app.resolution import resolutions
from app.spreading import SpreadingError, spread
from app.store import engine
from app.store.cluster import ClusterStore
from app.store.port import SeenApp, StoreUnavailable
from app.store.redis_keys import state_key
from app.sums import merged, plain
from tests.support import arrivals
from tests.support.batches import DAY_MS
from tests.support.cluster import ClusterOfNodes
from tests.support.lines import router

ID_TTL_S = 4_500
TIERS = resolutions(86_400, 7 * 86_400, 90 * 86_400)
APP = "shop"


class Clock:
    """Which the test sets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Worker:
    """A process that appends, with a store of its own."""

    def __init__(self, url: str, clock: Clock) -> None:
        store = engine.connect(url)
        assert isinstance(store, ClusterStore)
        self.store = store
        self.appender = PartAppender(
            store,
            id_ttl_s=ID_TTL_S,
            inbox_ttl_s=86_400,
            verified_s=86_400,
            clock=clock,
            on_stored=lambda lengths: None,
        )

    async def append(self, *some: Arrival) -> None:
        """Until it is taken, as a Committer does."""
        while True:
            deadline = asyncio.get_running_loop().time() + 5
            try:
                await self.appender.append(some, deadline=deadline)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.fixture
async def workers(cluster: ClusterOfNodes, clock: Clock) -> AsyncIterator[list[Worker]]:
    """Two, on an empty cluster."""
    cluster.empty()
    found = [Worker(cluster.url, clock) for _ in range(2)]
    yield found
    for worker in found:
        await worker.store.close()


@pytest.fixture
def clock() -> Clock:
    """Of all workers."""
    return Clock()


def post(number: int, drain: str = "d.one") -> Arrival:
    """A POST of one request; with the same number again, the sender's repetition."""
    frame = b"frame %d" % number
    arrived_s = time.time()
    found = arrivals.arrival(router(arrived_s), app=APP, drain=drain, arrived_s=arrived_s)
    found.id = batch_id(frame)
    return found


async def change(worker: Worker, parts: int, clock: Clock) -> None:
    await spread(worker.store, APP, parts, clock=clock, id_ttl_s=ID_TTL_S, state_ttl_s=86_400)


async def requests(store: ClusterStore) -> int:
    """As readers see them."""
    contents = await store.read(APP, [TOTAL])
    packed = [data_of(element) for element in contents.slots.get(TOTAL, [])]
    packed += [data for each in contents.inbox for _, data in unpack_batch(data_of(each))]
    return sum(plain(merged(packed)).requests.values())


async def test_an_app_is_spread_while_two_workers_append_and_every_post_is_repeated(
    workers: list[Worker], clock: Clock
) -> None:
    random = Random(1)
    await workers[0].append(post(0))
    posts, since, ended = 1, 0, False  # what came before `since` is not repeated any more

    async def send(worker: Worker) -> None:
        nonlocal posts
        while not ended:
            first, posts = posts, posts + 5
            await worker.append(*(post(number) for number in range(first, first + 5)))
            known = [random.randrange(since, max(posts, since + 1)) for _ in range(3)]
            await random.choice(workers).append(*map(post, known))
            await asyncio.sleep(0.02)

    sending = [asyncio.create_task(send(worker)) for worker in workers]
    for parts in (3, 5, 2):
        await change(workers[0], parts, clock)
        await asyncio.sleep(0.2)
        clock.ahead_s += ID_TTL_S + 1  # the next change may come
        since = posts
        await asyncio.sleep(0.2)
    ended = True
    await asyncio.gather(*sending)
    await workers[1].append(*(post(number) for number in range(since, posts)))

    assert await requests(workers[1].store) == posts
    lengths = await workers[0].store.inbox_lengths([APP])
    assert set(lengths) == set(names_of(APP, 5))
    assert min(lengths.values()) > 0


async def test_a_worker_that_starts_long_after_the_change_finds_the_parts(
    workers: list[Worker], cluster: ClusterOfNodes, clock: Clock
) -> None:
    await workers[0].append(post(0))
    await change(workers[0], 3, clock)
    clock.ahead_s += ID_TTL_S + 1
    late = Worker(cluster.url, clock)
    await late.store.look_for_spreads()
    for _ in range(2):  # the second time each is a repetition
        for number in range(1, 20):
            each = post(number)
            each.app = name_for(APP, each.id, 3)  # as the drain gives it to its lane
            await late.append(each)
    await late.store.close()

    assert await requests(workers[0].store) == 20


async def test_an_app_that_was_forgotten_and_comes_back_is_as_any_other(
    workers: list[Worker], cluster: ClusterOfNodes, clock: Clock
) -> None:
    first = workers[0]
    await first.append(post(0))
    await change(first, 3, clock)
    await first.store.see([SeenApp(APP, 1, 2, 0)], ttl_ms=DAY_MS)
    for name in names_of(APP, 3):  # which by then expired
        cluster.owner(state_key(name)).client.delete(state_key(name))

    assert await first.store.forget_apps(before_s=3) == [APP]

    late = Worker(cluster.url, clock)
    await late.store.look_for_spreads()
    for number in range(1, 10):
        await late.append(post(number))
    assert late.store.spread_of(APP) is None
    await late.store.close()


async def test_parts_are_folded_as_apps_and_read_as_one(
    workers: list[Worker], clock: Clock
) -> None:
    first = workers[0]
    await first.append(post(0))
    await change(first, 3, clock)
    await first.append(*(post(number) for number in range(60)))
    now_s = int(time.time())
    await first.store.see([SeenApp(APP, now_s, now_s, 0)], ttl_ms=DAY_MS)
    folder = Folder(first.store, TIERS, name="1", clock=clock, interval_s=1, batches=1)

    await folder.sweep()
    await folder.finish()

    assert set((await first.store.inbox_lengths([APP])).values()) == {0}
    assert await requests(workers[1].store) == 60


async def test_of_a_spread_app_one_drain_counts(workers: list[Worker], clock: Clock) -> None:
    first = workers[0]
    await first.append(post(0))
    await change(first, 3, clock)
    await first.append(*(post(number) for number in range(1, 20)))
    await workers[1].append(*(post(number, "d.two") for number in range(100, 120)))

    assert await requests(first.store) == 20


async def test_a_change_that_was_broken_off_is_brought_to_its_end(
    workers: list[Worker], clock: Clock
) -> None:
    first = workers[0]
    await first.append(post(0))
    await change(first, 2, clock)
    known = first.store.spread_of(APP)
    assert known is not None
    packed, _ = await first.store.known(name_for(APP, post(0).id, 1), [])
    name = names_of(APP, 2)[1]
    assert await first.store.put_state(name, packed, b"", DAY_MS)  # as if it had not come so far

    await change(first, 2, clock)

    await workers[1].append(*(post(number) for number in range(40)))
    assert await requests(first.store) == 40


async def test_a_change_too_soon_after_another_is_refused(
    workers: list[Worker], clock: Clock
) -> None:
    with pytest.raises(SpreadingError, match="no drain"):
        await change(workers[0], 2, clock)
    await workers[0].append(post(0))
    await change(workers[0], 2, clock)
    with pytest.raises(SpreadingError, match="wait 75 minutes"):
        await change(workers[0], 3, clock)
