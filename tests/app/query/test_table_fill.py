"""A table stays small however many names an app has, and its sums stay exact."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest

from app.query import table as reference
from app.query import table_fill
from app.query.stats import parse_stat
from app.query.table import Query, QueryRange
from app.query.table_fill import TableFill
from app.rollup.codec import pack
from app.rollup.events import MORE_EVENTS
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, Rollup
from app.rollup.schema import METRICS
from parsers.numbers import Quantity
from parsers.samples import CustomMark, CustomMarks, Event, Request
from tests.app.rollup.test_rollup import AT_MS

CompiledTable: Any = import_module("app.query._table").Table

START = AT_MS // 1000
DYNOS, ROLLUPS = 50, 40  # dynos of a rollup, all of them new; one more dyno is in all
NAMES_MAX = 500
EVENTS_MAX = 100


@pytest.fixture(params=[reference.Table, CompiledTable], ids=["python", "compiled"])
def table_type(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(table_fill, "NAMES_MAX", NAMES_MAX)
    monkeypatch.setattr(table_fill, "EVENTS_MAX", EVENTS_MAX)
    monkeypatch.setattr(table_fill, "ENTRIES_MIN", 2 * EVENTS_MAX)
    return request.param


def fill(table: Any, *rollups: Rollup) -> Any:
    table_fill = TableFill(table, "evil")
    for rollup in rollups:
        table_fill.add(START, pack(rollup))
    table.finish()
    return table


def sums(
    table_type: Any, by: str, rollups: Sequence[Rollup], metric_name: str = "requests"
) -> dict[str, int]:
    """The requests of these rollups, by a label, or the sums of another metric."""
    metric = METRICS[metric_name]
    stat = parse_stat("sum", metric)
    time_range = QueryRange(START, START + MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))
    table = fill(table_type([Query(metric, (stat,), time_range, (by,))]), *rollups)
    (cells,) = table.results()
    return {key[0]: cells.values(key, None, stat, range(1))[0] for key in list(cells.keys())}


def of_new_dynos(number: int) -> Rollup:
    rollup = Rollup()
    rollup.messages = DYNOS + 1
    for dyno in (f"web.{number * DYNOS + 10_000 + index}" for index in range(DYNOS)):
        rollup.observe(Request(dyno, 200, "", 1, 20, 100), AT_MS)
    rollup.observe(Request("clock.1", 200, "", 1, 20, 100), AT_MS)
    return rollup


def test_names_beyond_the_limit_of_a_range_are_added_up_as_other(table_type: Any) -> None:
    rollups = [of_new_dynos(number) for number in range(ROLLUPS)]
    by_dyno = sums(table_type, "dyno", rollups)
    assert len(by_dyno) <= NAMES_MAX + DYNOS + 2
    assert by_dyno["clock.1"] == ROLLUPS
    assert by_dyno["web.other"] == (DYNOS + 1) * ROLLUPS - ROLLUPS - (len(by_dyno) - 2)
    by_type = sums(table_type, "process_type", rollups)
    assert by_type == {"web": DYNOS * ROLLUPS, "clock": ROLLUPS}


def test_so_are_codes(table_type: Any) -> None:
    rollups = []
    for number in range(ROLLUPS):
        rollup = Rollup()
        for code in ("H12", *(f"H{number * DYNOS + 10_000 + index}" for index in range(DYNOS))):
            rollup.observe(Request("web.1", 503, code, 1, 20, 100), AT_MS)
        rollups.append(rollup)
    by_code = sums(table_type, "code", rollups, "heroku_errors")
    assert len(by_code) <= NAMES_MAX + DYNOS + 2
    assert by_code["H12"] == ROLLUPS
    assert by_code["other"] == (DYNOS + 1) * ROLLUPS - ROLLUPS - (len(by_code) - 2)


def test_below_the_limit_nothing_changes(table_type: Any) -> None:
    rollups = [of_new_dynos(number) for number in range(5)]
    by_dyno = sums(table_type, "dyno", rollups)
    assert len(by_dyno) == 5 * DYNOS + 1
    assert "web.other" not in by_dyno


def test_of_too_many_events_the_latest_stay_and_all_are_counted(table_type: Any) -> None:
    rollups = []
    for number in range(60):
        rollup = Rollup()
        for index in range(10):
            rollup.observe(Event("up", f"web.{index}", ""), AT_MS + 1_000 * number + index)
        rollup.observe(Event("release", "", f"v{number}"), AT_MS + 1_000 * number)
        rollups.append(rollup)
    sections = frozenset({"events", "lifecycle"})
    events = fill(table_type([], sections), *rollups).merged_rollup.all_events
    assert sum(events.values()) == 60 * 11
    assert len([event for event in events if event.kind == "release"]) == 60
    ups = sorted(event for event in events if event.kind == "up")
    assert EVENTS_MAX <= len(ups) <= 3 * EVENTS_MAX
    assert ups[0].at_ms > AT_MS + 60_000 - 1_000 * len(ups)
    assert events[MORE_EVENTS] == 600 - len(ups)


def test_names_of_metrics_are_bounded(table_type: Any) -> None:
    names_max = 8 * DEFAULT_LIMITS.open_names
    rollups = []
    for number in range(names_max // 100 + 10):
        rollup = Rollup()
        marks = tuple(
            CustomMark("count", f"n{100 * number + index:06}", Quantity(10**6, 1.0, ""))
            for index in range(100)
        )
        rollup.observe(CustomMarks("web.1", "", marks, 0), AT_MS)
        rollups.append(rollup)
    merged = fill(table_type([], frozenset({"custom_counts"})), *rollups).merged_rollup
    assert names_max <= len(merged.custom_counts) <= 2 * names_max
