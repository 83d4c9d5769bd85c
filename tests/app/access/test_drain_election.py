"""The election of an app's drain: each line counts once, whichever drain delivers it and when."""

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
    is_settled,
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
    arrived_after_s: int | None = None,
) -> DrainClaim:
    """The claim of a batch with lines from `minute` minutes after NOW_S on."""
    start_s = NOW_S + minute * MINUTE_S
    arrived_s = start_s + 30 if arrived_after_s is None else NOW_S + arrived_after_s
    return DrainClaim(
        token, generation, TimeRange(start_s, start_s + minutes * MINUTE_S), arrived_s
    )


def state_after(*claims: DrainClaim) -> DrainElection:
    state = None
    for batch in claims:
        state, _ = elect_drain(state, batch)
    assert state is not None
    return state


def test_the_first_drain_that_delivers_counts() -> None:
    state, span = elect_drain(None, claim("d.old"))
    assert state.token == "d.old"
    assert span == ALWAYS


def test_a_second_drain_of_the_app_does_not_count_and_is_remembered() -> None:
    state, span = elect_drain(state_after(claim("d.old")), claim("d.other"))
    assert span == NEVER
    assert (state.token, state.other_token) == ("d.old", "d.other")
    assert elect_drain(state, claim("d.old"))[1] == ALWAYS


def test_a_drain_with_a_newer_secret_takes_over_at_a_full_minute() -> None:
    old = state_after(claim("d.old", minute=0), claim("d.old", minute=3))
    state, span = elect_drain(old, claim("d.new", generation=2, minute=2))
    change_s = NOW_S + 4 * MINUTE_S  # later than every counted line of the old drain
    assert span == since(change_s)
    assert elect_drain(state, claim("d.old", minute=3))[1] == TimeRange(0, change_s)
    assert elect_drain(state, claim("d.old", minute=9))[1] == TimeRange(0, change_s)
    assert elect_drain(state, claim("d.new", generation=2, minute=9))[1] == since(change_s)


def test_the_changeover_is_not_before_the_new_drains_first_line() -> None:
    old = state_after(claim("d.old", minute=0))
    assert elect_drain(old, claim("d.new", generation=2, minute=7))[1] == since(
        NOW_S + 7 * MINUTE_S
    )


def test_an_older_secret_does_not_take_over_again() -> None:
    state = state_after(claim("d.old"), claim("d.new", generation=2, minute=1))
    state, _ = elect_drain(state, claim("d.old", minute=5))
    assert state.token == "d.new"


def test_when_the_active_drain_is_silent_for_long_another_one_takes_over() -> None:
    old = state_after(claim("d.old", minute=0, arrived_after_s=0))
    assert elect_drain(old, claim("d.other", minute=14, arrived_after_s=TAKEOVER_S - 1))[1] == NEVER
    state, span = elect_drain(old, claim("d.other", minute=15, arrived_after_s=TAKEOVER_S))
    assert state.token == "d.other"
    assert span == since(NOW_S + 15 * MINUTE_S)


def test_a_state_survives_the_store() -> None:
    state = state_after(claim("d.old"), claim("d.new", generation=2), claim("d.x"))
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
    tokens_by_minute: dict[int, set[str]] = {}
    for token, minute, minutes in batches:
        generation = 2 if token == "d.new" else 1
        state, span = elect_drain(
            state, claim(token, generation=generation, minute=minute, minutes=minutes)
        )
        for line_minute in range(minute, minute + minutes):
            if NOW_S + line_minute * MINUTE_S in span:
                tokens_by_minute.setdefault(line_minute, set()).add(token)
    assert all(len(tokens) == 1 for tokens in tokens_by_minute.values())


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
def test_electing_again_with_the_same_batch_changes_nothing(
    batches: list[DrainClaim],
) -> None:
    """That is the common case: another batch of the drain follows within the minute."""
    state = None
    for batch in batches:
        state, span = elect_drain(state, batch)
        repeated_state, repeated_span = elect_drain(state, batch)
        assert repeated_state == state
        timestamps = range(batch.lines.start_s, batch.lines.end_s, MINUTE_S)
        assert [at_s in repeated_span for at_s in timestamps] == [
            at_s in span for at_s in timestamps
        ]


