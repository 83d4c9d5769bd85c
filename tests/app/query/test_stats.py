"""The stats of each kind of metric, and their values over one interval."""

from __future__ import annotations

import pytest

from app.query.stats import (
    DEFAULT_STAT,
    CounterCell,
    DistributionCell,
    DynosCell,
    GaugeCell,
    Stat,
    StatValue,
    accepted_stats,
    parse_stat,
)
from app.rollup.schema import METRICS
from app.rollup.sketch import bin_of
from app.rollup.summaries import GaugeSummary, TimingTotals

STEP_S = 60
TIMES = METRICS["service_time_ms"]
MEMORY = METRICS["memory_total_bytes"]
HOUR = 1_795_341_600


def distribution_of(*times_ms: int) -> DistributionCell:
    cell = DistributionCell()
    for ms in times_ms:
        cell.add_bins({bin_of(ms): 1})
        cell.totals.merge(TimingTotals(1, ms, ms))
    return cell


def value_of(cell: DistributionCell, name: str) -> StatValue:
    return cell.value(parse_stat(name, TIMES), STEP_S)


def test_the_number_in_a_stat_is_read() -> None:
    assert parse_stat("p95", TIMES) == Stat("p95", "quantile", 0.95)
    assert parse_stat("p99.9", TIMES).argument == pytest.approx(0.999)
    assert parse_stat("p0.1", TIMES).argument == pytest.approx(0.001)
    assert parse_stat("le_500", TIMES) == Stat("le_500", "within", 500)
    assert parse_stat("avg", TIMES) == Stat("avg", "avg", 0)


@pytest.mark.parametrize("name", ["p0", "p0.0", "p100", "p", "p-1", "p9x", "P95", "p99.9999", "٣"])
def test_a_percentile_lies_between_0_and_100(name: str) -> None:
    with pytest.raises(ValueError, match=r"p1 to p99\.9"):
        parse_stat(name, TIMES)


@pytest.mark.parametrize("name", ["le_", "le_-1", "le_1.5", "le_123456789", "le_+Inf", "sum", ""])
def test_an_unknown_stat_of_a_distribution_names_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"service_time_ms has the stats p1 to p99\.9"):
        parse_stat(name, TIMES)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_its_default_stat(name: str) -> None:
    metric = METRICS[name]
    assert parse_stat(DEFAULT_STAT[metric.kind], metric).name == DEFAULT_STAT[metric.kind]


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.kind != "distribution"]
)
def test_accepted_stats_are_those_that_parse(name: str) -> None:
    metric = METRICS[name]
    assert accepted_stats(metric) == ", ".join(metric.stats)
    for stat in metric.stats:
        assert parse_stat(stat, metric) == Stat(stat, stat, 0)


def test_ratios_and_dynos_are_not_summed_over_dynos() -> None:
    assert "sum" in accepted_stats(MEMORY)
    for name in ("memory_quota_used_ratio", "dynos"):
        with pytest.raises(ValueError, match=r"avg, max, min, last$"):
            parse_stat("sum", METRICS[name])


@pytest.mark.parametrize(
    ("name", "from_sketch"),
    [("p50", True), ("le_5", True), ("avg", False), ("max", False), ("count", False)],
)
def test_percentiles_and_shares_come_from_the_sketch(name: str, from_sketch: bool) -> None:
    assert parse_stat(name, TIMES).needs_sketch is from_sketch


def test_a_counter_is_the_sum() -> None:
    cell = CounterCell()
    cell.total = 90
    assert cell.value(parse_stat("sum", METRICS["requests"]), STEP_S) == 90


def test_a_distribution_answers_all_its_stats() -> None:
    cell = distribution_of(*range(1, 41))
    values = {
        name: value_of(cell, name)
        for name in ("p5", "p50", "p99.9", "le_10", "avg", "max", "count")
    }
    assert values == {
        "p5": 2,
        "p50": 20,
        "p99.9": 40,
        "le_10": 0.25,
        "avg": 20.5,
        "max": 40,
        "count": 40,
    }


