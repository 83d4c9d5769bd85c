"""Rows of the tables of details, from rollups of every kind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.archive.detail_rows import detail_rows
from app.archive.tables import HOURS
from app.rollup.rollup import Rollup
from app.rollup.sketch import PROMETHEUS_BOUNDS_MS
from parsers.numbers import parse_quantity
from parsers.samples import (
    AddonSamples,
    CustomMark,
    CustomMarks,
    HerokuError,
    Request,
    RuntimeMetrics,
    labels_of,
)
from tests.support.archive import busy_rollup
from tests.support.service import NOW_S

AT_MS = int(NOW_S) * 1000
START_S = int(NOW_S) // 3600 * 3600


def tables(rollup: Rollup) -> dict[str, list[dict[str, Any]]]:
    """The rows of a rollup by the kind of table, each as columns by name."""
    named_rows = {}
    rows_by_table = detail_rows(rollup, [rollup.active_minutes])
    for table, rows in zip(HOURS.detail_tables, rows_by_table, strict=True):
        columns = list(table.types)[2:]
        named_rows[table.name.removesuffix("_hours")] = [
            {name: getattr(value, "obj", value) for name, value in zip(columns, row, strict=True)}
            for row in rows
        ]
    return named_rows


@pytest.fixture(params=range(3))
def rollup(request: pytest.FixtureRequest) -> Rollup:
    return busy_rollup(START_S, seed=request.param)


def test_requests_of_all_outcomes_add_up_to_those_of_the_rollup(rollup: Rollup) -> None:
    rows = tables(rollup)["request"]
    assert sum(row["requests"] for row in rows) == sum(rollup.requests.values())
    h80 = sum(count for (_, code), count in rollup.errors.items() if code == "H80")
    assert h80
    assert sum(row["requests"] for row in rows if row["outcome"] == "maintenance") == h80


def test_times_are_those_of_the_tallies_and_of_the_sketch(rollup: Rollup) -> None:
    rows = tables(rollup)["request"]
    for row in rows:
        assert sum(row["counts"]) == row["timed"]
        assert row["bins"] == sorted(row["bins"])
        bounds = [row[f"le_{bound}"] for bound in PROMETHEUS_BOUNDS_MS]
        assert bounds == sorted(bounds)
        assert bounds[-1] <= row["timed"] <= row["requests"] or row["outcome"] == "failed"
    service = [timing for (_, kind), timing in rollup.tallies.items() if kind in (0, 1)]
    assert sum(row["sum_ms"] for row in rows) == sum(timing.total for timing in service)
    assert sum(row["timed"] for row in rows) == sum(timing.count for timing in service)


def test_counts_within_bounds_are_exact() -> None:
    rng = random.Random(3)
    times_ms = [rng.randrange(40_000) for _ in range(500)]
    rollup = Rollup()
    for time_ms in times_ms:
        rollup.observe(Request("web.1", 200, "", 0, time_ms, 0), AT_MS)
    (row,) = tables(rollup)["request"]
    for bound in PROMETHEUS_BOUNDS_MS:
        assert row[f"le_{bound}"] == sum(time_ms <= bound for time_ms in times_ms)


def test_gauges_are_exact_in_their_unit() -> None:
    rollup = Rollup()
    for load, memory in ((7, 51_200), (12, 51_237)):
        readings = (("load_avg_1m", load), ("memory_total_bytes", memory))
        rollup.observe(RuntimeMetrics("web.1", readings), AT_MS + load)
    rows = {row["metric"]: row for row in tables(rollup)["measurement"]}
    assert rows["load_avg_1m"]["sum"] == Decimal("0.19")
    assert rows["load_avg_1m"]["last"] == Decimal("0.12")
    assert rows["memory_total_bytes"]["max"] == Decimal("512.37") * 2**20
    assert (rows["load_avg_1m"]["process_type"], rows["load_avg_1m"]["dyno"]) == ("web", "web.1")


def test_only_gauges_that_prometheus_gets_have_rows() -> None:
    rollup = Rollup()
    rollup.observe(RuntimeMetrics("web.1", (("memory_pgpgin_pages", 5),)), AT_MS)
    assert tables(rollup)["measurement"] == []


def test_a_gauge_that_this_version_does_not_know_keeps_its_number() -> None:
    rollup = busy_rollup(START_S, seed=1)
    rollup.gauges["web.1", 200] = next(iter(rollup.gauges.values())).copy()
    assert "200" in {row["metric"] for row in tables(rollup)["measurement"]}


def labelled(rows: list[dict[str, Any]], metric: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        if row["metric"] == metric:
            label = ",".join(row["labels"].values())
            counts[label] = counts.get(label, 0) + row["value"]
    return counts


def test_counts_have_the_labels_of_the_api(rollup: Rollup) -> None:
    rows = tables(rollup)["count"]
    statuses: dict[str, int] = {}
    for (_, status), count in rollup.requests.items():
        statuses[str(status)] = statuses.get(str(status), 0) + count
    assert labelled(rows, "requests") == statuses
    assert labelled(rows, "dyno_exits") == {"137": 1}
    assert labelled(rows, "messages") == {"received": rollup.messages}
    assert labelled(rows, "dyno_restarts") == {"": 1}
    assert labelled(rows, "response_bytes") == {"": sum(rollup.response_bytes.values())}


def test_counts_are_by_process_type_not_by_dyno() -> None:
    rollup = Rollup()
    for dyno in ("web.1", "web.2"):
        rollup.observe(HerokuError(dyno, "R14", 0), AT_MS)
    rows = [row for row in tables(rollup)["count"] if row["metric"] == "heroku_errors"]
    assert [(row["process_type"], row["value"]) for row in rows] == [("web", 2)]


def test_dynos_are_counted_minute_by_minute() -> None:
    rollup = Rollup()
    rollup.active_minutes = {"web.1": 0b111, "web.2": 0b001, "worker.1": 0b100}
    rows = {row.pop("process_type"): row for row in tables(rollup)["dyno"]}
    assert rows["web"] == {"dyno_minutes": 4, "active_minutes": 3, "dynos_max": 2}
    assert rows["worker"] == {"dyno_minutes": 1, "active_minutes": 1, "dynos_max": 1}


def addon_rollup() -> Rollup:
    rollup = Rollup()
    for text in (b"31328356kB", b"0.1"):
        quantity = parse_quantity(text)
        assert quantity is not None
        samples = (("postgres.db_size", quantity), ("postgres.made-up", quantity))
        rollup.observe(AddonSamples("postgresql-x-1", "DATABASE", samples), AT_MS)
    return rollup


def test_samples_of_addons_have_their_labels_and_no_dyno() -> None:
    rows = tables(addon_rollup())["measurement"]
    assert rows
    for row in rows:
        assert row["labels"]["addon"] == "postgresql-x-1"
        assert (row["process_type"], row["dyno"]) == ("", "")
    assert any(row["metric"].startswith("addon.postgres.made") for row in rows)


def custom_rollup() -> Rollup:
    rollup = Rollup()
    for text in (b"12.5ms", b"0.25s"):
        quantity = parse_quantity(text)
        assert quantity is not None
        marks = (
            CustomMark("measure", "db.query", quantity),
            CustomMark("measure", "queue_time", quantity),
            CustomMark("measure", "request.queue_time", quantity),
            CustomMark("count", "signups", quantity),
        )
        rollup.observe(CustomMarks("web.1", "", marks), AT_MS)
    return rollup


def test_custom_metrics_are_named_as_the_api_names_them() -> None:
    rows = {row["metric"]: row for row in tables(custom_rollup())["measurement"]}
    assert rows.keys() == {"custom.measure.db.query", "queue_time_ms", "custom.count.signups"}
    measure = rows["custom.measure.db.query"]
    assert (measure["sum"], measure["max"]) == (Decimal("262.5"), Decimal(250))
    assert sum(measure["counts"]) == 2
    assert rows["custom.count.signups"]["dyno"] == "web.1"


def test_names_of_one_metric_share_a_row() -> None:
    rows = {row["metric"]: row for row in tables(custom_rollup())["measurement"]}
    assert rows["queue_time_ms"]["samples"] == 4
    assert sum(rows["queue_time_ms"]["counts"]) == 4


def keys_of(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        yield tuple(str(row[name]) for name in names if name not in ("app", "t"))


@pytest.mark.parametrize("make", [addon_rollup, custom_rollup, lambda: busy_rollup(START_S, 5)])
def test_no_two_rows_have_one_key(make: Any) -> None:
    rows_by_table = tables(make())
    for table in HOURS.detail_tables:
        keys = list(keys_of(rows_by_table[table.name.removesuffix("_hours")], table.key))
        assert len(keys) == len(set(keys)), table.name


def test_process_types_are_those_of_the_sources(rollup: Rollup) -> None:
    types = {labels_of(source)[0] for source, _ in rollup.requests}
    assert {row["process_type"] for row in tables(rollup)["request"]} == types
