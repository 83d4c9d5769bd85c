"""Packed hours and days: a day answers every query as its hours do."""

from __future__ import annotations

import random

import pytest

from app.archive.interval_rollups import PackedInterval, events_of, pack_day, pack_hour
from app.query.engine import scan_packed
from app.query.stats import Stat
from app.query.table import Query, QueryRange
from app.rollup.batch_codec import unpack_batch
from app.rollup.bounded_merge import finish
from app.rollup.codec import pack, unpack
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.schema import METRICS, SECTION, SECTIONS
from app.storage.interface.elements import KIND_ROLLUP, new_element
from parsers.samples import Event, Request
from tests.app.archive.test_detail_rows import addon_rollup, custom_rollup
from tests.support.archive import busy_rollup

DAY = 20_780 * DAY_S  # 2026-11-23
HOURS = range(DAY, DAY + DAY_S, HOUR_S)
STATS = {
    "counter": (Stat("sum", "sum", 0),),
    "gauge": tuple(Stat(name, name, 0) for name in ("avg", "max", "min", "last")),
    "distribution": (Stat("p95", "quantile", 0.95), Stat("max", "max", 0), Stat("avg", "avg", 0)),
}


def day_of_hours() -> list[tuple[int, bytes]]:
    hours = []
    for start_s in HOURS:
        rollup = busy_rollup(start_s, seed=start_s)
        rollup.merge(addon_rollup())
        rollup.merge(custom_rollup())
        hours.append((start_s, pack(rollup)))
    return hours


def packed_day(
    hours: list[tuple[int, bytes]], limits: CardinalityLimits = DEFAULT_LIMITS
) -> PackedInterval:
    return finish(pack_day("shop", DAY, hours, limits))


def answers(parts: list[tuple[int, bytes]], metric: str, by: str) -> dict[object, object]:
    time_range = QueryRange(DAY, DAY + DAY_S, DAY_S, Resolution("1h", HOUR_S, 0))
    query = Query(METRICS[metric], STATS[METRICS[metric].kind], time_range, (by,))
    (cells,) = scan_packed("shop", parts, [query]).results()
    return {
        (key, stat.name): cells.values(key, None, stat, range(1))
        for key in sorted(cells.keys())
        for stat in query.stats
    }


HOURS_OF_DAY = day_of_hours()
PACKED_DAY = packed_day(HOURS_OF_DAY)
PARTS = [(DAY, PACKED_DAY.rollup), *unpack_batch(PACKED_DAY.by_hour)]


# Sections of metrics that senders name are compared as a whole below.
NAMED_METRICS = [
    name
    for name, metric in METRICS.items()
    if not any(SECTION[section].family for section in metric.sections)
]


@pytest.mark.parametrize("metric", NAMED_METRICS)
def test_a_day_answers_as_its_hours_do(metric: str) -> None:
    labels = METRICS[metric].labels
    if METRICS[metric].kind == "distribution":
        labels = ("process_type", "outcome")
    for by in (labels[0], labels[-1]):
        assert answers(PARTS, metric, by) == answers(HOURS_OF_DAY, metric, by)


def test_some_of_these_answers_are_not_empty() -> None:
    for metric in ("requests", "service_time_ms", "dynos", "load_avg_1m"):
        assert answers(PARTS, metric, "process_type")


def test_a_day_holds_every_section_of_its_hours() -> None:
    expected = Rollup()
    rebuilt = Rollup()
    for _, data in HOURS_OF_DAY:
        expected.merge(unpack(data))
    for _, data in PARTS:
        rebuilt.merge(unpack(data))
    for section in SECTIONS:
        assert rebuilt.rows(section) == expected.rows(section), section.name
    assert rebuilt.messages == expected.messages == PACKED_DAY.messages


def test_a_day_has_more_events_than_an_hour_may_have() -> None:
    hours = []
    for start_s in HOURS:
        rollup = Rollup()
        for number in range(100):
            rollup.observe(Event("note", "", f"n{number}"), start_s * 1000 + number)
        hours.append((start_s, pack(rollup)))
    parts = unpack_batch(packed_day(hours).by_hour)
    assert sum(len(unpack(data).events) for _, data in parts) == 2_400


def test_a_day_keeps_more_names_than_the_limits_of_an_hour() -> None:
    hours = []
    for index, start_s in enumerate(HOURS):
        rollup = Rollup()
        for number in range(DEFAULT_LIMITS.process_types):
            source = f"type{index}x{number}.1"
            rollup.observe(Request(source, 200, "", 1, 5, 0), start_s * 1000)
        hours.append((start_s, pack(rollup)))
    day = unpack(packed_day(hours).rollup)
    assert len(day.requests) == 24 * DEFAULT_LIMITS.process_types


def test_a_day_keeps_the_dynos_of_several_full_hours_and_no_more() -> None:
    limits = DEFAULT_LIMITS._replace(dynos=50)
    hours = []
    for index, start_s in enumerate(HOURS):
        rollup = Rollup()
        for number in range(50):
            source = f"web.{100_000 + index * 50 + number}"
            rollup.observe(Request(source, 200, "", 1, 5, 0), start_s * 1000)
        hours.append((start_s, pack(rollup)))
    day = unpack(packed_day(hours, limits).rollup)
    assert len(day.requests) == 4 * 50 + 1
    assert day.requests["web.other", 200] == 20 * 50


def test_an_hour_is_packed_as_its_compaction_packs_it() -> None:
    rng = random.Random(1)
    rollups = [busy_rollup(DAY, seed=rng.randrange(99)) for _ in range(3)]
    elements = [new_element(KIND_ROLLUP, pack(rollup.copy())) for rollup in rollups]
    expected = Rollup()
    for rollup in rollups:
        expected.merge(rollup)
    hour = pack_hour("shop", DAY, elements, DEFAULT_LIMITS)
    assert hour.rollup == pack(expected)
    assert hour.messages == expected.messages
    assert events_of(hour) == expected.all_events


def test_sections_of_a_newer_version_are_kept_in_the_day() -> None:
    rollup = busy_rollup(DAY, seed=1)
    rollup.extensions = (("from-the-future", b"\x90"),)
    day = packed_day([(DAY, pack(rollup))])
    assert unpack(day.rollup).extensions == rollup.extensions
