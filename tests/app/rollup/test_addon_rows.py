"""Samples of add-ons are packed compactly, and come back as they were."""

from __future__ import annotations

import hashlib
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rollup import addon_rows, codec
from app.rollup.addon_rows import COUNT_MAX, SAMPLES, SUM_MAX, AddonKey
from app.rollup.codec import PackError
from app.rollup.rollup import UNLIMITED, Rollup
from app.rollup.schema import METRICS, SECTION
from app.rollup.summaries import NumberSummary
from parsers.addons import parse_postgres
from parsers.numbers import MILLION
from parsers.samples import AddonSamples
from tests.support.forms import FastRollup, assert_same_reading, decoder, encoder, to_fast_rollup

AT_MS = 1_795_341_600_000
LINE = (
    b"source=DATABASE addon=postgresql-curved-12345 sample#db_size=4469950648bytes "
    b"sample#tables=21 sample#index-cache-hit-rate=0.99723 sample#load-avg-1m=0.215 "
    b"sample#memory-total=4044988kB"
)

SAMPLES_SHA256 = "242f2ba73a33b243fecf4c18f64973e8c8469f78d9741414bf85259a6314f83b"

numbers = st.sampled_from([-(10**18), -MILLION - 1, -1, 0, 1, MILLION, 4469950648 * MILLION]) | (
    st.integers(-(2**63) + 1, 2**63 - 1)
)
summaries = st.builds(
    NumberSummary,
    *[st.integers(1, 9) | st.integers(1, 2**63 - 1), numbers, st.integers(0, 10**9)],
    *[numbers, numbers, st.integers(0, 9) | st.integers(0, 2**63 - 1), numbers],
)
samples = st.sampled_from([*SAMPLES, ("postgres.tables", "bytes"), ("postgres.of-2031", "")])
keys = st.builds(
    lambda addon, sample, attachment: (addon, *sample, attachment),
    *[st.sampled_from(["", "postgresql-1", "redis-é"]), samples, st.sampled_from(["", "DATABASE"])],
)


def one_number(last: int, at_ms: int = AT_MS) -> NumberSummary:
    return NumberSummary(1, *divmod(last, MILLION), last, last, at_ms, last)


def rollup_of(rows: dict[AddonKey, NumberSummary]) -> Rollup:
    rollup = Rollup()
    rollup.addon_samples = rows
    return rollup


def minute() -> Rollup:
    rollup = Rollup()
    line = parse_postgres(LINE)
    assert isinstance(line, AddonSamples)
    rollup.observe(line, AT_MS)
    return rollup


@given(st.dictionaries(keys, summaries))
def test_rows_come_back_as_they_were(rows: dict[AddonKey, NumberSummary]) -> None:
    data, others = addon_rows.pack_addons(rows)
    compact = dict(addon_rows.unpack_addons(data)) if data else {}
    assert {**compact, **others} == rows
    assert compact.keys().isdisjoint(others)


@given(st.dictionaries(keys, st.builds(one_number, st.integers(-(10**16), 10**16))))
def test_usual_samples_of_heroku_are_all_compact(rows: dict[AddonKey, NumberSummary]) -> None:
    others = addon_rows.pack_addons(rows)[1]
    assert not [key for key in others if key[1:3] in SAMPLES]


@given(st.dictionaries(keys, summaries), st.dictionaries(keys, summaries))
def test_the_implementations_write_and_read_the_same_bytes(
    rows: dict[AddonKey, NumberSummary], more_rows: dict[AddonKey, NumberSummary]
) -> None:
    data = codec.pack(rollup_of(rows), UNLIMITED)
    assert encoder.pack(to_fast_rollup(rollup_of(rows)), UNLIMITED) == data
    fast_rollup = FastRollup()
    decoder.merge_packed(fast_rollup, data)
    decoder.merge_packed(fast_rollup, codec.pack(rollup_of(more_rows), UNLIMITED))
    merged_rollup = rollup_of(dict(rows)).copy()
    merged_rollup.merge(rollup_of(more_rows))
    assert encoder.pack(fast_rollup, UNLIMITED) == codec.pack(merged_rollup, UNLIMITED)


