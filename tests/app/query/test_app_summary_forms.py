"""Both implementations summarize an app alike, and as five separate queries would."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import accelerated
from app.query import app_summary as reference
from app.query.engine import PackedRollup, evaluate_packed
from app.query.planner import build_query
from app.query.stats import Value
from app.query.table import QueryRange
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from fuzz.targets import corpus_inputs
from tests.app.rollup.test_codec import HOSTILE_SECTIONS, rollup
from tests.app.rollup.test_rollup import AT_MS, rollups

compiled_form: Any = import_module("app.query._app_summary")

START = AT_MS // 1000
STEPS, CODE_STEPS = 4, 2
TIME_RANGE = QueryRange(START, START + STEPS * MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))

stored_rollups = st.lists(st.tuples(st.integers(0, STEPS - 1), rollups()), max_size=8)


def pack_all(rollups_by_step: list[tuple[int, Rollup]]) -> list[PackedRollup]:
    return [(START + index * MINUTE_S, packing.pack(rollup)) for index, rollup in rollups_by_step]


def summarize_by_queries(packed_rollups: list[PackedRollup]) -> reference.AppSummary:
    """The same summary, by queries of the API."""

    def query_values(
        metric: str, stat: str, by: str = "", time_range: QueryRange = TIME_RANGE
    ) -> dict[str, list[Value]]:
        query = build_query(time_range, metric, [stat], [by] if by else [])
        rollups_in_range = [series for series in packed_rollups if series[0] >= time_range.start]
        all_series = evaluate_packed(query, "shop", rollups_in_range)
        return {series.labels.get(by, ""): series.numbers for series in all_series}

    whole_range = TIME_RANGE._replace(step_s=TIME_RANGE.end - TIME_RANGE.start)
    end_s = TIME_RANGE.end - CODE_STEPS * MINUTE_S
    end_range = whole_range._replace(start=end_s, step_s=CODE_STEPS * MINUTE_S)
    codes = {
        code: counts[0]
        for code, counts in query_values("heroku_errors", "sum", "code", end_range).items()
    }
    return reference.AppSummary(
        requests=query_values("requests", "sum")[""],
        failed_requests=int(
            query_values("requests", "sum", "outcome", whole_range).get("failed", [0])[0] or 0
        ),
        p95_ms=query_values("service_time_ms", "p95", time_range=whole_range)[""][0],
        memory_used_ratio=query_values("memory_quota_used_ratio", "max", time_range=whole_range)[
            ""
        ][0],
        codes={code: int(count) for code, count in codes.items() if count},
    )


def assert_same(*payloads: bytes) -> None:
    """Check that both agree on bytes that the compiled implementation accepts."""
    packed_rollups = [
        (START + index % STEPS * MINUTE_S, data) for index, data in enumerate(payloads)
    ]
    try:
        summary = compiled_form.summarize_app(TIME_RANGE, packed_rollups, STEPS)
    except PackError:
        return
    assert summary == reference.summarize_app(TIME_RANGE, packed_rollups, STEPS)


@given(stored_rollups)
def test_both_forms_summarize_any_rollups_alike(rollups_by_step: list[tuple[int, Rollup]]) -> None:
    packed_rollups = pack_all(rollups_by_step)
    expected = summarize_by_queries(packed_rollups)
    assert reference.summarize_app(TIME_RANGE, packed_rollups, CODE_STEPS) == expected
    assert compiled_form.summarize_app(TIME_RANGE, packed_rollups, CODE_STEPS) == expected


def test_both_forms_summarize_busy_rollups_alike() -> None:
    packed_rollups = pack_all([(seed % STEPS, rollup(seed, 300)) for seed in range(6)])
    summary = compiled_form.summarize_app(TIME_RANGE, packed_rollups, CODE_STEPS)
    assert (
        summary
        == reference.summarize_app(TIME_RANGE, packed_rollups, CODE_STEPS)
        == summarize_by_queries(packed_rollups)
    )
    assert (
        summary.failed_requests and summary.p95_ms and summary.memory_used_ratio and summary.codes
    )


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_read_alike(original: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(original))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same(packing.pack(original), bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_or_read_alike(data: bytes) -> None:
    assert_same(data)


@pytest.mark.parametrize("target", ["packing", "section"])
def test_fuzz_corpus_is_rejected_or_read_alike(target: str) -> None:
    empty = msgspec.msgpack.encode([])
    for path in corpus_inputs(target):
        assert_same(path.read_bytes())
        for index in range(3, 11):
            fields = [1, 0, ["web.1", "web", "H12", "counted"], *[empty] * 8, []]
            fields[index] = path.read_bytes()
            assert_same(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_every_number_is_checked(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    assert_same(msgspec.msgpack.encode(fields))


def test_slots_outside_the_range_raise_an_index_error() -> None:
    for start in (START - MINUTE_S, TIME_RANGE.end):
        with pytest.raises(IndexError):
            compiled_form.summarize_app(TIME_RANGE, [(start, packing.pack(Rollup()))], CODE_STEPS)


def test_bytes_that_the_compiled_form_rejects_go_to_the_reference_form() -> None:
    """The bytes hold a field more than `pack` writes, which Python ignores."""
    fields = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    fields[3] = msgspec.msgpack.encode([0, 503, 7])
    data = msgspec.msgpack.encode([*fields, "what a struct ignores"])
    with pytest.raises(PackError):
        compiled_form.summarize_app(TIME_RANGE, [(START, data)], CODE_STEPS)
    summary = accelerated.summarize_app(TIME_RANGE, [(START, data)], CODE_STEPS)
    assert (summary.requests, summary.failed_requests) == ([7, None, None, None], 7)
