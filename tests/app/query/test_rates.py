"""Rates are about slots that are observed and complete, whatever the steps of the question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query.engine import scan_packed
from app.query.rates import RatePlan, complete_time, mean_per_minute, per_minute
from app.query.stats import Stat, Value
from app.query.table import Query, QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.rollup.time_range import TimeRange

SLOTS = Resolution("1m", MINUTE_S, 0)
MINUTES = 12
RATE = Stat("rate", "rate", 0)
counts_by_minute = st.lists(st.none() | st.integers(0, 99), min_size=MINUTES, max_size=MINUTES)


def test_a_rate_is_the_count_by_observed_slot() -> None:
    assert per_minute(90, 3) == 30
    assert per_minute(90, 3, 600) == 3
    assert per_minute(0, 3) == 0
    assert per_minute(0, 0) is None


@pytest.mark.parametrize(
    ("first_s", "last_s", "counts", "rate"),
    [
        (0, 239, [4, 2, 0, 6], 3),
        (1, 239, [4, 2, 0, 6], 8 / 3),  # the app appeared within the first minute
        (0, 238, [4, 2, 0, 6], 2),  # the last line came before the minute was over
        (0, 239, [4, None, None, 6], 5),
        (0, 59, [4], 4),
        (1, 58, [4], None),
        (0, 239, [None] * 4, None),
    ],
)
def test_minutes_at_both_ends_count_if_they_are_complete(
    first_s: int, last_s: int, counts: list[Value], rate: float | None
) -> None:
    assert mean_per_minute(counts, 0, MINUTE_S, complete_time(first_s, last_s)) == rate


@pytest.mark.parametrize(("now_s", "rate"), [(300, 3), (299, 2), (240, 2), (180, 3), (60, None)])
def test_a_minute_is_complete_a_minute_after_its_end(now_s: int, rate: float | None) -> None:
    complete = complete_time(0, 299, now_s + 0.5)
    assert mean_per_minute([4, 2, 0, 6], 0, MINUTE_S, complete) == rate


@given(
    counts_by_minute,
    st.integers(0, MINUTES * MINUTE_S),
    st.integers(0, MINUTES * MINUTE_S),
    st.sampled_from([1, 2, 3, 4, 6, 12]),
)
def test_each_step_has_the_rate_of_its_own_slots(
    counts: list[int | None], first_s: int, end_s: int, step_minutes: int
) -> None:
    complete = TimeRange(first_s, end_s)
    step_s = step_minutes * MINUTE_S
    time_range = QueryRange(0, MINUTES * MINUTE_S, step_s, SLOTS)
    plan = RatePlan(Query(METRICS["requests"], (RATE,), time_range), complete)
    packed_rollups = []
    for minute, count in enumerate(counts):
        if count is not None:
            rollup = Rollup()
            rollup.messages = 1
            rollup.requests = {("web.1", 200): count} if count else {}
            packed_rollups.append((minute * MINUTE_S, pack(rollup)))
    rates = plan.rates(scan_packed("shop", packed_rollups, plan.queries).results()).values(())
    for index, rate in enumerate(rates):
        slots = counts[index * step_minutes : (index + 1) * step_minutes]
        expected = mean_per_minute(slots, index * step_s, MINUTE_S, complete)
        assert rate == (None if expected is None else expected / MINUTE_S)
