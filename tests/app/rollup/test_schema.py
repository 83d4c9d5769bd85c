"""The schema: stored forms never change, and rows of any new shape merge like the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup.codec import encode_rows
from app.rollup.schema import (
    CORE_GAUGES,
    CORE_SECTIONS,
    KIND,
    METRIC,
    METRICS,
    SECTION,
    SOURCE,
    TAGGED_SECTIONS,
    TEXT,
    Key,
    Section,
)
from app.rollup.summaries import (
    COUNT,
    NUMBER_BINS,
    GaugeSummary,
    LatestText,
    NumberSum,
    NumberSummary,
    Summary,
    number,
    summaries,
)

HOUR = Key("hour", 23, lambda hour: {"hour": str(hour)})
BIN = Key("bin", 2**16 - 1, lambda _: {})

# Sections of shapes that metrics to come need.
SHAPES = [
    Section("counts", (SOURCE, METRIC), COUNT),
    Section("gauges", (SOURCE, METRIC), summaries(GaugeSummary)),
    Section("shortest times", (SOURCE, KIND), number("smallest", "min")),
    Section("longest times", (SOURCE,), number("largest", "max")),
    Section("active minutes of a day", (SOURCE, HOUR), number("minutes", "or")),
    Section("last boot of a dyno", (SOURCE,), summaries(LatestText)),
    Section("a sketch by name and unit", (SOURCE, METRIC, TEXT, BIN), COUNT),
    Section("a database, which is no dyno", (TEXT, METRIC), summaries(GaugeSummary)),
    Section("sums of fractions", (SOURCE, METRIC), summaries(NumberSum)),
    Section("fractions", (SOURCE, METRIC), summaries(NumberSummary)),
    Section("a sketch of any numbers", (SOURCE, METRIC, TEXT), NUMBER_BINS),
]
texts = st.sampled_from(["web.1", "web.2", "worker.1", ""])
numbers = st.integers(1, 2**40)


runs = st.lists(st.integers(-100, 100).filter(bool), max_size=5).map(lambda runs: [*runs, 1])


def columns_of(types: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*[{str: texts, int: numbers}.get(kind, runs) for kind in types])


def rows_of(section: Section) -> st.SearchStrategy[dict[Any, Any]]:
    keys = st.tuples(
        *[
            st.integers(0, min(key.number_max, 3)) if key.number_max else texts
            for key in section.keys
        ]
    ).map(section.key_of)
    values = columns_of(list(section.values.types)).map(section.values.make)
    return st.dictionaries(keys, values, max_size=6)


def merge(section: Section, *parts: dict[Any, Any]) -> dict[Any, Any]:
    rows: dict[Any, Any] = {}
    for part in parts:
        section.merge(rows, part)
    return rows


@given(st.data())
@pytest.mark.parametrize("section", SHAPES, ids=lambda section: section.name)
def test_rows_of_any_shape_obey_the_laws_of_merging(section: Section, data: st.DataObject) -> None:
    first, second, third = (data.draw(rows_of(section)) for _ in range(3))
    before = encode_rows(section, first)
    assert merge(section, first, second) == merge(section, second, first)
    left = merge(section, merge(section, first, second), third)
    assert left == merge(section, first, merge(section, second, third))
    assert encode_rows(section, first) == before


@given(st.data())
@pytest.mark.parametrize("section", SHAPES, ids=lambda section: section.name)
def test_renaming_before_or_after_a_merge_is_the_same(
    section: Section, data: st.DataObject
) -> None:
    first, second = data.draw(rows_of(section)), data.draw(rows_of(section))
    names = {"source": lambda source: source.partition(".")[0]}
    renamed_last = section.rename(merge(section, first, second), names)
    renamed_first = merge(section, section.rename(first, names), section.rename(second, names))
    assert renamed_first == renamed_last


@given(st.lists(st.tuples(*[numbers] * 6), min_size=2, max_size=2))
def test_a_gauge_merges_as_its_columns_say(columns: list[tuple[int, ...]]) -> None:
    first, second = (GaugeSummary(*values) for values in columns)
    by_columns = first.copy()
    Summary.merge(by_columns, second)
    first.merge(second)
    assert first == by_columns


def test_the_core_sections_never_change() -> None:
    """Workers of any version read these bytes; another form would be damage to older ones."""
    assert [section.name for section in CORE_SECTIONS] == [
        *("requests", "errors", "tallies", "response_bytes"),
        *("sketches", "gauges", "active_minutes", "ledger"),
    ]
    assert list(CORE_GAUGES) == [
        "memory_total_bytes",
        "memory_rss_bytes",
        "memory_cache_bytes",
        "memory_swap_bytes",
        "memory_quota_bytes",
        "memory_pgpgin_pages",
        "memory_pgpgout_pages",
        "load_avg_1m",
        "load_avg_5m",
        "load_avg_15m",
        "memory_quota_used_ratio",
    ]
    assert list(CORE_GAUGES.values()) == list(range(11))


# Columns of a tagged section: a new section gets a row here, and no row is ever changed.
NUMBERS = (
    "count:add whole:add millionths:add smallest:min largest:max last_at_ms:latest last:latest"
)
TAGGED = {
    "events": "at_ms text text text count:add",
    "exits": "source exit_status count:add",
    "restarts": "source count:add",
    "released": "at_ms:latest text:latest",
    "named_counts": "source metric count:add",
    "named_gauges": "source metric count:add total:add smallest:min largest:max "
    "last_at_ms:latest last:latest",
    "lifecycle": "at_ms text text text count:add",
    "addon_samples": f"addon name unit attachment {NUMBERS}",
    "custom_counts": "source name unit origin count:add whole:add millionths:add",
    "custom_samples": f"source name unit origin {NUMBERS}",
    "custom_measures": f"process_type name unit origin {NUMBERS}",
    "custom_sketches": "process_type name unit origin runs:add",
    "language_counts": "source name unit origin count:add whole:add millionths:add",
    "language_samples": f"source name unit origin {NUMBERS}",
}


@pytest.mark.parametrize("section", TAGGED_SECTIONS, ids=lambda section: section.name)
def test_the_columns_of_a_tagged_section_never_change(section: Section) -> None:
    columns = [key.name for key in section.keys]
    columns += map(":".join, zip(section.values.names, section.values.merges, strict=True))
    assert " ".join(columns) == TAGGED[section.name]


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_metric_comes_from_sections_that_have_its_labels(metric: Any) -> None:
    assert metric.sections
    for name in metric.sections:
        keys = [key.name for key in SECTION[name].keys]
        assert keys[0] in ("source", "process_type", "addon", "result")
        assert keys[0] != "addon" or {*metric.labels} <= {*keys}
        if metric.selection is not None:
            assert keys[1] in ("kind", "gauge", "metric", "name")
