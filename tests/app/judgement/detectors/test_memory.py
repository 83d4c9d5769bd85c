"""When memory is a problem, and when it only rises as usual."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest

from app.judgement.detectors.memory import detect_memory, dynos_with, theil_sen
from app.judgement.facts import Interval
from app.judgement.window import Symptom, Window
from app.rollup.events import EventKey
from tests.app.judgement.scenes import USUAL, at, event, minute, until, window_of

R14 = {("web.2", "R14"): 3}


def memory(
    ratio: Callable[[float], float] | float, codes: dict[tuple[str, str], int] | None = None
) -> Callable[[int], Interval]:
    """Minutes in which web.2 uses a share of its quota, by the minutes since 10:00."""

    def build(start_s: int) -> Interval:
        interval = minute(start_s)
        value = ratio((start_s - at("10:00")) / 60) if callable(ratio) else ratio
        dynos = {**interval.dynos, "web.2": interval.dynos["web.2"]._replace(memory_ratio=value)}
        return interval._replace(dynos=dynos, codes=codes or {})

    return build


def one(window: Window) -> Symptom:
    (symptom,) = detect_memory(window, USUAL)
    return symptom


@pytest.mark.parametrize(("end", "count"), [("11:04", 0), ("11:05", 1)])
def test_five_minutes_with_r14_of_ten_are_told(end: str, count: int) -> None:
    window = window_of("10:00", end, until("11:00", memory(1.1, R14)))
    assert [symptom.kind for symptom in detect_memory(window, USUAL)] == ["memory_exceeded"] * count


def test_r14_says_since_when_how_much_and_which_dyno() -> None:
    window = window_of("10:00", "11:20", until("11:00", memory(1.12, R14)))
    symptom = one(window)
    assert (symptom.state, symptom.since_s, symptom.value, symptom.count) == (
        "degraded", at("11:00"), 1.12, 60,
    )  # fmt: skip
    assert dynos_with(window.over(600), "R14", "web") == ("web.2",)


def test_r14_that_is_over_is_told_no_longer() -> None:
    minutes = until("11:00", until("11:10", memory(0.6), memory(1.1, R14)))
    assert detect_memory(window_of("10:00", "11:13", minutes), USUAL) == []


def test_r14_of_every_day_is_a_note() -> None:
    window = window_of("10:00", "11:20", until("11:00", memory(1.1, R14)))
    (symptom,) = detect_memory(window, USUAL._replace(quota_minutes={"web": 170}))
    assert (symptom.state, symptom.reason) == ("ok", "chronic")
    (symptom,) = detect_memory(window, USUAL._replace(quota_minutes={"worker": 170}))
    assert symptom.state == "degraded"


def test_a_dyno_that_heroku_killed_is_told_at_once() -> None:
    killed = {("web.2", "R15"): 1}
    symptom = one(window_of("10:00", "11:01", until("11:00", memory(2.1, killed))))
    assert (symptom.kind, symptom.state, symptom.count) == ("memory_killed", "degraded", 1)
    minutes = until("11:00", until("11:01", minute, memory(2.1, killed)))
    assert detect_memory(window_of("10:00", "11:02", minutes), USUAL) == []


def test_memory_that_is_nearly_full_is_a_note() -> None:
    symptom = one(window_of("10:00", "11:00", memory(0.96)))
    assert (symptom.kind, symptom.state, symptom.value) == ("memory_high", "ok", 0.96)
    assert detect_memory(window_of("10:00", "11:00", memory(0.94)), USUAL) == []


def test_one_minute_that_is_nearly_full_is_none() -> None:
    assert detect_memory(window_of("10:00", "11:00", until("10:58", memory(0.99))), USUAL) == []


def test_a_leak_says_when_memory_is_full() -> None:
    symptom = one(window_of("10:00", "12:00", memory(lambda minutes: 0.5 + minutes / 600)))
    assert (symptom.reason, symptom.state) == ("leak", "ok")
    assert abs(symptom.full_s - at("15:00")) <= 300


@pytest.mark.parametrize(
    "ratio",
    [
        0.7,
        lambda minutes: 0.5 + 0.08 * log(1 + minutes),  # caches fill, ever more slowly
        lambda minutes: 0.6 + 0.3 * (minutes % 40) / 40,  # collected every 40 minutes
        lambda minutes: 0.6 if minutes < 60 else 0.8,  # a step
        lambda minutes: 0.1 + minutes / 600,  # far from full
        lambda minutes: 0.8 - minutes / 600,
    ],
    ids=["flat", "cache", "saw", "step", "low", "falling"],
)
def test_what_is_no_leak(ratio: Callable[[float], float] | float) -> None:
    assert detect_memory(window_of("10:00", "12:00", memory(ratio)), USUAL) == []


def test_a_rise_is_measured_from_the_last_start_on() -> None:
    boot: tuple[EventKey, ...] = (event("11:30", "up", "web.2"),)
    minutes = memory(lambda minutes: 0.5 + minutes / 600)
    assert detect_memory(window_of("10:00", "12:00", minutes, boot), USUAL) == []


def test_single_peaks_do_not_bend_a_slope() -> None:
    points = [(float(x), 2.0 * x + (100 if x == 7 else 0)) for x in range(20)]
    assert theil_sen(points) == 2.0
