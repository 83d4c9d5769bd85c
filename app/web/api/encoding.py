"""Encodes an answer as JSON or CSV, in pieces.

The largest answer has half a million values. Between pieces the event loop serves other requests.
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

_TURN_CHARACTERS = 64 * 1024  # encoded before other requests are served; a few milliseconds
_PIECE_VALUES = 100
_CSV_PIECE_CHARACTERS = 8 * 1024


async def series_json(head: Mapping[str, Any], answer: Answer) -> str:
    """The head's fields, and `series` with a list of values for each series."""
    return await _join(chain((_open_object(head),), _series(answer)))


async def rows_json(head: Mapping[str, Any], query: Query, answer: Answer) -> str:
    """The head's fields, and `rows` with one object per time and label set."""
    rows = (
        f"{',' if number else ''}{_json(row)}" for number, row in enumerate(_rows(query, answer))
    )
    return await _join(chain((_open_object(head), '"rows":['), rows, ("]}",)))


async def rows_csv(query: Query, answer: Answer) -> str:
    """One line per time and label set, after a line of column names."""
    return await _join(_csv(query, answer))


async def _join(pieces: Iterable[str]) -> str:
    text = []
    characters = 0
    for piece in pieces:
        text.append(piece)
        characters += len(piece)
        if characters >= _TURN_CHARACTERS:
            characters = 0
            await asyncio.sleep(0)
    return "".join(text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _open_object(head: Mapping[str, Any]) -> str:
    """The head as a JSON object without its closing brace, so that more fields can follow."""
    return f"{_json(head)[:-1]},"


def _series(answer: Answer) -> Iterator[str]:
    yield '"series":['
    for number, (labels, stat, values) in enumerate(answer.series):
        yield "," if number else ""
        head = {"labels": labels, "stat": stat, "complete_until": answer.complete_until}
        yield f'{_open_object(head)}"values":['
        for first in range(0, len(values), _PIECE_VALUES):
            piece = _json(values[first : first + _PIECE_VALUES])[1:-1]
            yield f",{piece}" if first else piece
        yield "]}"
    yield "]}"


def _rows(query: Query, answer: Answer) -> Iterator[dict[str, Any]]:
    """One row per time and label set, one column per stat, and whether the interval is complete."""
    width = len(query.stats)
    sets = [answer.series[i : i + width] for i in range(0, len(answer.series), width)]
    for index in range(query.range.size):
        start_s = query.range.start + index * query.range.step_s
        is_complete = start_s + query.range.step_s <= answer.complete_until
        for stats in sets:
            yield {
                "time": start_s,
                **stats[0].labels,
                **{series.stat: series.values[index] for series in stats},
                "complete": is_complete,
            }


def _csv(query: Query, answer: Answer) -> Iterator[str]:
    columns = ["time", *query.by, *(stat.name for stat in query.stats), "complete"]
    line = io.StringIO()
    writer = csv.DictWriter(line, columns, lineterminator="\n")
    writer.writeheader()
    for row in _rows(query, answer):
        if line.tell() >= _CSV_PIECE_CHARACTERS:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
        writer.writerow(row | {"complete": str(row["complete"]).lower()})
    yield line.getvalue()