def test_without_values_a_distribution_has_a_count_and_nothing_else() -> None:
    cell = distribution_of()
    assert value_of(cell, "count") == 0
    assert [value_of(cell, name) for name in ("p95", "le_500", "avg", "max")] == [None] * 4


def test_percentiles_are_of_all_values_and_no_average_of_percentiles() -> None:
    cell = distribution_of(*[10] * 19)
    cell.add_bins(distribution_of(49).bins)
    cell.totals.merge(TimingTotals(1, 49, 49))
    assert value_of(cell, "p95") == 10
    assert value_of(cell, "p99") == 49


@pytest.mark.parametrize("ms", [501, 1_007, 30_001, 6_000_000, 7_000_000])
def test_no_percentile_exceeds_the_exact_maximum(ms: int) -> None:
    for cell in (distribution_of(*[ms] * 20), distribution_of(*range(1, 100), ms)):
        highest = value_of(cell, "p99.9")
        assert isinstance(highest, float)
        assert 0.99 * min(ms, 6_000_000) <= highest <= ms


def test_gauges_are_answered_in_their_unit() -> None:
    cell = GaugeCell(METRICS["memory_total_bytes"])
    cell.add("shop", "web.1", GaugeSummary(2, 300, 100, 200, HOUR, 200))
    cell.add("shop", "web.2", GaugeSummary(1, 600, 600, 600, HOUR, 600))
    hundredth = 2**20 / 100
    values = {name: cell.value(parse_stat(name, MEMORY), STEP_S) for name in MEMORY.stats}
    assert values == {
        name: pytest.approx(value * hundredth)
        for name, value in {"avg": 300, "max": 600, "min": 100, "last": 400, "sum": 750}.items()
    }


def test_readings_of_a_dyno_merge_and_those_of_its_namesake_in_another_app_do_not() -> None:
    cell = GaugeCell(METRICS["load_avg_1m"])
    first = GaugeSummary(1, 100, 100, 100, HOUR, 100)
    cell.add("shop", "web.1", first)
    cell.add("shop", "web.1", GaugeSummary(1, 300, 300, 300, HOUR + 1, 300))
    cell.add("blog", "web.1", GaugeSummary(1, 500, 500, 500, HOUR, 500))
    load = METRICS["load_avg_1m"]
    assert cell.value(parse_stat("sum", load), STEP_S) == pytest.approx(7)
    assert cell.value(parse_stat("last", load), STEP_S) == pytest.approx(4)
    assert first == GaugeSummary(1, 100, 100, 100, HOUR, 100)


def test_a_gauge_without_readings_is_a_gap() -> None:
    cell = GaugeCell(MEMORY)
    assert [cell.value(parse_stat(name, MEMORY), STEP_S) for name in MEMORY.stats] == [None] * 5


def test_dynos_are_counted_minute_by_minute() -> None:
    cell = DynosCell()
    cell.add(HOUR, 0b111)
    cell.add(HOUR, 0b001)
    cell.add(HOUR, 1 << 59)
    cell.add(HOUR + 3600, 0b1)
    cell.add(HOUR + 3600, 0b1)
    assert cell.counts_by_minute == {
        HOUR: 2,
        HOUR + 60: 1,
        HOUR + 120: 1,
        HOUR + 59 * 60: 1,
        HOUR + 3600: 2,
    }
    dynos = METRICS["dynos"]
    values = {name: cell.value(parse_stat(name, dynos), STEP_S) for name in dynos.stats}
    assert values == {"avg": 1.4, "max": 2, "min": 1, "last": 2}


def test_where_no_dyno_was_heard_from_their_number_is_a_gap() -> None:
    dynos = METRICS["dynos"]
    assert [DynosCell().value(parse_stat(name, dynos), STEP_S) for name in dynos.stats] == [
        None
    ] * 4
