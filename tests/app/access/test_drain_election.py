"""Which of an app's drains counts: every line once, whoever brings it and whenever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.access.drain_election import (
    MINUTE_S,
    TAKEOVER_S,
    DrainClaim,
    DrainElection,
    elect_drain,
    pack_state,
    unpack_state,
)
from app.rollup.time_range import ALWAYS, NEVER, TimeRange, since

NOW_S = 1_795_341_600


def claim(
    token: str,
    *,
    generation: int = 1,
    minute: int = 0,
    minutes: int = 1,
    arrived: int | None = None,
) -> DrainClaim:
    """A batch with lines from so many minutes after NOW_S on."""
    start_s = NOW_S + minute * MINUTE_S
    arrived_s = start_s + 30 if arrived is None else NOW_S + arrived
    return DrainClaim(
        token, generation, TimeRange(start_s, start_s + minutes * MINUTE_S), arrived_s
    )


def after(*claims: DrainClaim) -> DrainElection:
    state = None
    for each in claims:
        state, _ = elect_drain(state, each)
    assert state is not None
    return state


def test_the_first_drain_that_delivers_counts() -> None:
    state, span = elect_drain(None, claim("d.old"))
    assert state.token == "d.old"
    assert span == ALWAYS


def test_a_second_drain_of_the_app_does_not_count_and_is_remembered() -> None:
    state, span = elect_drain(after(claim("d.old")), claim("d.other"))
    assert span == NEVER
    assert (state.token, state.other) == ("d.old", "d.other")
    assert elect_drain(state, claim("d.old"))[1] == ALWAYS


def test_a_drain_with_a_newer_secret_takes_over_at_a_full_minute() -> None:
    old = after(claim("d.old", minute=0), claim("d.old", minute=3))
    state, span = elect_drain(old, claim("d.new", generation=2, minute=2))
    change_s = NOW_S + 4 * MINUTE_S  # behind what the old one has had counted
    assert span == since(change_s)
    assert elect_drain(state, claim("d.old", minute=3))[1] == TimeRange(0, change_s)
    assert elect_drain(state, claim("d.old", minute=9))[1] == TimeRange(0, change_s)
    assert elect_drain(state, claim("d.new", generation=2, minute=9))[1] == since(change_s)


def test_the_change_over_is_not_before_the_new_drains_first_line() -> None:
    old = after(claim("d.old", minute=0))
    assert elect_drain(old, claim("d.new", generation=2, minute=7))[1] == since(
        NOW_S + 7 * MINUTE_S
    )


def test_an_older_secret_does_not_take_over_again() -> None:
    state = after(claim("d.old"), claim("d.new", generation=2, minute=1))
    state, _ = elect_drain(state, claim("d.old", minute=5))
    assert state.token == "d.new"


def test_when_the_active_drain_is_silent_for_long_another_one_takes_over() -> None:
    old = after(claim("d.old", minute=0, arrived=0))
    assert elect_drain(old, claim("d.other", minute=14, arrived=TAKEOVER_S - 1))[1] == NEVER
    state, span = elect_drain(old, claim("d.other", minute=15, arrived=TAKEOVER_S))
    assert state.token == "d.other"
    assert span == since(NOW_S + 15 * MINUTE_S)


def test_a_state_survives_the_store() -> None:
    state = after(claim("d.old"), claim("d.new", generation=2), claim("d.x"))
    assert unpack_state(pack_state(state)) == state
    assert unpack_state(b"") is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["d.old", "d.new"]), st.integers(0, 8), st.integers(1, 3)),
        max_size=40,
    )
)
def test_no_minute_counts_through_two_drains(batches: list[tuple[str, int, int]]) -> None:
    state = None
    counted: dict[int, set[str]] = {}
    for token, minute, minutes in batches:
        generation = 2 if token == "d.new" else 1
        state, span = elect_drain(
            state, claim(token, generation=generation, minute=minute, minutes=minutes)
        )
        for each in range(minute, minute + minutes):
            if NOW_S + each * MINUTE_S in span:
                counted.setdefault(each, set()).add(token)
    assert all(len(tokens) == 1 for tokens in counted.values())


@given(
    st.lists(
        st.builds(
            claim,
            st.sampled_from(["d.old", "d.new", "d.other"]),
            generation=st.integers(1, 3),
            minute=st.integers(0, 30),
            minutes=st.integers(1, 3),
        )
    )
)
def test_a_batch_that_is_judged_again_is_judged_alike_and_changes_nothing(
    batches: list[DrainClaim],
) -> None:
    """As when another batch of the drain follows within the minute, by far the most."""
    state = None
    for each in batches:
        state, span = elect_drain(state, each)
        again, span_then = elect_drain(state, each)
        assert again == state
        within = range(each.lines.start_s, each.lines.end_s, MINUTE_S)
        assert [at_s in span_then for at_s in within] == [at_s in span for at_s in within]


def test_the_change_over_is_behind_all_that_came_in_the_same_minute() -> None:
    state = after(claim("d.old", arrived=240), claim("d.old", minutes=4, arrived=240))
    state, span = elect_drain(state, claim("d.new", generation=2, minute=1, arrived=250))
    assert span == since(NOW_S + 4 * MINUTE_S)


def test_a_drain_that_brings_old_lines_is_not_silent() -> None:
    first = after(claim("d.old", arrived=0))
    other = claim("d.new", arrived=TAKEOVER_S)
    assert elect_drain(first, other)[0].token == "d.new"
    later, _ = elect_drain(first, claim("d.old", arrived=TAKEOVER_S - MINUTE_S))
    assert elect_drain(later, other)[0].token == "d.old"


def test_a_drain_keeps_the_newest_secret_that_it_came_with() -> None:
    state = after(claim("d.old"), claim("d.old", generation=2))
    assert elect_drain(state, claim("d.new", generation=2))[0].token == "d.old"
    assert elect_drain(state, claim("d.new", generation=3))[0].token == "d.new"


def test_a_drain_that_lost_and_won_again_leaves_the_other_only_its_own_minutes() -> None:
    """The new one takes over at minute 3, falls silent, the old one takes over again at 15; then
    the new one brings late what lies in between.
    """
    state = after(
        *(claim("d.old", minute=minute) for minute in range(3)),
        claim("d.new", generation=2, minute=0),
        *(claim("d.old", minute=minute) for minute in range(3, 16)),
    )
    assert state.token == "d.old"
    _, span = elect_drain(state, claim("d.new", generation=2, minute=1, arrived=16 * MINUTE_S))
    counted = [minute for minute in range(20) if NOW_S + minute * MINUTE_S in span]
    assert counted == list(range(3, 15))


@given(st.integers(0, 10), st.randoms(use_true_random=False))
def test_when_both_drains_bring_every_line_each_counts_once(overlap: int, order: object) -> None:
    """The old drain brings minutes 0 to 19, the new one those from `overlap` on, each at its own
    pace.
    """
    ways = {"d.old": list(range(20)), "d.new": list(range(overlap, 20))}
    state, counted = None, Counter[int]()
    while ways["d.old"] or ways["d.new"]:
        token = order.choice([token for token, left in ways.items() if left])  # type: ignore[attr-defined]  # a Random
        if token == "d.new" and len(ways["d.old"]) == 20:
            token = "d.old"  # it was there first
        minute = ways[token].pop(0)
        generation = 2 if token == "d.new" else 1
        state, span = elect_drain(state, claim(token, generation=generation, minute=minute))
        counted[minute] += NOW_S + minute * MINUTE_S in span
    assert counted == Counter(range(20))
