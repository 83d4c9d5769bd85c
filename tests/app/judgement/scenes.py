"""Builds windows of minutes for the detectors: what comes each minute, and what differs when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from app.judgement.facts import AppProfile, DynoFacts, Interval, TypeFacts, Usual
from app.judgement.verdict import Finding
from app.judgement.window import Window
from app.rollup.events import EventKey
from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S
from app.rollup.sketch import bin_of

MIDNIGHT_S = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp())
PROFILE = AppProfile("shop", first_seen_s=MIDNIGHT_S - 30 * DAY_S)
USUAL = Usual(history_s=30 * DAY_S, heard_share=1.0)
NEW = Usual(history_s=3 * HOUR_S)


def at(clock: str) -> int:
    """Unix seconds of a time on 30 November 2026: 23:12 or 23:12:30."""
    hours, minutes, seconds = (clock + ":00").split(":")[:3]
    return MIDNIGHT_S + int(hours) * HOUR_S + int(minutes) * MINUTE_S + int(seconds)


def event(clock: str, kind: str, source: str = "", detail: str = "") -> EventKey:
    return EventKey(at(clock) * 1000, kind, source, detail)


def minute(
    start_s: int,
    requests: int = 100,
    failed: int = 0,
    time_ms: int = 200,
    *,
    dynos: Mapping[str, DynoFacts] | None = None,
    process_type: str = "web",
    **fields: object,
) -> Interval:
    """A minute with requests to two dynos."""
    times = {bin_of(time_ms): requests - failed} if requests > failed else {}
    types = {process_type: TypeFacts(requests, failed, times)} if requests else {}
    if dynos is None:
        share = DynoFacts(requests // 2, failed // 2, float(time_ms), time_ms, 0.5, 0.3)
        dynos = {f"{process_type}.1": share, f"{process_type}.2": share} if requests else {}
    values: dict[str, object] = {
        "messages": requests,
        "counted": requests,
        "types": types,
        "dynos": dynos,
    }
    return Interval(start_s, **(values | fields))  # type: ignore[arg-type]


def empty(start_s: int) -> Interval:
    return Interval(start_s)


def window_of(
    start: str,
    end: str,
    build: Callable[[int], Interval] = minute,
    events: tuple[EventKey, ...] = (),
    profile: AppProfile = PROFILE,
    findings: tuple[Finding, ...] = (),
) -> Window:
    """The window of the minutes from `start` to `end`, each made by `build`."""
    window = Window(profile)
    window.findings = findings
    for start_s in range(at(start), at(end), MINUTE_S):
        interval = build(start_s)
        own = tuple(e for e in events if start_s <= e.at_ms // 1000 < interval.end_s)
        window.add(interval._replace(events=tuple(sorted((*interval.events, *own)))))
    return window


def until(
    clock: str, after: Callable[[int], Interval] = empty, before: Callable[[int], Interval] = minute
) -> Callable[[int], Interval]:
    """Minutes as `before` up to a time, and as `after` from then on."""
    return lambda start_s: before(start_s) if start_s < at(clock) else after(start_s)
