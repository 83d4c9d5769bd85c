"""The packed format: exact, canonical, tolerant of newer sections, and safe against damage."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup.batch_codec import pack_batch, unpack_batch
from app.rollup.codec import NewerVersion, PackError, merge_packed, pack, unpack
from app.rollup.rollup import Rollup
from app.rollup.schema import ALL_SECTIONS, CORE_GAUGES, METRICS
from parsers.numbers import Quantity
from parsers.samples import (
    AddonSamples,
    CustomMark,
    CustomMarks,
    Event,
    HerokuError,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    Sample,
    StateChange,
)

AT_MS = 1_795_341_600_000
NAMED_METRICS = [
    name
    for name, metric in METRICS.items()
    if metric.sections in (("named_counts",), ("named_gauges",))
]
_ONE, _TIME, _SIZE = (
    Quantity(10**6, 1.0, ""),
    Quantity(-1_500, -0.0015, "ms"),
    Quantity(0, 0, "bytes"),
)
OPEN_SAMPLES: list[Sample] = [
    AddonSamples(
        "postgresql-round-1",
        "DATABASE",
        tuple(
            (name, _SIZE if metric.stored_unit == "bytes" else _ONE)
            for metric in METRICS.values()
            if metric.sections == ("addon_samples",)
            for name in metric.selection or ()
        ),
    ),
    CustomMarks(
        "web.1",
        "eu",
        (
            CustomMark("count", "signups", _ONE),
            CustomMark("sample", "queue.depth", _ONE),
            CustomMark("measure", "queue_time", _TIME),
        ),
    ),
]


def rollup(seed: int = 1, lines: int = 60) -> Rollup:
    rng = random.Random(seed)
    new_rollup = Rollup()
    for number in range(lines):
        source = f"web.{rng.randrange(1, 9)}"
        at_ms = AT_MS + 250 * number
        new_rollup.messages += 1
        samples: list[Sample] = [
            Request(source, rng.choice([200, 404, 503]), "", 1, rng.randrange(9_000), 700),
            RuntimeMetrics(source, tuple((name, rng.randrange(99_999)) for name in CORE_GAUGES)),
            HerokuError(source, "R14", 0),
            StateChange(source, "up", "starting"),
            ProcessExit(source, rng.choice([0, 1, 137])),
            Event("release", "", f"v{rng.randrange(9)}"),
        ]
        samples += OPEN_SAMPLES
        if NAMED_METRICS:
            values = tuple((name, rng.randrange(1, 99)) for name in NAMED_METRICS)
            samples.append(Measurements(source, values))
        new_rollup.observe(rng.choice(samples), at_ms)
    new_rollup.ledger = {"received": lines, "counted": lines}
    return new_rollup


def test_equal_rollups_have_equal_bytes_in_any_order_of_merging() -> None:
    first, second = rollup(1), rollup(2)
    forward, backward = first.copy(), second.copy()
    forward.merge(second)
    backward.merge(first)
    assert pack(forward) == pack(backward)


def test_merging_bytes_is_merging_rollups() -> None:
    from_rollups = rollup(1)
    from_bytes = rollup(1)
    from_rollups.merge(rollup(2))
    merge_packed(from_bytes, pack(rollup(2)))
    assert pack(from_bytes) == pack(from_rollups)


@pytest.mark.parametrize("section", sorted(ALL_SECTIONS))
def test_only_the_requested_sections_are_read(section: str) -> None:
    full = rollup()
    part = Rollup()
    merge_packed(part, pack(full), frozenset({section}))
    assert part.messages == full.messages
    for name in ALL_SECTIONS:
        assert getattr(part, name) == getattr(full if name == section else Rollup(), name)


def test_one_gauge_can_be_read_alone() -> None:
    full = rollup()
    part = Rollup()
    merge_packed(part, pack(full), frozenset({"gauges"}), gauges=frozenset({3}))
    assert part.gauges == {key: value for key, value in full.gauges.items() if key[1] == 3}


def test_a_section_of_a_newer_version_survives_packing_and_merging() -> None:
    fields = msgspec.msgpack.decode(pack(rollup()))
    fields[-1] = [["newest", b"\x01\x02"]]
    newer = msgspec.msgpack.encode(fields)
    new_rollup = unpack(newer)
    merge_packed(new_rollup, newer)
    new_rollup.merge(rollup(2))
    assert unpack(pack(new_rollup)).extensions == (("newest", b"\x01\x02"), ("newest", b"\x01\x02"))
    assert new_rollup.without_dynos().extensions == new_rollup.extensions


def test_array_elements_of_a_newer_minor_version_are_ignored() -> None:
    fields = msgspec.msgpack.decode(pack(rollup()))
    assert pack(unpack(msgspec.msgpack.encode([*fields, "more"]))) == pack(rollup())


@pytest.mark.parametrize("newer", [[2], [2, "anything"], [9, 1, [], b""]])
def test_the_error_for_a_newer_version_says_to_upgrade(newer: list[object]) -> None:
    for read in (unpack, unpack_batch):
        with pytest.raises(NewerVersion, match="upgrade"):
            read(msgspec.msgpack.encode(newer))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_pack_errors(data: bytes) -> None:
    for read in (unpack, unpack_batch):
        try:
            read(data)
        except PackError:
            continue


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_raise_nothing_but_pack_errors(seed: int, flips: int) -> None:
    rng = random.Random(seed)
    data = bytearray(pack(rollup(lines=12)))
    for _ in range(flips):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    try:
        pack(unpack(bytes(data)))
    except PackError:
        return


@pytest.mark.parametrize("end", range(0, 200, 7))
def test_bytes_that_end_early_are_rejected(end: int) -> None:
    with pytest.raises(PackError):
        unpack(pack(rollup())[:end])


HOSTILE_SECTIONS = {
    "a position beyond the names": {3: [99, 200, 1]},
    "a negative position": {3: [-1, 200, 1]},
    "a negative count": {3: [0, 200, -5]},
    "a count over 63 bits": {3: [0, 200, 2**63]},
    "half a row": {3: [0, 200]},
    "a status over 16 bits": {3: [0, 65_536, 1]},
    "a bin beyond the last": {7: [0, 0, -10_000, 5, 0]},
    "a sketch without an end": {7: [0, 0, 5]},
    "a kind of time over 16 bits": {5: [0, 65_536, 1, 1, 1]},
    "a gauge over 16 bits": {8: [0, 0, 65_536, 0, 5, 1, 0, 0, 0]},
    "a gauge without values": {8: [0, 0, 1, 0, 5, 0, 0, 0, 0]},
    "half a gauge": {8: [0, 0, 1, 0]},
    "a gauge whose total is negative": {8: [0, 0, 1, 0, 5, 1, -50, 0, 0]},
    "a gauge whose smallest is negative": {8: [0, 0, 1, 0, 5, 1, 0, -9, 0]},
    "a gauge whose largest is negative": {8: [0, 0, 1, 0, 5, 1, 0, 0, -9]},
    "a gauge whose largest is over 63 bits": {8: [0, 0, 1, 0, 5, 1, 0, 0, 2**63 - 1]},
    "a time over 63 bits": {8: [1, 0, 1, 2**63 - 1, 5, 1, 0, 0, 0]},
    "minutes outside the hour": {9: [0, 59, 3]},
    "no minutes": {9: [0, 0, 0]},
}


@pytest.mark.parametrize("name", HOSTILE_SECTIONS)
def test_every_number_is_checked(name: str) -> None:
    fields = [1, 0, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    for index, numbers in HOSTILE_SECTIONS[name].items():
        fields[index] = msgspec.msgpack.encode(numbers)
    with pytest.raises(PackError):
        unpack(msgspec.msgpack.encode(fields))


def test_a_batch_is_its_rollups_by_minute() -> None:
    batch = pack_batch({120: rollup(1), 60: rollup(2)})
    assert unpack_batch(batch) == [(60, pack(rollup(2))), (120, pack(rollup(1)))]


def test_large_numbers_are_kept() -> None:
    large = Rollup()
    large.response_bytes["web"] = 2**62
    large.requests["web.1", 200] = 2**40
    assert unpack(pack(large)).response_bytes == {"web": 2**62}


LARGEST = 2**63 - 1


def test_sums_over_63_bits_stay_at_the_limit_and_can_be_read() -> None:
    huge_rollup = Rollup()
    huge_rollup.response_bytes["web"] = 2**70
    huge_rollup.observe(
        RuntimeMetrics("web.1", (("memory_total_bytes", 10**15 - 1), ("memory_rss_bytes", 0))),
        AT_MS,
    )
    huge_rollup.gauges["web.1", 0].total = 2**70
    huge_rollup.gauges["web.1", 1].total = 2**62
    huge_rollup.messages = 2**64
    reread = unpack(pack(huge_rollup))
    assert (reread.messages, reread.response_bytes) == (LARGEST, {"web": LARGEST})
    assert reread.gauges["web.1", 0].total == LARGEST
    merge_packed(reread, pack(huge_rollup))
    assert pack(reread) == pack(unpack(pack(reread)))
    assert reread.gauges["web.1", 1].total == 2**63
    assert unpack(pack(reread)).gauges["web.1", 1].total == LARGEST


def test_a_gauge_whose_values_lie_far_apart_can_be_read() -> None:
    """The format stores the total's distance from the last value times the count."""
    far = Rollup()
    for value in (*[0] * 10_000, 10**15 - 1):
        far.observe(RuntimeMetrics("web.1", (("memory_total_bytes", value),)), AT_MS)
    unpack(pack(far))
