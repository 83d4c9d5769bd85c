"""An answer as JSON or CSV, piece by piece: the largest has half a million values, and other
requests are served in between.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from app.query.engine import Answer
from app.query.table import Query

_TEXT_PER_TURN = 64 * 1024  # characters, a few milliseconds
_VALUES_PER_PIECE = 100
_CSV_PER_PIECE = 8 * 1024  # characters


async def series_json(head: Mapping[str, Any], answer: Answer) -> str:
    """The head, and a list of values for each series."""
    return await _joined(chain((_opened(head),), _series(answer)))


async def rows_json(head: Mapping[str, Any], query: Query, answer: Answer) -> str:
    """The head, and an object for each time and label set."""
    rows = (
        f"{',' if number else ''}{_json(row)}" for number, row in enumerate(_rows(query, answer))
    )
    return await _joined(chain((_opened(head), '"rows":['), rows, ("]}",)))


async def rows_csv(query: Query, answer: Answer) -> str:
    """A line for each time and label set."""
    return await _joined(_csv(query, answer))


async def _joined(pieces: Iterable[str]) -> str:
    text = []
    taken = 0
    for piece in pieces:
        text.append(piece)
        taken += len(piece)
        if taken >= _TEXT_PER_TURN:
            taken = 0
            await asyncio.sleep(0)
    return "".join(text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _opened(head: Mapping[str, Any]) -> str:
    """An object that is not closed: there is more to come."""
    return f"{_json(head)[:-1]},"


def _series(answer: Answer) -> Iterator[str]:
    yield '"series":['
    for number, (labels, stat, values) in enumerate(answer.series):
        yield "," if number else ""
        yield f'{_opened({"labels": labels, "stat": stat})}"values":['
        for first in range(0, len(values), _VALUES_PER_PIECE):
            piece = _json(values[first : first + _VALUES_PER_PIECE])[1:-1]
            yield f",{piece}" if first else piece
        yield "]}"
    yield "]}"


def _rows(query: Query, answer: Answer) -> Iterator[dict[str, Any]]:
    """One row per time and label set, one column per stat."""
    width = len(query.stats)
    sets = [answer.series[i : i + width] for i in range(0, len(answer.series), width)]
    for index in range(query.range.size):
        for stats in sets:
            yield {
                "time": query.range.start + index * query.range.step_s,
                **stats[0].labels,
                **{each.stat: each.values[index] for each in stats},
            }


def _csv(query: Query, answer: Answer) -> Iterator[str]:
    columns = ["time", *query.by, *(stat.name for stat in query.stats)]
    line = io.StringIO()
    writer = csv.DictWriter(line, columns, lineterminator="\n")
    writer.writeheader()
    for row in _rows(query, answer):
        if line.tell() >= _CSV_PER_PIECE:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
        writer.writerow(row)
    yield line.getvalue()
