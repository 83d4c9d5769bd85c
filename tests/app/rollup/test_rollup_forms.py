"""Sums merge, project, pack and are read as rollups are."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup import codec as packing
from app.rollup.codec import PackError
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.sketch import BIN_COUNT
from app.rollup.tallies import GaugeSummary, TimingTotals
from fuzz.targets import kept
from tests.app.rollup.test_codec import HOSTILE_SECTIONS
from tests.app.rollup.test_rollup import rollups
from tests.support.forms import (
    TINY,
    FastRollup,
    assert_same_of_bytes,
    compiled_of,
    described,
    reading,
    writing,
)

LARGE = [2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**70]


@given(rollups())
def test_a_rollup_stays_what_it_is(rollup: Rollup) -> None:
    assert described(compiled_of(rollup).rollup()) == described(rollup)
    assert described(compiled_of(rollup).copy().rollup()) == described(rollup)


@given(rollups(), st.sampled_from([DEFAULT_LIMITS, TINY]))
def test_bytes_are_equal(rollup: Rollup, limits: CardinalityLimits) -> None:
    sums = compiled_of(rollup)
    assert writing.pack(sums, limits) == packing.pack(rollup.copy(), limits)


@given(rollups(), rollups(), rollups())
def test_merging_absorbing_and_projecting_are_equal(
    one: Rollup, other: Rollup, third: Rollup
) -> None:
    sums = compiled_of(one)
    sums.merge(compiled_of(other))
    reading.merge_packed(sums, packing.pack(third.copy()))
    plain = one.copy()
    plain.merge(other)
    plain.merge(third)
    assert writing.pack(sums) == packing.pack(plain.copy())
    assert writing.pack(sums.without_dynos()) == packing.pack(plain.without_dynos())
    assert writing.pack(compiled_of(other)) == packing.pack(other)  # is as it was


@given(st.integers(0, 2**32))
def test_numbers_up_to_and_over_63_bits_end_where_they_do(seed: int) -> None:
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
    plain = packing.pack(rollup.copy())
    assert writing.pack(compiled_of(rollup)) == plain
    sums = FastRollup()
    try:
        reading.merge_packed(sums, plain)
        reading.merge_packed(sums, plain)
    except PackError:  # left to the plain form, which takes it
        packing.unpack(plain)
        return
    twice = packing.unpack(plain)
    packing.merge_packed(twice, plain)
    assert writing.pack(sums) == packing.pack(twice)


def test_a_bin_behind_the_last_is_refused() -> None:
    rollup = Rollup()
    rollup.sketches["web", 0] = {300: 1}
    packed = packing.pack(rollup)
    skipped, too_many = (
        (0xD1 << 16 | -bins & 0xFFFF).to_bytes(3, "big") for bins in (300, BIN_COUNT)
    )
    assert packed.count(skipped) == 1
    with pytest.raises(PackError):
        reading.merge_packed(FastRollup(), packed.replace(skipped, too_many))


@given(rollups(), st.integers(0, 2**32))
def test_damaged_bytes_are_refused_or_read_alike(rollup: Rollup, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(packing.pack(rollup))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    assert_same_of_bytes(bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_alike(data: bytes) -> None:
    assert_same_of_bytes(data)


@pytest.mark.parametrize("target", ["packing", "section", "batch", "arrival"])
def test_what_fuzzing_kept_is_refused_or_read_alike(target: str) -> None:
    for path in kept(target):
        assert_same_of_bytes(path.read_bytes())
        empty = msgspec.msgpack.encode([])
        for index in range(3, 11):
            fields = [1, 0, ["web.1", "web", "H12", "counted"], *[empty] * 8, []]
            fields[index] = path.read_bytes()
            assert_same_of_bytes(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_every_number_is_checked(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    with pytest.raises(PackError):
        reading.merge_packed(FastRollup(), msgspec.msgpack.encode(fields))


def test_what_a_newer_version_wrote_is_left_to_the_plain_form() -> None:
    with pytest.raises(PackError):
        reading.merge_packed(FastRollup(), msgspec.msgpack.encode([2, "anything"]))
    newer = Rollup()
    newer.extensions = (("from the future", b"\x01"),)
    sums = FastRollup()
    reading.merge_packed(sums, packing.pack(newer))
    assert sums.extensions == newer.extensions
    assert writing.pack(sums) == packing.pack(newer)
