"""Encoding in pieces gives the same text as in one, and other tasks run in between."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable
from typing import TypeVar

from app.query.engine import Answer, Series, answer
from app.query.stats import StatValue, parse_stat
from app.query.table import Query, QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.memory import MemoryStore
from app.web.api.encoding import rows_csv, rows_json, series_json
from tests.support.store_calls import fold

SIZE = 10_000
METRIC = METRICS["requests"]
STATS = tuple(parse_stat(name, METRIC) for name in ("sum", "rate"))
SPAN = QueryRange(0, SIZE * MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))
QUERY = Query(METRIC, STATS, SPAN, ("dyno",))
HEAD = {"metric": "requests", "warnings": ["…"], "end": None}

T = TypeVar("T")


def large() -> Answer:
    def values(seed: int) -> list[StatValue]:
        return [None if i % 7 == seed else i / 3 if i % 2 else i for i in range(SIZE)]

    series = [
        Series({"dyno": name}, stat.name, values(n))
        for n, name in enumerate(("web.1", 'a "b"\n', "ü"))
        for stat in STATS
    ]
    return Answer(series, 0)


async def turns_during(work: Awaitable[T]) -> tuple[T, int]:
    """(the result, how often another task could run meanwhile)."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    result = await work
    task.cancel()
    return result, turns


async def test_series() -> None:
    for result in (large(), Answer([], 0), Answer([Series({}, "sum", [])], 0)):
        until = result.complete_until
        series = [
            {"labels": labels, "stat": stat, "complete_until": until, "values": values}
            for labels, stat, values in result.series
        ]
        content = {**HEAD, "series": series}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        assert await series_json(HEAD, result) == text


async def test_rows_and_csv() -> None:
    rows = json.loads(await rows_json(HEAD, QUERY, large()))["rows"]
    lines = list(csv.DictReader(io.StringIO(await rows_csv(QUERY, large()))))
    assert len(rows) == len(lines) == 3 * SIZE
    assert rows[4] == {"time": 60, "dyno": 'a "b"\n', "sum": None, "rate": None, "complete": False}
    for row, line in zip(rows, lines, strict=True):
        row["complete"] = json.dumps(row["complete"])
        assert {name: "" if value is None else str(value) for name, value in row.items()} == line
    assert await rows_csv(QUERY, Answer([], 0)) == "time,dyno,sum,rate,complete\n"
    assert json.loads(await rows_json(HEAD, QUERY, Answer([], 0))) == {**HEAD, "rows": []}


async def test_other_tasks_run_while_a_large_answer_is_encoded() -> None:
    for work in (series_json(HEAD, large()), rows_json(HEAD, QUERY, large())):
        _, turns = await turns_during(work)
        assert turns >= 5
    _, turns = await turns_during(rows_csv(QUERY, large()))
    assert turns >= 5


async def test_other_tasks_run_while_values_are_computed() -> None:
    store = MemoryStore(lambda: 0.0)
    rollup = Rollup()
    rollup.messages = 1
    rollup.requests = {(f"web.{number}", 200): 1 for number in range(20)}
    element = new_element(KIND_ROLLUP, pack(rollup))
    await fold(store, "shop", [], [SlotWrite(Slot("1m", 0), element, 60_000)])
    result, turns = await turns_during(
        answer(store, [SeenApp("shop", 0, SPAN.end, 0)], QUERY, SPAN.end)
    )
    assert len(result.series) == 40
    assert all(len(series.values) == SIZE for series in result.series)
    assert turns >= 40
