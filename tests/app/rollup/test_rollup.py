"""The laws of merging, with the caps reached, and what a sample adds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.rollup.codec import pack, unpack
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.rollup import CONNECT_OK, SERVICE_FAILED, SERVICE_OK, CardinalityLimits, Rollup
from app.rollup.statuses import outcome_of, status_class, status_label
from app.rollup.tallies import GaugeSummary, TimingTotals
from parsers.samples import (
    Event,
    HerokuError,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)

AT_MS = 1_795_341_600_000
TINY = CardinalityLimits(process_types=2, dynos=2, statuses=2, codes=2, events=2)

sources = st.sampled_from(
    [f"{kind}.{number}" for kind in ("web", "worker", "clock", "other") for number in (1, 2, 3, 10)]
    + ["web.", "run", ""]
)
times = st.none() | st.integers(0, 10**7)
samples: st.SearchStrategy[Sample] = st.one_of(
    st.builds(
        Request,
        sources,
        st.sampled_from([0, 101, 200, 204, 404, 499, 500, 503]),
        st.sampled_from(["", "H10", "H12", "H99", "blank-app"]),
        times,
        times,
        st.none() | st.integers(0, 10**9),
    ),
    st.builds(
        RuntimeMetrics,
        sources,
        st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10**6)), max_size=3).map(tuple),
    ),
    st.builds(HerokuError, sources, st.sampled_from(["R14", "R15", "L10"]), st.just(0)),
    st.builds(
        StateChange,
        sources,
        st.sampled_from(["up", "starting"]),
        st.sampled_from(["down", "starting", "crashed"]),
    ),
    st.builds(ProcessExit, sources, st.sampled_from([0, 1, 137, 143])),
    st.builds(
        Event,
        st.sampled_from(["release", "scale", "cycle"]),
        st.sampled_from(["", "web.1"]),
        st.sampled_from(["v1", "v2"]),
    ),
)
observations = st.lists(st.tuples(samples, st.integers(AT_MS, AT_MS + 3_600_000)), max_size=12)
ledgers = st.dictionaries(st.sampled_from(["received", "unparsed:header"]), st.integers(1, 99))


def observed(seen: list[tuple[Sample, int]]) -> Rollup:
    rollup = Rollup()
    for sample, at_ms in seen:
        rollup.messages += 1
        rollup.observe(sample, at_ms)
    return rollup


@st.composite
def rollups(draw: st.DrawFn) -> Rollup:
    rollup = observed(draw(observations))
    rollup.ledger = draw(ledgers)
    rollup.extensions = tuple(
        sorted(draw(st.lists(st.sampled_from([("x", b"1"), ("y", b"")]), max_size=2)))
    )
    return rollup


def merged(*parts: Rollup) -> Rollup:
    whole = Rollup()
    for part in parts:
        whole.merge(part)
    return whole


def bounded(rollup: Rollup, limits: CardinalityLimits = TINY) -> Rollup:
    bounded = rollup.copy()
    bounded.apply_limits(limits)
    return bounded


@given(rollups(), rollups())
def test_merging_commutes(a: Rollup, b: Rollup) -> None:
    assert pack(merged(a, b)) == pack(merged(b, a))


@given(rollups(), rollups(), rollups())
def test_merging_associates(a: Rollup, b: Rollup, c: Rollup) -> None:
    assert pack(merged(merged(a, b), c)) == pack(merged(a, merged(b, c)))


@given(rollups())
def test_an_empty_rollup_is_the_identity(a: Rollup) -> None:
    assert pack(merged(a, Rollup())) == pack(merged(Rollup(), a)) == pack(a)


@given(rollups(), rollups())
def test_merging_leaves_its_argument_as_it_was(a: Rollup, b: Rollup) -> None:
    before = pack(b)
    whole = merged(a, b)
    whole.merge(b)
    assert pack(b) == before


@given(observations, st.data())
def test_however_lines_are_spread_over_batches_the_merge_is_the_same(
    seen: list[tuple[Sample, int]], data: st.DataObject
) -> None:
    parts: list[list[tuple[Sample, int]]] = [[], [], []]
    for each in seen:
        parts[data.draw(st.integers(0, 2))].append(each)
    assert pack(merged(*map(observed, parts))) == pack(observed(seen))


@given(
    rollups(),
    rollups(),
    rollups(),
    st.sampled_from([TINY, CardinalityLimits(2, 3, 1, 1, 1), CardinalityLimits(1, 4, 3, 3, 3)]),
)
def test_caps_keep_the_laws(a: Rollup, b: Rollup, c: Rollup, limits: CardinalityLimits) -> None:
    everything = pack(bounded(merged(a, b, c), limits))

    def step(*rollups: Rollup) -> Rollup:
        return bounded(merged(*rollups), limits)

    assert pack(step(step(step(a), step(b)), step(c))) == everything
    assert pack(step(step(c), step(step(b), a))) == everything


@given(rollups())
def test_caps_lose_no_count(a: Rollup) -> None:
    bound = bounded(a)
    assert sum(bound.requests.values()) == sum(a.requests.values())
    assert sum(bound.errors.values()) == sum(a.errors.values())
    assert sum(bound.events.values()) == sum(a.events.values())
    assert sum(bound.exits.values()) == sum(a.exits.values())
    assert sum(bound.restarts.values()) == sum(a.restarts.values())
    assert len(bound.events.keys() - {MORE_EVENTS}) <= 2
    assert sum(bound.response_bytes.values()) == sum(a.response_bytes.values())
    assert sum(each.count for each in bound.gauges.values()) == sum(
        each.count for each in a.gauges.values()
    )
    assert len({source for source in bound.active_minutes if not source.endswith("other")}) <= 2
    assert len({code for _, code in bound.errors} - {"other"}) <= 2
    assert len({status for _, status in bound.requests if status >= 100}) <= 2


@given(rollups(), rollups())
def test_the_projection_of_a_merge_is_the_merge_of_projections(a: Rollup, b: Rollup) -> None:
    assert pack(merged(a, b).without_dynos()) == pack(merged(a.without_dynos(), b.without_dynos()))


@given(rollups())
def test_a_projection_knows_no_dyno(a: Rollup) -> None:
    projected = a.without_dynos()
    assert not projected.gauges
    assert not projected.active_minutes
    assert not projected.events
    assert projected.released == a.released
    names = {source for source, _ in (*projected.requests, *projected.errors, *projected.tallies)}
    assert all(name == "" or name.endswith(".") for name in names)
    assert projected.sketches == a.sketches
    assert projected.ledger == a.ledger


def test_dynos_over_the_cap_stay_with_their_process_type() -> None:
    rollup = observed([(Request(f"web.{n}", 200, "", 1, 10 * n, 5), AT_MS) for n in (1, 2, 10, 3)])
    rollup.apply_limits(TINY)
    assert rollup.requests == {("web.1", 200): 1, ("web.2", 200): 1, ("web.other", 200): 2}
    assert rollup.tallies["web.other", SERVICE_OK] == TimingTotals(2, 130, 100)


def test_dynos_are_counted_over_all_process_types() -> None:
    names = ("api.1", "web.1", "web.2", "other.1")
    rollup = observed([(Request(name, 200, "", 1, 1, 5), AT_MS) for name in names])
    rollup.apply_limits(CardinalityLimits(process_types=2, dynos=3, statuses=2, codes=2))
    assert [source for source, _ in sorted(rollup.requests)] == [
        "api.1",
        "other.1",
        "web.1",
        "web.other",
    ]


def test_a_request_adds_to_counts_times_and_bytes() -> None:
    rollup = observed([(Request("web.1", 200, "", 2, 18, 512), AT_MS)])
    assert rollup.requests == {("web.1", 200): 1}
    assert rollup.tallies == {
        ("web.1", SERVICE_OK): TimingTotals(1, 18, 18),
        ("web.1", CONNECT_OK): TimingTotals(1, 2, 2),
    }
    assert rollup.response_bytes == {"web": 512}
    assert rollup.active_minutes == {"web.1": 1 << 0}


def test_a_value_that_was_not_logged_is_not_0() -> None:
    rollup = observed([(Request("web.", 503, "H10", None, None, None), AT_MS)])
    assert rollup.requests == {("web.", 503): 1}
    assert rollup.errors == {("web.", "H10"): 1}
    assert (rollup.tallies, rollup.sketches, rollup.response_bytes) == ({}, {}, {})
    assert rollup.active_minutes == {}


def test_a_websocket_is_a_request_and_stays_out_of_latency() -> None:
    rollup = observed([(Request("web.1", 101, "", 1, 600_000, 99), AT_MS)])
    assert rollup.requests == {("web.1", 101): 1}
    assert rollup.response_bytes == {"web": 99}
    assert (rollup.tallies, rollup.sketches) == ({}, {})


def test_failed_is_5xx_or_no_status_at_all() -> None:
    outcomes = {status: outcome_of(status) for status in (0, 101, 200, 404, 499, 500, 503)}
    assert [status for status, outcome in outcomes.items() if outcome == "failed"] == [0, 500, 503]
    rollup = observed([(Request("web.1", 0, "H24", 1, 80_000, 18), AT_MS)])
    assert ("web.1", SERVICE_FAILED) in rollup.tallies


def test_statuses_have_labels_and_classes() -> None:
    assert (status_label(0), status_class(0)) == ("", "")
    assert (status_label(404), status_class(404)) == ("404", "4xx")
    assert (status_label(4), status_class(4), outcome_of(5)) == ("4xx", "4xx", "failed")


def test_a_gauge_keeps_its_latest_value_and_of_two_at_once_the_larger() -> None:
    seen = [(3, 100), (7, 50), (5, 100), (1, 200), (2, 200)]
    rollup = observed([(RuntimeMetrics("web.1", ((0, value),)), AT_MS + at) for value, at in seen])
    assert rollup.gauges == {("web.1", 0): GaugeSummary(5, 18, 1, 7, AT_MS + 200, 2)}


def test_each_minute_of_the_hour_keeps_who_was_heard_from() -> None:
    minutes = [0, 5, 59, 5]
    rollup = observed(
        [(StateChange("web.1", "up", "down"), AT_MS + 60_000 * minute) for minute in minutes]
    )
    assert rollup.active_minutes == {"web.1": 1 << 0 | 1 << 5 | 1 << 59}


@given(rollups())
def test_a_rollup_survives_packing(a: Rollup) -> None:
    again = unpack(pack(a))
    for name in Rollup.__slots__:
        if name != "sketches":
            assert getattr(again, name) == getattr(a, name)
    assert pack(again) == pack(a)


def test_a_dyno_that_had_run_and_starts_again_is_a_restart() -> None:
    changes = [
        ("created", "starting"),
        ("starting", "up"),
        ("up", "starting"),
        ("starting", "crashed"),
        ("crashed", "starting"),
        ("up", "down"),
    ]
    rollup = observed([(StateChange("web.1", *change), AT_MS) for change in changes])
    assert rollup.restarts == {"web.1": 2}
    assert {(event.kind, event.detail) for event in rollup.events} == {
        ("restart", "was up"),
        ("restart", "was crashed"),
        ("crash", ""),
    }


def test_every_exit_is_counted_and_those_of_their_own_accord_are_events() -> None:
    exits = [ProcessExit("web.1", status) for status in (0, 143, 1, 137, 137)]
    rollup = observed([(ended, AT_MS + number) for number, ended in enumerate(exits)])
    assert rollup.exits == {
        ("web.1", 0): 1,
        ("web.1", 143): 1,
        ("web.1", 1): 1,
        ("web.1", 137): 2,
    }
    assert [event.detail for event in sorted(rollup.events)] == ["1", "137", "137"]


def test_what_was_done_to_the_app_is_kept_before_what_its_dynos_did() -> None:
    dynos = [(Event("cycle", f"web.{number}", ""), AT_MS + number) for number in range(9)]
    rollup = observed([*dynos, (Event("release", "", "v7"), AT_MS + 99)])
    rollup.apply_limits(TINY)
    assert rollup.events == {
        EventKey(AT_MS + 99, "release", "", "v7"): 1,
        EventKey(AT_MS, "cycle", "web.0", ""): 1,
        MORE_EVENTS: 8,
    }
    assert rollup.released == (AT_MS + 99, "v7")
