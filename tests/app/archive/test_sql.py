"""What users get in SQL: functions, views, and plans that leave old partitions alone."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from app.archive.database import Database
from app.archive.times import to_utc
from app.rollup.number_sketch import bin_of as number_bin_of
from app.rollup.number_sketch import quantile
from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.rollup import Rollup
from app.rollup.sketch import BIN_COUNT, HIGH_MS, LOW_MS, bin_of, quantile_ms
from app.storage.memory import MemoryStore
from tests.app.archive.test_detail_rows import addon_rollup, custom_rollup
from tests.support.archive import archive_all, archiver_of, busy_rollup, put_hour, see_apps
from tests.support.postgres import TEMPLATE, PostgresServer
from tests.support.processes import ROOT
from tests.support.service import Clock

MIDNIGHT = 20_780 * DAY_S  # 2026-11-23, a Monday
HOURS = range(MIDNIGHT - 3 * HOUR_S, MIDNIGHT + 2 * HOUR_S, HOUR_S)
APPS = ("blog", "shop")


class Archive:
    """An archive of a few hours around midnight, and what is in it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.rollups: dict[tuple[str, int], Rollup] = {}

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), parameters or None).fetchall()

    def value(self, statement: str, *parameters: object) -> Any:
        ((value,),) = self.query(statement, *parameters)
        return value

    def merged(self) -> Rollup:
        merged_rollup = Rollup()
        for rollup in self.rollups.values():
            merged_rollup.merge(rollup)
        return merged_rollup


@pytest.fixture(scope="module")
def archive(postgres: PostgresServer) -> Iterator[Archive]:
    """Shared by the tests of this module, which only read."""
    url = postgres.url(postgres.create_database(TEMPLATE))
    with psycopg.connect(url, autocommit=True) as connection:
        archive = Archive(connection)
        asyncio.run(fill(archive, url))
        yield archive


async def fill(archive: Archive, url: str) -> None:
    database = Database(url)
    clock = Clock(MIDNIGHT + 3 * HOUR_S)
    store = MemoryStore(clock)
    await see_apps(store, list(APPS), clock())
    for start_s in HOURS:
        for app in APPS:
            rollup = busy_rollup(start_s, seed=start_s + len(app), requests=60)
            rollup.merge(addon_rollup())
            rollup.merge(custom_rollup())
            archive.rollups[app, start_s] = rollup
            await put_hour(store, app, start_s, rollup)
    await archive_all(archiver_of(store, database, clock))
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO dynometer.episodes "
            "VALUES ('shop', %s, %s, 'failing', '', 'down', '', '{}')",
            (to_utc(MIDNIGHT - HOUR_S), to_utc(MIDNIGHT)),
        )
    await database.close()


# --- functions ----------------------------------------------------------------------------------


def test_the_bins_are_those_of_the_sketch(archive: Archive) -> None:
    lows = archive.value("SELECT dynometer.bin_lows_ms()")
    assert lows == list(LOW_MS)
    assert len(lows) == BIN_COUNT


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_those_of_the_api(archive: Archive, seed: int) -> None:
    rng = random.Random(seed)
    bins: dict[int, int] = {}
    for _ in range(rng.randrange(1, 400)):
        index = bin_of(int(rng.lognormvariate(5, 3)))
        bins[index] = bins.get(index, 0) + 1
    indices = sorted(bins)
    for share in (0.001, 0.07, 0.5, 0.95, 0.999, 1.0):
        value = archive.value(
            "SELECT dynometer.percentile_ms(%s::int[], %s::int[], %s)",
            indices,
            [bins[index] for index in indices],
            share,
        )
        assert value == quantile_ms(bins, share)


def test_the_last_bin_ends_where_the_sketch_ends(archive: Archive) -> None:
    value = archive.value("SELECT dynometer.percentile_ms(%s::int[], '{1}', 0.5)", [BIN_COUNT - 1])
    assert value == (LOW_MS[-1] + HIGH_MS[-1]) / 2


def test_a_percentile_of_nothing_is_null(archive: Archive) -> None:
    assert archive.value("SELECT dynometer.percentile_ms('{}', '{}', 0.5)") is None
    assert archive.value("SELECT dynometer.percentile_number(NULL, NULL, 0.5)") is None


