"""The contract of Store, checked on every kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.storage.interface.access import AccessTables
from app.storage.interface.apps import DRAIN, REPLAY, SIMULATION, Origin, SeenApp
from app.storage.interface.batches import AppendResult, Batch, LogOffset, Outcome, StatePrecondition
from app.storage.interface.elements import HEADER_BYTES, KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import Compaction, Fold
from app.storage.interface.rollups import Contents, Part
from app.storage.interface.store import Store
from tests.support.batches import (
    DAY_MS,
    MINUTE,
    TOTAL,
    again,
    append,
    append_bundle,
    batch,
    bundle,
    data,
    fill,
    inbox,
    slot_of,
    write,
)
from tests.support.store_calls import compact, fold, read_inbox

STORED, OWN_RETRY, DUPLICATE = Outcome.STORED, Outcome.OWN_RETRY, Outcome.DUPLICATE
# Takes off what a store adds to the time that ids are kept: they are forgotten at once.
NO_SPARE_MS = -9_000


# --- append ---------------------------------------------------------------------------------------


async def test_batches_wait_in_the_inbox_in_the_order_of_their_arrival(store: Store) -> None:
    batches = [batch(b"%d" % i) for i in range(5)]

    first = await append(store, "shop", *batches[:3])
    second = await append(store, "shop", *batches[3:])

    assert first == AppendResult([STORED] * 3, 3)
    assert second == AppendResult([STORED] * 2, 5)
    assert await inbox(store, "shop") == [entry.element for entry in batches]


async def test_the_same_batch_with_its_token_is_our_own_retry_and_stored_once(store: Store) -> None:
    original = batch()
    await append(store, "shop", original)

    assert await append(store, "shop", original) == AppendResult([OWN_RETRY], 0)
    assert await inbox(store, "shop") == [original.element]


async def test_a_known_id_with_another_token_is_a_duplicate_whatever_its_bytes(
    store: Store,
) -> None:
    original = batch(b"first")
    await append(store, "shop", original)

    assert await append(store, "shop", again(original)) == AppendResult([DUPLICATE], 0)
    assert await inbox(store, "shop") == [original.element]


async def test_a_duplicate_leaves_the_first_token_in_place(store: Store) -> None:
    original = batch()
    await append(store, "shop", original)
    await append(store, "shop", again(original))

    assert (await append(store, "shop", original)).outcomes == [OWN_RETRY]


async def test_an_id_that_comes_twice_in_one_call_is_stored_once(store: Store) -> None:
    original, second = batch(), batch()

    answer = await append(store, "shop", original, again(original), second, original)

    assert answer == AppendResult([STORED, DUPLICATE, STORED, OWN_RETRY], 2)
    assert await inbox(store, "shop") == [original.element, second.element]


async def test_batches_without_an_id_are_stored_every_time(store: Store) -> None:
    original = batch(id=b"")

    assert (await append(store, "shop", original, original)).outcomes == [STORED, STORED]
    assert (await append(store, "shop", original)).inbox_length == 3


async def test_a_batch_stays_known_after_it_was_folded(store: Store) -> None:
    original = batch()
    await append(store, "shop", original)
    await fold(store, "shop", [original.element], [write()])

    assert await append(store, "shop", again(original)) == AppendResult([DUPLICATE], 0)
    assert await inbox(store, "shop") == []


async def test_apps_are_independent_even_if_they_share_an_id_and_a_call(store: Store) -> None:
    shop_batch = batch()
    eu_batch = again(shop_batch)

    answers = await store.append(
        {"shop": [shop_batch, again(shop_batch)], "shop-eu": [eu_batch]},
        id_ttl_ms=DAY_MS,
        inbox_ttl_ms=DAY_MS,
    )

    assert answers == {
        "shop": AppendResult([STORED, DUPLICATE], 1),
        "shop-eu": AppendResult([STORED], 1),
    }
    assert await inbox(store, "shop") == [shop_batch.element]
    assert await inbox(store, "shop-eu") == [eu_batch.element]


async def test_ids_tokens_and_data_may_hold_any_bytes(store: Store) -> None:
    every_byte = bytes(range(256))
    original = batch(every_byte * 100, id=b"{}*?\r\n\0\xff\xfe[]:\x01 \\", token=b"\r\n\0\xff0123")

    await append(store, "shop", original)

    assert (await append(store, "shop", original)).outcomes == [OWN_RETRY]
    assert await inbox(store, "shop") == [original.element]


async def test_appending_nothing_does_nothing(store: Store) -> None:
    assert await store.append({}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS) == {}
    assert await append(store, "shop") == AppendResult([], 0)


async def test_a_group_of_a_thousand_batches_is_stored(store: Store) -> None:
    batches = [batch(b"%d" % i) for i in range(1_000)]

    answer = await append(store, "shop", *batches)

    assert answer == AppendResult([STORED] * 1_000, 1_000)
    assert await inbox(store, "shop") == [entry.element for entry in batches]


# --- append from a log, append coalesced ----------------------------------------------------------


async def append_from_log(
    store: Store,
    app: str,
    *records: tuple[int, Batch],
    id_ttl_ms: int = DAY_MS,
    precondition: StatePrecondition | None = None,
) -> AppendResult:
    """Append batches that were read from a log at these offsets."""
    answers = await store.append_from_log(
        {app: [entry for _, entry in records]},
        {app: [LogOffset("batches:0", offset) for offset, _ in records]},
        id_ttl_ms=id_ttl_ms,
        inbox_ttl_ms=DAY_MS,
        preconditions={app: precondition} if precondition else {},
    )
    return answers[app]


async def test_what_is_read_from_a_log_again_changes_nothing(store: Store) -> None:
    first, second = batch(b"one"), batch(b"two")
    assert (await append_from_log(store, "shop", (4, first), (9, second))).inbox_length == 2

    again_read = await append_from_log(
        store, "shop", (4, first), (9, second), (10, batch(b"three"))
    )
    assert again_read.outcomes == [Outcome.OWN_RETRY, Outcome.OWN_RETRY, Outcome.STORED]
    assert len(await read_inbox(store, "shop", 9)) == 3


async def test_what_is_read_again_when_its_id_is_forgotten_changes_nothing(store: Store) -> None:
    first = batch(b"one")
    await append_from_log(store, "shop", (4, first), id_ttl_ms=NO_SPARE_MS)
    outcomes = [Outcome.OWN_RETRY]
    while outcomes == [Outcome.OWN_RETRY]:
        outcomes = (
            await append_from_log(store, "shop", (4, first), id_ttl_ms=NO_SPARE_MS)
        ).outcomes
    assert outcomes == [Outcome.REPLAYED]
    assert len(await read_inbox(store, "shop", 9)) == 1


async def test_a_repetition_of_the_sender_is_a_duplicate_and_its_offset_is_recorded(
    store: Store,
) -> None:
    first = batch(b"one")
    await append_from_log(store, "shop", (4, first))
    assert (await append_from_log(store, "shop", (5, again(first)))).outcomes == [Outcome.DUPLICATE]
    assert (await append_from_log(store, "shop", (5, batch()))).outcomes == [Outcome.REPLAYED]


async def append_at(store: Store, *positions: tuple[int, int | None]) -> list[Outcome]:
    """Append a new batch at each position (offset, epoch); returns their outcomes."""
    answers = await store.append_from_log(
        {"shop": [batch() for _ in positions]},
        {"shop": [LogOffset("batches:0", *position) for position in positions]},
        id_ttl_ms=DAY_MS,
        inbox_ttl_ms=DAY_MS,
    )
    return answers["shop"].outcomes


async def test_an_offset_given_away_again_in_a_later_epoch_is_another_batch(store: Store) -> None:
    assert await append_at(store, (8, 1), (9, 1)) == [Outcome.STORED] * 2
    assert await append_at(store, (8, 2), (9, 2)) == [Outcome.STORED] * 2
    assert await append_at(store, (7, 1), (9, 1), (10, 1), (9, 2)) == [Outcome.REPLAYED] * 4
    assert await append_at(store, (10, 2)) == [Outcome.STORED]


async def test_where_an_epoch_is_unknown_offsets_alone_count(store: Store) -> None:
    assert await append_at(store, (8, 1)) == [Outcome.STORED]
    assert await append_at(store, (8, None), (9, None)) == [Outcome.REPLAYED, Outcome.STORED]
    # The epoch of offset 9 is unknown: it may have been this record.
    assert await append_at(store, (9, 2), (10, 2)) == [Outcome.REPLAYED, Outcome.STORED]
    assert await append_at(store, (10, 3)) == [Outcome.STORED]


async def test_offsets_are_kept_by_app_and_source(store: Store) -> None:
    await append_from_log(store, "shop", (4, batch()))
    assert (await append_from_log(store, "blog", (4, batch()))).outcomes == [Outcome.STORED]
    answers = await store.append_from_log(
        {"shop": [batch()]},
        {"shop": [LogOffset("batches:1", 4)]},
        id_ttl_ms=DAY_MS,
        inbox_ttl_ms=DAY_MS,
    )
    assert answers["shop"].outcomes == [Outcome.STORED]


async def test_a_stale_batch_records_no_offset(store: Store) -> None:
    stored_batch, late_batch = batch(b"one"), batch(b"two")
    await append_from_log(
        store, "shop", (4, stored_batch), precondition=StatePrecondition(b"", b"state")
    )

    stale = await append_from_log(
        store,
        "shop",
        (5, late_batch),
        (6, again(stored_batch)),
        precondition=StatePrecondition(b"", b"x"),
    )
    assert stale.outcomes == [Outcome.STALE, Outcome.DUPLICATE]
    precondition = StatePrecondition(stale.state, b"")
    assert (
        await append_from_log(store, "shop", (5, late_batch), precondition=precondition)
    ).outcomes == [Outcome.STORED]


async def test_a_coalesced_element_is_one_element_and_each_of_its_batches_is_known(
    store: Store,
) -> None:
    batches = [batch() for _ in range(3)]
    original = bundle(*batches)

    assert await append_bundle(store, "shop", original) == 1
    assert await append_bundle(store, "shop", bundle(batch(), batch())) == 2

    assert (await inbox(store, "shop"))[0] == original.element
    for entry in batches:
        assert (await append(store, "shop", entry)).outcomes == [OWN_RETRY]
        assert (await append(store, "shop", again(entry))).outcomes == [DUPLICATE]


async def test_a_coalesced_element_with_one_known_batch_changes_nothing(store: Store) -> None:
    duplicate, unknown = batch(), batch()
    await append(store, "shop", duplicate)

    for original in (bundle(unknown, duplicate), bundle(unknown, again(duplicate))):
        assert await append_bundle(store, "shop", original) == 0

    assert await inbox(store, "shop") == [duplicate.element]
    assert (await append(store, "shop", unknown)).outcomes == [STORED]


async def test_a_coalesced_element_that_is_sent_again_is_stored_once(store: Store) -> None:
    original = bundle(batch(), batch())
    assert [await append_bundle(store, "shop", original) for _ in range(3)] == [1, 0, 0]
    assert await inbox(store, "shop") == [original.element]


async def test_a_coalesced_element_is_stored_only_while_the_state_is_as_expected(
    store: Store,
) -> None:
    first, second = bundle(batch()), bundle(batch())

    assert await append_bundle(store, "shop", first, {"shop": StatePrecondition(b"", b"one")}) == 1
    assert await append_bundle(store, "shop", second, {"shop": StatePrecondition(b"", b"two")}) == 0
    assert await store.drain_states(["shop"]) == {"shop": b"one"}
    assert await append_bundle(store, "shop", second, {"shop": StatePrecondition(b"one", b"")}) == 2
    assert await store.drain_states(["shop"]) == {"shop": b"one"}
    assert await inbox(store, "shop") == [first.element, second.element]


async def test_each_app_is_checked_against_its_own_expected_state(
    store: Store,
) -> None:
    states = {app: app.encode() for app in ("shop", "blog", "api")}
    first = {app: StatePrecondition(b"", state) for app, state in states.items()}
    then = {app: StatePrecondition(state, b"") for app, state in states.items()} | {
        "blog": StatePrecondition(b"?", b"")
    }
    answers = []
    for preconditions in (first, then):
        original = {app: bundle(batch()) for app in states}
        answers.append(
            await store.append_coalesced(
                original, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS, preconditions=preconditions
            )
        )
    assert answers == [{"shop": 1, "blog": 1, "api": 1}, {"shop": 2, "blog": 0, "api": 2}]
    assert await store.drain_states(list(states)) == states


async def test_coalesced_elements_of_several_apps_are_independent(store: Store) -> None:
    duplicate = batch()
    await append(store, "blog", duplicate)
    original = {"shop": bundle(duplicate), "blog": bundle(duplicate), "shop-eu": bundle(batch())}

    answers = await store.append_coalesced(original, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)

    assert answers == {"shop": 1, "blog": 0, "shop-eu": 1}
    assert await store.append_coalesced({}, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS) == {}


async def test_appends_and_folds_of_a_hundred_apps_each_get_their_own_answer(store: Store) -> None:
    apps = [f"app-{number}" for number in range(100)]
    duplicates = {app: batch() for app in apps[::3]}
    for app, entry in duplicates.items():
        await append(store, app, entry)
    original = {app: bundle(duplicates.get(app, batch())) for app in apps}

    answers = await store.append_coalesced(original, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)

    assert answers == {app: 0 if app in duplicates else 1 for app in apps}
    # The element of every third app was not stored, so it cannot be folded.
    folds = {app: Fold([original[app].element], [write()]) for app in apps}
    answers_of_folds = await store.fold_all(folds)
    assert {app for app, lengths in answers_of_folds.items() if lengths is None} == set(duplicates)
    lengths = await store.inbox_lengths(apps)
    assert lengths == {app: 1 if app in duplicates else 0 for app in apps}


async def fold_noted(store: Store, app: str, *hours: int) -> None:
    """Append a batch and fold it into a slot, with these hours as changed."""
    entry = batch()
    await append(store, app, entry)
    assert (await store.fold_all({app: Fold([entry.element], [write()], hours)}))[app] is not None


async def test_a_fold_notes_the_hours_that_it_changed(store: Store) -> None:
    await fold_noted(store, "shop", 3_600, 7_200)
    await fold_noted(store, "blog", 3_600)
    await fold_noted(store, "api")

    changes = await store.changed_hours(["shop", "blog", "api", "none"])

    assert sorted(change[:2] for change in changes) == [
        ("blog", 3_600),
        ("shop", 3_600),
        ("shop", 7_200),
    ]


async def test_a_note_is_forgotten_unless_another_fold_changed_the_hour_since(store: Store) -> None:
    await fold_noted(store, "shop", 3_600, 7_200)
    changes = await store.changed_hours(["shop"])
    await fold_noted(store, "shop", 7_200)

    await store.forget_changes(changes)

    (change,) = await store.changed_hours(["shop"])
    assert change.start_s == 7_200
    await store.forget_changes([change])
    assert await store.changed_hours(["shop"]) == []
    await store.forget_changes([change])  # of another worker: nothing is left to forget


async def test_a_fold_that_comes_too_late_notes_nothing(store: Store) -> None:
    entry = batch()
    fold = Fold([entry.element], [write()], [3_600])

    assert await store.fold_all({"shop": fold}) == {"shop": None}

    assert await store.changed_hours(["shop"]) == []


async def test_folds_with_and_without_notes_share_a_call(store: Store) -> None:
    entries = {app: batch() for app in ("api", "blog", "shop")}
    for app, entry in entries.items():
        await append(store, app, entry)

    lengths = await store.fold_all(
        {
            "api": Fold([entries["api"].element], [write(), write()]),
            "blog": Fold([entries["blog"].element], [write()], [3_600, 7_200]),
            "shop": Fold([entries["shop"].element], [write()]),
        }
    )

    assert None not in lengths.values()
    assert {change.app for change in await store.changed_hours(list(entries))} == {"blog"}


async def test_the_notes_of_a_removed_app_are_gone(store: Store) -> None:
    await fold_noted(store, "shop", 3_600)
    await store.remove_app("shop", [], now_s=1, ttl_ms=DAY_MS)
    assert await store.changed_hours(["shop"]) == []


async def test_a_coalesced_element_of_thousands_of_batches_is_stored(store: Store) -> None:
    batches = [batch() for _ in range(2_345)]
    assert await append_bundle(store, "shop", bundle(*batches)) == 1
    assert (await append(store, "shop", *batches)).outcomes == [OWN_RETRY] * len(batches)
    for duplicate in (batches[0], batches[999], batches[1_000], batches[-1]):
        assert await append_bundle(store, "shop", bundle(batch(), duplicate)) == 0


@pytest.mark.parametrize("duplicate", range(6))
async def test_of_several_coalesced_elements_the_one_with_a_known_batch_is_rejected(
    store: Store, duplicate: int
) -> None:
    apps = ["shop", "blog", "api"]
    batches = [batch() for _ in range(6)]
    await append(store, apps[duplicate // 2], batches[duplicate])
    original = {app: bundle(*batches[2 * n : 2 * n + 2]) for n, app in enumerate(apps)}

    answers = await store.append_coalesced(original, id_ttl_ms=DAY_MS, inbox_ttl_ms=DAY_MS)

    assert answers == {app: 0 if n == duplicate // 2 else 1 for n, app in enumerate(apps)}
    for number, entry in enumerate(batches):
        is_known = number // 2 != duplicate // 2 or number == duplicate
        outcome = (await append(store, apps[number // 2], entry)).outcomes
        assert outcome == [OWN_RETRY if is_known else STORED]


# --- fold -----------------------------------------------------------------------------------------


async def test_folding_takes_the_oldest_batches_and_adds_to_the_slots(store: Store) -> None:
    elements = await fill(store, "shop", 5)
    oldest = await read_inbox(store, "shop", 3)
    minute, total = write(MINUTE, b"minute"), write(TOTAL, b"total")

    lengths = await fold(store, "shop", oldest, [minute, total])

    assert oldest == elements[:3]
    assert lengths == {MINUTE: 1, TOTAL: 1}
    assert await store.read("shop", [MINUTE, TOTAL]) == Contents(
        elements[3:], {MINUTE: [minute.element], TOTAL: [total.element]}
    )


async def test_inboxes_of_several_apps_are_read_and_folded_at_once(store: Store) -> None:
    shop_elements, blog_elements = await fill(store, "shop", 3), await fill(store, "blog", 2)
    inboxes = await store.read_inboxes(["shop", "none", "blog"], 2, 2**20)
    assert inboxes == {"shop": shop_elements[:2], "blog": blog_elements}

    lengths = await store.fold_all(
        {"shop": Fold(shop_elements[:2], [write()]), "blog": Fold(blog_elements[1:], [write()])}
    )

    assert lengths == {"shop": {MINUTE: 1}, "blog": None}
    assert await store.inbox_lengths(["shop", "blog"]) == {"shop": 1, "blog": 2}
    assert await store.read_inboxes([], 2, 2**20) == {}
    assert await store.fold_all({}) == {}


async def test_a_read_of_inboxes_stops_once_an_inbox_has_given_enough_bytes(store: Store) -> None:
    shop_elements, blog_elements = await fill(store, "shop", 5), await fill(store, "blog", 1)
    size = len(shop_elements[0])
    for bytes_max, count in [(1, 1), (size, 1), (size + 1, 2), (3 * size, 3), (9 * size, 4)]:
        inboxes = await store.read_inboxes(["shop", "blog"], 4, bytes_max)
        assert inboxes == {"shop": shop_elements[:count], "blog": blog_elements}


async def test_slots_of_several_apps_are_read_and_compacted_at_once(store: Store) -> None:
    for app in ("shop", "blog"):
        elements = await fill(store, app, 1)
        await fold(store, app, elements, [write(data=b"a"), write(data=b"b")])
    shop_elements, blog_elements, none = await store.read_slots(
        [("shop", MINUTE), ("blog", MINUTE), ("x", TOTAL)]
    )
    assert (data(shop_elements), data(blog_elements), none) == ([b"a", b"b"], [b"a", b"b"], [])
    element = new_element(KIND_ROLLUP, b"merged")

    results = await store.compact_all(
        [
            Compaction("shop", MINUTE, shop_elements, element, DAY_MS),
            Compaction("blog", MINUTE, shop_elements, element, DAY_MS),
        ]
    )

    assert results == [True, False]
    assert await store.read_slots([("shop", MINUTE), ("blog", MINUTE)]) == [
        [element],
        blog_elements,
    ]
    assert await store.read_slots([]) == []
    assert await store.compact_all([]) == []


async def test_several_writes_may_name_one_slot(store: Store) -> None:
    elements = await fill(store, "shop", 1)

    lengths = await fold(store, "shop", elements, [write(data=b"a"), write(data=b"b")])

    assert lengths == {MINUTE: 2}
    assert data(await slot_of(store, "shop")) == [b"a", b"b"]


async def test_a_batch_that_arrives_while_others_are_folded_stays_in_the_inbox(
    store: Store,
) -> None:
    elements = await fill(store, "shop", 2)
    late = batch(b"late")
    await append(store, "shop", late)

    assert await fold(store, "shop", elements, [write()]) == {MINUTE: 1}
    assert await inbox(store, "shop") == [late.element]


async def test_of_two_folds_of_the_same_batches_exactly_one_wins(store: Store) -> None:
    elements = await fill(store, "shop", 10)

    answers = await asyncio.gather(
        *(fold(store, "shop", elements, [write(data=b"%d" % i)]) for i in range(5))
    )

    assert sorted(answer is None for answer in answers) == [False, True, True, True, True]
    assert len(await slot_of(store, "shop")) == 1
    assert await inbox(store, "shop") == []


async def test_a_fold_of_more_than_is_left_changes_nothing(store: Store) -> None:
    elements = await fill(store, "shop", 4)
    await fold(store, "shop", elements[:2], [write()])

    assert await fold(store, "shop", elements, [write(TOTAL)]) is None
    assert await fold(store, "shop", elements[2:] + elements[:1], [write(TOTAL)]) is None
    assert await store.read("shop", [TOTAL]) == Contents(elements[2:], {})


async def test_a_fold_of_what_a_failover_lost_changes_nothing(store: Store) -> None:
    """Only the first element is still the same; the last was pushed again with a new header."""
    elements = await fill(store, "shop", 3)
    lost_elements = [
        new_element(b"D", b"lost in a failover"),
        new_element(b"D", elements[2][HEADER_BYTES:]),
    ]
    read = [elements[0], *lost_elements]

    assert await fold(store, "shop", read, [write()]) is None
    assert await store.read("shop", [MINUTE]) == Contents(elements, {})


async def test_batches_of_equal_data_are_distinguished(store: Store) -> None:
    first, second = batch(b"same"), batch(b"same")
    await append(store, "shop", first, second)

    assert await fold(store, "shop", [second.element], [write()]) is None
    assert await inbox(store, "shop") == [first.element, second.element]


async def test_a_fold_of_no_batches_adds_to_the_slots(store: Store) -> None:
    elements = await fill(store, "shop", 2)

    assert await fold(store, "shop", [], [write()]) == {MINUTE: 1}
    assert await inbox(store, "shop") == elements


async def test_a_fold_without_writes_takes_the_batches(store: Store) -> None:
    elements = await fill(store, "shop", 2)

    assert await fold(store, "shop", elements, []) == {}
    assert await inbox(store, "shop") == []


async def test_a_fold_may_write_thousands_of_slots(store: Store) -> None:
    """More than a Lua call takes as arguments: old lines replayed touch a week of minutes."""
    elements = await fill(store, "shop", 256)
    slots = [Slot("1m", 60 * i) for i in range(10_000)]

    lengths = await fold(store, "shop", elements, [write(slot) for slot in slots])

    assert lengths == dict.fromkeys(slots, 1)
    assert len((await store.read("shop", slots)).slots) == 10_000


# --- compact --------------------------------------------------------------------------------------


async def filled_slot(store: Store, count: int) -> list[bytes]:
    await fold(store, "shop", [], [write(data=b"%d" % i) for i in range(count)])
    return await slot_of(store, "shop")


async def test_compaction_replaces_the_oldest_elements_by_their_merge(store: Store) -> None:
    elements = await filled_slot(store, 5)
    merge = new_element(KIND_ROLLUP, b"merged")

    assert await compact(store, "shop", MINUTE, elements[:3], merge, DAY_MS) is True
    assert await slot_of(store, "shop") == [merge, *elements[3:]]


async def test_compaction_of_a_whole_slot_leaves_one_element(store: Store) -> None:
    elements = await filled_slot(store, 3)
    merge = new_element(KIND_ROLLUP, b"merged")

    assert await compact(store, "shop", MINUTE, elements, merge, DAY_MS) is True
    assert await slot_of(store, "shop") == [merge]


async def test_a_fold_during_a_compaction_is_kept(store: Store) -> None:
    elements = await filled_slot(store, 3)
    late = write(data=b"late")
    await fold(store, "shop", [], [late])

    assert await compact(store, "shop", MINUTE, elements, b"C" + b"\0" * 8, DAY_MS) is True
    assert await slot_of(store, "shop") == [b"C" + b"\0" * 8, late.element]


async def test_of_several_compactions_of_the_same_elements_exactly_one_wins(store: Store) -> None:
    elements = await filled_slot(store, 3)

    answers = await asyncio.gather(
        *(
            compact(store, "shop", MINUTE, elements, new_element(KIND_ROLLUP, b"merged"), DAY_MS)
            for _ in range(4)
        )
    )

    assert sorted(answers) == [False, False, False, True]
    assert data(await slot_of(store, "shop")) == [b"merged"]


async def test_compaction_of_what_is_not_there_any_more_changes_nothing(store: Store) -> None:
    elements = await filled_slot(store, 3)
    merge = new_element(KIND_ROLLUP, b"merged")
    pushed_once_more = new_element(KIND_ROLLUP, elements[2][HEADER_BYTES:])

    for read in ([*elements[:2], pushed_once_more], elements[1:], []):
        assert await compact(store, "shop", MINUTE, read, merge, DAY_MS) is False
    assert await compact(store, "shop", MINUTE, [*elements, merge], merge, DAY_MS) is False
    assert await compact(store, "shop", TOTAL, elements, merge, DAY_MS) is False
    assert await store.read("shop", [MINUTE, TOTAL]) == Contents([], {MINUTE: elements})


async def test_compaction_may_merge_thousands_of_elements(store: Store) -> None:
    elements = await filled_slot(store, 9_000)
    merge = new_element(KIND_ROLLUP, b"merged")

    assert await compact(store, "shop", MINUTE, elements, merge, DAY_MS) is True
    assert await slot_of(store, "shop") == [merge]


# --- read -----------------------------------------------------------------------------------------


async def test_a_read_holds_only_slots_that_are_not_empty(store: Store) -> None:
    elements = await fill(store, "shop", 1)
    await filled_slot(store, 2)
    slots = [Slot("1m", MINUTE.start + 60 * i) for i in range(-720, 720)]

    contents = await store.read("shop", slots)

    assert contents.inbox == elements
    assert {slot: len(elements) for slot, elements in contents.slots.items()} == {MINUTE: 2}


async def test_a_read_leaves_out_the_inbox_when_it_is_not_wanted(store: Store) -> None:
    await fill(store, "shop", 1)
    elements = await filled_slot(store, 1)

    assert await store.read("shop", [TOTAL, MINUTE], inbox=False) == Contents(
        [], {MINUTE: elements}
    )


async def test_several_apps_are_read_at_once_each_with_its_own_slots(store: Store) -> None:
    elements = await fill(store, "shop", 1)
    slot_elements = await filled_slot(store, 2)
    blog_elements = await fill(store, "blog", 2)

    contents = await store.read_many([("blog", [MINUTE]), ("none", []), ("shop", [TOTAL, MINUTE])])

    assert contents == [
        Contents(blog_elements, {}),
        Contents([], {}),
        Contents(elements, {MINUTE: slot_elements}),
    ]
    assert await store.read_many([]) == []


async def test_a_part_ends_once_its_slots_take_enough_memory(store: Store) -> None:
    slots = [MINUTE, Slot("1m", MINUTE.start + 60), Slot("1m", MINUTE.start + 120), TOTAL]
    size = 10_000  # a store needs some bytes more
    writes = [write(slot, b"x" * size) for slot in (slots[0], slots[2])]
    await fold(store, "shop", await fill(store, "shop", 1), writes)
    elements = await fill(store, "shop", 2)
    contents = await store.read("shop", slots)

    for bytes_max, counts in [(1, (1, 2, 1)), (3 * size // 2, (3, 1)), (9 * size, (4,))]:
        remaining = slots
        for count in counts:
            requests = [("none", slots), ("shop", remaining)]
            none, part = await store.read_parts(requests, bytes_max)
            assert none == Part(Contents([], {}), len(slots))
            assert part.slot_count == count
            assert part.contents.inbox == elements
            assert part.contents.slots == {
                slot: contents.slots[slot] for slot in remaining[:count] if slot in contents.slots
            }
            remaining = remaining[count:]
        assert not remaining
    assert await store.read_parts([], 1) == []


async def test_while_all_is_well_every_app_can_be_read(store: Store) -> None:
    assert await store.reachable_apps(["shop", "none", "blog"]) == ["shop", "none", "blog"]
    assert await store.reachable_apps([]) == []


async def test_nothing_is_read_of_an_unknown_app(store: Store) -> None:
    await fill(store, "shop", 1)

    assert await store.read("none", [MINUTE]) == Contents([], {})
    assert await store.read("none", [], inbox=False) == Contents([], {})
    assert await read_inbox(store, "none", 10) == []


async def test_what_was_read_does_not_change_afterwards(store: Store) -> None:
    elements = await fill(store, "shop", 2)
    contents = await store.read("shop", [MINUTE])
    oldest = await read_inbox(store, "shop", 2)

    await fold(store, "shop", elements, [write()])

    assert contents == Contents(elements, {})
    assert oldest == elements


async def test_a_read_sees_a_batch_either_in_the_inbox_or_in_the_slots(store: Store) -> None:
    """Readers race with a folder; every one must see all hundred batches, wherever they are."""
    await fill(store, "shop", 100)

    async def fold_one_by_one() -> None:
        while elements := await read_inbox(store, "shop", 1):
            await fold(store, "shop", elements, [write(data=b"1")])
            await asyncio.sleep(0)

    async def counted() -> int:
        await asyncio.sleep(0)
        contents = await store.read("shop", [MINUTE])
        return len(contents.inbox) + len(contents.slots.get(MINUTE, []))

    folding = asyncio.create_task(fold_one_by_one())
    counts = []
    while not folding.done():
        counts += await asyncio.gather(*(counted() for _ in range(3)))
    await folding

    assert set(counts) == {100}


async def test_inbox_lengths_are_returned_by_app(store: Store) -> None:
    await fill(store, "shop", 3)
    await fill(store, "blog", 1)

    assert await store.inbox_lengths(["blog", "shop", "none"]) == {"blog": 1, "shop": 3, "none": 0}
    assert await store.inbox_lengths([]) == {}


# --- apps, drains, status records -----------------------------------------------------------------


async def test_seen_apps_are_listed_by_name(store: Store) -> None:
    shop, blog = SeenApp("shop", 100, 200, 0), SeenApp("blog", 150, 160, 155)

    await store.record_sightings([shop, blog], ttl_ms=DAY_MS)

    assert await store.seen_apps() == [blog, shop]


async def test_first_seen_only_moves_back_and_the_other_times_only_forward(store: Store) -> None:
    await store.record_sightings([SeenApp("shop", 100, 200, 150)], ttl_ms=DAY_MS)

    await store.record_sightings([SeenApp("shop", 110, 190, 140)], ttl_ms=DAY_MS)
    assert await store.seen_apps() == [SeenApp("shop", 100, 200, 150)]

    await store.record_sightings([SeenApp("shop", 90, 210, 160)], ttl_ms=DAY_MS)
    assert await store.seen_apps() == [SeenApp("shop", 90, 210, 160)]

    await store.record_sightings([SeenApp("shop", 120, 220, 0)], ttl_ms=DAY_MS)
    assert await store.seen_apps() == [SeenApp("shop", 90, 220, 160)]


async def test_apps_last_seen_before_a_time_are_forgotten(store: Store) -> None:
    await store.record_sightings(
        [SeenApp("old", 1, 99, 5), SeenApp("older", 1, 50, 0), SeenApp("shop", 1, 100, 0)],
        ttl_ms=DAY_MS,
    )

    assert sorted(await store.forget_apps(100)) == ["old", "older"]
    assert [sighting.app for sighting in await store.seen_apps()] == ["shop"]
    assert await store.forget_apps(100) == []


async def test_a_forgotten_app_that_comes_back_is_new(store: Store) -> None:
    await store.record_sightings([SeenApp("shop", 1, 50, 40)], ttl_ms=DAY_MS)
    await store.forget_apps(100)
    await store.record_sightings([SeenApp("shop", 200, 200, 0)], ttl_ms=DAY_MS)

    assert await store.seen_apps() == [SeenApp("shop", 200, 200, 0)]


@pytest.mark.parametrize("origin", [Origin(REPLAY, False), Origin(SIMULATION, True)])
async def test_the_origin_of_a_new_app_is_recorded(store: Store, origin: Origin) -> None:
    shop = SeenApp("shop", 100, 200, 0, origin)
    await store.record_sightings([shop], ttl_ms=DAY_MS)

    assert await store.seen_apps() == [shop]


async def test_an_app_without_a_drain_has_its_latest_origin(store: Store) -> None:
    for origin in (Origin(REPLAY, False), Origin(SIMULATION, True)):
        await store.record_sightings([SeenApp("shop", 1, 2, 0, origin)], ttl_ms=DAY_MS)

    assert [app.origin for app in await store.seen_apps()] == [Origin(SIMULATION, True)]


@pytest.mark.parametrize(
    "origins", [(DRAIN, Origin(REPLAY, False)), (Origin(REPLAY, False), DRAIN)]
)
async def test_an_app_that_ever_had_a_drain_keeps_that_origin(
    store: Store, origins: Sequence[Origin]
) -> None:
    for origin in (*origins, Origin(SIMULATION, False)):
        await store.record_sightings([SeenApp("shop", 1, 2, 0, origin)], ttl_ms=DAY_MS)

    assert [app.origin for app in await store.seen_apps()] == [DRAIN]


async def test_a_forgotten_app_may_have_another_origin(store: Store) -> None:
    await store.record_sightings([SeenApp("shop", 1, 50, 40)], ttl_ms=DAY_MS)
    await store.forget_apps(100)
    simulated = SeenApp("shop", 200, 200, 0, Origin(SIMULATION, False))
    await store.record_sightings([simulated], ttl_ms=DAY_MS)

    assert await store.seen_apps() == [simulated]


async def test_a_removed_app_leaves_nothing_behind(store: Store) -> None:
    first, second = batch(), batch()
    await store.record_sightings([SeenApp("shop", 1, 50, 40)], ttl_ms=DAY_MS)
    await append(store, "shop", first, second)
    await fold(store, "shop", [first.element], [write(TOTAL), write(MINUTE)])

    await store.remove_app("shop", [TOTAL, MINUTE], now_s=60, ttl_ms=DAY_MS)

    assert await store.read("shop", [TOTAL, MINUTE]) == ([], {})
    assert await store.seen_apps() == []
    assert await store.removed_apps() == {"shop": 60}
    assert (await append(store, "shop", again(first))).outcomes == [STORED]  # its id is forgotten


async def test_a_removal_leaves_other_apps_alone(store: Store) -> None:
    original = batch()
    for app in ("shop", "workshop"):
        await append(store, app, original)
        await store.record_sightings([SeenApp(app, 1, 50, 40)], ttl_ms=DAY_MS)

    await store.remove_app("shop", [], now_s=60, ttl_ms=DAY_MS)

    assert await inbox(store, "workshop") == [original.element]
    assert (await append(store, "workshop", again(original))).outcomes == [DUPLICATE]
    assert [sighting.app for sighting in await store.seen_apps()] == ["workshop"]


async def test_a_fold_that_began_before_a_removal_changes_nothing(store: Store) -> None:
    original = batch()
    await append(store, "shop", original)
    await store.remove_app("shop", [], now_s=60, ttl_ms=DAY_MS)

    assert await fold(store, "shop", [original.element], [write(TOTAL)]) is None
    assert await store.read("shop", [TOTAL]) == ([], {})


async def test_a_drain_is_kept_replaced_and_removed(store: Store) -> None:
    assert await store.compare_and_set_drain("shop", "", "first")
    assert await store.compare_and_set_drain("blog", "", "other")
    assert await store.compare_and_set_drain("shop", "first", "second")
    assert await store.drains() == {"shop": "second", "blog": "other"}

    assert await store.compare_and_set_drain("shop", "second", "")
    assert await store.drains() == {"blog": "other"}


async def test_a_drain_that_is_not_what_was_read_stays_what_it_is(store: Store) -> None:
    await store.compare_and_set_drain("shop", "", "first")

    assert not await store.compare_and_set_drain("shop", "", "mine")
    assert not await store.compare_and_set_drain("shop", "zeroth", "mine")
    assert not await store.compare_and_set_drain("blog", "first", "mine")
    assert not await store.compare_and_set_drain("shop", "zeroth", "")
    assert await store.drains() == {"shop": "first"}


async def test_all_about_access_is_read_with_the_identity(store: Store) -> None:
    assert await store.compare_and_set_drain("shop", "", "record")
    await store.put_token("id", b"token")
    assert await store.compare_and_set_note("loss", "", "first")
    assert not await store.compare_and_set_note("loss", "", "second")
    assert await store.access_tables() == AccessTables(
        await store.identity(), {"shop": "record"}, {"id": b"token"}, {"loss": "first"}
    )

    assert await store.compare_and_set_note("loss", "first", "")
    assert (await store.access_tables()).notes == {}


async def test_a_status_record_replaces_the_last_one_of_its_name_only(store: Store) -> None:
    await store.write_status("fold:1", {"at": "10", "error": "full"}, ttl_ms=DAY_MS)
    await store.write_status("fold:2", {"at": "11"}, ttl_ms=DAY_MS)
    await store.write_status("fold:1", {"at": "12"}, ttl_ms=DAY_MS)

    assert await store.statuses() == {"fold:1": {"at": "12"}, "fold:2": {"at": "11"}}


async def test_there_are_no_status_records_at_first(store: Store) -> None:
    assert await store.statuses() == {}


async def test_a_store_with_its_usual_settings_is_fit(store: Store) -> None:
    assert await store.problems() == []


@pytest.mark.parametrize("count", [1, 2, 64])
async def test_racing_appends_of_one_batch_store_it_once(store: Store, count: int) -> None:
    original = batch()
    rivals: list[Batch] = [original, *(again(original) for _ in range(count))]

    answers = await asyncio.gather(*(append(store, "shop", entry) for entry in rivals))

    outcomes = [answer.outcomes[0] for answer in answers]
    assert sorted(outcomes) == [STORED] + [DUPLICATE] * count
    assert len(await inbox(store, "shop")) == 1


async def test_an_append_in_the_expected_state_changes_the_state(store: Store) -> None:
    answer = await append_if(store, StatePrecondition(b"", b"first"), batch())

    assert answer == AppendResult([STORED], 1)
    assert await store.drain_states(["shop", "blog"]) == {"shop": b"first"}


async def test_an_append_in_another_state_changes_nothing_and_returns_the_present_one(
    store: Store,
) -> None:
    original = batch()
    await append_if(store, StatePrecondition(b"", b"first"), original)
    new = batch()

    answer = await append_if(store, StatePrecondition(b"", b"second"), new, original)

    assert answer == AppendResult([Outcome.STALE, OWN_RETRY], 0, b"first")
    assert await read_inbox(store, "shop", 9) == [original.element]
    assert await append_if(store, StatePrecondition(b"first", b"second"), new) == AppendResult(
        [STORED], 2
    )
    assert await store.drain_states(["shop"]) == {"shop": b"second"}


async def test_an_append_that_stores_nothing_leaves_the_state_alone(store: Store) -> None:
    original = batch()
    await append_if(store, StatePrecondition(b"", b"first"), original)
    await append_if(store, StatePrecondition(b"first", b"second"), again(original))

    assert await store.drain_states(["shop"]) == {"shop": b"first"}


async def test_an_append_without_a_precondition_works_in_any_state(store: Store) -> None:
    await append_if(store, StatePrecondition(b"", b"first"), batch())

    assert await append(store, "shop", batch()) == AppendResult([STORED], 2)
    assert await store.drain_states(["shop"]) == {"shop": b"first"}


async def append_if(store: Store, precondition: StatePrecondition, *batches: Batch) -> AppendResult:
    answers = await store.append(
        {"shop": batches},
        id_ttl_ms=DAY_MS,
        inbox_ttl_ms=DAY_MS,
        preconditions={"shop": precondition},
    )
    return answers["shop"]
