"""A bounded merge is the merge of all rollups, limited at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup import bounded_merge
from app.rollup.accelerated import pack, to_python
from app.rollup.bounded_merge import (
    BoundedMerge,
    condense,
    merge_bounded,
    merge_in_steps,
    without_new_names,
)
from app.rollup.codec import PackError, unpack
from app.rollup.rollup import DEFAULT_LIMITS, UNLIMITED, CardinalityLimits, Rollup
from app.support.aio import run_in_steps
from parsers.samples import HerokuError, ProcessExit, Request
from tests.app.rollup.test_rollup import AT_MS, TINY, limit, merge, rollups
from tests.support.hostile import HOSTILE_NAMES

ENTRIES_MAX = 8_192  # of all kinds of rows, for 2,048 dynos


def hostile_rollups(count: int, names: str = "dynos") -> list[bytes]:
    packed = []
    for _ in range(count):
        rollup = Rollup()
        HOSTILE_NAMES[names](rollup, AT_MS)
        packed.append(pack(rollup))
    return packed


@pytest.mark.parametrize("entries_min", [0, 12])
@given(
    parts=st.lists(rollups(), max_size=6),
    limits=st.sampled_from(
        [TINY, CardinalityLimits(2, 3, 1, 1, 1, open_names=1, open_series=1, open_bins=1)]
    ),
)
def test_limits_applied_while_merging_change_no_result(
    entries_min: int, parts: list[Rollup], limits: CardinalityLimits
) -> None:
    expected_bytes = pack(limit(merge(*parts), limits))
    packed = [pack(part.copy(), UNLIMITED) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_merge, "ENTRIES_MIN", entries_min)
        assert pack(merge_bounded(packed, limits), limits) == expected_bytes
        slow = BoundedMerge(limits)
        for data in packed:
            slow.add_slowly(data)
        assert pack(slow.rollup, limits) == expected_bytes
        of_rollups = BoundedMerge(limits)
        for data in packed:
            of_rollups.add_rollup(merge_bounded([data], UNLIMITED))
        assert pack(of_rollups.rollup, limits) == expected_bytes


@pytest.mark.parametrize("names", HOSTILE_NAMES)
def test_a_merge_of_ever_new_names_never_has_many_entries(names: str) -> None:
    packed = hostile_rollups(40, names)
    merged = BoundedMerge(DEFAULT_LIMITS)
    for data in packed:
        merged.add(data)
        assert merged.rollup.entry_count <= ENTRIES_MAX
    expected = Rollup()
    for data in packed:
        expected.merge(unpack(data))
    assert pack(merged.rollup) == pack(expected)


async def test_large_rollups_of_an_interval_become_one_and_small_ones_stay() -> None:
    small = hostile_rollups(2)
    assert await run_in_steps(condense(small, DEFAULT_LIMITS)) == small
    large = hostile_rollups(40)
    assert await run_in_steps(condense(large, DEFAULT_LIMITS)) == [
        pack(merge_bounded(large, DEFAULT_LIMITS))
    ]


def test_a_damaged_rollup_is_an_error() -> None:
    with pytest.raises(PackError):
        merge_bounded([*hostile_rollups(1), b"\x91"], DEFAULT_LIMITS)


def test_names_that_are_not_known_are_added_up_as_other() -> None:
    rollup = Rollup()
    for source in ("web.1", "web.2", "worker.1", "clock.1", "web.other"):
        rollup.observe(Request(source, 503, "H12", 1, 20, 100), AT_MS)
        rollup.observe(ProcessExit(source, 137), AT_MS)
        rollup.observe(HerokuError(source, "R14", 0), AT_MS)
    known = {"web.1", "web", "worker.1", "worker", "R14"}

    renamed = to_python(merge_bounded([without_new_names(pack(rollup), known)], UNLIMITED))

    counts = {"web.1": 1, "web.other": 2, "worker.1": 1, "other": 1}
    assert renamed.requests == {(source, 503): count for source, count in counts.items()}
    assert renamed.exits == {(source, 137): count for source, count in counts.items()}
    assert renamed.errors == {
        (source, code): count for source, count in counts.items() for code in ("other", "R14")
    }
    assert renamed.response_bytes == {"web": 300, "worker": 100, "other": 100}


def test_exit_statuses_of_too_many_dynos_are_added_up_by_process_type() -> None:
    rollup = Rollup()
    for source in ("web.1", "web.2", "web.3", "worker.1"):
        for status in range(6):
            rollup.observe(ProcessExit(source, status), AT_MS)
    limits = DEFAULT_LIMITS._replace(dynos=2)  # 8 rows of dynos
    exits = to_python(merge_bounded([pack(limit(rollup, limits))], limits)).exits
    assert exits == {
        **{("web.1", status): 1 for status in range(6)},
        **{("web.2", status): 1 for status in range(2)},
        **{("web.other", status): 1 for status in range(2)},
        **{("web.other", status): 2 for status in range(2, 6)},
        **{("worker.other", status): 1 for status in range(6)},
    }
    assert pack(merge_bounded([pack(rollup)], limits), limits) == pack(limit(rollup, limits))


def test_a_step_of_a_merge_ends_once_it_has_limited_names() -> None:
    """That takes milliseconds, however few bytes the names have."""
    count = 20
    steps = merge_in_steps(hostile_rollups(count, "language metrics"), DEFAULT_LIMITS)
    assert sum(1 for _ in steps) >= count / 2
