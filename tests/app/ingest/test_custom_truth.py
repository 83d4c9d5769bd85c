"""Custom metrics agree with a generator that knows the truth, whatever it writes.

Every count and sum is exact, every percentile within 1 %, and the limits hold.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from app.ingest.accelerated import Aggregator
from app.query.number_cells import MeasureCell
from app.query.stats import parse_stat
from app.rollup.accelerated import merge_rollups, pack, to_python
from app.rollup.batch_codec import unpack_batch
from app.rollup.open_metrics import known_metric
from app.rollup.rollup import DEFAULT_LIMITS, CardinalityLimits, Rollup
from app.rollup.schema import SECTION
from app.rollup.summaries import NumberSum
from parsers.numbers import MILLION
from tests.support.forms import ACCEPTANCE, ARRIVED_S
from tests.support.hostile_marks import HostileMarks, Series, quantile
from tests.support.lines import frame

PARTS = 7
DYNOS = ("web.1", "web.2", "worker.1")
SHARES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)


def send(generator: HostileMarks, lines: int, limits: CardinalityLimits = DEFAULT_LIMITS) -> Rollup:
    """Send lines in several batches, which are merged in any order; returns the rollup."""
    rng = random.Random(lines)
    bodies: list[list[bytes]] = [[] for _ in range(PARTS)]
    for _ in range(lines):
        dyno = rng.choice(DYNOS)
        text = generator.line(dyno.partition(".")[0])
        bodies[rng.randrange(PARTS)].append(frame(text, app_name="app", procid=dyno, pri=190))
    packed = []
    for body in bodies:
        aggregator = Aggregator(ARRIVED_S, ACCEPTANCE, limits, reads_marks=True)
        aggregator.add_body(b"".join(body))
        packed += [data for _, data in unpack_batch(aggregator.pack())]
    rng.shuffle(packed)
    while len(packed) > 1:  # as folding does it: in groups, each of which is packed again
        group, packed = packed[:3], packed[3:]
        packed.append(pack(merge_rollups(group), limits))
    return to_python(merge_rollups(packed))


def rows_of(rollup: Rollup, kind: str) -> dict[Series, Any]:
    """The rows of a section by series; dynos of a process type together."""
    section = SECTION[f"custom_{kind}s"]
    rows: dict[Series, Any] = {}
    for (first, name, unit, source), value in rollup.rows(section).items():
        key = (kind, name, unit, source, first.partition(".")[0])
        if key in rows:
            rows[key].merge(value)
        else:
            rows[key] = value.copy()
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_every_count_sum_and_extreme_is_exact(seed: int) -> None:
    generator = HostileMarks(seed)
    rollup = send(generator, 600)
    truth = generator.truth
    stored = {
        key: value
        for kind in ("count", "sample", "measure")
        for key, value in rows_of(rollup, kind).items()
    }
    assert stored.keys() == truth.numbers.keys()
    for series, numbers in truth.numbers.items():
        value: NumberSum = stored[series]
        assert (value.count, Fraction(value.total, MILLION)) == (len(numbers), sum(numbers)), series
        if series[0] != "count":
            assert Fraction(stored[series].smallest, MILLION) == min(numbers)
            assert Fraction(stored[series].largest, MILLION) == max(numbers)
    ledger = rollup.ledger
    assert ledger.get("dropped:custom", 0) == truth.unreadable
    assert ledger.get("unparsed:custom", 0) == truth.unreadable_lines
    assert ledger.get("ignored", 0) == truth.lines_without_marks
    assert ledger["received"] == 600


@pytest.mark.parametrize("seed", range(4))
def test_every_percentile_is_within_one_percent(seed: int) -> None:
    generator = HostileMarks(seed, names=4, sources=1)
    rollup = send(generator, 600)
    metric = known_metric("custom.measure.a")
    checked = 0
    for (kind, name, unit, source, process_type), numbers in generator.truth.numbers.items():
        if kind != "measure":
            continue
        key = (process_type, name, unit, source)
        cell = MeasureCell(metric)
        cell.add("shop", key, rollup.custom_measures[key])
        cell.add("shop", key, rollup.custom_sketches[key])
        for share in SHARES:
            value = cell.value(parse_stat(f"p{share * 100:g}", metric), 60)
            expected = float(quantile(numbers, share))
            assert value == pytest.approx(expected, rel=0.01), (key, share)
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("names_max", [1, 7, 60])
def test_beyond_the_limit_the_first_names_stay_exact(names_max: int) -> None:
    limits = DEFAULT_LIMITS._replace(open_names=names_max)
    generator = HostileMarks(names_max, names=100, sources=2)
    rollup = send(generator, 400, limits)
    expected = generator.truth.of_names(names_max)
    stored = {
        key: value.count
        for kind in ("count", "sample", "measure")
        for key, value in rows_of(rollup, kind).items()
    }
    assert stored == {series: len(numbers) for series, numbers in expected.items()}
    missing = generator.truth.marks - sum(map(len, expected.values()))
    assert rollup.ledger["dropped:custom"] == missing + generator.truth.unreadable


def test_a_sender_of_endless_names_fills_no_rollup() -> None:
    """Each name, source and number is new, so everything that can grow does."""
    lines = 3_000
    body = b"".join(
        frame(
            f"count#n{n}=1 sample#n{n}=2 measure#m={1.03 ** (n % 1500):.6f} source=s{n}",
            app_name="app",
            procid="web.1",
        )
        for n in range(lines)
    )
    aggregator = Aggregator(ARRIVED_S, ACCEPTANCE, reads_marks=True)
    aggregator.add_body(body)
    (data,) = [data for _, data in unpack_batch(aggregator.pack())]
    rollup = to_python(merge_rollups([data]))
    rows = [rollup.rows(SECTION[f"custom_{kind}s"]) for kind in ("count", "sample", "measure")]
    assert len({key[1] for section in rows for key in section}) <= DEFAULT_LIMITS.open_names
    assert sum(map(len, rows)) <= DEFAULT_LIMITS.open_series
    kept = sum(value.count for section in rows for value in section.values())
    assert rollup.ledger["dropped:custom"] == 3 * lines - kept
