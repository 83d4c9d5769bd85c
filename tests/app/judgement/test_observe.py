"""What a judgement reads from the rollup of a minute."""

from __future__ import annotations

import pytest

from app.judgement.observe import observe_interval
from app.rollup.accelerated import FastRollup, merge_rollups, pack
from app.rollup.events import MORE_EVENTS, EventKey
from app.rollup.rollup import CardinalityLimits, Rollup
from app.rollup.sketch import quantile_ms
from parsers.samples import (
    Event,
    HerokuError,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)

START_S = 1_700_000_040
AT_MS = START_S * 1000


def rollup_of(*samples: Sample) -> Rollup:
    rollup = Rollup()
    for sample in samples:
        rollup.observe(sample, AT_MS)
        rollup.messages += 1
    return rollup


def answer(source: str, status: int, code: str = "", service_ms: int | None = 20) -> Request:
    return Request(source, status, code, 1, service_ms, 100)


def test_failed_requests_are_those_with_5xx_and_those_without_a_status() -> None:
    rollup = rollup_of(
        answer("web.1", 200),
        answer("web.1", 404),
        answer("web.2", 500),
        answer("web.", 503, "H12"),
        answer("web.", 0, "H24"),
    )
    interval = observe_interval(rollup, START_S)
    assert interval.types["web"].requests == 5
    assert interval.types["web"].failed == 3
    assert interval.dynos["web.2"].failed == 1
    assert set(interval.dynos) == {"web.1", "web.2"}, "a source without number is no dyno"


def test_websockets_are_no_requests() -> None:
    interval = observe_interval(
        rollup_of(answer("web.1", 101, service_ms=90_000), answer("web.1", 200)), START_S
    )
    assert interval.types["web"].requests == 1
    assert interval.types["web"].websockets == 1


def test_requests_in_maintenance_are_neither_requests_nor_failures() -> None:
    interval = observe_interval(
        rollup_of(
            answer("web.", 503, "H80"), answer("web.", 503, "H80"), answer("web.", 503, "H10")
        ),
        START_S,
    )
    assert interval.maintenance == 2
    assert interval.types["web"].requests == 1
    assert interval.types["web"].failed == 1


@pytest.mark.parametrize(
    ("code", "status"), [("H26", 503), ("H32", 503), ("H27", 499), ("H28", 499), ("H31", 421)]
)
def test_a_client_that_breaks_off_or_sends_nonsense_is_no_failure(code: str, status: int) -> None:
    interval = observe_interval(
        rollup_of(answer("web.", status, code), answer("web.", 503, "H12")), START_S
    )
    assert interval.types["web"].requests == 2
    assert interval.types["web"].failed == 1
    assert interval.codes["web.", code] == 1, "it stays as evidence"


def test_an_interrupted_request_fails_unless_its_client_broke_off() -> None:
    interval = observe_interval(
        rollup_of(answer("web.1", 499, "H18"), answer("web.1", 503, "H18")), START_S
    )
    assert interval.types["web"].failed == 1


def test_times_are_those_of_requests_that_succeeded() -> None:
    interval = observe_interval(
        rollup_of(
            answer("web.1", 200, service_ms=10),
            answer("web.1", 200, service_ms=30),
            answer("web.1", 503, "H12", service_ms=30_000),
        ),
        START_S,
    )
    assert quantile_ms(interval.types["web"].times, 1) == 30
    assert interval.dynos["web.1"].time_mean_ms == 20
    assert interval.dynos["web.1"].time_max_ms == 30


def test_a_dyno_has_its_share_of_memory_and_its_load() -> None:
    interval = observe_interval(
        rollup_of(
            RuntimeMetrics("worker.1", (("memory_quota_used_ratio", 500_000),)),
            RuntimeMetrics("worker.1", (("memory_quota_used_ratio", 970_000),)),
            RuntimeMetrics("worker.1", (("load_avg_1m", 150),)),
            answer("web.1", 500),
        ),
        START_S,
    )
    assert interval.dynos["worker.1"].memory_ratio == 0.97
    assert interval.dynos["worker.1"].load == 1.5
    assert interval.dynos["web.1"].memory_ratio is None
    assert interval.dynos["web.1"].time_mean_ms is None, "none of its requests succeeded"


def test_without_runtime_metrics_the_memory_of_r14_lines_counts() -> None:
    running = Measurements("worker.1", (("memory_running_ratio", 1_200_000),))
    assert observe_interval(rollup_of(running), START_S).dynos["worker.1"].memory_ratio == 1.2


def test_names_over_the_limit_are_no_dyno() -> None:
    rollup = rollup_of(answer("web.1", 200), answer("web.2", 200))
    rollup.apply_limits(CardinalityLimits(dynos=1))
    interval = observe_interval(rollup, START_S)
    assert set(interval.dynos) == {"web.1"}
    assert interval.types["web"].requests == 2


def test_events_come_in_order_and_belong_to_the_interval() -> None:
    rollup = Rollup()
    rollup.observe(StateChange("web.1", "starting", "up"), AT_MS + 59_999)
    rollup.observe(Event("release", "", "v57"), AT_MS + 1)
    rollup.observe(Event("release", "", "v56"), AT_MS - 1)
    rollup.observe(Event("release", "", "v58"), AT_MS + 60_000)
    rollup.events[MORE_EVENTS] = 7
    assert observe_interval(rollup, START_S).events == (
        EventKey(AT_MS + 1, "release", "", "v57"),
        EventKey(AT_MS + 59_999, "up", "web.1", ""),
    )


def test_lines_that_cannot_be_read_are_counted_for_all_reasons_together() -> None:
    rollup = rollup_of(HerokuError("", "L10", 12), ProcessExit("web.1", 1))
    rollup.ledger.update(
        {"unparsed:router": 2, "unparsed:header": 3, "counted": 5, "lost_upstream": 12}
    )
    interval = observe_interval(rollup, START_S)
    assert (interval.unparsed, interval.counted, interval.lost) == (5, 5, 12)
    assert interval.exits == {("web.1", 1): 1}
    assert interval.messages == 2


def test_a_stored_rollup_reads_as_the_one_that_was_stored() -> None:
    rollup = rollup_of(
        answer("web.1", 200),
        answer("web.2", 503, "H12"),
        answer("web.", 503, "H80"),
        RuntimeMetrics("web.1", (("memory_quota_used_ratio", 500_000), ("load_avg_1m", 3))),
        StateChange("web.1", "up", "crashed"),
        StateChange("web.1", "starting", "up"),
        ProcessExit("web.1", 137),
    )
    fast_rollup = FastRollup()
    fast_rollup.add(rollup)
    expected = observe_interval(rollup, START_S)
    stored = observe_interval(merge_rollups([pack(fast_rollup)]), START_S)
    assert stored._replace(rollup=None) == expected._replace(rollup=None)
    live = observe_interval(fast_rollup, START_S)
    assert live._replace(rollup=None) == expected._replace(rollup=None)


def test_an_empty_rollup_says_nothing() -> None:
    interval = observe_interval(Rollup(), START_S, 600)
    assert interval.end_s == START_S + 600
    assert not interval.types
    assert not interval.messages