def test_a_percentile_does_not_exceed_the_largest_value(archive: Archive) -> None:
    assert archive.value("SELECT dynometer.percentile_ms('{300}', '{5}', 0.99, 1)") == 1


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_any_numbers_are_those_of_the_api(archive: Archive, seed: int) -> None:
    rng = random.Random(seed)
    bins: dict[int, int] = {}
    for _ in range(200):
        index = number_bin_of(rng.choice([0, rng.lognormvariate(0, 9), -rng.expovariate(1)]))
        bins[index] = bins.get(index, 0) + 1
    indices = sorted(bins)
    for share in (0.1, 0.5, 0.99):
        value = archive.value(
            "SELECT dynometer.percentile_number(%s::int[], %s::int[], %s)",
            indices,
            [bins[index] for index in indices],
            share,
        )
        assert value == pytest.approx(quantile(bins, share), rel=1e-9)


def test_merged_sketches_are_those_of_the_merged_rollup(archive: Archive) -> None:
    sketches = archive.merged().sketches
    rows = archive.query(
        "SELECT process_type, outcome, (merged).bins, (merged).counts FROM ("
        "SELECT process_type, outcome, dynometer.merge_sketches(bins, counts) AS merged "
        "FROM dynometer.request_hours GROUP BY 1, 2) AS sketches"
    )
    merged = {(row[0], row[1]): dict(zip(row[2], row[3], strict=True)) for row in rows}
    for (process_type, kind), bins in sketches.items():
        if kind in (0, 1):
            assert merged[process_type, ("ok", "failed")[kind]] == bins


def test_sketches_also_merge_in_parallel(archive: Archive) -> None:
    merged = "SELECT dynometer.merge_sketches(bins, counts) FROM dynometer.request_hours"
    one_by_one = archive.value(merged)
    archive.query("SELECT set_config('min_parallel_table_scan_size', '0', false)")
    archive.query("SELECT set_config('parallel_setup_cost', '0', false)")
    archive.query("SELECT set_config('parallel_tuple_cost', '0', false)")
    assert "Parallel" in str(archive.query(f"EXPLAIN {merged}"))
    assert archive.value(merged) == one_by_one


# --- views and columns --------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["hour", "day"])
def test_sums_in_sql_are_those_of_the_rollups(archive: Archive, interval: str) -> None:
    before_midnight = "WHERE t < '2026-11-23Z'"
    merged = Rollup()
    for (_, start_s), rollup in archive.rollups.items():
        if start_s < MIDNIGHT:
            merged.merge(rollup)
    requests = archive.value(
        f"SELECT sum(requests) FROM dynometer.requests_by_{interval} {before_midnight}"
    )
    assert requests == sum(merged.requests.values())
    errors = archive.query(
        f"SELECT code, sum(errors) FROM dynometer.errors_by_{interval} {before_midnight} GROUP BY 1"
    )
    expected: dict[str, int] = {}
    for (_, code), count in merged.errors.items():
        expected[code] = expected.get(code, 0) + count
    assert dict(errors) == expected
    statuses = archive.query(
        f"SELECT status, sum(requests) FROM dynometer.statuses_by_{interval} "
        f"{before_midnight} GROUP BY 1"
    )
    assert dict(statuses)["404"] == sum(
        count for (_, status), count in merged.requests.items() if status == 404
    )
    load, *_ = archive.query(
        f"SELECT sum(sum), max(max), sum(samples) FROM dynometer.measurements_by_{interval} "
        f"{before_midnight} AND metric = 'load_avg_1m'"
    )
    gauges = [summary for (_, gauge), summary in merged.gauges.items() if gauge == 7]
    assert load[0] * 100 == sum(summary.total for summary in gauges)
    assert load[2] == sum(summary.count for summary in gauges)


@pytest.mark.parametrize("interval", ["hour", "day"])
def test_every_view_reads_every_row(archive: Archive, interval: str) -> None:
    for view in ("requests", "statuses", "errors", "measurements", "dynos"):
        rows = archive.query(f"SELECT * FROM dynometer.{view}_by_{interval}")
        assert {row[0] for row in rows} == set(APPS), view


def test_releases_last_until_the_next_one(archive: Archive) -> None:
    rows = archive.query("SELECT t, until FROM dynometer.releases WHERE app = 'shop' ORDER BY t")
    assert len(rows) == len(HOURS)
    assert [until for _, until in rows[:-1]] == [at for at, _ in rows[1:]]


