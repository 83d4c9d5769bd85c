"""Reports of language runtimes: counters and gauges as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.language_metrics import METRICS_MAX, parse
from parsers.samples import LanguageMetrics

NODE = {
    "counters": {"node.gc.collections": 3, "node.gc.pause.ns": 1_250_000},
    "gauges": {"node.eventloop.delay.ms.p95": 12.5, "node.eventloop.usage.percent": 0.25},
}


def read(report: object) -> LanguageMetrics:
    return parse("web.1", json.dumps(report).encode())


def values(metrics: LanguageMetrics) -> dict[tuple[str, str], int]:
    """The numbers in millionths, by kind and name."""
    return {(mark.kind, mark.name): mark.value.millionths for mark in metrics.marks}


def test_counters_are_counts_and_gauges_are_samples() -> None:
    metrics = read(NODE)
    assert values(metrics) == {
        ("count", "node.gc.collections"): 3_000_000,
        ("count", "node.gc.pause.ns"): 1_250_000_000_000,
        ("sample", "node.eventloop.delay.ms.p95"): 12_500_000,
        ("sample", "node.eventloop.usage.percent"): 250_000,
    }
    assert (metrics.source, metrics.unread) == ("web.1", 0)


def test_a_runtime_without_a_value_sends_null_and_nothing_is_unread() -> None:
    assert read({"gauges": {"node.eventloop.delay.ms.median": None}}) == ("web.1", (), 0)


@pytest.mark.parametrize(
    "report",
    [
        {"gauges": {"a b": 1}},
        {"gauges": {"n" * 101: 1}},
        {"gauges": {"a": "1"}},
        {"gauges": {"a": True}},
        {"gauges": {"a": 1e300}},
        {"gauges": {"a": [1]}},
        {"counters": {"a": -1}},
        {"counters": 7},
        ["counters"],
    ],
)
def test_an_unreadable_metric_costs_no_other(report: object) -> None:
    assert read(report) == ("web.1", (), 1)
    if isinstance(report, dict) and "gauges" in report:
        report["gauges"]["fine"] = -2.5
        metrics = read(report)
        assert values(metrics) == {("sample", "fine"): -2_500_000}
        assert metrics.unread == 1


def test_further_metrics_of_a_report_are_counted() -> None:
    metrics = read({"gauges": {f"n{number}": 1 for number in range(METRICS_MAX + 5)}})
    assert (len(metrics.marks), metrics.unread) == (METRICS_MAX, 5)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    ).map(lambda v: json.dumps(v).encode())
)
def test_arbitrary_bodies_are_read_or_counted(body: bytes) -> None:
    metrics = parse("web.1", body)
    assert metrics.unread >= 0
