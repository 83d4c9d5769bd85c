"""Folding: at any moment an increment is either in the inbox or in every resolution."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from app.folding import fold_worker
from app.folding.fold_worker import BATCHES_MAX, COMPACT_AT_LENGTH, FoldWorker
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import merge_packed
from app.rollup.resolutions import align, resolutions
from app.rollup.rollup import Rollup
from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import Batch
from app.storage.interface.elements import (
    HEADER_BYTES,
    KIND_ROLLUP,
    TOTAL,
    UNREADABLE,
    Slot,
    new_element,
)
from app.storage.interface.folding import Fold, SlotWrite
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait
from parsers.framing import split
from tests.support.lines import AT_S, memory, router
from tests.support.service import Clock

RESOLUTIONS = resolutions(86_400, 7 * 86_400, 90 * 86_400)
ACCEPTANCE = AcceptanceWindow(86_400, 300)


def batch(body: bytes, clock: Clock) -> Batch:
    aggregator = Aggregator(clock(), ACCEPTANCE)
    aggregator.add_frames(split(body))
    return new_batch(b"", aggregator.pack())


def new_worker(store: Store, clock: Clock, name: str = "1") -> FoldWorker:
    return FoldWorker(
        store, RESOLUTIONS, name=name, clock=clock, interval_s=5, batches=64, monotonic=clock
    )


async def append(store: Store, *batches: Batch, app: str = "shop") -> None:
    await store.append({app: batches}, id_ttl_ms=60_000, inbox_ttl_ms=10**9)


async def merge_all(store: Store, slots: list[Slot], app: str = "shop") -> Rollup:
    """Return the merge of slots and inbox."""
    contents = await store.read(app, slots)
    rollup = Rollup()
    for elements in contents.slots.values():
        for element in elements:
            merge_packed(rollup, element[HEADER_BYTES:])
    for element in contents.inbox:
        for _, data in unpack_batch(element[HEADER_BYTES:]):
            merge_packed(rollup, data)
    return rollup


def all_slots(seconds: int, name: str) -> list[Slot]:
    first, last = align(int(AT_S) - 7_200, seconds), int(AT_S) + 60
    return [Slot(name, start) for start in range(first, last, seconds)]


async def counts(store: Store) -> dict[str, int]:
    """Return the requests at every resolution and in the total, each with those in the inbox."""
    requests = {
        resolution.name: sum(
            (
                await merge_all(store, all_slots(resolution.seconds, resolution.name))
            ).requests.values()
        )
        for resolution in RESOLUTIONS
    }
    requests["total"] = sum((await merge_all(store, [TOTAL])).requests.values())
    return requests


async def test_every_resolution_and_the_total_hold_the_same(store: Store) -> None:
    clock = Clock()
    rng = random.Random(1)
    for _ in range(40):
        body = b"".join(
            router(AT_S - rng.randrange(7_200), service=f"{rng.randrange(2_000)}ms")
            for _ in range(5)
        )
        await append(store, batch(body, clock))
    before = await merge_all(store, [])
    assert await new_worker(store, clock).fold("shop") == 40
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}
    for resolution in RESOLUTIONS:
        after = await merge_all(store, all_slots(resolution.seconds, resolution.name))
        assert after.requests == before.requests
        assert after.sketches == before.sketches
        assert after.tallies == before.tallies
    total = await merge_all(store, [TOTAL])
    assert total.sketches == before.sketches
    assert total.ledger == before.ledger
    assert set(total.requests) == {("web.", 200)}


async def test_a_large_inbox_is_folded_in_pieces(store: Store) -> None:
    clock = Clock()
    await append(store, *(batch(router(), clock) for _ in range(2 * BATCHES_MAX + 3)))
    assert await new_worker(store, clock).fold("shop") == 2 * BATCHES_MAX + 3
    assert set((await counts(store)).values()) == {2 * BATCHES_MAX + 3}


async def test_racing_workers_count_once(store: Store) -> None:
    clock = Clock()
    workers = [new_worker(store, clock, str(n)) for n in range(4)]
    for _ in range(5):
        await append(store, *(batch(router(), clock) for _ in range(10)))
        await asyncio.gather(*(worker.fold("shop") for worker in workers))
    assert set((await counts(store)).values()) == {50}
    assert sum(worker.folded_batches for worker in workers) == 50


async def test_counts_are_the_same_at_any_moment_of_folding(store: Store) -> None:
    clock = Clock()
    await append(store, *(batch(router(), clock) for _ in range(3 * BATCHES_MAX)))
    folding = asyncio.create_task(new_worker(store, clock).fold("shop"))
    while not folding.done():
        assert set((await counts(store)).values()) == {3 * BATCHES_MAX}
        await asyncio.sleep(0)
    assert await folding == 3 * BATCHES_MAX


async def test_slots_that_stopped_growing_are_compacted(store: Store) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    for _ in range(3):
        await append(store, batch(router() + memory(), clock))
        await worker.fold("shop")
    slot = Slot("1m", int(AT_S))
    before = await merge_all(store, [slot])
    assert len((await store.read("shop", [slot])).slots[slot]) == 3
    clock.now_s += 200
    await worker.compact_closed()
    after = await merge_all(store, [slot])
    assert len((await store.read("shop", [slot])).slots[slot]) == 1
    assert (after.requests, after.gauges) == (before.requests, before.gauges)


async def test_a_running_worker_compacts_slots_that_close_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_worker, "HEARTBEAT_INTERVAL_S", 0)  # it also looks at the clock then
    monkeypatch.setattr(fold_worker, "ROUND_S", 0.02)
    clock = Clock()
    worker = new_worker(store, clock)
    running = asyncio.create_task(worker.run())
    slot = Slot("1m", int(AT_S))

    async def until_elements(count: int) -> None:
        async with asyncio.timeout(20):
            while len((await store.read("shop", [slot])).slots.get(slot, [])) != count:
                await asyncio.sleep(0.01)

    for count in (1, 2, 3):
        await append(store, batch(router(), clock))
        worker.schedule({"shop": 64})
        await until_elements(count)
    clock.now_s += 240
    await until_elements(1)
    await cancel_and_wait([running])


async def test_a_slot_that_grows_for_ever_is_compacted_too(store: Store) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    for _ in range(70):
        await append(store, batch(router(), clock))
        await worker.fold("shop")
    assert len((await store.read("shop", [TOTAL])).slots[TOTAL]) < 35
    assert set((await counts(store)).values()) == {70}


async def test_compacting_the_total_drops_dynos_that_an_older_worker_left_in_it(
    store: Store,
) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    aggregator = Aggregator(clock(), ACCEPTANCE)
    aggregator.add_frames(split(router(dyno="web.7") + memory()))
    (_, with_dynos), *_ = unpack_batch(aggregator.pack())
    left_behind = SlotWrite(TOTAL, new_element(KIND_ROLLUP, with_dynos), 10**9)
    await store.fold_all({"shop": Fold([], [left_behind])})
    assert {name for name, _ in (await merge_all(store, [TOTAL])).requests} == {"web.7"}

    for _ in range(COMPACT_AT_LENGTH - 1):
        await append(store, batch(router(), clock))
        await worker.fold("shop")

    total = await merge_all(store, [TOTAL])
    assert len((await store.read("shop", [TOTAL])).slots[TOTAL]) == 1
    assert total.requests == {("web.", 200): COMPACT_AT_LENGTH}
    assert not total.gauges


async def test_an_inbox_is_due_at_64_batches_or_after_5_seconds(store: Store) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    await append(store, batch(router(), clock))
    worker.schedule({"shop": 1})
    await worker.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 1}
    worker.schedule({"shop": 64})
    await worker.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_a_quiet_app_is_folded_seldom_until_it_sends_more(store: Store) -> None:
    clock = Clock()
    worker = new_worker(store, clock)

    async def send(batches: int, after_s: float) -> int:
        """Return the length of the inbox after a round of folding."""
        for _ in range(batches):
            await append(store, batch(router(), clock))
            length = (await store.inbox_lengths(["shop"]))["shop"]
            worker.schedule({"shop": length})
        clock.now_s += after_s
        await worker.fold_due()
        return (await store.inbox_lengths(["shop"]))["shop"]

    for _ in range(3):  # until the app counts as quiet
        assert await send(1, after_s=5) == 0
    assert await send(1, after_s=5) == 1
    assert await send(1, after_s=290) == 2
    assert await send(1, after_s=5) == 0
    assert await send(7, after_s=5) == 7
    assert await send(1, after_s=5) == 0
    assert await send(3, after_s=5) == 0


async def test_a_blocked_app_does_not_block_others_in_the_same_fold(
    store: Store,
) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    newer = new_batch(b"", msgspec.msgpack.encode([9, []]))
    for number in range(40):
        app = f"app-{number}"
        await append(
            store,
            *([newer] if number == 20 else [batch(router(), clock) for _ in range(3)]),
            app=app,
        )
        worker.schedule({app: 1})
    clock.now_s += 5
    await worker.fold_due()
    lengths = await store.inbox_lengths([f"app-{number}" for number in range(40)])
    assert {app for app, length in lengths.items() if length} == {"app-20"}
    assert worker.folded_batches == 39 * 3
    assert "newer" in worker.last_error


async def test_a_damaged_rollup_that_is_alone_in_its_minute_is_set_aside(store: Store) -> None:
    clock = Clock()
    good_batch = batch(router(), clock)
    [(minute, data)] = unpack_batch(good_batch.element[HEADER_BYTES:])
    for damaged_data in (data[:-1], data + b"\0", b"", b"\xc1"):
        damaged_batch = new_batch(b"", msgspec.msgpack.encode([1, [[minute, damaged_data]]]))
        await append(store, damaged_batch)
    await append(store, good_batch)
    worker = new_worker(store, clock)
    await worker.fold("shop")
    assert set((await counts(store)).values()) == {1}
    assert worker.unreadable == 4


async def test_a_damaged_batch_is_set_aside_and_the_others_count(store: Store) -> None:
    clock = Clock()
    damaged_batch = new_batch(b"", b"\x92\x01\xa3abc")
    await append(store, batch(router(), clock), damaged_batch, batch(router(), clock))
    worker = new_worker(store, clock)
    await worker.fold("shop")
    assert set((await counts(store)).values()) == {2}
    assert worker.unreadable == 1
    [element] = (await store.read("shop", [UNREADABLE])).slots[UNREADABLE]
    assert element.endswith(b"\x92\x01\xa3abc")


@pytest.mark.parametrize("layer", ["batch", "rollup"])
async def test_a_batch_of_a_newer_version_stops_folding_and_stays(store: Store, layer: str) -> None:
    clock = Clock()
    newer = [9, []] if layer == "batch" else [1, [[int(AT_S), msgspec.msgpack.encode([9])]]]
    await append(
        store,
        batch(router(), clock),
        new_batch(b"", msgspec.msgpack.encode(newer)),
        batch(router(), clock),
    )
    worker = new_worker(store, clock)
    assert await worker.fold("shop") == 1
    assert await worker.fold("shop") == 0
    assert "newer" in worker.last_error
    assert await store.inbox_lengths(["shop"]) == {"shop": 2}


async def test_lines_older_than_the_minute_retention_go_into_coarser_slots(store: Store) -> None:
    clock = Clock()
    old_s = AT_S - 3 * 86_400
    aggregator = Aggregator(clock(), AcceptanceWindow(7 * 86_400, 300))
    aggregator.add_frames(split(router(old_s)))
    await append(store, new_batch(b"", aggregator.pack()))
    await new_worker(store, clock).fold("shop")
    contents = await store.read(
        "shop",
        [
            Slot(resolution.name, align(int(old_s), resolution.seconds))
            for resolution in RESOLUTIONS
        ],
    )
    assert {slot.resolution for slot in contents.slots} == {"10m", "1h"}


async def test_a_sweep_finds_inboxes_of_a_dead_worker(store: Store) -> None:
    clock = Clock()
    await append(store, batch(router(), clock))
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**9)
    worker = new_worker(store, clock)
    await worker.sweep()
    clock.now_s += 5
    await worker.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_a_late_fold_moves_forward_when_more_arrives(store: Store) -> None:
    clock = Clock()
    worker = new_worker(store, clock)
    await worker.sweep()
    await append(store, batch(router(), clock))
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**9)
    await worker.sweep()
    clock.now_s += 5
    await worker.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 1}

    worker.schedule({"shop": 2})
    clock.now_s += 5
    await worker.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_an_app_silent_for_longer_than_the_retention_is_forgotten(store: Store) -> None:
    clock = Clock()
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**12)
    worker = new_worker(store, clock)
    clock.now_s += 90 * 86_400
    await worker.sweep()
    assert len(await store.seen_apps()) == 1
    clock.now_s += 2 * 86_400
    await worker.sweep()
    assert await store.seen_apps() == []


async def test_a_clock_that_is_set_back_delays_no_fold() -> None:
    clock, monotonic = Clock(), Clock(1_000)
    store = MemoryStore(clock)
    worker = FoldWorker(
        store,
        RESOLUTIONS,
        name="1",
        clock=clock,
        interval_s=5,
        batches=64,
        monotonic=monotonic,
    )
    await append(store, batch(router(), clock))
    worker.schedule({"shop": 1})
    clock.now_s -= 600
    monotonic.now_s += 5
    await worker.fold_due()
    assert worker.folded_batches == 1
    assert worker.is_alive(within_s=5)


@pytest.mark.parametrize("notes_changes", [False, True])
async def test_hours_are_noted_as_changed_only_for_an_archive(notes_changes: bool) -> None:
    clock = Clock(AT_S + 60)
    store = MemoryStore(clock)
    worker = FoldWorker(
        store,
        RESOLUTIONS,
        name="1",
        clock=clock,
        interval_s=5,
        batches=64,
        monotonic=clock,
        notes_changes=notes_changes,
    )
    await append(store, batch(router(AT_S) + router(AT_S - 7_200), clock))
    await worker.fold("shop")
    starts = {change.start_s for change in await store.changed_hours(["shop"])}
    hours = {align(int(AT_S), 3_600), align(int(AT_S) - 7_200, 3_600)}
    assert starts == (hours if notes_changes else set())
