"""What dynos said last is read alike by both forms, on every kind of bytes."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import accelerated as tables
from app.query import latest_gauges as definition
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.rollup import Rollup
from fuzz.targets import kept
from tests.app.rollup.test_codec import HOSTILE_SECTIONS, rollup
from tests.app.rollup.test_rollup import rollups

quick: Any = import_module("app.query._latest_gauges")


def assert_same(*packed: bytes) -> None:
    """What the compiled form refuses, the definition decides about."""
    try:
        found = quick.latest_gauges(list(packed))
    except PackError:
        return
    assert found == definition.latest_gauges(packed)


@given(st.lists(rollups(), max_size=5))
def test_of_any_rollups(stored: list[Rollup]) -> None:
    packed = [packing.pack(each) for each in stored]
    assert quick.latest_gauges(packed) == definition.latest_gauges(packed)


def test_of_busy_ones() -> None:
    packed = [packing.pack(rollup(seed, 300)) for seed in range(5)]
    found = quick.latest_gauges(packed)
    assert found == definition.latest_gauges(packed)
    assert len(found.last) == 8 * 11


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_refused_or_read_alike(whole: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(whole))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same(bytes(data))


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


def test_what_the_quick_form_refuses_is_asked_of_the_definition() -> None:
    """An array of numbers that is longer than it need be."""
    said = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    said[8] = msgspec.msgpack.encode([5, 0, 0, 0, 7, 1, 0, 0, 0])
    data = msgspec.msgpack.encode([*said, "what a struct ignores"])
    with pytest.raises(PackError):
        quick.latest_gauges([data])
    assert tables.latest_gauges([data]).last == {("web.1", 0): 7}
