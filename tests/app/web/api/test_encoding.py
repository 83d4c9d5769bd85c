"""Answers as text: the same as in one piece, and nobody waits for the whole of them."""

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
from app.storage.interface import KIND_ROLLUP, Slot, SlotWrite, new_element
from app.storage.memory import MemoryStore
from app.web.api.encoding import rows_csv, rows_json, series_json
from parsers.metrics import METRICS

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
    """How often others had their turn."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    done = await work
    task.cancel()
    return done, turns


async def test_series() -> None:
    for said in (large(), Answer([], 0), Answer([Series({}, "sum", [])], 0)):
        expected = {**HEAD, "series": [each._asdict() for each in said.series]}
        text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
        assert await series_json(HEAD, said) == text


async def test_rows_and_csv() -> None:
    rows = json.loads(await rows_json(HEAD, QUERY, large()))["rows"]
    lines = list(csv.DictReader(io.StringIO(await rows_csv(QUERY, large()))))
    assert len(rows) == len(lines) == 3 * SIZE
    assert rows[4] == {"time": 60, "dyno": 'a "b"\n', "sum": None, "rate": None}
    for row, line in zip(rows, lines, strict=True):
        assert {name: "" if value is None else str(value) for name, value in row.items()} == line
    assert await rows_csv(QUERY, Answer([], 0)) == "time,dyno,sum,rate\n"
    assert json.loads(await rows_json(HEAD, QUERY, Answer([], 0))) == {**HEAD, "rows": []}


async def test_others_have_their_turn_while_a_large_answer_is_written() -> None:
    for work in (series_json(HEAD, large()), rows_json(HEAD, QUERY, large())):
        _, turns = await turns_during(work)
        assert turns >= 5
    _, turns = await turns_during(rows_csv(QUERY, large()))
    assert turns >= 5


async def test_others_have_their_turn_while_values_are_worked_out() -> None:
    store = MemoryStore(lambda: 0.0)
    whole = Rollup()
    whole.messages = 1
    whole.requests = {(f"web.{number}", 200): 1 for number in range(20)}
    element = new_element(KIND_ROLLUP, pack(whole))
    await store.fold("shop", [], [SlotWrite(Slot("1m", 0), element, 60_000)])
    said, turns = await turns_during(answer(store, ["shop"], QUERY, SPAN.end))
    assert len(said.series) == 40
    assert all(len(each.values) == SIZE for each in said.series)
    assert turns >= 40
