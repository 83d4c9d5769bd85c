"""Requests in maintenance (H80) are neither ok nor failed, in any query about the outcome."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import accelerated
from app.query import table as reference
from app.query.engine import build_series, scan_packed
from app.query.maintenance import SplitsMaintenance
from app.query.planner import build_query
from app.query.table import QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from app.rollup.statuses import status_class, status_label
from parsers.samples import Request, labels_of

START = 1_795_341_600
RANGE = QueryRange(START, START + 4 * MINUTE_S, 2 * MINUTE_S, Resolution("1m", MINUTE_S, 0))
KINDS = (
    ("web.1", 200, ""),
    ("web.2", 404, ""),
    ("web.1", 500, ""),
    ("web.2", 503, "H12"),
    ("web.", 503, "H10"),
    ("web.1", 0, "H24"),
    ("web.", 503, "H80"),
    ("web.", 503, "H80"),
)
LABELS = ("process_type", "dyno", "status", "status_class", "outcome")

traffic = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KINDS)), max_size=40)
groupings = st.lists(st.sampled_from(LABELS), unique=True, max_size=3)
filters = st.dictionaries(
    st.sampled_from(LABELS),
    st.lists(
        st.sampled_from(["failed", "maintenance", "ok", "*", "m*", "503", "5xx", "", "web.1"]),
        min_size=1,
        max_size=2,
    ),
    max_size=2,
)


def labels_of_request(source: str, status: int, code: str) -> dict[str, str]:
    process_type, dyno = labels_of(source)
    outcome = "failed" if status >= 500 or not status else "ok"
    return {
        "process_type": process_type,
        "dyno": dyno,
        "status": status_label(status),
        "status_class": status_class(status),
        "outcome": "maintenance" if code == "H80" else outcome,
    }


def packed(requests: list[tuple[int, tuple[str, int, str]]]) -> list[tuple[int, bytes]]:
    """A rollup for each request, as from as many batches."""
    rollups = []
    for minute, (source, status, code) in requests:
        rollup = Rollup()
        rollup.messages = 1
        at_s = START + minute * MINUTE_S
        rollup.observe(Request(source, status, code, None, None, None), at_s * 1000)
        rollups.append((at_s, pack(rollup)))
    return rollups


def answer_of(table: Any, query: Any) -> dict[tuple[Any, ...], Any]:
    (cells,) = table.results()
    return {
        (*series.labels.values(), series.stat): series.values
        for series in build_series(query, cells)
        if any(series.numbers)
    }


@pytest.mark.parametrize("table_type", [accelerated.Table, reference.Table])
@given(traffic, groupings, filters)
def test_every_query_counts_as_if_the_outcome_were_stored(
    table_type: type[reference.Table],
    requests: list[tuple[int, tuple[str, int, str]]],
    by: list[str],
    patterns: dict[str, list[str]],
) -> None:
    query = build_query(RANGE, "requests", ["sum"], by, patterns)
    expected: dict[tuple[str, ...], Counter[int]] = {}
    for minute, request in requests:
        labels = labels_of_request(*request)
        if all(
            any(fnmatchcase(labels[name], pattern) for pattern in accepted)
            for name, accepted in query.filters.items()
        ):
            key = tuple(labels[name] for name in by)
            expected.setdefault(key, Counter())[minute // 2] += 1

    table = type("Table", (SplitsMaintenance, table_type), {})([query])
    for start, data in packed(requests):
        table.add("shop", start, data)
    table.finish()
    answer = answer_of(table, query)

    assert answer.keys() == {(*key, "sum") for key in expected}
    for key, counts in expected.items():
        for interval, total in enumerate(answer[*key, "sum"]):
            assert (total or 0) == counts[interval]


def test_a_code_without_its_status_makes_no_count_negative() -> None:
    rollup = Rollup()
    rollup.observe(Request("web.", 200, "H80", None, None, None), START * 1000)
    query = build_query(RANGE, "requests", ["sum"], [], {"outcome": ["failed"]})
    table = scan_packed("shop", [(START, pack(rollup))], [query])
    (series,) = build_series(query, table.results()[0])
    assert series.values[0] == 0
