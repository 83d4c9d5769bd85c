"""The compiled FastRollup merges, packs and reads like the Python Rollup."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup import codec
from app.rollup.codec import PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.sketch import BIN_COUNT
from app.rollup.summaries import GaugeSummary, TimingTotals
from fuzz.stored import rollup_of_section
from fuzz.targets import corpus_inputs
from parsers.samples import Sample
from tests.app.rollup.test_codec import HOSTILE_SECTIONS
from tests.app.rollup.test_rollup import AT_MS, open_samples, rollups
from tests.support.forms import (
    TINY,
    FastRollup,
    assert_same_reading,
    decoder,
    encoder,
    fields_of,
    to_fast_rollup,
)

LARGE = [2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**70]


@given(rollups())
def test_a_rollup_survives_conversion(rollup: Rollup) -> None:
    assert fields_of(to_fast_rollup(rollup).to_rollup()) == fields_of(rollup)
    assert fields_of(to_fast_rollup(rollup).copy().to_rollup()) == fields_of(rollup)


@given(rollups(), st.sampled_from([DEFAULT_LIMITS, TINY]))
def test_bytes_are_equal(rollup: Rollup, limits: CardinalityLimits) -> None:
    fast_rollup = to_fast_rollup(rollup)
    assert encoder.pack(fast_rollup, limits) == codec.pack(rollup.copy(), limits)


def read_fast(data: bytes) -> Any:
    """Read packed bytes; those with numbers of a newer version are left to the codec."""
    rollup = FastRollup()
    try:
        decoder.merge_packed(rollup, data)
    except PackError:
        return to_fast_rollup(codec.unpack(data))
    return rollup


@given(rollups(), rollups(), rollups())
def test_merging_and_removing_dynos_give_equal_bytes(
    first: Rollup, second: Rollup, third: Rollup
) -> None:
    fast_rollup = to_fast_rollup(first)
    fast_rollup.merge(to_fast_rollup(second))
    fast_rollup.merge(read_fast(codec.pack(third.copy())))
    rollup = first.copy()
    rollup.merge(second)
    rollup.merge(third)
    assert encoder.pack(fast_rollup) == codec.pack(rollup.copy())
    assert encoder.pack(fast_rollup.without_dynos()) == codec.pack(rollup.without_dynos())
    assert encoder.pack(to_fast_rollup(second)) == codec.pack(second)  # is unchanged


@given(st.lists(open_samples, min_size=1, max_size=20))
def test_rows_of_open_metrics_need_no_help_of_python(samples: list[Sample]) -> None:
    rollup = Rollup()
    for sample in samples:
        rollup.observe(sample, AT_MS)
    data = codec.pack(rollup.copy())
    fast_rollup = FastRollup()
    decoder.merge_packed(fast_rollup, data)
    assert fields_of(fast_rollup.to_rollup()) == fields_of(codec.unpack(data))
    assert encoder.pack(fast_rollup) == data
    decoder.merge_packed(fast_rollup, data)
    rollup.merge(rollup.copy())
    assert encoder.pack(fast_rollup) == codec.pack(rollup)


@given(st.integers(0, 2**32))
def test_numbers_around_63_bits_are_clamped_alike(seed: int) -> None:
    rng = random.Random(seed)
    rollup = Rollup()

    def number() -> int:
        return rng.choice(LARGE) + rng.randrange(-2, 3)

    rollup.messages = number()
    rollup.requests["web.1", 200] = number()
    rollup.response_bytes["web"] = number()
    rollup.tallies["web.1", 0] = TimingTotals(number(), number(), number())
    rollup.sketches["web", 0] = {3: number(), 650: number()}
    rollup.errors["web.1", "R14"] = number()
    rollup.ledger["received"] = number()
    rollup.exits["web.1", 1] = number()
    last = rng.randrange(10**15)
    count = rng.choice([1, 3, 10**6, 2**40])
    total = rng.choice([last * count, number()])
    rollup.gauges["web.1", 0] = GaugeSummary(count, total, 0, last + 5, 10**12, last)
    data = codec.pack(rollup.copy())
    assert encoder.pack(to_fast_rollup(rollup)) == data
    fast_rollup = FastRollup()
    try:
        decoder.merge_packed(fast_rollup, data)
        decoder.merge_packed(fast_rollup, data)
    except PackError:  # left to the codec, which reads it
        codec.unpack(data)
        return
    rollup_twice = codec.unpack(data)
    codec.merge_packed(rollup_twice, data)
    assert encoder.pack(fast_rollup) == codec.pack(rollup_twice)


def test_a_bin_behind_the_last_is_rejected() -> None:
    rollup = Rollup()
    rollup.sketches["web", 0] = {300: 1}
    data = codec.pack(rollup)
    valid_gap, large_gap = (
        (0xD1 << 16 | -bins & 0xFFFF).to_bytes(3, "big") for bins in (300, BIN_COUNT)
    )
    assert data.count(valid_gap) == 1
    with pytest.raises(PackError):
        decoder.merge_packed(FastRollup(), data.replace(valid_gap, large_gap))


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_read_alike(rollup: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(codec.pack(rollup))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same_reading(bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_or_read_alike(data: bytes) -> None:
    assert_same_reading(data)


@pytest.mark.parametrize("target", ["packing", "section", "batch", "received_batch"])
def test_fuzzing_corpora_are_rejected_or_read_alike(target: str) -> None:
    for path in corpus_inputs(target):
        assert_same_reading(path.read_bytes())
        empty = msgspec.msgpack.encode([])
        for index in range(3, 11):
            fields = [1, 0, ["web.1", "web", "H12", "counted"], *[empty] * 8, []]
            fields[index] = path.read_bytes()
            assert_same_reading(msgspec.msgpack.encode(fields))


def test_fuzzed_sections_are_rejected_or_read_alike() -> None:
    for path in corpus_inputs("section"):
        assert_same_reading(rollup_of_section(path.read_bytes()))


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_every_number_is_checked(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    with pytest.raises(PackError):
        decoder.merge_packed(FastRollup(), msgspec.msgpack.encode(fields))


def test_data_of_a_newer_version_is_left_to_the_codec() -> None:
    with pytest.raises(PackError):
        decoder.merge_packed(FastRollup(), msgspec.msgpack.encode([2, "anything"]))
    newer = Rollup()
    newer.extensions = (("from the future", b"\x01"),)
    fast_rollup = FastRollup()
    decoder.merge_packed(fast_rollup, codec.pack(newer))
    assert fast_rollup.extensions == newer.extensions
    assert encoder.pack(fast_rollup) == codec.pack(newer)
