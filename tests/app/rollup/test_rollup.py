"""The laws of merging, also over the limits, and the effect of each sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.rollup.codec import pack, unpack
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.rollup import CardinalityLimits, Rollup
from app.rollup.schema import CONNECT_OK, CORE_GAUGES, SERVICE_FAILED, SERVICE_OK
from app.rollup.statuses import outcome_of, status_class, status_label
from app.rollup.summaries import GaugeSummary, TimingTotals
from parsers.numbers import NUMBER_LIMIT, Quantity
from parsers.samples import (
    AddonSamples,
    CustomMark,
    CustomMarks,
    Event,
    HerokuError,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)

AT_MS = 1_795_341_600_000
TINY = CardinalityLimits(
    process_types=2,
    dynos=2,
    statuses=2,
    codes=2,
    events=2,
    open_names=2,
    open_series=3,
    open_bins=3,
)

sources = st.sampled_from(
    [f"{kind}.{number}" for kind in ("web", "worker", "clock", "other") for number in (1, 2, 3, 10)]
    + ["web.", "run", ""]
)
times = st.none() | st.integers(0, 10**7)
quantities = st.builds(
    lambda millionths, unit: Quantity(millionths, millionths / 10**6, unit),
    st.integers(-NUMBER_LIMIT, NUMBER_LIMIT) | st.sampled_from([0, 1, -1]),
    st.sampled_from(["", "ms", "bytes"]),
)
open_samples: st.SearchStrategy[Sample] = st.one_of(
    st.builds(
        CustomMarks,
        sources,
        st.sampled_from(["", "eu"]),
        st.lists(
            st.builds(
                CustomMark,
                st.sampled_from(["count", "sample", "measure"]),
                st.sampled_from(["a", "b", "c", "queue_time"]),
                quantities,
            ),
            max_size=4,
        ).map(tuple),
        st.integers(0, 2),
    ),
    st.builds(
        AddonSamples,
        st.sampled_from(["", "postgresql-round-1", "postgresql-round-2"]),
        st.sampled_from(["DATABASE", "GOLD"]),
        st.lists(
            st.tuples(st.sampled_from(["postgres.tables", "postgres.x", "redis.x"]), quantities),
            max_size=3,
        ).map(tuple),
    ),
)
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
        st.lists(st.tuples(st.sampled_from([*CORE_GAUGES]), st.integers(0, 10**6)), max_size=3).map(
            tuple
        ),
    ),
    st.builds(
        Measurements,
        sources,
        st.lists(st.tuples(st.sampled_from([*CORE_GAUGES]), st.integers(0, 10**6)), max_size=1).map(
            tuple
        ),
    ),
    open_samples,
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


names = st.sampled_from(["a metric", "another metric"])
summaries = st.builds(GaugeSummary, *[st.integers(1, 10**6)] * 6)


Observations = list[tuple[Sample, int]]


def observe_all(observations: Observations) -> Rollup:
    rollup = Rollup()
    for sample, at_ms in observations:
        rollup.messages += 1
        rollup.observe(sample, at_ms)
    return rollup


@st.composite
def rollups(draw: st.DrawFn) -> Rollup:
    rollup = observe_all(draw(observations))
    rollup.ledger |= draw(ledgers)
    rollup.named_counts = draw(st.dictionaries(st.tuples(sources, names), st.integers(1, 99)))
    rollup.named_gauges = draw(st.dictionaries(st.tuples(sources, names), summaries, max_size=3))
    if draw(st.booleans()):  # rows whose numbers only a newer version knows
        source = draw(sources)
        rollup.requests[source, 700] = 3
        rollup.tallies[source, 6] = TimingTotals(2, 30, 20)
        rollup.sketches[source.partition(".")[0], 6] = {10: 1, 20: 1}
        rollup.gauges[source, 40] = GaugeSummary(1, 5, 5, 5, AT_MS, 5)
    rollup.extensions = tuple(
        sorted(draw(st.lists(st.sampled_from([("x", b"1"), ("y", b"")]), max_size=2)))
    )
    return rollup


def merge(*rollups: Rollup) -> Rollup:
    result = Rollup()
    for rollup in rollups:
        result.merge(rollup)
    return result


def limit(rollup: Rollup, limits: CardinalityLimits = TINY) -> Rollup:
    copy = rollup.copy()
    copy.apply_limits(limits)
    return copy


@given(rollups(), rollups())
def test_merging_commutes(a: Rollup, b: Rollup) -> None:
    assert pack(merge(a, b)) == pack(merge(b, a))


@given(rollups(), rollups(), rollups())
def test_merging_associates(a: Rollup, b: Rollup, c: Rollup) -> None:
    assert pack(merge(merge(a, b), c)) == pack(merge(a, merge(b, c)))


@given(rollups())
def test_an_empty_rollup_is_the_identity(a: Rollup) -> None:
    assert pack(merge(a, Rollup())) == pack(merge(Rollup(), a)) == pack(a)


@given(rollups(), rollups())
def test_merging_leaves_its_argument_as_it_was(a: Rollup, b: Rollup) -> None:
    before = pack(b)
    result = merge(a, b)
    result.merge(b)
    assert pack(b) == before


@given(observations, st.data())
def test_the_merge_does_not_depend_on_the_split_into_batches(
    observations: Observations, data: st.DataObject
) -> None:
    batches: list[Observations] = [[], [], []]
    for observation in observations:
        batches[data.draw(st.integers(0, 2))].append(observation)
    assert pack(merge(*map(observe_all, batches))) == pack(observe_all(observations))


@given(
    rollups(),
    rollups(),
    rollups(),
    st.sampled_from(
        [
            TINY,
            CardinalityLimits(2, 3, 1, 1, 1, open_names=1, open_series=1, open_bins=1),
            CardinalityLimits(1, 4, 3, 3, 3, open_names=3, open_series=2, open_bins=2),
        ]
    ),
)
def test_limits_keep_the_laws(a: Rollup, b: Rollup, c: Rollup, limits: CardinalityLimits) -> None:
    expected_bytes = pack(limit(merge(a, b, c), limits))

    def step(*rollups: Rollup) -> Rollup:
        return limit(merge(*rollups), limits)

    assert pack(step(step(step(a), step(b)), step(c))) == expected_bytes
    assert pack(step(step(c), step(step(b), a))) == expected_bytes


@given(rollups())
def test_limits_lose_no_count(a: Rollup) -> None:
    rollup = limit(a)
    assert sum(rollup.requests.values()) == sum(a.requests.values())
    assert sum(rollup.errors.values()) == sum(a.errors.values())
    assert sum(rollup.events.values()) == sum(a.events.values())
    assert sum(rollup.exits.values()) == sum(a.exits.values())
    assert sum(rollup.restarts.values()) == sum(a.restarts.values())
    assert len(rollup.events.keys() - {MORE_EVENTS}) <= 2
    assert sum(rollup.response_bytes.values()) == sum(a.response_bytes.values())
    assert sum(summary.count for summary in rollup.gauges.values()) == sum(
        summary.count for summary in a.gauges.values()
    )
    assert len({source for source in rollup.active_minutes if not source.endswith("other")}) <= 2
    assert len({code for _, code in rollup.errors} - {"other"}) <= 2
    assert len({status for _, status in rollup.requests if status >= 100}) <= 2


@given(rollups(), rollups())
def test_dynos_can_be_removed_before_or_after_a_merge(a: Rollup, b: Rollup) -> None:
    assert pack(merge(a, b).without_dynos()) == pack(merge(a.without_dynos(), b.without_dynos()))


@given(rollups())
def test_without_dynos_no_dyno_is_left(a: Rollup) -> None:
    rollup = a.without_dynos()
    assert not rollup.gauges
    assert not rollup.active_minutes
    assert not rollup.events
    assert rollup.released == a.released
    names = {source for source, _ in (*rollup.requests, *rollup.errors, *rollup.tallies)}
    assert all(name == "" or name.endswith(".") for name in names)
    assert rollup.sketches == a.sketches
    assert rollup.custom_measures == a.custom_measures
    assert rollup.custom_sketches == a.custom_sketches
    assert all(not source or source.endswith(".") for source, *_ in rollup.custom_counts)
    assert rollup.ledger == a.ledger


def test_dynos_over_the_limit_stay_with_their_process_type() -> None:
    rollup = observe_all(
        [(Request(f"web.{n}", 200, "", 1, 10 * n, 5), AT_MS) for n in (1, 2, 10, 3)]
    )
    rollup.apply_limits(TINY)
    assert rollup.requests == {("web.1", 200): 1, ("web.2", 200): 1, ("web.other", 200): 2}
    assert rollup.tallies["web.other", SERVICE_OK] == TimingTotals(2, 130, 100)


def test_dynos_are_counted_over_all_process_types() -> None:
    names = ("api.1", "web.1", "web.2", "other.1")
    rollup = observe_all([(Request(name, 200, "", 1, 1, 5), AT_MS) for name in names])
    rollup.apply_limits(CardinalityLimits(process_types=2, dynos=3, statuses=2, codes=2))
    assert [source for source, _ in sorted(rollup.requests)] == [
        "api.1",
        "other.1",
        "web.1",
        "web.other",
    ]


def test_a_request_adds_to_counts_times_and_bytes() -> None:
    rollup = observe_all([(Request("web.1", 200, "", 2, 18, 512), AT_MS)])
    assert rollup.requests == {("web.1", 200): 1}
    assert rollup.tallies == {
        ("web.1", SERVICE_OK): TimingTotals(1, 18, 18),
        ("web.1", CONNECT_OK): TimingTotals(1, 2, 2),
    }
    assert rollup.response_bytes == {"web": 512}
    assert rollup.active_minutes == {"web.1": 1 << 0}


def test_a_value_that_was_not_logged_is_not_0() -> None:
    rollup = observe_all([(Request("web.", 503, "H10", None, None, None), AT_MS)])
    assert rollup.requests == {("web.", 503): 1}
    assert rollup.errors == {("web.", "H10"): 1}
    assert (rollup.tallies, rollup.sketches, rollup.response_bytes) == ({}, {}, {})
    assert rollup.active_minutes == {}


def test_a_websocket_is_a_request_and_stays_out_of_latency() -> None:
    rollup = observe_all([(Request("web.1", 101, "", 1, 600_000, 99), AT_MS)])
    assert rollup.requests == {("web.1", 101): 1}
    assert rollup.response_bytes == {"web": 99}
    assert (rollup.tallies, rollup.sketches) == ({}, {})


def test_failed_is_5xx_or_no_status_at_all() -> None:
    outcomes = {status: outcome_of(status) for status in (0, 101, 200, 404, 499, 500, 503)}
    assert [status for status, outcome in outcomes.items() if outcome == "failed"] == [0, 500, 503]
    rollup = observe_all([(Request("web.1", 0, "H24", 1, 80_000, 18), AT_MS)])
    assert ("web.1", SERVICE_FAILED) in rollup.tallies


def test_statuses_have_labels_and_classes() -> None:
    assert (status_label(0), status_class(0)) == ("", "")
    assert (status_label(404), status_class(404)) == ("404", "4xx")
    assert (status_label(4), status_class(4), outcome_of(5)) == ("4xx", "4xx", "failed")


def test_a_gauge_keeps_its_latest_value_or_the_larger_of_two_at_one_time() -> None:
    values = [(3, 100), (7, 50), (5, 100), (1, 200), (2, 200)]
    rollup = observe_all(
        [
            (RuntimeMetrics("web.1", (("memory_total_bytes", value),)), AT_MS + at)
            for value, at in values
        ]
    )
    assert rollup.gauges == {("web.1", 0): GaugeSummary(5, 18, 1, 7, AT_MS + 200, 2)}


def test_active_minutes_are_a_mask_of_the_hour() -> None:
    minutes = [0, 5, 59, 5]
    rollup = observe_all(
        [(StateChange("web.1", "up", "down"), AT_MS + 60_000 * minute) for minute in minutes]
    )
    assert rollup.active_minutes == {"web.1": 1 << 0 | 1 << 5 | 1 << 59}


@given(rollups())
def test_a_rollup_survives_packing(a: Rollup) -> None:
    reread = unpack(pack(a))
    for name in vars(a):
        if name != "sketches":
            assert getattr(reread, name) == getattr(a, name)
    assert pack(reread) == pack(a)


def test_a_dyno_that_had_run_and_starts_again_is_a_restart() -> None:
    changes = [
        ("created", "starting"),
        ("starting", "up"),
        ("up", "starting"),
        ("starting", "crashed"),
        ("crashed", "starting"),
        ("up", "down"),
    ]
    rollup = observe_all([(StateChange("web.1", *change), AT_MS) for change in changes])
    assert rollup.restarts == {"web.1": 2}
    assert {(event.kind, event.detail) for event in rollup.events} == {
        ("restart", "was up"),
        ("restart", "was crashed"),
        ("crash", ""),
    }


def test_every_exit_is_counted_and_unexpected_ones_are_events() -> None:
    exits = [ProcessExit("web.1", status) for status in (0, 143, 1, 137, 137)]
    rollup = observe_all(
        [(process_exit, AT_MS + number) for number, process_exit in enumerate(exits)]
    )
    assert rollup.exits == {
        ("web.1", 0): 1,
        ("web.1", 143): 1,
        ("web.1", 1): 1,
        ("web.1", 137): 2,
    }
    assert [event.detail for event in sorted(rollup.events)] == ["1", "137", "137"]


def test_app_events_are_kept_before_dyno_events() -> None:
    dynos = [(Event("cycle", f"web.{number}", ""), AT_MS + number) for number in range(9)]
    rollup = observe_all([*dynos, (Event("release", "", "v7"), AT_MS + 99)])
    rollup.apply_limits(TINY)
    assert rollup.events == {
        EventKey(AT_MS + 99, "release", "", "v7"): 1,
        EventKey(AT_MS, "cycle", "web.0", ""): 1,
        MORE_EVENTS: 8,
    }
    assert rollup.last_release == (AT_MS + 99, "v7")