@given(st.dictionaries(keys, summaries, min_size=1), st.integers(0, 2**32))
def test_damaged_bytes_are_rejected_or_read_alike(
    rows: dict[AddonKey, NumberSummary], seed: int
) -> None:
    rng = random.Random(seed)
    data = bytearray(codec.pack(rollup_of(rows), UNLIMITED))
    for _ in range(rng.randrange(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    assert_same_reading(bytes(data))


EDGES = [SUM_MAX - 1, SUM_MAX, 1 - SUM_MAX, -SUM_MAX, 2**63 - 1, -(2**63), 2**64 - 1]


@pytest.mark.parametrize("position", range(10))
@pytest.mark.parametrize("number", [*EDGES, COUNT_MAX, COUNT_MAX + 1, MILLION, -1, 0, len(SAMPLES)])
def test_every_number_is_checked_alike(position: int, number: int) -> None:
    group = [AT_MS, 4, 5, 3, 7, 250_000, -1, 9, -8, 12]
    group[position] = number
    rows = [["postgresql-1", "DATABASE", group]]
    empty = msgspec.msgpack.encode([])
    extensions = [[addon_rows.TAG, msgspec.msgpack.encode(rows)]]
    assert_same_reading(msgspec.msgpack.encode([1, 0, [], *[empty] * 8, extensions]))


@pytest.mark.parametrize(
    "groups",
    [
        [["a", "b"]],
        [["a", "b", []]],
        [["a", "b", [AT_MS, 4, 5, 1, 7]]],
        [["a", "b", [AT_MS, 4, 5, 3, 7, 0]]],
        [["a", "b", [AT_MS, 200, 5, 1, 7, 0]]],
        [["a", "b", [AT_MS, 4, AT_MS + 1, 1, 7, 0]]],
        [["a", 1, [AT_MS, 4, 5, 1, 7, 0]]],
        [["a", "b", [AT_MS, "c"]]],
        7,
    ],
)
def test_a_damaged_add_on_is_an_error_that_names_the_section(groups: object) -> None:
    empty = msgspec.msgpack.encode([])
    extensions = [[addon_rows.TAG, msgspec.msgpack.encode(groups)]]
    data = msgspec.msgpack.encode([1, 0, [], *[empty] * 8, extensions])
    with pytest.raises(PackError, match="addons: "):
        codec.unpack(data)
    with pytest.raises(PackError):
        decoder.merge_packed(FastRollup(), data)


def test_the_bytes_never_change() -> None:
    rows = minute().addon_samples
    key = ("redis-1", "redis.hit-rate", "", "REDIS")
    rows[key] = NumberSummary(3, 2, 750_000, 900_000, 950_000, AT_MS - 20_000, 900_000)
    data, others = addon_rows.pack_addons(rows)
    assert not others
    assert data.hex() == (
        "9293b7706f737467726573716c2d6375727665642d3132333435a84441544142415345dc001acf00"
        "0001a202b2c500040001cf000000010a6e08b80006000100ce000f376e09000100ce000347d81100"
        "01cef6e2f00000140001150093a772656469732d31a552454449539acf000001a202b276e01d0003"
        "00ce000dbba002d2ffe23ed000cdc350"
    )


def test_the_list_of_samples_never_changes() -> None:
    digest = hashlib.sha256(repr(SAMPLES).encode()).hexdigest()
    assert (len(SAMPLES), digest) == (51, SAMPLES_SHA256)
    units = {
        (name, metric.stored_unit)
        for metric in METRICS.values()
        if metric.sections == (addon_rows.SECTION,)
        for name in metric.selection or ()
    }
    assert units.issuperset(SAMPLES)


def test_a_minute_takes_a_fifth_of_the_bytes() -> None:
    rows = minute().addon_samples
    by_name = codec.encode_rows(SECTION[addon_rows.SECTION], rows)
    assert 5 * len(addon_rows.pack_addons(rows)[0]) < len(by_name)


def test_rows_by_name_of_older_versions_merge_with_compact_ones() -> None:
    rollup = minute()
    section = SECTION[addon_rows.SECTION]
    empty = msgspec.msgpack.encode([])
    by_name = [[section.name, codec.encode_rows(section, rollup.addon_samples)]]
    older = msgspec.msgpack.encode([1, 0, [], *[empty] * 8, by_name])
    rollup.merge(rollup.copy())
    fast_rollup = FastRollup()
    for data in (older, codec.pack(minute())):
        decoder.merge_packed(fast_rollup, data)
    assert encoder.pack(fast_rollup) == codec.pack(rollup)
