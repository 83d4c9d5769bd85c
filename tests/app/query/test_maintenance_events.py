"""The events of maintenance follow from the stored counts, whatever their order and resolution."""

from __future__ import annotations

import random

import pytest

from app.query.history import read_events
from app.query.maintenance_events import AnswerCounts, find_edges
from app.query.table import QueryRange
from app.rollup.codec import merge_packed, pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution, align
from app.rollup.rollup import Rollup
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.memory import MemoryStore
from parsers.samples import Request
from tests.support.store_calls import fold

HOUR = 1_795_341_600
TTL_MS = HOUR_S * 1000


def edges_of(minutes: str) -> list[tuple[int, str]]:
    """The edges of minutes with requests in maintenance (m), others (o), as many of both (b), a few
    in maintenance among others (s), or none (.).
    """
    counts = {"m": (9, 0), "o": (0, 9), "b": (4, 4), "s": (1, 8)}
    intervals = [
        AnswerCounts(minute, MINUTE_S, *counts[kind])
        for minute, kind in enumerate(minutes)
        if kind != "."
    ]
    return [(edge.interval.start_s, edge.detail) for edge in find_edges(intervals)]


@pytest.mark.parametrize(
    ("minutes", "edges"),
    [
        ("", []),
        ("ooo", []),
        ("oommmoo", [(2, "began"), (5, "ended")]),
        ("oobmmboo", [(2, "began"), (5, "ended")]),
        ("oommm..", [(2, "began"), (4, "last seen")]),
        ("oom", [(2, "began")]),
        ("oobmmb", [(2, "began"), (5, "ended")]),
        ("oom.m....oo", [(2, "began"), (9, "ended")]),
        ("oombmoo", [(2, "began"), (5, "ended")]),
        ("oomoom", [(2, "began"), (3, "ended"), (5, "began")]),
        ("obo", []),
        ("ossosooss", []),
        ("osmmso", [(1, "began"), (4, "ended")]),
        ("ommsom", [(1, "began"), (3, "ended"), (5, "began")]),
        ("mmo", [(0, "on"), (2, "ended")]),
        ("..mm", [(2, "on"), (3, "last seen")]),
    ],
)
def test_edges(minutes: str, edges: list[tuple[int, str]]) -> None:
    assert edges_of(minutes) == edges


def answers(minute: int, code: str, count: int) -> list[tuple[int, bytes]]:
    """A rollup for each of some requests in a minute of the hour."""
    rollup = Rollup()
    rollup.messages = 1
    at_s = HOUR + minute * MINUTE_S
    request = Request("web." if code else "web.1", 503 if code else 200, code, None, None, None)
    rollup.observe(request, at_s * 1000)
    return [(at_s, pack(rollup))] * count


MAINTENANCE = [
    *answers(0, "", 5),
    *answers(16, "", 3),
    *answers(17, "H80", 2),
    *answers(25, "H80", 4),
    *answers(40, "H80", 1),
    *answers(41, "", 2),
]
EVENTS = [(17, "began"), (41, "ended")]


async def events_of(
    rollups: list[tuple[int, bytes]], resolution: Resolution, *, stored: tuple[int, ...]
) -> list[tuple[int, str]]:
    """Minute and detail of the events, read at a resolution, with slots of `stored` lengths."""
    store = MemoryStore(lambda: HOUR + HOUR_S)
    for seconds in stored:
        slots: dict[int, list[bytes]] = {}
        for at_s, data in rollups:
            slots.setdefault(align(at_s, seconds), []).append(data)
        name = {60: "1m", 600: "10m", 3600: "1h"}[seconds]
        for start, elements in slots.items():
            merged = Rollup()
            for data in elements:
                merge_packed(merged, data)
            element = new_element(KIND_ROLLUP, pack(merged))
            await fold(store, "shop", [], [SlotWrite(Slot(name, start), element, TTL_MS)])
    time_range = QueryRange(HOUR, HOUR + HOUR_S, HOUR_S, resolution)
    events = await read_events(store, "shop", time_range)
    return [((key.at_ms // 1000 - HOUR) // MINUTE_S, key.detail) for key in sorted(events)]


MINUTES, TENS, HOURS = (
    Resolution(name, seconds, HOUR_S) for name, seconds in (("1m", 60), ("10m", 600), ("1h", 3600))
)


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_of_batches_does_not_matter(seed: int) -> None:
    rollups = MAINTENANCE[:]
    random.Random(seed).shuffle(rollups)
    assert await events_of(rollups, MINUTES, stored=(60,)) == EVENTS


async def test_times_are_to_the_minute_at_coarser_resolutions_while_minutes_are_stored() -> None:
    assert await events_of(MAINTENANCE, TENS, stored=(60, 600)) == EVENTS
    assert await events_of(MAINTENANCE, HOURS, stored=(60, 3600)) == EVENTS


async def test_without_minutes_the_precision_is_said() -> None:
    assert await events_of(MAINTENANCE, TENS, stored=(600,)) == [
        (10, "began (within 10 minutes)"),
        (40, "ended (within 10 minutes)"),
    ]


FEW = [
    answer
    for minute in (*range(20), *range(40, 60))
    for answer in [*answers(minute, "", 5), *answers(minute, "H80", 1)]
]


@pytest.mark.parametrize("resolution", [MINUTES, TENS, HOURS])
async def test_a_few_such_answers_among_others_are_no_maintenance(resolution: Resolution) -> None:
    stored = (60, 600, 3600)
    assert await events_of(FEW, resolution, stored=stored) == []
    rollups = [*FEW, *answers(22, "H80", 9), *answers(35, "H80", 9)]
    assert await events_of(rollups, resolution, stored=stored) == [(19, "began"), (40, "ended")]


async def test_other_apps_and_codes_give_no_events() -> None:
    assert await events_of(answers(3, "H10", 9) + answers(4, "", 1), MINUTES, stored=(60,)) == []
