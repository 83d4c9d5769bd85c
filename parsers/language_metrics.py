"""Parses what reporters of language runtimes send: counters and gauges as JSON.

    {"counters": {"node.gc.collections": 3}, "gauges": {"node.eventloop.delay.ms.p95": 12.5}}

A counter is the increase since the last report, a gauge the present value. A runtime without a
value sends null. Sources: heroku/agentmon (reporter, prom) and heroku/heroku-nodejs-plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from parsers.numbers import quantity_of
from parsers.samples import CustomMark, LanguageMetrics

METRICS_MAX = 500  # of one report, more than twice the names that are kept
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_KINDS = {"counters": "count", "gauges": "sample"}


def parse(source: str, body: bytes) -> LanguageMetrics:
    """The metrics in a report of a dyno. What is unreadable is only counted."""
    try:
        report = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LanguageMetrics(source, (), 1)
    if not isinstance(report, dict):
        return LanguageMetrics(source, (), 1)
    values = list(_values(report))
    marks = [_mark(*value) for value in values[:METRICS_MAX]]
    readable = tuple(mark for mark in marks if mark is not None)
    return LanguageMetrics(source, readable, len(values) - len(readable))


def _values(report: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Kind, name and value of each metric with a value; a group that is no object counts as one."""
    for group, kind in _KINDS.items():
        values = report.get(group, {})
        if not isinstance(values, dict):
            yield kind, "", values
            continue
        for name, value in values.items():
            if value is not None:
                yield kind, name, value


def _mark(kind: str, name: str, value: object) -> CustomMark | None:
    if not _NAME.fullmatch(name) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    quantity = quantity_of(value)
    if quantity is None or (kind == "count" and quantity.millionths < 0):
        return None
    return CustomMark(kind, name, quantity)
