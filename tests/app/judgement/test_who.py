"""Which dynos stand out, when all are alike, and when it is not sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from app.judgement.facts import DynoFacts, Interval, TypeFacts
from app.judgement.reasons import find_not_reasons
from app.judgement.verdict import Finding
from app.judgement.who import (
    EVERYONE,
    UNSURE,
    Affected,
    compare_failures,
    compare_times,
    find_affected,
)
from tests.app.judgement.scenes import at, event, minute, until, window_of


def failures(dynos: Mapping[str, tuple[int, int]], others: int = 0) -> list[Interval]:
    """A minute with (requests, failed) by dyno, and failed requests that no dyno got."""
    facts = {dyno: DynoFacts(requests, failed) for dyno, (requests, failed) in dynos.items()}
    requests = sum(one.requests for one in facts.values()) + others
    failed = sum(one.failed for one in facts.values()) + others
    return [Interval(0, types={"web": TypeFacts(requests, failed)}, dynos=facts)]


@pytest.mark.parametrize(
    ("dynos", "affected"),
    [
        ({"web.1": (100, 1), "web.2": (100, 0), "web.3": (100, 60)}, Affected("dyno", ("web.3",))),
        ({"web.1": (100, 30), "web.2": (100, 28), "web.3": (100, 33)}, EVERYONE),
        ({"web.1": (10, 1), "web.2": (10, 0), "web.3": (10, 2)}, UNSURE),
        ({"web.1": (100, 30)}, EVERYONE),
        (
            {"web.1": (90, 60), "web.2": (90, 0), "web.3": (90, 55), "web.4": (90, 1)},
            Affected("dyno", ("web.1", "web.3")),
        ),
        ({"web.1": (90, 60), "web.2": (90, 58), "web.3": (90, 0)}, UNSURE),  # most of them
        ({"web.1": (100, 20), "web.2": (100, 21), "web.3": (100, 60)}, UNSURE),  # not all on it
        ({"web.1": (1000, 0), "worker.1": (0, 0)}, EVERYONE),
    ],
)  # fmt: skip
def test_failures_name_the_dynos_that_stand_out(
    dynos: dict[str, tuple[int, int]], affected: Affected
) -> None:
    assert compare_failures(failures(dynos), "web") == affected


def test_a_dyno_with_more_requests_may_have_more_failures() -> None:
    dynos = {"web.1": (900, 90), "web.2": (100, 10), "web.3": (100, 9)}
    assert compare_failures(failures(dynos), "web") == EVERYONE


def test_requests_that_no_dyno_got_are_of_everyone() -> None:
    dynos = {"web.1": (100, 0), "web.2": (100, 9)}
    assert compare_failures(failures(dynos, others=200), "web") == EVERYONE


# --- response times -----------------------------------------------------------------------------

WIGGLE = (1.0, 1.1, 0.9, 1.05, 0.95)


def times(*means: float, minutes: int = 5) -> Sequence[Interval]:
    """Minutes in which web.1, web.2, … have these mean response times, which vary by 10 %."""
    return [
        Interval(
            60 * number,
            dynos={
                f"web.{dyno}": DynoFacts(50, 0, mean * WIGGLE[(number + dyno) % 5])
                for dyno, mean in enumerate(means, 1)
            },
        )
        for number in range(minutes)
    ]


@pytest.mark.parametrize(
    ("before", "after", "affected"),
    [
        ((100, 100, 100), (100, 105, 400), Affected("dyno", ("web.3",))),
        ((100, 100, 100), (210, 200, 205), EVERYONE),
        ((100, 100, 400), (200, 200, 800), EVERYONE),  # web.3 was always slower
        ((100, 100, 400), (200, 100, 400), Affected("dyno", ("web.1",))),
        ((100, 100, 100), (100, 104, 130), UNSURE),
        ((100, 100, 100), (180, 100, 400), UNSURE),
        ((100,), (300,), EVERYONE),
    ],
)
def test_times_name_the_dynos_that_rose(
    before: tuple[float, ...], after: tuple[float, ...], affected: Affected
) -> None:
    assert compare_times(times(*before, minutes=20), times(*after), "web") == affected


def test_two_minutes_are_too_few_to_name_a_dyno() -> None:
    assert compare_times(times(100, 100), times(100, 400, minutes=2), "web") == UNSURE


def test_a_dyno_that_is_new_cannot_be_compared() -> None:
    assert compare_times(times(100, 100), times(100, 100, 400), "web") == UNSURE


# --- by kind ------------------------------------------------------------------------------------


def test_lines_of_a_dyno_itself_name_it() -> None:
    events = (event("11:00", "crash", "web.2"), event("11:01", "crash", "web.2"))
    window = window_of("10:00", "11:05", events=events)
    finding = Finding("crash_loop", "degraded", at("11:00"), process_type="web")
    assert find_affected(window, finding) == Affected("dyno", ("web.2",))


def test_if_all_dynos_crash_none_stands_out_and_each_is_known() -> None:
    events = (event("11:00", "crash", "web.2"), event("11:01", "crash", "web.1"))
    window = window_of("10:00", "11:05", events=events)
    finding = Finding("crash_loop", "degraded", at("11:00"), process_type="web")
    assert find_affected(window, finding) == Affected("everyone", (), ("web.1", "web.2"))


def test_if_the_only_worker_crashes_it_is_its_process_type() -> None:
    window = window_of("10:00", "11:05", events=(event("11:00", "crash", "worker.1"),))
    finding = Finding("crash_loop", "degraded", at("11:00"), process_type="worker")
    assert find_affected(window, finding) == Affected("process_type", (), ("worker.1",))


def test_a_leak_names_the_dynos_that_leak() -> None:
    def leaking(*names: str) -> Affected:
        def build(start_s: int) -> Interval:
            interval = minute(start_s)
            ratio = 0.5 + (start_s - at("10:00")) / 36_000
            rising = {name: interval.dynos[name]._replace(memory_ratio=ratio) for name in names}
            return interval._replace(dynos={**interval.dynos, **rising})

        finding = Finding("memory_high", "ok", at("10:00"), process_type="web", reason="leak")
        return find_affected(window_of("10:00", "12:00", build), finding)

    assert leaking("web.2") == Affected("dyno", ("web.2",))
    assert leaking("web.1", "web.2") == Affected("everyone", (), ("web.1", "web.2"))


def test_the_silence_of_an_app_is_that_of_everyone() -> None:
    finding = Finding("silent", "silent", at("11:00"))
    assert find_affected(window_of("10:00", "11:10"), finding) == EVERYONE


# --- what it is not -----------------------------------------------------------------------------


def gauges(memory: float | None, load: float | None):  # type: ignore[no-untyped-def]
    def build(start_s: int) -> Interval:
        interval = minute(start_s)
        facts = interval.dynos["web.1"]._replace(memory_ratio=memory, load=load)
        return interval._replace(dynos={"web.1": facts})

    return build


@pytest.mark.parametrize(
    ("memory", "load", "reasons"),
    [
        (0.52, 0.35, ("memory", "load")),
        (0.8, 0.35, ("load",)),
        (0.52, 2.0, ("memory",)),
        (0.95, 4.0, ()),
        (None, None, ()),
    ],
)
def test_memory_and_load_that_are_as_before_are_told(
    memory: float | None, load: float | None, reasons: tuple[str, ...]
) -> None:
    window = window_of("10:00", "11:10", until("11:00", gauges(memory, load)))
    finding = Finding("failing", "degraded", at("11:00"), process_type="web")
    assert find_not_reasons(window, finding) == reasons


def test_of_two_minutes_nothing_is_told() -> None:
    window = window_of("10:00", "11:02", until("11:00", gauges(0.5, 0.3)))
    finding = Finding("failing", "degraded", at("11:00"), process_type="web")
    assert find_not_reasons(window, finding) == ()


def test_a_dyno_that_was_always_full_is_no_other_reason() -> None:
    window = window_of("10:00", "11:10", gauges(0.97, 0.3))
    finding = Finding("slow", "degraded", at("11:00"), process_type="web")
    assert find_not_reasons(window, finding) == ("load",)
