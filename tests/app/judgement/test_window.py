"""The window of a judge keeps a bounded number of dynos and events."""

from __future__ import annotations

from app.judgement.facts import DynoFacts, Interval
from app.judgement.window import DYNOS_MAX, EVENTS_MAX, Window
from app.rollup.events import EventKey
from app.rollup.resolutions import MINUTE_S
from tests.app.judgement.scenes import PROFILE, at

START_S = at("10:00")


def window_of(*intervals: Interval) -> Window:
    window = Window(PROFILE)
    for interval in intervals:
        window.add(interval)
    return window


def dynos(first: int, count: int) -> dict[str, DynoFacts]:
    return {f"web.{number:06}": DynoFacts(5) for number in range(first, first + count)}


def events(kind: str, source: str, start_s: int, count: int) -> tuple[EventKey, ...]:
    return tuple(EventKey(start_s * 1000 + n, kind, source, f"{n}") for n in range(count))


def test_dynos_that_are_known_go_on_however_many_new_ones_come() -> None:
    window = window_of(
        Interval(START_S, dynos=dynos(0, 1_000)),
        Interval(START_S + MINUTE_S, dynos=dynos(900, 2_000)),
        Interval(START_S + 2 * MINUTE_S, dynos=dynos(900, 100) | dynos(10_000, 5_000)),
    )
    first, second, third = window.over(3 * MINUTE_S)
    assert first.dynos == dynos(0, 1_000)
    assert second.dynos == dynos(900, DYNOS_MAX - 900)
    assert third.dynos == dynos(900, 100)


def test_a_day_of_the_same_dynos_loses_none() -> None:
    window = Window(PROFILE)
    for number in range(30):
        window.add(Interval(START_S + number * MINUTE_S, dynos=dynos(0, DYNOS_MAX)))
    assert window.last.dynos == dynos(0, DYNOS_MAX)


def test_events_of_the_app_stay_however_many_its_dynos_have() -> None:
    crashes = events("crash", "web.1", START_S, EVENTS_MAX + 50)
    releases = events("release", "", START_S + MINUTE_S, 3)
    late_crashes = events("crash", "web.1", START_S + MINUTE_S, 50)
    window = window_of(
        Interval(START_S, events=crashes),
        Interval(START_S + MINUTE_S, events=tuple(sorted(releases + late_crashes))),
    )
    assert window.events_since(START_S) == [*crashes[:EVENTS_MAX], *releases]