def test_addons_and_custom_metrics_are_in_their_view(archive: Archive) -> None:
    rows = archive.query(
        "SELECT DISTINCT metric, unit, addon, attachment FROM dynometer.measurements_by_hour "
        "WHERE addon IS NOT NULL AND metric LIKE 'postgres%'"
    )
    assert ("postgresql-x-1", "DATABASE") in {row[2:] for row in rows}
    p50, unit = archive.query(
        "SELECT p50, unit FROM dynometer.measurements_by_hour "
        "WHERE metric = 'custom.measure.db.query' LIMIT 1"
    )[0]
    assert p50 == pytest.approx(12.5, rel=0.01)
    assert unit == "ms"


def test_no_time_depends_on_the_time_zone_of_a_session(archive: Archive) -> None:
    assert archive.value("SHOW timezone") == "Asia/Kolkata"
    starts = {
        int(start)
        for (start,) in archive.query("SELECT DISTINCT extract(epoch FROM t) FROM dynometer.hours")
    }
    assert starts == set(HOURS)
    days = archive.query("SELECT DISTINCT extract(epoch FROM t) FROM dynometer.days")
    assert [int(start) for (start,) in days] == [MIDNIGHT - DAY_S]


# --- plans --------------------------------------------------------------------------------------


def plan_of(archive: Archive, statement: str) -> str:
    return "\n".join(line for (line,) in archive.query(f"EXPLAIN {statement}"))


@pytest.mark.parametrize(
    "table",
    ["hours", "request_hours", "requests_by_hour", "measurements_by_hour", "errors_by_hour"],
)
def test_a_range_reads_only_its_partitions(archive: Archive, table: str) -> None:
    plan = plan_of(
        archive, f"SELECT * FROM dynometer.{table} WHERE t >= '2026-11-23Z'::timestamptz"
    )
    assert "20261123" in plan
    assert "20261116" not in plan
    years = plan_of(
        archive,
        f"SELECT * FROM dynometer.{table.replace('hour', 'day')} "
        "WHERE t >= '2027-01-01Z'::timestamptz",
    )
    assert "20260101" not in years


def test_the_hours_of_an_app_are_found_by_the_key(archive: Archive) -> None:
    archive.query("SELECT set_config('enable_seqscan', 'off', false)")
    plan = plan_of(
        archive,
        "SELECT t, rollup FROM dynometer.hours WHERE app = 'shop' "
        "AND t >= '2026-11-23Z'::timestamptz AND t < '2026-11-24Z'::timestamptz ORDER BY t",
    )
    archive.query("SELECT set_config('enable_seqscan', 'on', false)")
    assert "Index Scan" in plan
    assert "hours_20261123_pkey" in plan


def test_every_table_is_partitioned_and_has_a_block_range_index(archive: Archive) -> None:
    rows = archive.query(
        "SELECT parent, count(*) FILTER (WHERE indexdef LIKE '%USING brin (t)%') "
        "FROM dynometer.partitioned JOIN pg_indexes ON tablename = parent "
        "AND schemaname = 'dynometer' GROUP BY parent"
    )
    assert len(rows) == 12
    assert {count for _, count in rows} == {1}


# --- what the docs promise ----------------------------------------------------------------------

BLOCKS = re.compile(r"```sql\n(.*?)```", re.DOTALL)
STATEMENTS = BLOCKS.findall((ROOT / "docs" / "archive.md").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/dynometer-archive.json").read_text())
LATER = "timestamptz '2026-11-24 00:00Z'"


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_in_the_docs_has_an_answer(archive: Archive, statement: str) -> None:
    assert archive.query(statement.replace("now()", LATER))


def test_the_docs_answer_ten_questions() -> None:
    assert len(STATEMENTS) == 11  # and an example


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_every_panel_of_the_dashboard_has_an_answer(archive: Archive, panel: Any) -> None:
    (target,) = panel["targets"]
    rows = archive.query(expanded(target["rawSql"]))
    assert rows
    if target["format"] == "time_series":
        assert all(isinstance(row[0], datetime) and row[-1] >= 0 for row in rows)


def test_the_dashboard_lists_apps_and_marks_releases(archive: Archive) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert archive.query(variable["query"]) == [(app,) for app in APPS]
    (annotation,) = DASHBOARD["annotations"]["list"]
    assert archive.query(expanded(annotation["rawQuery"]))


def expanded(statement: str) -> str:
    """A statement of Grafana with its macro and its variable replaced, as Grafana does it."""
    period = rf"\1 BETWEEN {LATER} - interval '1 year' AND {LATER}"
    return re.sub(r"\$__timeFilter\(([^)]*)\)", period, statement).replace(
        "${app:sqlstring}", "'shop'"
    )
