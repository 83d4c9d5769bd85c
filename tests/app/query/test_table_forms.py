"""The compiled table gives the values of app.query.table, from every kind of bytes."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import table as reference
from app.query.engine import scan_packed
from app.query.stats import parse_stat
from app.query.table import Query, QueryRange
from app.rollup import addon_rows
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.open_metrics import known_metric
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution
from app.rollup.rollup import DEFAULT_LIMITS, UNLIMITED, Rollup
from app.rollup.schema import METRICS, SECTION, Metric
from app.rollup.summaries import (
    GaugeSummary,
    MeasureSummary,
    NumberSum,
    NumberSummary,
    TimingTotals,
)
from fuzz.targets import corpus_inputs
from parsers.samples import labels_of
from tests.app.rollup.test_codec import HOSTILE_SECTIONS, rollup
from tests.app.rollup.test_rollup import AT_MS, rollups

CompiledTable: Any = import_module("app.query._table").Table

START = AT_MS // 1000
STATS = {
    "counter": ("sum", "rate"),
    "distribution": ("p50", "p95", "p99.9", "le_500", "le_17", "max", "avg", "count", "bins"),
    "gauge": ("avg", "max", "min", "last", "sum"),
}
TableInput = tuple[str, int, bytes]  # app, start of the slot, packed

metrics = st.sampled_from(sorted(METRICS.values()))


def build_query(
    metric: Metric, by: Sequence[str] = (), step_s: int = 2 * MINUTE_S, slots: int = 4
) -> Query:
    names = [name for name in STATS[metric.kind] if name != "sum" or "sum" in metric.stats]
    time_range = QueryRange(START, START + slots * MINUTE_S, step_s, Resolution("1m", MINUTE_S, 0))
    return Query(metric, tuple(parse_stat(name, metric) for name in names), time_range, tuple(by))


def read_cells(cells: Any, query: Query) -> dict[Any, Any]:
    return {
        (key, stat.name): cells.values(
            key, dict(zip(query.by, key, strict=True)).get("app"), stat, range(query.range.size)
        )
        for key in sorted(cells.keys() | {("web",) * len(query.by)})
        for stat in query.stats
    }


def read_all(table: Any, *queries: Query) -> Any:
    """All that a table says about its queries; of a single query, a dictionary."""
    answers = [
        {**read_cells(cells, query), "activity": cells.activity()}
        for cells, query in zip(table.results(), queries, strict=True)
    ]
    return answers[0] if len(answers) == 1 else answers


def fill(table: Any, inputs: Sequence[TableInput]) -> Any:
    for app, start, data in inputs:
        table.add(app, start, data)
    table.finish()
    return table


def assert_same(query: Query, inputs: Sequence[TableInput]) -> None:
    """Check that both agree on bytes that the compiled implementation accepts."""
    try:
        compiled_values = read_all(fill(CompiledTable([query]), inputs), query)
    except PackError:
        return
    try:
        table = fill(reference.Table([query]), inputs)
    except PackError:  # the damage must be in rows that the compiled table steps over
        inputs = [
            (app, start, without_unread_rows(data, [query.metric])) for app, start, data in inputs
        ]
        table = fill(reference.Table([query]), inputs)
    assert compiled_values == read_all(table, query)


def without_unread_rows(
    data: bytes, metrics: Iterable[Metric], whole_sections: frozenset[str] = frozenset()
) -> bytes:
    """A packed rollup without the tagged rows whose names none of these metrics is about."""
    *fields, extensions = msgspec.msgpack.decode(data)
    read_extensions = []
    for tag, packed_rows in extensions:
        section = addon_rows.SECTION if tag == addon_rows.TAG else tag
        selections = [
            metric.selection_in(section) for metric in metrics if section in metric.sections
        ]
        rows = packed_rows
        if section not in whole_sections and selections and None not in selections:
            names = frozenset[Any]().union(*filter(None, selections))
            is_compact = tag == addon_rows.TAG
            rows = (_read_addons if is_compact else _read_rows)(packed_rows, names)
        read_extensions.append([tag, rows])
    return msgspec.msgpack.encode([*fields, read_extensions])


def _read_rows(packed_rows: bytes, names: frozenset[Any]) -> bytes:
    rows = msgspec.msgpack.decode(packed_rows)
    return msgspec.msgpack.encode([row for row in rows if row[1] in names])


def _read_addons(packed_rows: bytes, names: frozenset[Any]) -> bytes:
    groups = []
    for addon, attachment, (latest_ms, *numbers) in msgspec.msgpack.decode(packed_rows):
        read_numbers = [latest_ms]
        start = 0
        while start < len(numbers):
            end = start + (5 if numbers[start + 2] == 1 else 9)
            if addon_rows.SAMPLES[numbers[start]][0] in names:
                read_numbers += numbers[start:end]
            start = end
        groups.append([addon, attachment, read_numbers])
    return msgspec.msgpack.encode(groups)


@given(metrics, st.lists(rollups(), max_size=6), st.randoms(use_true_random=False), st.data())
def test_every_metric_by_every_label(
    metric: Metric, all_rollups: list[Rollup], rng: random.Random, data: st.DataObject
) -> None:
    by = data.draw(st.lists(st.sampled_from(("app", *metric.labels)), unique=True, max_size=2))
    query = build_query(metric, by, step_s=data.draw(st.sampled_from([60, 120, 240])))
    if data.draw(st.booleans()):
        label = data.draw(st.sampled_from(("app", *metric.labels)))
        patterns = data.draw(st.sampled_from([("*",), ("web*",), ("s?op", "2*"), ("none",)]))
        query = Query(metric, query.stats, query.range, query.by, {label: patterns})
    inputs = sorted(
        (
            (rng.choice(["shop", "blog"]), START + 60 * rng.randrange(4), packing.pack(item))
            for item in all_rollups
        ),
        key=lambda item: item[0],
    )
    compiled_values = read_all(fill(CompiledTable([query]), inputs), query)
    assert compiled_values == read_all(fill(reference.Table([query]), inputs), query)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_many_rollups_with_the_same_names_and_with_others(metric: Metric) -> None:
    inputs = [
        ("shop", START + MINUTE_S * (number % 4), packing.pack(rollup(number % 7, lines)))
        for number, lines in enumerate([60, 60, 200, 3, 60, 1, 700, 60] * 3)
    ]
    for by in ((), *((label,) for label in metric.labels)):
        query = build_query(metric, by)
        compiled_values = read_all(fill(CompiledTable([query]), inputs), query)
        assert compiled_values == read_all(fill(reference.Table([query]), inputs), query)
        assert any(value is not None for values in compiled_values.values() for value in values)


def test_minutes_of_different_hours_are_counted_separately() -> None:
    first = START // HOUR_S * HOUR_S
    hours = QueryRange(first, first + 4 * HOUR_S, 2 * HOUR_S, Resolution("1h", HOUR_S, 0))
    metric = METRICS["dynos"]
    stats = tuple(parse_stat(name, metric) for name in ("avg", "max", "min", "last"))
    query = Query(metric, stats, hours, ("process_type",))
    inputs = []
    for number in (0, 1, 3, 0):
        minutes = Rollup()
        minutes.active_minutes = {
            "web.1": 0b1011 << number,
            f"web.{5 + number}": 15,
            "web.2": 1 << 59,
        }
        inputs.append(("shop", hours.start + number * HOUR_S, packing.pack(minutes)))
    compiled_values = read_all(fill(CompiledTable([query]), inputs), query)
    assert compiled_values == read_all(fill(reference.Table([query]), inputs), query)
    assert max(compiled_values[("web",), "max"]) == 2


@given(metrics, rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_read_alike(
    metric: Metric, original: Rollup, seed: int
) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(original))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    by = rng.sample(metric.labels, rng.randrange(2))
    assert_same(
        build_query(metric, by), [("shop", START, bytes(data)), ("shop", START + 60, bytes(data))]
    )


@given(metrics, st.binary(max_size=200))
def test_any_bytes_are_rejected_or_read_alike(metric: Metric, data: bytes) -> None:
    assert_same(build_query(metric), [("shop", START, data)])


@pytest.mark.parametrize("target", ["packing", "section", "batch", "received_batch"])
def test_fuzz_corpus_is_rejected_or_read_alike(target: str) -> None:
    empty = msgspec.msgpack.encode([])
    for path in corpus_inputs(target):
        for metric in METRICS.values():
            assert_same(build_query(metric), [("shop", START, path.read_bytes())])
            for index in range(3, 11):
                fields = [1, 0, ["web.1", "web", "H12", "counted"], *[empty] * 8, []]
                fields[index] = path.read_bytes()
                assert_same(build_query(metric), [("shop", START, msgspec.msgpack.encode(fields))])


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_every_number_is_checked(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    for metric in METRICS.values():
        assert_same(build_query(metric), [("shop", START, msgspec.msgpack.encode(fields))])


def test_sums_over_63_bits_are_left_to_the_reference_form() -> None:
    large = 2**63 - 1
    huge = Rollup()
    huge.requests["web.1", 200] = huge.response_bytes["web"] = large
    huge.tallies["web.1", 0] = TimingTotals(large, large, large)
    huge.sketches["web", 0] = {3: large}
    huge.gauges["web.1", 0] = GaugeSummary(1, large, large, large, 0, large)
    data = packing.pack(huge)
    for name in ("requests", "response_bytes", "service_time_ms", "memory_total_bytes"):
        query = build_query(METRICS[name], step_s=4 * MINUTE_S)
        once, twice = [("shop", START, data)], [("shop", START, data)] * 2
        compiled_values = read_all(fill(CompiledTable([query]), once), query)
        assert compiled_values == read_all(fill(reference.Table([query]), once), query)
        with pytest.raises(PackError):
            fill(CompiledTable([query]), twice)


def test_series_beyond_the_limit_take_no_memory() -> None:
    metric = METRICS["heroku_errors"]
    many_codes = Rollup()
    many_codes.errors = {("web.1", f"H{number}"): 1 for number in range(200)}
    time_range = QueryRange(START, START + 11_000 * 60, 60, Resolution("1m", 60, 0))
    query = Query(metric, (parse_stat("sum", metric),), time_range, ("code",))
    data = packing.pack(many_codes, DEFAULT_LIMITS._replace(codes=200))
    tracemalloc.start()
    table = fill(CompiledTable([query]), [("shop", START, data)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table.results()[0].keys()) == 200
    assert peak < 16 * reference.VALUES_MAX


def test_rows_of_more_addons_than_are_remembered_are_answered_alike() -> None:
    metric = METRICS["postgres_active_connections"]
    [name] = list(metric.selection or ())
    inputs = []
    for minute in (0, 1, 1, 2, 3, 0):
        samples = Rollup()
        samples.addon_samples = {
            (f"postgresql-{number}", name, "", f"DB_{number % 3}"): NumberSummary(
                1, number, 500_000, -number, number, AT_MS + minute, number
            )
            for number in range(1_500 * minute, 1_500 * (minute + 1) + 10)
        }
        inputs.append(("shop", START + MINUTE_S * minute, packing.pack(samples, UNLIMITED)))
    for by, largest in (((), [0.003009, 0.006009]), (("attachment",), [0.003007, 0.006007])):
        query = build_query(metric, by)
        compiled_values = read_all(fill(CompiledTable([query]), inputs), query)
        assert compiled_values == read_all(fill(reference.Table([query]), inputs), query)
        key = ("DB_1",) * len(by)
        assert compiled_values[key, "max"] == largest


def test_samples_that_older_versions_packed_by_name_are_answered_like_compact_ones() -> None:
    metric = METRICS["postgres_db_size_bytes"]
    [name] = list(metric.selection or ())
    section = SECTION["addon_samples"]
    *fields, _ = msgspec.msgpack.decode(packing.pack(Rollup()))
    inputs = []
    for minute, version in enumerate(["older", "newer", "newer", "older"]):
        samples = Rollup()
        samples.addon_samples = {
            (addon, sample, unit, "DATABASE"): NumberSummary(
                1, minute, 500_000, minute, minute + 9, AT_MS + minute, minute + 5
            )
            for addon in ("postgresql-1", "postgresql-2")
            for sample, unit in ((name, "bytes"), (name, ""), ("postgres.of-2031", ""))
        }
        packed = packing.pack(samples)
        if version == "older":
            rows = packing.encode_rows(section, samples.addon_samples)
            packed = msgspec.msgpack.encode([*fields, [[section.name, rows]]])
        inputs.append(("shop", START + MINUTE_S * minute, packed))
    for step_s in (MINUTE_S, 4 * MINUTE_S):
        queries = [build_query(metric, by, step_s) for by in ((), ("addon",))]
        table = fill(reference.Table(queries, WHOLE_SECTIONS), inputs)
        compiled_table = fill(CompiledTable(queries, WHOLE_SECTIONS), inputs)
        assert list_answers(compiled_table, queries) == list_answers(table, queries)
        assert whole_sections_of(compiled_table) == whole_sections_of(table)
        assert "postgresql-2" in str(list_answers(table, queries))


def test_open_metrics_are_answered_alike_over_steps_of_several_lengths() -> None:
    inputs = []
    for minute in (0, 1, 2, 2, 3):
        marks = Rollup()
        for number in range(minute, minute + 3):
            key = (f"web.{number}", "orders", "", f"shop-{number % 2}")
            marks.custom_counts[key] = NumberSum(2, -number, 250_000)
            marks.custom_samples[key] = NumberSummary(1, 3, 0, 1, number, AT_MS - minute, number)
            marks.custom_measures["web.", *key[1:]] = MeasureSummary(1, 3, 0, -9, 5, AT_MS, 3)
            marks.custom_sketches["web.", *key[1:]] = {7: 1, 9 + number: 2}
        inputs.append(("shop", START + MINUTE_S * minute, packing.pack(marks)))
    queries = []
    for name in ("custom.count.orders", "custom.sample.orders", "custom.measure.orders"):
        metric = known_metric(name)
        queries += [
            build_query(metric, by, step_s)
            for by in ((), ("source",))
            for step_s in (MINUTE_S, 2 * MINUTE_S, 4 * MINUTE_S)
        ]
    answers = list_answers(fill(CompiledTable(queries), inputs), queries)
    assert answers == list_answers(fill(reference.Table(queries), inputs), queries)
    assert answers[0][(), "sum"] == [-2.25, -5.25, -16.5, -11.25]


@given(st.lists(st.tuples(st.integers(0, 5), rollups()), max_size=8), st.booleans())
def test_the_values_of_single_sources_are_those_of_queries_by_dyno(
    rollups_by_step: list[tuple[int, Rollup]], is_filtered: bool
) -> None:
    inputs = [("shop", START + 60 * step, packing.pack(item)) for step, item in rollups_by_step]
    gauges = [metric for metric in METRICS.values() if metric.kind == "gauge"]
    for metric in (metric for metric in gauges if "dyno" in metric.labels):
        if metric.sections == ("active_minutes",):
            continue
        query, by_dyno = build_query(metric), build_query(metric, ["dyno"])
        if is_filtered:
            query = Query(metric, query.stats, query.range, (), {"process_type": ("w*",)})
            by_dyno = Query(metric, query.stats, query.range, ("dyno",), query.filters)
        tables = [
            fill(table([query, by_dyno]), inputs) for table in (CompiledTable, reference.Table)
        ]
        for stat in query.stats:
            (cells, dynos), (reference_cells, _) = (table.results() for table in tables)
            values = cells.values_by_source(stat)
            assert values == reference_cells.values_by_source(stat)
            assert {
                source: points
                for source, points in values.items()
                if "." in source and labels_of(source)[1] == source  # not "web.", a part of ""
            }.items() <= {
                dyno: dynos.values((dyno,), None, stat, range(query.range.size))
                for (dyno,) in sorted(dynos.keys())
            }.items()


def test_a_part_of_a_series_is_that_part() -> None:
    query = build_query(METRICS["requests"], step_s=MINUTE_S)
    table = fill(CompiledTable([query]), [("shop", START + 60, packing.pack(rollup(1)))])
    (cells,) = table.results()
    values = cells.values((), None, query.stats[0], range(4))
    assert cells.values((), None, query.stats[0], range(1, 3)) == values[1:3] != [None, None]
    for intervals in (range(-1, 2), range(3, 5)):
        with pytest.raises(IndexError):
            cells.values((), None, query.stats[0], intervals)


# --- several queries in one scan ----------------------------------------------------------------

WHOLE_SECTIONS = frozenset({"active_minutes", "gauges", *reference.WHOLE_SECTIONS})

queries_of_a_scan = st.lists(
    st.builds(
        lambda metric, data, first, size, steps: Query(
            metric,
            build_query(metric).stats,
            QueryRange(
                START + first * MINUTE_S,
                START + (first + size * steps) * MINUTE_S,
                size * MINUTE_S,
                Resolution("1m", MINUTE_S, 0),
            ),
            tuple(metric.labels[:data]),
            {metric.labels[-1]: ("*b*", "5*", "failed")} if data == 0 else {},
        ),
        st.sampled_from([*METRICS.values(), reference.MESSAGES]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(1, 4),
        st.integers(1, 2),
    ),
    max_size=6,
)


def whole_sections_of(table: Any) -> tuple[Any, ...]:
    rollup = table.merged_rollup
    return (table.last_active_s(), table.last_values(), rollup.events, rollup.released)


@given(st.lists(st.tuples(st.integers(0, 5), rollups()), max_size=8), queries_of_a_scan)
def test_queries_of_a_scan_are_answered_as_if_each_were_alone(
    rollups_by_step: list[tuple[int, Rollup]], queries: list[Query]
) -> None:
    inputs = [("shop", START + 60 * step, packing.pack(item)) for step, item in rollups_by_step]
    compiled_table = fill(CompiledTable(queries, WHOLE_SECTIONS), inputs)
    table = fill(reference.Table(queries, WHOLE_SECTIONS), inputs)
    alone = [read_all(fill(reference.Table([query]), inputs), query) for query in queries]
    assert list_answers(compiled_table, queries) == list_answers(table, queries) == alone
    assert whole_sections_of(compiled_table) == whole_sections_of(table)


def list_answers(table: Any, queries: Sequence[Query]) -> list[Any]:
    answers = read_all(table, *queries)
    return [answers] if len(queries) == 1 else answers


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_scanned_alike(original: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(original))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    assert_scanned_alike(bytes(data))


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_a_scan_checks_every_number(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    assert_scanned_alike(msgspec.msgpack.encode(fields))


def assert_scanned_alike(data: bytes) -> None:
    queries = [build_query(metric, metric.labels[:1]) for metric in METRICS.values()]
    inputs = [("shop", START, data), ("shop", START + 60, data)]
    try:
        compiled_table = fill(CompiledTable(queries, WHOLE_SECTIONS), inputs)
    except PackError:
        return
    table = reference.Table(queries, WHOLE_SECTIONS)
    try:
        fill(table, inputs)
    except PackError:  # the damage must be in rows that the compiled table steps over
        data = without_unread_rows(data, METRICS.values(), WHOLE_SECTIONS)
        inputs = [(app, start, data) for app, start, _ in inputs]
        table = fill(reference.Table(queries, WHOLE_SECTIONS), inputs)
    assert list_answers(compiled_table, queries) == list_answers(table, queries)
    assert whole_sections_of(compiled_table) == whole_sections_of(table)


@pytest.mark.parametrize("name", ["queue_time", "of.no.metric"])
def test_damage_in_a_row_of_no_query_changes_no_answer(name: str) -> None:
    original = rollup(3, 300)
    rows = [["web", name, "ms", "", [-7_257_415, 1]]]
    *fields, extensions = msgspec.msgpack.decode(packing.pack(original))
    extensions.append(["custom_sketches", msgspec.msgpack.encode(rows)])
    assert_scanned_alike(msgspec.msgpack.encode([*fields, sorted(extensions)]))


@pytest.mark.parametrize("position", range(9))
@pytest.mark.parametrize("form", ["compact", "by name"])
def test_damage_in_another_sample_of_an_add_on_changes_no_answer(form: str, position: int) -> None:
    summary = NumberSummary(2, 8, 500_000, 4_000_000, 4_500_000, AT_MS, 4_000_000)
    key = ("postgresql-1", "postgres.tables", "", "DATABASE")
    samples = Rollup()
    samples.addon_samples = {key: summary, (key[0], "postgres.db_size", "bytes", key[3]): summary}
    *fields, [[tag, packed_rows]] = msgspec.msgpack.decode(packing.pack(samples))
    if form == "compact":
        [[*names, numbers]] = msgspec.msgpack.decode(packed_rows)
        number = addon_rows.NUMBERS["postgres.db_size", "bytes"]
        numbers[numbers.index(number) + position] = -1
        rows = [[*names, numbers]]
    else:
        tag = addon_rows.SECTION
        rows = msgspec.msgpack.decode(packing.encode_rows(SECTION[tag], samples.addon_samples))
        rows[0][min(4 + position, 10)] = -1
    data = msgspec.msgpack.encode([*fields, [[tag, msgspec.msgpack.encode(rows)]]])
    assert_same(build_query(METRICS["postgres_tables"]), [("shop", START, data)])


def test_a_query_gets_only_the_slots_of_its_range() -> None:
    data = packing.pack(rollup(3, 300))
    inputs = [("shop", START + MINUTE_S * number, data) for number in range(-1, 9)]
    metric = METRICS["requests"]
    full_range, tail = build_query(metric, slots=8), build_query(metric)
    tail = tail.over(tail.range._replace(start=START + 6 * MINUTE_S, end=START + 8 * MINUTE_S))
    for table in (CompiledTable([full_range, tail]), reference.Table([full_range, tail])):
        all_cells, tail_cells = fill(table, inputs).results()
        values = all_cells.values((), None, full_range.stats[0], range(4))
        assert tail_cells.values((), None, tail.stats[0], range(1)) == values[3:] != [None]


def test_a_series_outside_the_range_of_a_query_is_not_among_its_keys() -> None:
    first, second = Rollup(), Rollup()
    first.requests, second.requests = {("web.1", 200): 1}, {("web.2", 200): 1}
    inputs = [("shop", START, packing.pack(first)), ("shop", START + 60, packing.pack(second))]
    query = build_query(METRICS["requests"], ["dyno"], step_s=MINUTE_S, slots=2)
    tail = query.over(query.range._replace(start=START + 60))
    for table in (CompiledTable([query, tail]), reference.Table([query, tail])):
        assert [cells.keys() for cells in fill(table, inputs).results()] == [
            {("web.1",), ("web.2",)},
            {("web.2",)},
        ]


def test_the_last_value_is_that_of_the_latest_reading() -> None:
    inputs = []
    for at_ms, value in ((5_000, 7), (9_000, 3), (8_000, 9)):
        gauges = Rollup()
        gauges.gauges["web.1", 0] = GaugeSummary(1, value, value, value, at_ms, value)
        inputs.append(("shop", START, packing.pack(gauges)))
    for table in (CompiledTable([], WHOLE_SECTIONS), reference.Table([], WHOLE_SECTIONS)):
        assert fill(table, inputs).last_values() == {("web.1", 0): 3}


def test_bytes_that_the_compiled_form_rejects_go_to_the_reference_form() -> None:
    """The bytes hold a field more than `pack` writes, which Python ignores."""
    fields = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    fields[3] = msgspec.msgpack.encode([0, 503, 7])
    fields[8] = msgspec.msgpack.encode([5, 0, 0, 0, 7, 1, 0, 0, 0])
    data = msgspec.msgpack.encode([*fields, "what a struct ignores"])
    query = build_query(METRICS["requests"], slots=2)
    with pytest.raises(PackError):
        CompiledTable([query]).add("shop", START, data)
    table = scan_packed("shop", [(START, data)], [query], WHOLE_SECTIONS)
    assert table.results()[0].values((), None, query.stats[0], range(1)) == [7]
    assert table.last_values() == {("web.1", 0): 7}
