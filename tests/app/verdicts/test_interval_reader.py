"""Intervals are read from the finest slots that are kept, and from the inbox."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.rollup.resolutions import DAY_S, HOUR_S, resolutions
from app.verdicts.interval_reader import IntervalReader, stored_ranges
from tests.support.arrivals import make_batch, make_writer
from tests.support.incident import START_S, TIERS, quiet, world
from tests.support.service import Clock

DAYS = resolutions(DAY_S, 15 * DAY_S, 90 * DAY_S)


async def test_minutes_come_from_slots_and_from_the_inbox() -> None:
    async with world() as sim:
        await sim.live(2, partial(quiet, failed=3))
        batch = make_batch(*quiet(START_S + 120), app="shop", arrived_s=sim.clock())
        await make_writer(sim.store, Clock(sim.clock())).append([batch], deadline=1e12)

        reader = IntervalReader(sim.store, TIERS)
        read = reader.read("shop", START_S, START_S + 240, START_S + 240)
        intervals = [interval async for interval in read]

    assert [interval.start_s - START_S for interval in intervals] == [0, 60, 120, 180]
    web = [interval.types.get("web") for interval in intervals]
    assert [(facts.requests, facts.failed) if facts else None for facts in web] == [
        (60, 3),
        (60, 3),
        (60, 0),
        None,
    ]
    assert not intervals[-1].types


async def test_the_past_is_coarser_where_minutes_are_no_longer_kept() -> None:
    async with world() as sim:
        await sim.live(1, quiet)
        reader = IntervalReader(sim.store, TIERS)
        now_s = START_S + 2 * DAY_S

        read = reader.read("shop", START_S, START_S + HOUR_S, now_s)
        intervals = [interval async for interval in read]

    assert [interval.length_s for interval in intervals] == [600] * 6
    assert [facts.requests for facts in intervals[0].types.values()] == [60]


@given(
    start_s=st.integers(START_S - 100 * DAY_S, START_S),
    length_s=st.integers(60, 20 * DAY_S),
    kept_hours=st.integers(1, 24),
)
def test_stored_ranges_follow_each_other_without_gap_or_overlap(
    start_s: int, length_s: int, kept_hours: int
) -> None:
    tiers = [DAYS[0]._replace(retention_s=kept_hours * HOUR_S), *DAYS[1:]]
    end_s = min(start_s + length_s, START_S)

    ranges = stored_ranges(tiers, start_s, end_s, START_S)

    kept_s = START_S - 90 * DAY_S + HOUR_S
    if end_s <= start_s or end_s <= kept_s:
        return
    assert ranges[-1].end >= end_s
    assert ranges[0].start <= max(start_s, kept_s)
    for before, after in pairwise(ranges):
        assert before.end == after.start
        assert before.step_s > after.step_s
    for time_range in ranges:
        assert time_range.start % time_range.step_s == time_range.end % time_range.step_s == 0
