"""Both implementations read the latest gauges alike, from every kind of bytes."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query import accelerated
from app.query import latest_gauges as reference
from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.rollup import Rollup
from fuzz.targets import corpus_inputs
from tests.app.rollup.test_codec import HOSTILE_SECTIONS, rollup
from tests.app.rollup.test_rollup import rollups

compiled_form: Any = import_module("app.query._latest_gauges")


def assert_same(*payloads: bytes) -> None:
    """Check that both agree on bytes that the compiled implementation accepts."""
    try:
        latest = compiled_form.latest_gauges(list(payloads))
    except PackError:
        return
    assert latest == reference.latest_gauges(payloads)


@given(st.lists(rollups(), max_size=5))
def test_both_forms_read_any_rollups_alike(all_rollups: list[Rollup]) -> None:
    payloads = [packing.pack(rollup) for rollup in all_rollups]
    try:
        latest = compiled_form.latest_gauges(payloads)
    except PackError:  # left to the reference
        return
    assert latest == reference.latest_gauges(payloads)


def test_both_forms_read_busy_rollups_alike() -> None:
    payloads = [packing.pack(rollup(seed, 300)) for seed in range(5)]
    latest = compiled_form.latest_gauges(payloads)
    assert latest == reference.latest_gauges(payloads)
    assert len(latest.last) == 8 * 11


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_read_alike(original: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(original))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same(bytes(data))


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


def test_bytes_that_the_compiled_form_rejects_go_to_the_reference_form() -> None:
    """The bytes hold a field more than `pack` writes, which Python ignores."""
    fields = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    fields[8] = msgspec.msgpack.encode([5, 0, 0, 0, 7, 1, 0, 0, 0])
    data = msgspec.msgpack.encode([*fields, "what a struct ignores"])
    with pytest.raises(PackError):
        compiled_form.latest_gauges([data])
    assert accelerated.latest_gauges([data]).last == {("web.1", 0): 7}
