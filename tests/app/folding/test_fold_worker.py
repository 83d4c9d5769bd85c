"""Folding: an increment is in the inbox or in every resolution, whoever folds, whenever read."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from app.folding.fold_worker import BATCHES_MAX, FoldWorker
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import merge_packed
from app.rollup.resolutions import align, resolutions
from app.rollup.rollup import Rollup
from app.storage.interface import HEADER_BYTES, TOTAL, UNREADABLE, Batch, SeenApp, Slot, Store
from app.support.aio import cancel_and_wait
from parsers.framing import split
from tests.support.lines import AT_S, memory, router
from tests.support.service import Clock

TIERS = resolutions(86_400, 7 * 86_400, 90 * 86_400)
HORIZON = AcceptanceWindow(86_400, 300)


def batch(body: bytes, clock: Clock) -> Batch:
    aggregator = Aggregator(clock(), HORIZON)
    aggregator.add_frames(split(body))
    return new_batch(b"", aggregator.pack())


def folder(store: Store, clock: Clock, name: str = "1") -> FoldWorker:
    return FoldWorker(store, TIERS, name=name, clock=clock, interval_s=5, batches=64)


async def append(store: Store, *batches: Batch, app: str = "shop") -> None:
    await store.append({app: batches}, id_ttl_ms=60_000, inbox_ttl_ms=10**9)


async def merged(store: Store, slots: list[Slot], app: str = "shop") -> Rollup:
    """What slots and inbox hold together."""
    contents = await store.read(app, slots)
    whole = Rollup()
    for elements in contents.slots.values():
        for element in elements:
            merge_packed(whole, element[HEADER_BYTES:])
    for element in contents.inbox:
        for _, packed in unpack_batch(element[HEADER_BYTES:]):
            merge_packed(whole, packed)
    return whole


def all_slots(seconds: int, name: str) -> list[Slot]:
    first, last = align(int(AT_S) - 7_200, seconds), int(AT_S) + 60
    return [Slot(name, start) for start in range(first, last, seconds)]


async def counts(store: Store) -> dict[str, int]:
    """Requests at every resolution, in the total, and waiting."""
    found = {
        tier.name: sum((await merged(store, all_slots(tier.seconds, tier.name))).requests.values())
        for tier in TIERS
    }
    found["total"] = sum((await merged(store, [TOTAL])).requests.values())
    return found


async def test_every_resolution_and_the_total_hold_the_same(store: Store) -> None:
    clock = Clock()
    rng = random.Random(1)
    for _ in range(40):
        body = b"".join(
            router(AT_S - rng.randrange(7_200), service=f"{rng.randrange(2_000)}ms")
            for _ in range(5)
        )
        await append(store, batch(body, clock))
    before = await merged(store, [])
    assert await folder(store, clock).fold("shop") == 40
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}
    for tier in TIERS:
        after = await merged(store, all_slots(tier.seconds, tier.name))
        assert after.requests == before.requests
        assert after.sketches == before.sketches
        assert after.tallies == before.tallies
    total = await merged(store, [TOTAL])
    assert total.sketches == before.sketches
    assert total.ledger == before.ledger
    assert set(total.requests) == {("web.", 200)}


async def test_a_large_inbox_is_folded_in_pieces(store: Store) -> None:
    clock = Clock()
    await append(store, *(batch(router(), clock) for _ in range(2 * BATCHES_MAX + 3)))
    assert await folder(store, clock).fold("shop") == 2 * BATCHES_MAX + 3
    assert set((await counts(store)).values()) == {2 * BATCHES_MAX + 3}


async def test_racing_folders_change_nothing(store: Store) -> None:
    clock = Clock()
    folders = [folder(store, clock, str(n)) for n in range(4)]
    for _ in range(5):
        await append(store, *(batch(router(), clock) for _ in range(10)))
        await asyncio.gather(*(each.fold("shop") for each in folders))
    assert set((await counts(store)).values()) == {50}
    assert sum(each.folded_batches for each in folders) == 50


async def test_counts_are_the_same_at_any_moment_of_folding(store: Store) -> None:
    clock = Clock()
    await append(store, *(batch(router(), clock) for _ in range(3 * BATCHES_MAX)))
    folding = asyncio.create_task(folder(store, clock).fold("shop"))
    while not folding.done():
        assert set((await counts(store)).values()) == {3 * BATCHES_MAX}
        await asyncio.sleep(0)
    assert await folding == 3 * BATCHES_MAX


async def test_slots_that_stopped_growing_are_compacted(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)
    for _ in range(3):
        await append(store, batch(router() + memory(), clock))
        await folds.fold("shop")
    slot = Slot("1m", int(AT_S))
    before = await merged(store, [slot])
    assert len((await store.read("shop", [slot])).slots[slot]) == 3
    clock.now_s += 200
    await folds.compact_closed()
    after = await merged(store, [slot])
    assert len((await store.read("shop", [slot])).slots[slot]) == 1
    assert (after.requests, after.gauges) == (before.requests, before.gauges)


async def test_a_folder_that_runs_compacts_what_closes_in_later_minutes(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)
    running = asyncio.create_task(folds.run())
    slot = Slot("1m", int(AT_S))

    async def until_elements(count: int) -> None:
        async with asyncio.timeout(20):
            while len((await store.read("shop", [slot])).slots.get(slot, [])) != count:
                await asyncio.sleep(0.01)

    for count in (1, 2, 3):
        await append(store, batch(router(), clock))
        folds.stored({"shop": 64})
        await until_elements(count)
    clock.now_s += 240
    await until_elements(1)
    await cancel_and_wait([running])


async def test_a_slot_that_grows_for_ever_is_compacted_too(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)
    for _ in range(70):
        await append(store, batch(router(), clock))
        await folds.fold("shop")
    assert len((await store.read("shop", [TOTAL])).slots[TOTAL]) < 35
    assert set((await counts(store)).values()) == {70}


async def test_an_inbox_is_due_at_64_batches_or_after_5_seconds(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)
    await append(store, batch(router(), clock))
    folds.stored({"shop": 1})
    await folds.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 1}
    folds.stored({"shop": 64})
    await folds.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_an_app_that_sends_little_is_folded_seldom_until_it_sends_more(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)

    async def sent(batches: int, after_s: float) -> int:
        """How many wait."""
        for _ in range(batches):
            await append(store, batch(router(), clock))
            length = (await store.inbox_lengths(["shop"]))["shop"]
            folds.stored({"shop": length})
        clock.now_s += after_s
        await folds.fold_due()
        return (await store.inbox_lengths(["shop"]))["shop"]

    for _ in range(3):  # until it is known for that
        assert await sent(1, after_s=5) == 0
    assert await sent(1, after_s=5) == 1
    assert await sent(1, after_s=290) == 2
    assert await sent(1, after_s=5) == 0
    assert await sent(7, after_s=5) == 7
    assert await sent(1, after_s=5) == 0
    assert await sent(3, after_s=5) == 0


async def test_apps_are_folded_together_and_one_that_cannot_be_holds_up_no_other(
    store: Store,
) -> None:
    clock = Clock()
    folds = folder(store, clock)
    newer = new_batch(b"", msgspec.msgpack.encode([9, []]))
    for number in range(40):
        app = f"app-{number}"
        await append(
            store,
            *([newer] if number == 20 else [batch(router(), clock) for _ in range(3)]),
            app=app,
        )
        folds.stored({app: 1})
    clock.now_s += 5
    await folds.fold_due()
    lengths = await store.inbox_lengths([f"app-{number}" for number in range(40)])
    assert {app for app, length in lengths.items() if length} == {"app-20"}
    assert folds.folded_batches == 39 * 3
    assert "newer" in folds.last_error


async def test_a_damaged_rollup_that_is_alone_in_its_minute_is_set_aside(store: Store) -> None:
    clock = Clock()
    whole = batch(router(), clock)
    [(minute, packed)] = unpack_batch(whole.element[HEADER_BYTES:])
    for damaged in (packed[:-1], packed + b"\0", b"", b"\xc1"):
        broken = new_batch(b"", msgspec.msgpack.encode([1, [[minute, damaged]]]))
        await append(store, broken)
    await append(store, whole)
    folds = folder(store, clock)
    await folds.fold("shop")
    assert set((await counts(store)).values()) == {1}
    assert folds.unreadable == 4


async def test_a_damaged_batch_is_set_aside_and_costs_no_other(store: Store) -> None:
    clock = Clock()
    damaged = new_batch(b"", b"\x92\x01\xa3abc")
    await append(store, batch(router(), clock), damaged, batch(router(), clock))
    folds = folder(store, clock)
    await folds.fold("shop")
    assert set((await counts(store)).values()) == {2}
    assert folds.unreadable == 1
    [kept] = (await store.read("shop", [UNREADABLE])).slots[UNREADABLE]
    assert kept.endswith(b"\x92\x01\xa3abc")


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
    folds = folder(store, clock)
    assert await folds.fold("shop") == 1
    assert await folds.fold("shop") == 0
    assert "newer" in folds.last_error
    assert await store.inbox_lengths(["shop"]) == {"shop": 2}


async def test_lines_older_than_minutes_are_kept_go_into_the_coarser_slots(store: Store) -> None:
    clock = Clock()
    old_s = AT_S - 3 * 86_400
    aggregator = Aggregator(clock(), AcceptanceWindow(7 * 86_400, 300))
    aggregator.add_frames(split(router(old_s)))
    await append(store, new_batch(b"", aggregator.pack()))
    await folder(store, clock).fold("shop")
    contents = await store.read(
        "shop", [Slot(tier.name, align(int(old_s), tier.seconds)) for tier in TIERS]
    )
    assert {slot.resolution for slot in contents.slots} == {"10m", "1h"}


async def test_a_sweep_finds_what_a_dead_worker_left(store: Store) -> None:
    clock = Clock()
    await append(store, batch(router(), clock))
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**9)
    folds = folder(store, clock)
    await folds.sweep()
    clock.now_s += 5
    await folds.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_what_a_sweep_leaves_for_later_is_folded_sooner_when_more_comes(store: Store) -> None:
    clock = Clock()
    folds = folder(store, clock)
    await folds.sweep()
    await append(store, batch(router(), clock))
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**9)
    await folds.sweep()
    clock.now_s += 5
    await folds.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 1}

    folds.stored({"shop": 2})
    clock.now_s += 5
    await folds.fold_due()
    assert await store.inbox_lengths(["shop"]) == {"shop": 0}


async def test_an_app_silent_for_longer_than_anything_is_kept_is_forgotten(store: Store) -> None:
    clock = Clock()
    await store.record_sightings([SeenApp("shop", int(AT_S), int(AT_S), 0)], ttl_ms=10**12)
    folds = folder(store, clock)
    clock.now_s += 90 * 86_400
    await folds.sweep()
    assert len(await store.seen_apps()) == 1
    clock.now_s += 2 * 86_400
    await folds.sweep()
    assert await store.seen_apps() == []
