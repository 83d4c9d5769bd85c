"""Which errors a deploy, a restart or a waking dyno explains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.judgement.detectors.restarts import detect_restart, find_excuse
from app.judgement.facts import DynoFacts, Interval
from app.judgement.window import Window
from app.rollup.events import EventKey
from tests.app.judgement.scenes import USUAL, at, event, minute, until, window_of

RELEASE = event("11:00:10", "release", "", "v9")
STOP = event("11:00:20", "stop", "web.1", "SIGTERM")
UP = event("11:00:40", "up", "web.1")


def errors(failed: int, code: str = "H13") -> Callable[[int], Interval]:
    def build(start_s: int) -> Interval:
        return minute(start_s, 100, failed)._replace(codes={("web.1", code): failed})

    return build


def window(end: str, *events: EventKey, failed: int = 6, code: str = "H13") -> Window:
    return window_of("10:00", end, until("11:00", errors(failed, code)), events)


@pytest.mark.parametrize(
    ("end", "events", "is_excused"),
    [
        ("11:01", (), False),
        ("11:01", (RELEASE,), True),
        ("11:03", (RELEASE, UP), True),  # until 90 s after the last dyno came up
        ("11:04", (RELEASE, UP), False),
        ("11:04", (RELEASE, STOP), True),  # three minutes if none did
        ("11:05", (RELEASE, STOP), False),
        ("11:02", (RELEASE,), True),
        ("11:03", (RELEASE,), False),  # one minute if no dyno began to restart
        ("11:02", (event("11:00:10", "release", "", "v9 failed"),), False),
        ("11:02", (event("11:00:10", "config", "", "set A"),), True),
        ("11:02", (event("11:00:10", "scale", "", "web@3:Basic"),), False),
        ("11:02", (event("11:00:10", "restart", "web.1", "was up"),), True),
        ("11:02", (event("11:00:10", "restart", "web.1", "was crashed"),), False),
        ("11:02", (event("11:00:10", "restart", "worker.1", "was up"),), False),
        ("11:02", (event("11:00:10", "cycle", "web.1"),), True),
        ("11:02", (event("11:00:10", "unidle", "web.1"),), True),
        ("11:03", (event("11:00:10", "unidle", "web.1"),), False),  # 75 s
    ],
)
def test_a_restart_excuses_errors_for_its_time(
    end: str, events: tuple[EventKey, ...], is_excused: bool
) -> None:
    assert bool(find_excuse(window(end, *events))) == is_excused


def test_a_restart_does_not_excuse_a_crash_a_boot_timeout_or_that_most_requests_fail() -> None:
    assert not find_excuse(window("11:02", RELEASE, event("11:01:10", "crash", "web.1")))
    assert not find_excuse(window("11:02", RELEASE, code="H20"))
    assert find_excuse(window("11:01", RELEASE, failed=60))  # no whole minute yet
    assert not find_excuse(window("11:02", RELEASE, failed=60))


def test_one_of_many_dynos_that_cycles_excuses_nothing() -> None:
    def fleet(start_s: int) -> Interval:
        return minute(start_s, dynos={f"web.{number}": DynoFacts(10) for number in range(1, 11)})

    cycles = [event("11:00:10", "cycle", f"web.{number}") for number in (1, 2)]
    assert not find_excuse(window_of("10:00", "11:02", fleet, tuple(cycles[:1])))
    assert find_excuse(window_of("10:00", "11:02", fleet, tuple(cycles)))


def test_errors_of_a_restart_are_a_note_with_their_number() -> None:
    (symptom,) = detect_restart(window("11:02", RELEASE, UP), USUAL)
    assert (symptom.state, symptom.since_s) == ("ok", at("11:00:10"))
    assert (symptom.count, symptom.code) == (12, "H13")


def test_errors_of_an_outage_that_a_restart_ends_are_not_of_the_restart() -> None:
    outage = until("10:55", until("11:01", minute, errors(90)))
    assert detect_restart(window_of("10:00", "11:01", outage, (RELEASE,)), USUAL) == []
    outage = until("10:55", until("11:01", errors(6), errors(90)))
    (symptom,) = detect_restart(window_of("10:00", "11:02", outage, (RELEASE, STOP)), USUAL)
    assert symptom.count == 6


def test_a_restart_without_errors_is_none() -> None:
    assert detect_restart(window("11:02", RELEASE, UP, failed=0), USUAL) == []
