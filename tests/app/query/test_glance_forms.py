"""An app's hour at a glance is read alike by both forms, and is what five queries answer."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import accelerated as tables
from app.query import glance as definition
from app.query.engine import Packed, evaluate_packed
from app.query.planner import query_over
from app.query.stats import Value
from app.query.table import QueryRange
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.resolutions import MINUTE_S, Resolution
from app.rollup.rollup import Rollup
from fuzz.targets import kept
from tests.app.rollup.test_codec import HOSTILE_SECTIONS, rollup
from tests.app.rollup.test_rollup import AT_MS, rollups

quick: Any = import_module("app.query._glance")

START = AT_MS // 1000
STEPS, CODE_STEPS = 4, 2
SPAN = QueryRange(START, START + STEPS * MINUTE_S, MINUTE_S, Resolution("1m", MINUTE_S, 0))

stored_rollups = st.lists(st.tuples(st.integers(0, STEPS - 1), rollups()), max_size=8)


def packed_of(stored: list[tuple[int, Rollup]]) -> list[Packed]:
    return [(START + index * MINUTE_S, packing.pack(each)) for index, each in stored]


def by_queries(packed: list[Packed]) -> definition.Glance:
    """As the API would answer."""

    def asked(
        metric: str, stat: str, by: str = "", over: QueryRange = SPAN
    ) -> dict[str, list[Value]]:
        query = query_over(over, metric, [stat], [by] if by else [])
        inside = [each for each in packed if each[0] >= over.start]
        found = evaluate_packed(query, "shop", inside)
        return {each.labels.get(by, ""): each.numbers for each in found}

    whole = SPAN._replace(step_s=SPAN.end - SPAN.start)
    end_s = SPAN.end - CODE_STEPS * MINUTE_S
    end = whole._replace(start=end_s, step_s=CODE_STEPS * MINUTE_S)
    codes = {code: counts[0] for code, counts in asked("heroku_errors", "sum", "code", end).items()}
    return definition.Glance(
        requests=asked("requests", "sum")[""],
        failed=int(asked("requests", "sum", "outcome", whole).get("failed", [0])[0] or 0),
        p95_ms=asked("service_time_ms", "p95", over=whole)[""][0],
        memory_used_ratio=asked("memory_quota_used_ratio", "max", over=whole)[""][0],
        codes={code: int(count) for code, count in codes.items() if count},
    )


def assert_same(*packed: bytes) -> None:
    """What the compiled form refuses, the definition decides about."""
    read = [(START + index % STEPS * MINUTE_S, data) for index, data in enumerate(packed)]
    try:
        found = quick.glance(SPAN, read, STEPS)
    except PackError:
        return
    assert found == definition.glance(SPAN, read, STEPS)


@given(stored_rollups)
def test_of_any_rollups(stored: list[tuple[int, Rollup]]) -> None:
    packed = packed_of(stored)
    expected = by_queries(packed)
    assert definition.glance(SPAN, packed, CODE_STEPS) == expected
    assert quick.glance(SPAN, packed, CODE_STEPS) == expected


def test_of_busy_ones() -> None:
    packed = packed_of([(seed % STEPS, rollup(seed, 300)) for seed in range(6)])
    found = quick.glance(SPAN, packed, CODE_STEPS)
    assert found == definition.glance(SPAN, packed, CODE_STEPS) == by_queries(packed)
    assert found.failed and found.p95_ms and found.memory_used_ratio and found.codes


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_refused_or_read_alike(whole: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(whole))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same(packing.pack(whole), bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_alike(data: bytes) -> None:
    assert_same(data)


@pytest.mark.parametrize("target", ["packing", "section"])
def test_what_fuzzing_kept_is_refused_or_read_alike(target: str) -> None:
    empty = msgspec.msgpack.encode([])
    for path in kept(target):
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


def test_what_lies_outside_the_range_is_a_mistake() -> None:
    for start in (START - MINUTE_S, SPAN.end):
        with pytest.raises(IndexError):
            quick.glance(SPAN, [(start, packing.pack(Rollup()))], CODE_STEPS)


def test_what_the_quick_form_refuses_is_asked_of_the_definition() -> None:
    """An array of numbers that is longer than it need be."""
    said = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    said[3] = msgspec.msgpack.encode([0, 503, 7])
    data = msgspec.msgpack.encode([*said, "what a struct ignores"])
    with pytest.raises(PackError):
        quick.glance(SPAN, [(START, data)], CODE_STEPS)
    found = tables.glance(SPAN, [(START, data)], CODE_STEPS)
    assert (found.requests, found.failed) == ([7, None, None, None], 7)