@given(
    st.lists(
        st.builds(
            claim,
            st.sampled_from(["d.old", "d.new"]),
            generation=st.integers(1, 2),
            minute=st.integers(0, 3),
            minutes=st.integers(1, 2),
            arrived_after_s=st.integers(0, 2 * TAKEOVER_S),
        ),
        min_size=2,
    )
)
def test_a_settled_batch_needs_no_election(batches: list[DrainClaim]) -> None:
    state = None
    for batch in batches:
        settled = state is not None and is_settled(state, batch)
        after, span = elect_drain(state, batch)
        is_unchanged = after == state and after.token == batch.token
        assert settled == (is_unchanged and span.covers(batch.lines))
        state = after


def test_the_changeover_is_later_than_all_lines_delivered_in_the_same_minute() -> None:
    state = state_after(
        claim("d.old", arrived_after_s=240), claim("d.old", minutes=4, arrived_after_s=240)
    )
    state, span = elect_drain(state, claim("d.new", generation=2, minute=1, arrived_after_s=250))
    assert span == since(NOW_S + 4 * MINUTE_S)


def test_a_drain_that_delivers_old_lines_is_not_silent() -> None:
    first = state_after(claim("d.old", arrived_after_s=0))
    takeover = claim("d.new", arrived_after_s=TAKEOVER_S)
    assert elect_drain(first, takeover)[0].token == "d.new"
    later, _ = elect_drain(first, claim("d.old", arrived_after_s=TAKEOVER_S - MINUTE_S))
    assert elect_drain(later, takeover)[0].token == "d.old"


def test_a_drain_keeps_the_newest_secret_that_it_used() -> None:
    state = state_after(claim("d.old"), claim("d.old", generation=2))
    assert elect_drain(state, claim("d.new", generation=2))[0].token == "d.old"
    assert elect_drain(state, claim("d.new", generation=3))[0].token == "d.new"


def test_a_drain_that_lost_and_won_again_leaves_the_other_only_its_own_minutes() -> None:
    """The new drain takes over at minute 3 and falls silent; the old one takes over again at 15.

    Then the new drain delivers the minutes in between late.
    """
    state = state_after(
        *(claim("d.old", minute=minute) for minute in range(3)),
        claim("d.new", generation=2, minute=0),
        *(claim("d.old", minute=minute) for minute in range(3, 16)),
    )
    assert state.token == "d.old"
    _, span = elect_drain(
        state, claim("d.new", generation=2, minute=1, arrived_after_s=16 * MINUTE_S)
    )
    counted_minutes = [minute for minute in range(20) if NOW_S + minute * MINUTE_S in span]
    assert counted_minutes == list(range(3, 15))


@given(st.integers(0, 10), st.randoms(use_true_random=False))
def test_when_both_drains_deliver_every_line_each_counts_once(overlap: int, order: object) -> None:
    """The old drain delivers minutes 0 to 19, the new one those from `overlap` on.

    Each delivers at its own pace.
    """
    pending = {"d.old": list(range(20)), "d.new": list(range(overlap, 20))}
    state, counts = None, Counter[int]()
    while pending["d.old"] or pending["d.new"]:
        token = order.choice([token for token, minutes in pending.items() if minutes])  # type: ignore[attr-defined]  # a Random
        if token == "d.new" and len(pending["d.old"]) == 20:
            token = "d.old"  # the old drain delivers first
        minute = pending[token].pop(0)
        generation = 2 if token == "d.new" else 1
        state, span = elect_drain(state, claim(token, generation=generation, minute=minute))
        counts[minute] += NOW_S + minute * MINUTE_S in span
    assert counts == Counter(range(20))
